package sitetest

import "github.com/stretchr/testify/require"

// How values are stored where WP Fusion does not store them: it has ways of its
// own with backslashes, line breaks and signs.
var valueRules = []rule{
	{"StringsAreStoredAsTheyAre", func(s *trial) {
		p, id := s.user("subscriber")
		values := map[string]string{
			"backslashes": `C:\new\\table \' \" \0`,
			"quotes":      `O'Neil "the" ` + "`tick`",
			"signs":       `Tom & Jerry &amp; 5 > 3, 50%20 off`,
			"markup":      `<p>Tom &amp; <strong>Jerry</strong></p>`,
			"letters":     "Zoë Müller, 李小龍, Łódź, עברית",
			"symbols":     "\U0001F98A family \U0001F468\u200D\U0001F469\u200D\U0001F467",
			"lines":       "one\ntwo\r\n\tthree",
			"spaces":      "  two  spaces  ",
			"serialised":  `a:1:{i:0;s:1:"x";}`,
			"object":      `O:8:"stdClass":0:{}`,
			"json":        `{"a":"\u00e9"}`,
			"number":      "007",
			"first_name":  `Ann \ "Lee" Söhne`,
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
		fields := object{"first_name": `Ann \ "Lee" Söhne`, "display_name": `Zoë O'Neil \ Söhne`, "path": `C:\new`}
		created := s.expect("created", p.add(object{"fields": fields}))
		user := s.stored(created.UserID)
		require.Equal(s, fields["first_name"], s.text(user, "first_name"))
		require.Equal(s, fields["path"], s.text(user, "path"))
		require.Equal(s, fields["display_name"], user.DisplayName)
		s.expect("unchanged", p.add(object{"fields": fields}))
	}},
	{"NamesAreStoredAsAProfilesAre", func(s *trial) {
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": object{
			"first_name": " Ann & <b>Bo</b>\nLee ", "last_name": "Lee <3", "nickname": "A  B", "description": "one\ntwo & <em>three</em> <div>four</div>",
		}})
		s.expect("updated", contact)
		user := s.stored(id)
		require.Equal(s, "Ann &amp; Bo Lee", s.text(user, "first_name"))
		require.Equal(s, "Lee &lt;3", s.text(user, "last_name"))
		require.Equal(s, "A B", s.text(user, "nickname"))
		require.Equal(s, "one\ntwo &amp; <em>three</em> four", s.text(user, "description"))
		s.expect("unchanged", contact)
	}},
	{"BackslashesInListsAndInTheRecordStay", func(s *trial) {
		p, id := s.user("subscriber")
		list := []string{`back\slash`, `"`}
		contact := p.update(object{"fields": object{"colours": list, "display_name": `Zoë \ "Söhne"`}})
		s.expect("updated", contact)
		require.Equal(s, list, s.list(s.stored(id), "colours"))
		require.Equal(s, `Zoë \ "Söhne"`, s.stored(id).DisplayName)
		s.expect("unchanged", contact)
	}},
}

// What no value may bring in, with WP Fusion or without.
var scriptRules = []rule{
	{"NothingOfAScriptIsStored", func(s *trial) {
		attacks := []string{
			"Ann<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "<IMG SRC=x OnError = 'alert(3)' >x", `<a href="javascript:alert(4)">x</a>`,
			`<a href="&#106;ava&#x73;cript&colon;alert(5)">x</a>`, "<svg/onload=alert(6)>x", "<iframe src='javascript:alert(7)'></iframe>x",
			"<b onclick=alert(8)>x</b>", "<script\n>alert(9)</script\t>x", "<<script>alert(10)//<</script>x", "x<script src=//evil.example.com ",
			`<div style="background:url(javascript:alert(11))">x</div>`, "<math><mi//xlink:href=\"data:x,<script>alert(12)</script>\">x",
			"<details open ontoggle=alert(13)>x", "<body onload=alert(14)>x", "<scr\x00ipt>alert(15)</script>x", "<x onfocus=alert(16) tabindex=1>x",
		}
		for i, attack := range attacks {
			p := s.person()
			fields := object{"first_name": attack, "last_name": attack, "description": attack, "display_name": attack, "note": attack, "list": []string{"x", attack}}
			contact := p.change("add").with(object{"fields": fields, "tags": []string{"24"}})
			created := s.expect("created", contact)
			for range 2 {
				user := s.stored(created.UserID)
				require.Equal(s, []string{"24"}, s.tags(user))
				values := append(s.list(user, "list"), user.DisplayName, user.Nicename)
				for _, key := range []string{"first_name", "last_name", "description", "note"} {
					values = append(values, s.text(user, key))
				}
				for _, value := range values {
					require.NotRegexp(s, `(?i)<[^>]*(script|javascript:|\son[a-z]+\s*=|/on|iframe|<)`, value, "attack %d", i)
				}
				s.expect("unchanged", contact)
				s.expect("updated", p.update(object{"fields": fields, "tags": []string{"25"}}))
				s.expect("updated", contact)
			}
		}
	}},
	{"AddressThatIsAScriptIsLeftOut", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"website": "https://example.com/"}}))
		for _, address := range []string{"javascript:alert(1)", " JavaScript:alert(1)", "java\nscript:alert(1)", "&#106;avascript:alert(1)", "&#106avascript:alert(1)", "data:text/html,<b>x", "vbscript:x"} {
			updated := s.expect("updated", p.update(object{"fields": object{"website": address, "note": "about " + address}}))
			require.Equal(s, []string{"field_kept:website"}, updated.Notes, address)
			require.Equal(s, "https://example.com/", s.text(s.stored(id), "website"), address)
		}
	}},
}
