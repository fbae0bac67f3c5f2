package sitetest

import "github.com/stretchr/testify/require"

// How fields are stored.
var fieldRules = []rule{
	{"AbsentFieldsLeaveTheSitesAlone", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"first_name": "Ann"}}))
		s.expect("unchanged", p.update(nil))
		s.expect("unchanged", p.update(object{"fields": object{}}))
		require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
	}},
	{"EmptyValuesAreSkipped", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{
			"first_name": "Ann", "interests": []string{"a", "b"}, "display_name": "Ann Lee",
		}}))
		s.expect("unchanged", p.update(object{"fields": object{
			"first_name": "", "interests": []string{}, "display_name": "", "user_email": "", "user_url": "",
		}}))
		user := s.stored(id)
		require.Equal(s, "Ann", s.text(user, "first_name"))
		require.Equal(s, []string{"a", "b"}, s.list(user, "interests"))
		require.Equal(s, "Ann Lee", user.DisplayName)
		require.Equal(s, p.email, user.Email)
	}},
	{"EmptyRawValuesAreStored", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"billing_company": "Lee Ltd", "first_name": "Ann"}}))
		s.expect("updated", p.update(object{
			"fields": object{"billing_company": "", "first_name": ""}, "raw": []string{"billing_company"},
		}))
		user := s.stored(id)
		require.Empty(s, s.text(user, "billing_company"))
		require.Equal(s, "Ann", s.text(user, "first_name"))
	}},
	{"EmptyRawListsAreStored", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"interests": []string{"a"}}}))
		s.expect("updated", p.update(object{"fields": object{"interests": []string{}}, "raw": []string{"interests"}}))
		require.Empty(s, s.stored(id).Meta["interests"])
	}},
	{"ZeroIsAValue", func(s *trial) {
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": object{"newsletter": "0"}})
		s.expect("updated", contact)
		require.Equal(s, "0", s.text(s.stored(id), "newsletter"))
		s.expect("unchanged", contact)
	}},
	{"StringsAreStoredAsTheyAre", func(s *trial) {
		p, id := s.user("subscriber")
		values := map[string]string{
			"backslashes": `C:\new\\table \' \" \0`,
			"quotes":      `O'Neil "the" ` + "`tick`",
			"markup":      `<b>Tom & Jerry</b> &amp; 50%20 <script>x</script>`,
			"letters":     "Zoë Müller, 李小龍, Łódź, עברית",
			"symbols":     "\U0001F98A family \U0001F468\u200D\U0001F469\u200D\U0001F467",
			"lines":       "one\ntwo\r\n\tthree",
			"spaces":      "  two  spaces  ",
			"serialised":  `a:1:{i:0;s:1:"x";}`,
			"object":      `O:8:"stdClass":0:{}`,
			"json":        `{"a":"\u00e9"}`,
			"number":      "007",
			"first_name":  `Ann \ "Lee" & Söhne`,
		}
		fields := object{}
		for key, value := range values {
			fields[key] = value
		}
		contact := p.update(object{"fields": fields})
		s.expect("updated", contact)
		user := s.stored(id)
		for key, value := range values {
			require.Equal(s, value, s.text(user, key), key)
		}
		s.expect("unchanged", contact)
	}},
	{"CreationStoresStringsAsTheyAre", func(s *trial) {
		p := s.person()
		fields := object{"first_name": `Ann \ "Lee" & Söhne`, "display_name": `Zoë O'Neil \ Söhne`, "path": `C:\new`}
		created := s.expect("created", p.add(object{"fields": fields}))
		user := s.stored(created.UserID)
		require.Equal(s, fields["first_name"], s.text(user, "first_name"))
		require.Equal(s, fields["path"], s.text(user, "path"))
		require.Equal(s, fields["display_name"], user.DisplayName)
		s.expect("unchanged", p.add(object{"fields": fields}))
	}},
	{"ListsAreStoredAsLists", func(s *trial) {
		p, id := s.user("subscriber")
		list := []string{"red", `back\slash`, "Zoë", "0"}
		contact := p.update(object{"fields": object{"colours": list}})
		s.expect("updated", contact)
		require.Equal(s, list, s.list(s.stored(id), "colours"))
		s.expect("unchanged", contact)
	}},
	{"UserRecordFieldsGoToTheUserRecord", func(s *trial) {
		p, id := s.user("subscriber")
		next := s.person().email
		contact := p.update(object{"fields": object{
			"user_email": next, "display_name": `Zoë O'Neil \ Söhne`,
			"user_url": "https://example.com/ann", "user_nicename": "nice-" + p.id,
		}})
		s.expect("updated", contact)
		user := s.stored(id)
		require.Equal(s, next, user.Email)
		require.Equal(s, `Zoë O'Neil \ Söhne`, user.DisplayName)
		require.Equal(s, "https://example.com/ann", user.URL)
		require.Equal(s, "nice-"+p.id, user.Nicename)
		for _, key := range []string{"user_email", "display_name", "user_url", "user_nicename"} {
			require.NotContains(s, user.Meta, key)
		}
		require.True(s, s.PasswordWorks(user.Login, oldPassword), "the password stays")
		s.expect("unchanged", contact)
	}},
}

