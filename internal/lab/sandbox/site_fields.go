package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	contactIDKey = "pulsetech_contact_id"
	tagsKey      = "pulsetech_tags"
)

// recordWidths are the fields of the user record itself that a field may change,
// with their longest value in characters.
func recordWidths() map[string]int {
	return map[string]int{"user_email": 100, "display_name": 250, "user_url": 100, "user_nicename": 50}
}

// acceptFields returns the fields that are to be stored, cleaned, and notes on
// those that are not. Values that do not count are gone.
func acceptFields(fields map[string]any, raw []string) (accepted map[string]any, notes []string, err error) {
	accepted = map[string]any{}
	for key, value := range fields {
		if value == nil || key == "role" {
			continue
		}
		if protected(key) {
			notes = append(notes, fieldRefused(key))
			continue
		}
		stored, err := fieldValue(value)
		if err != nil {
			return nil, nil, err
		}
		_, inRecord := recordWidths()[key]
		if inRecord {
			stored = joined(stored)
		}
		// No user is without an address, whatever counts as a value.
		if isEmpty(stored) && (key == "user_email" || !slices.Contains(raw, key)) {
			continue
		}
		cleaned, ok := cleanValue(key, stored)
		if key == "user_email" {
			cleaned = strings.TrimSpace(joined(stored))
			ok = isEmail(joined(cleaned))
		}
		if ok && inRecord {
			ok = utf8.RuneCountInString(joined(cleaned)) <= recordWidths()[key]
		}
		if !ok {
			notes = append(notes, fieldKept(key))
			continue
		}
		accepted[key] = cleaned
	}
	return accepted, notes, nil
}

func fieldRefused(key string) string { return "field_refused:" + key }

func fieldKept(key string) string {
	if key == "user_email" {
		return "email_kept"
	}
	return "field_kept:" + key
}

func joined(value any) string {
	if list, ok := value.([]string); ok {
		return strings.Join(list, ", ")
	}
	one, _ := value.(string)
	return one
}

// protected says which keys no field writes.
func protected(key string) bool {
	key = folded(key)
	if key == "" || strings.Contains(key, `\`) || utf8.RuneCountInString(key) > 255 {
		return true
	}
	switch key {
	case "id", "role", "user_login", "user_pass", "user_registered", "user_activation_key", "user_status",
		"session_tokens", "_application_passwords", "_new_email", contactIDKey, tagsKey:
		return true
	}
	return strings.HasPrefix(key, "spillway_") || strings.HasSuffix(key, "capabilities") || strings.HasSuffix(key, "user_level") ||
		secondFactor.MatchString(key)
}

var secondFactor = regexp.MustCompile(`two_fa(_|$|ctor)|wtlwp|2fa|^mo2f|^wfls|authenticator|itsec|openid|oauth`)

// knownFields says what the site knows keys as, separated by commas.
func (s *Site) knownFields(keys string) map[string]string {
	stored := map[string]bool{}
	for _, user := range s.Users() {
		for key := range user.Meta {
			stored[key] = true
		}
	}
	known := map[string]string{}
	for key := range strings.SplitSeq(keys, ",") {
		switch key = strings.TrimSpace(key); {
		case key == "":
		case slices.Contains([]string{"user_email", "display_name", "user_url", "user_nicename", "user_login", "user_pass", "role"}, key):
			known[key] = "record"
		case protected(key):
			known[key] = "protected"
		case slices.Contains([]string{"first_name", "last_name", "nickname", "description"}, key), stored[key]:
			known[key] = "stored"
		default:
			known[key] = "unknown"
		}
	}
	return known
}

// fieldValue writes a JSON value as WordPress stores it: a string or a list of
// strings.
func fieldValue(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		if v {
			return "1", nil
		}
		return "0", nil
	case []any:
		list := make([]string, len(v))
		for i, element := range v {
			if element == nil { // an empty text to PHP
				continue
			}
			stored, err := fieldValue(element)
			one, isText := stored.(string)
			if err != nil || !isText {
				return nil, wrongType("fields")
			}
			list[i] = one
		}
		return list, nil
	}
	return nil, wrongType("fields")
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	}
	return true
}

// applyFields stores accepted fields on a user, who may be a copy, and notes what
// is left out.
func (s *users) applyFields(u *user, fields map[string]any) (notes []string) {
	staff := isStaff(u.Roles)
	for key, value := range fields {
		one := joined(value)
		switch key {
		case "user_email":
			if strings.EqualFold(one, u.Email) {
				continue
			}
			if _, taken := s.byEmail[strings.ToLower(one)]; taken || staff {
				notes = append(notes, fieldKept(key))
				continue
			}
			u.Email = one
		case "display_name":
			u.DisplayName = one
		case "user_url":
			u.URL = one
		case "user_nicename":
			u.Nicename = s.freeNicename(u.ID, one)
		default:
			if staff && strings.HasPrefix(folded(key), "_") {
				notes = append(notes, fieldRefused(key))
				continue
			}
			u.Meta[key] = value
		}
	}
	return notes
}

var (
	emailLocal  = regexp.MustCompile("^[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+$")
	emailDomain = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)+$`)
)

// isEmail follows WordPress's is_email().
func isEmail(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && len(address) >= 6 && len(address) <= 100 && emailLocal.MatchString(local) && emailDomain.MatchString(domain)
}

var (
	tagOrEntity = regexp.MustCompile(`<[^>]*>|%[a-fA-F0-9]{2}|&.+?;`)
	spaces      = regexp.MustCompile(`\s+`)
	notInLogins = regexp.MustCompile(`[^a-zA-Z0-9 _.@-]`)
)

// cleanLogin does what WordPress does to a login. It leaves accents alone, which
// WordPress turns into plain letters.
func cleanLogin(login string) string {
	login = notInLogins.ReplaceAllString(tagOrEntity.ReplaceAllString(login, ""), "")
	return spaces.ReplaceAllString(strings.TrimSpace(login), " ")
}

// serialize writes a list as PHP's serialize() does; lengths are in bytes.
func serialize(list []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a:%d:{", len(list))
	for i, element := range list {
		fmt.Fprintf(&b, "i:%d;s:%d:\"%s\";", i, len(element), element)
	}
	b.WriteString("}")
	return b.String()
}
