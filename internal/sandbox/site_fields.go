package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	contactIDKey = "pulsetech_contact_id"
	tagsKey      = "pulsetech_tags"
)

// acceptFields returns the fields that are to be stored: protected keys are
// gone, and so are values that do not count.
func acceptFields(fields map[string]any, raw []string) map[string]any {
	accepted := map[string]any{}
	for key, value := range fields {
		if key == "" || protected(key) {
			continue
		}
		stored, ok := fieldValue(value)
		if !ok {
			continue
		}
		if isEmpty(stored) && !slices.Contains(raw, key) {
			continue
		}
		accepted[key] = stored
	}
	return accepted
}

// protected says which keys no field writes. The database compares keys without
// regard to case.
func protected(key string) bool {
	key = strings.ToLower(key)
	switch key {
	case "id", "role", "user_login", "user_pass", "user_registered", "user_activation_key",
		"session_tokens", "_application_passwords":
		return true
	}
	return strings.HasPrefix(key, "spillway_") || strings.HasSuffix(key, "capabilities") || strings.HasSuffix(key, "user_level")
}

// fieldValue writes a JSON value as WordPress stores it: a string or a list of
// strings. Null and objects are no values.
func fieldValue(value any) (any, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool: // PHP's (string) true and false
		if v {
			return "1", true
		}
		return "", true
	case []any:
		list := make([]string, 0, len(v))
		for _, element := range v {
			if entry, ok := fieldValue(element); ok {
				if one, ok := entry.(string); ok {
					list = append(list, one)
				}
			}
		}
		return list, true
	}
	return nil, false
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

// applyFields stores accepted fields on a user, who may be a copy.
func (s *users) applyFields(u *user, fields map[string]any) error {
	for key, value := range fields {
		joined, isText := value.(string)
		if list, ok := value.([]string); ok {
			joined = strings.Join(list, ", ")
		}
		switch {
		case key == "user_email":
			if err := s.changeEmail(u, joined); err != nil {
				return err
			}
		case key == "display_name":
			u.DisplayName = joined
		case key == "user_url":
			u.URL = joined
		case key == "user_nicename":
			u.Nicename = s.freeNicename(u.ID, joined)
		case isText:
			u.Meta[key] = joined
		default:
			u.Meta[key] = value
		}
	}
	return nil
}

func (s *users) changeEmail(u *user, email string) error {
	email = strings.TrimSpace(email)
	if canManage(u.Roles) || email == u.Email {
		return nil
	}
	if !isEmail(email) {
		return permanent("invalid_email", "The e-mail address is not valid.")
	}
	if owner, taken := s.byEmail[strings.ToLower(email)]; taken && owner != u.ID {
		return permanent("email_taken", "The e-mail address belongs to another user.")
	}
	u.Email = email
	return nil
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
)

// isLogin says whether WordPress's sanitize_user() leaves a login as it is.
func isLogin(login string) bool {
	plain := spaces.ReplaceAllString(strings.TrimSpace(tagOrEntity.ReplaceAllString(login, "")), " ")
	accented := strings.ContainsFunc(login, func(r rune) bool { return r >= 'À' && r <= 'ſ' && unicode.IsLetter(r) })
	return plain != "" && plain == login && !accented
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
