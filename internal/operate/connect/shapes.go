package connect

import (
	"encoding/json"
	"strconv"
	"strings"

	"spillway/internal/site"
)

// settings reads WP Fusion's settings in all shapes that its versions store.
type settings struct{ *site.Fusion }

func (s settings) secret(key string) string { return strings.TrimSpace(s.Secrets[key]) }

// text is a setting that is one text. A dropdown of CRM fields was stored as
// {"crm_field": …} before 3.40.33.
func (s settings) text(key string) string { return textOf(s.Settings[key]) }

// on is a checkbox: true or "1"; false, 0, "0", "" or absent when unticked.
func (s settings) on(key string) bool { return truth(s.Settings[key]) }

// row is a line of WP Fusion's field table.
type row struct {
	key, kind, crm string
	pseudo         bool // sent to the CRM, never loaded from it
}

// rows are the lines that are active and name a CRM field.
func (s settings) rows() []row {
	table, _ := s.Settings["contact_fields"].(map[string]any) // an empty PHP array is a list
	var rows []row
	for key, value := range table {
		line, _ := value.(map[string]any)
		crm := textOf(line["crm_field"])
		if !truth(line["active"]) || crm == "" {
			continue
		}
		kind := strings.ToLower(textOf(line["type"]))
		rows = append(rows, row{key: strings.TrimSpace(key), kind: kind, crm: crm, pseudo: truth(line["pseudo"]) || isPseudo(key)})
	}
	return rows
}

// isPseudo names WP Fusion's own fields that are only sent. Older versions do
// not mark them.
func isPseudo(key string) bool {
	switch key {
	case "user_id", "user_registered", "ip", "previous_user_email":
		return true
	}
	return false
}

func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		return textOf(v["crm_field"])
	}
	return ""
}

func truth(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != "" && v != "0"
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