// What no field may write.
var protectedRules = []rule{
	{"ProtectedKeysAreNeverWritten", func(s *trial) {
		p, id := s.user("subscriber")
		before := s.stored(id)
		keys := []string{
			"ID", "user_login", "user_pass", "user_registered", "user_activation_key", "session_tokens",
			"wp_capabilities", "wp_user_level", "wp_2_capabilities", "shop_capabilities", "shop_user_level",
			"spillway_unconfirmed", "spillway_other", "_application_passwords",
			// The database compares keys without case.
			"WP_Capabilities", "Wp_User_Level", "Session_Tokens", "SPILLWAY_unconfirmed", "_Application_Passwords",
		}
		var contacts []object
		for _, key := range keys {
			for _, value := range []any{"2020-01-02 03:04:05", []string{"administrator"}} {
				contacts = append(contacts,
					p.update(object{"fields": object{key: value}, "raw": []string{key}}),
					p.add(object{"fields": object{key: value}}))
			}
		}
		for i, result := range s.sendAll(envelope(contacts...)) {
			require.Equal(s, "unchanged", result.Outcome, "%v", contacts[i])
		}
		require.Equal(s, before, s.stored(id))
		require.True(s, s.PasswordWorks(before.Login, oldPassword))
	}},
	{"ProtectedKeysAreNotWrittenByACreation", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"fields": object{
			"ID": "1", "user_registered": "2001-02-03 04:05:06", "user_activation_key": "key",
			"wp_capabilities": []string{"administrator"}, "wp_user_level": "10",
			"session_tokens": []string{"token"}, "_application_passwords": []string{"x"}, "spillway_other": "x",
		}}))
		require.NotEqual(s, int64(1), created.UserID)
		user := s.stored(created.UserID)
		require.NotContains(s, user.Registered, "2001-02-03")
		require.NotContains(s, user.Roles, "administrator")
		require.Empty(s, s.text(user, "spillway_other"))
		for _, key := range []string{"session_tokens", "_application_passwords"} {
			require.NotContains(s, user.Meta, key)
		}
	}},
	{"AdministratorKeepsEmailPasswordAndRole", func(s *trial) {
		p, id := s.user("administrator")
		for _, action := range []string{"add", "update"} {
			result := s.expect("updated", p.change(action).with(object{
				"fields":    object{"user_email": s.person().email, "first_name": "Ann " + action},
				"user_pass": "new-Pass-word-1", "role": "customer",
			}))
			require.Contains(s, result.Notes, "role_kept")
			require.Equal(s, "administrator", result.Role)
			user := s.stored(id)
			require.Equal(s, p.email, user.Email)
			require.Equal(s, []string{"administrator"}, user.Roles)
			require.True(s, s.PasswordWorks(user.Login, oldPassword))
			require.Equal(s, "Ann "+action, s.text(user, "first_name"), "other fields are stored")
		}
	}},
}

// How a changed address is stored.
var addressRules = []rule{
	{"AddressOfAnotherUserIsRefused", func(s *trial) {
		p, id := s.user("subscriber")
		other, _ := s.user("subscriber")
		for _, action := range []string{"add", "update"} {
			s.refused("email_taken", p.change(action).with(object{
				"fields": object{"user_email": other.email, "first_name": "Ann"}, "tags": []string{"24"},
			}))
		}
		user := s.stored(id)
		require.Equal(s, p.email, user.Email)
		require.Empty(s, s.text(user, "first_name"), "a contact that fails changes nothing")
		require.Empty(s, s.tags(user))
		require.Len(s, s.UsersByEmail(other.email), 1)
	}},
	{"InvalidAddressIsRefused", func(s *trial) {
		p, id := s.user("subscriber")
		s.refused("invalid_email", p.update(object{"fields": object{"user_email": "no address", "first_name": "Ann"}}))
		user := s.stored(id)
		require.Equal(s, p.email, user.Email)
		require.Empty(s, s.text(user, "first_name"))
	}},
	{"ChangedAddressAndPasswordSendNoMail", func(s *trial) {
		p, id := s.user("subscriber")
		next := s.person().email
		before := len(s.Mails(p.email))
		s.expect("updated", p.update(object{"fields": object{"user_email": next}}))
		s.expect("updated", object{
			"contact_id": p.id, "action": "update", "user_pass": "new-Pass-word-1",
		})
		require.True(s, s.PasswordWorks(s.stored(id).Login, "new-Pass-word-1"))
		require.Len(s, s.Mails(p.email), before)
		require.Empty(s, s.Mails(next))
	}},
}
