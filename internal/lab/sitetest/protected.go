package sitetest

import (
	"strings"

	"github.com/stretchr/testify/require"
)

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
			// And without accents or what is invisible; WordPress drops backslashes.
			"wp_cápabilities", "séssion_tokens", "wp_capa\u200bbilities", "ｗｐ_capabilities", `wp_\capabilities`, "wp_capabilities ", "",
			"wp_capa\u05b0bilities", "wp_capa\u0656bilities",
			// Second factors, and what else lets a person in.
			"_two_factor_totp_key", "_two_factor_enabled_providers", "_new_email", "wfls-secret", "googleauthenticator_secret",
			"wp_2fa_totp_key", "mo2f_configured_2FA_method", "itsec_two_factor", "openid-connect-generic-subject-identity", "rsssl_two_fa_status_email", "_wtlwp_token",
			strings.Repeat("x", 256),
		}
		for _, value := range []any{"2020-01-02 03:04:05", []string{"administrator"}} {
			var contacts []object
			for _, key := range keys {
				contacts = append(contacts,
					p.update(object{"fields": object{key: value}, "raw": []string{key}}),
					p.add(object{"fields": object{key: value}}))
			}
			for i, result := range s.sendAll(envelope(contacts...)) {
				require.Equal(s, "unchanged", result.Outcome, "%v", contacts[i])
				require.Equal(s, []string{"field_refused:" + keys[i/2]}, result.Notes)
			}
		}
		require.Equal(s, before, s.stored(id))
		require.True(s, s.PasswordWorks(before.Login, oldPassword))
	}},
	{"OtherKeysAreStoredAsTheyAre", func(s *trial) {
		fields := object{}
		for _, key := range []string{
			"Company Name", "address.city", "über", "mepr-address:one", "会社名", "ที่อยู่", "नाम", "Straße", "prénom", "N° client", "two_family_home", "_billing_phone", "100", "a/b?c=d&e", `it's "x"`,
		} {
			fields[key] = "of " + key
		}
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": fields})
		require.Empty(s, s.expect("updated", contact).Notes)
		created := s.expect("created", s.person().add(object{"fields": fields}))
		require.Empty(s, created.Notes)
		for _, user := range []User{s.stored(id), s.stored(created.UserID)} {
			for key, value := range fields {
				require.Equal(s, value, s.text(user, key))
			}
		}
		s.expect("unchanged", contact)
	}},
	{"EmptyValueOfAProtectedKeyIsRefused", func(s *trial) {
		p, _ := s.user("subscriber")
		require.Equal(s, []string{"field_refused:session_tokens"}, s.expect("unchanged", p.update(object{"fields": object{"session_tokens": "", "role": ""}})).Notes)
		require.Empty(s, s.expect("unchanged", p.update(object{"fields": object{"session_tokens": nil}})).Notes)
	}},
	{"StaffKeepsPrivateKeys", func(s *trial) {
		p, id := s.user("administrator")
		fields := object{"_billing_phone": "1", "＿x": "2", "ﹰ_x": "4", "billing_phone": "3"}
		updated := s.expect("updated", p.update(object{"fields": fields}))
		require.ElementsMatch(s, []string{"field_refused:_billing_phone", "field_refused:＿x", "field_refused:ﹰ_x"}, updated.Notes)
		user := s.stored(id)
		require.Empty(s, s.text(user, "_billing_phone"))
		require.Equal(s, "3", s.text(user, "billing_phone"))
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
			require.ElementsMatch(s, []string{"role_kept", "email_kept"}, result.Notes)
			require.Equal(s, "administrator", result.Role)
			user := s.stored(id)
			require.Equal(s, p.email, user.Email)
			require.Equal(s, []string{"administrator"}, user.Roles)
			require.True(s, s.PasswordWorks(user.Login, oldPassword))
			require.Equal(s, "Ann "+action, s.text(user, "first_name"), "other fields are stored")
		}
	}},
}
