package contact

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// FieldType says how a CRM value becomes a WordPress value.
type FieldType string

// The field types. In all of them a field that the CRM's record lacks is not
// sent at all. An empty value is sent for Raw alone, because WP Fusion leaves
// the site's value when the CRM's is empty (see [FieldMap.Values]).
const (
	Text        FieldType = "text"        // one string; a list is joined with ", "
	Multiselect FieldType = "multiselect" // a list of strings, each as it is; a text is split at its commas
	Raw         FieldType = "raw"         // as the CRM has it, empty values included
)

// Field maps one field of the CRM to one of WordPress.
type Field struct {
	WordPress string // user field or usermeta key, such as "user_email" or "billing_company"
	CRM       string // key in the CRM's flat record, such as "email" or "address_1.city"
	Type      FieldType
}

// FieldMap is the setting SPILLWAY_FIELDS.
type FieldMap []Field

// wordPressKey is any text without control characters and backslashes, which
// WordPress takes out of keys. What the site lets no field write is for the site
// to say.
var wordPressKey = regexp.MustCompile(`^[^\pC\\]{1,255}$`)

// ParseFieldMap reads wordpress_key=crm_field[:type], comma-separated. The
// error names every element that is wrong, one per line.
func ParseFieldMap(s string) (FieldMap, error) {
	var fields FieldMap
	var wrong []string
	for element := range strings.SplitSeq(s, ",") {
		element = strings.TrimSpace(element)
		if element == "" {
			continue
		}
		field, err := parseField(element)
		switch {
		case err != nil:
			wrong = append(wrong, err.Error())
		case slices.ContainsFunc(fields, func(f Field) bool { return f.WordPress == field.WordPress }):
			wrong = append(wrong, fmt.Sprintf("%q: the WordPress key %s is mapped twice", element, field.WordPress))
		default:
			fields = append(fields, field)
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return fields, nil
}

func parseField(element string) (Field, error) {
	key, source, ok := strings.Cut(element, "=")
	field := Field{WordPress: strings.TrimSpace(key), CRM: strings.TrimSpace(source), Type: Text}
	if crm, kind, typed := strings.Cut(field.CRM, ":"); typed {
		field.CRM, field.Type = strings.TrimSpace(crm), FieldType(strings.TrimSpace(kind))
	}
	switch {
	case !ok || field.CRM == "":
		return Field{}, fmt.Errorf("%q: write wordpress_key=crm_field, or wordpress_key=crm_field:type", element)
	case !wordPressKey.MatchString(field.WordPress):
		return Field{}, fmt.Errorf("%q: a WordPress key has 1 to 255 characters, no control character and no backslash", element)
	case field.Type != Text && field.Type != Multiselect && field.Type != Raw:
		return Field{}, fmt.Errorf("%q: unknown type %q, use text, multiselect or raw", element, field.Type)
	}
	return field, nil
}

// CRMField returns the CRM field that is mapped to a WordPress key, or
// fallback when none is.
func (m FieldMap) CRMField(wordPress, fallback string) string {
	for _, field := range m {
		if field.WordPress == wordPress {
			return field.CRM
		}
	}
	return fallback
}

// Values maps a CRM record to what the site is to store, and lists the keys
// whose empty value counts. The rules are WP Fusion's: null and missing values
// are not sent, empty ones only for [Raw]; "0" is a value. A false becomes
// "0", since an unticked box that is not sent would stay ticked on the site.
func (m FieldMap) Values(record map[string]any) (values map[string]any, raw []string) {
	values = make(map[string]any, len(m))
	for _, field := range m {
		value, ok := record[field.CRM]
		if field.Type == Raw {
			// What an object would mean is unknown; it is not nothing.
			if _, isObject := value.(map[string]any); ok && !isObject {
				values[field.WordPress] = rawValue(value)
				raw = append(raw, field.WordPress)
			}
			continue
		}
		list := TextList(value)
		if text, isText := value.(string); isText && field.Type == Multiselect {
			list = splitCommas(text)
		}
		switch {
		case len(list) == 0:
		case field.Type == Text:
			values[field.WordPress] = strings.Join(list, ", ")
		default:
			values[field.WordPress] = list
		}
	}
	return values, raw
}

// TextOf returns a field of a CRM record as one string, empty when it is
// missing, null or empty.
func TextOf(record map[string]any, field string) string {
	return strings.Join(TextList(record[field]), ", ")
}

// TextList returns a CRM value as the list of its non-empty texts.
func TextList(value any) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		if v == "" {
			return nil
		}
		return []string{v}
	case bool:
		if v {
			return []string{"1"}
		}
		return []string{"0"}
	case []any:
		var list []string
		for _, element := range v {
			list = append(list, TextList(element)...)
		}
		return list
	case json.Number:
		return []string{v.String()}
	case map[string]any:
		// The CRM's records are flat; what an object would mean is unknown.
		return nil
	default:
		return []string{fmt.Sprint(v)}
	}
}

func rawValue(value any) any {
	if list, ok := value.([]any); ok {
		return append([]string{}, TextList(list)...)
	}
	return strings.Join(TextList(value), ", ")
}

func splitCommas(text string) []string {
	var elements []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			elements = append(elements, element)
		}
	}
	return elements
}
