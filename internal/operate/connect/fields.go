package connect

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// fields turns WP Fusion's field table into SPILLWAY_FIELDS.
func (p *Plan) fields(f settings) {
	rows := f.rows()
	slices.SortFunc(rows, func(a, b row) int {
		if order := rank(a.key) - rank(b.key); order != 0 {
			return order
		}
		return strings.Compare(a.key, b.key)
	})
	var mapping, boxes, lists, hidden []string
	for _, r := range rows {
		if why := r.unfit(); why != "" {
			p.remark("contact_fields["+plainKey(r.key)+"]", Left, why)
			continue
		}
		if r.pseudo {
			if r.key != "user_id" { // what becomes of it is said where it is returned
				hidden = append(hidden, r.key)
			}
			continue
		}
		element := r.key + "=" + r.crm
		switch {
		case r.kind == "raw":
			element += ":raw"
		case strings.HasPrefix(r.kind, "multiselect") || r.kind == "checkboxes":
			element += ":multiselect"
			lists = append(lists, r.key)
		case r.kind == "checkbox":
			boxes = append(boxes, r.key)
		}
		mapping = append(mapping, element)
	}
	if len(mapping) == 0 {
		p.ask("SPILLWAY_FIELDS", "WP Fusion's field table maps nothing; without this the address and both names are stored.")
		p.remark("contact_fields", ToDo, "WP Fusion's field table maps nothing: without SPILLWAY_FIELDS the address and both names are stored")
		return
	}
	p.set("SPILLWAY_FIELDS", strings.Join(mapping, ","), "WP Fusion's field table: wordpress_key=crm_field[:type].")
	p.remark("contact_fields", Taken, fmt.Sprintf("%d fields", len(mapping)))
	if !slices.ContainsFunc(rows, func(r row) bool { return r.key == "user_email" }) {
		p.remark("contact_fields[user_email]", ToDo, "not mapped: new users get the CRM field email, and a changed address is not stored")
	}
	if len(boxes) > 0 {
		p.remark("contact_fields", Changed, "checkboxes ("+strings.Join(boxes, ", ")+"): a box that is unticked in the CRM becomes 0 here; WP Fusion leaves it ticked on the site")
	}
	if len(lists) > 0 {
		p.remark("contact_fields", Changed, "lists ("+strings.Join(lists, ", ")+"): a text with commas becomes a list here; WP Fusion stores it as a text")
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.kind == "raw" }) {
		p.remark("contact_fields", Changed, "raw fields: null in the CRM empties the field here; WP Fusion leaves the site's value")
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.key == "role" }) {
		p.remark("contact_fields[role]", Changed, "a role of the CRM is given if it is in SPILLWAY_ROLES_ALLOWED and is no administrator's; WP Fusion gives any")
	}
	if len(hidden) > 0 {
		p.remark("contact_fields", Left, strings.Join(hidden, ", ")+": only sent to the CRM, which WP Fusion goes on doing; nothing of it is stored on the site")
	}
}

// rank puts what everybody looks for first.
func rank(key string) int {
	first := []string{"user_email", "user_login", "first_name", "last_name", "display_name"}
	if at := slices.Index(first, key); at >= 0 {
		return at
	}
	return len(first)
}

// unfit says why a row is no field of Spillway's. Empty: it is one.
func (r row) unfit() string {
	switch {
	case strings.HasSuffix(r.key, "capabilities"):
		return "WordPress's own list of roles: no field writes it; map role in its place, which gives one role"
	case strings.HasSuffix(r.key, "user_level") || r.key == "session_tokens" || r.key == "user_activation_key" || strings.HasPrefix(r.key, "_application_passwords"):
		return "a key that decides what its user may do: the connector lets no field write it"
	case r.key == "" || strings.ContainsAny(r.key, `,=\`) || strings.ContainsFunc(r.key, unicode.IsControl):
		return "the key holds a comma, an equals sign, a backslash or a control character, which SPILLWAY_FIELDS cannot say"
	case strings.ContainsAny(r.crm, ",:") || strings.ContainsFunc(r.crm, unicode.IsControl):
		return "the CRM field's name holds a comma or a colon, which SPILLWAY_FIELDS cannot say"
	}
	return ""
}

func plainKey(key string) string {
	const longest = 60
	key = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, key)
	if runes := []rune(key); len(runes) > longest {
		key = string(runes[:longest]) + "…"
	}
	return key
}

// returned finds what goes back to the CRM after a creation.
func (p *Plan) returned(f settings) {
	rows := f.rows()
	crm := func(key string) string {
		if at := slices.IndexFunc(rows, func(r row) bool { return r.key == key && r.unfit() == "" }); at >= 0 {
			return rows[at].crm
		}
		return ""
	}
	field, mapped := f.text("return_password_field"), crm("user_pass")
	switch {
	case f.on("return_password") && field != "":
		p.set("SPILLWAY_RETURN_PASSWORD_FIELD", field, "The CRM field that gets the generated password.")
		p.remark("return_password_field", Taken, "generated passwords go there, again and again until the CRM has stored them; WP Fusion tries once")
	case mapped != "":
		field = mapped
		p.set("SPILLWAY_RETURN_PASSWORD_FIELD", field, "WP Fusion sends the password to the field that is mapped to user_pass.")
		p.remark("return_password", Changed, "it is off, but user_pass is mapped: WP Fusion sends generated passwords to that field, so Spillway returns them there")
	default:
		field = ""
		p.remark("return_password", Left, "it is off or names no CRM field: generated passwords are not returned; new users need send_notification, or a link to set one")
	}
	var back []string
	for _, key := range []string{"user_login", "user_id"} {
		if name := crm(key); name != "" && name != field {
			back = append(back, key+"="+name)
		}
	}
	if len(back) > 0 {
		p.set("SPILLWAY_RETURN_FIELDS", strings.Join(back, ","), "What else goes back of a new user.")
		p.remark("contact_fields", Taken, "Spillway returns "+strings.Join(back, " and ")+" once, when it has created the user; WP Fusion goes on sending them for users who register on the site")
	}
	if crm("user_registered") != "" {
		p.remark("contact_fields[user_registered]", Left, "Spillway does not return the date of registration; WP Fusion goes on sending it for users who register on the site")
	}
}
