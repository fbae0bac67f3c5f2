package pulse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"spillway/internal/contact"
)

const form = "application/x-www-form-urlencoded"

// Contact reads a contact's record: a flat object, numbers as [json.Number].
// The error is [ErrNotFound] if there is none.
func (c *Client) Contact(ctx context.Context, id string) (map[string]any, error) {
	r := request{route: "contact", attempt: "reading contact " + id, method: http.MethodGet, path: "contacts/" + id, contact: true}
	if err := checkID(id, "reading a contact"); err != nil {
		return nil, err
	}
	value, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	record, err := asRecord(r, value)
	if err != nil {
		return nil, err
	}
	if got, ok := idText(record["id"]); ok && got != id {
		return nil, &Rejected{Attempt: r.attempt, Status: http.StatusOK, Reason: "the record of another contact", Other: got}
	}
	return record, nil
}

// Update changes fields of a contact. Without fields it makes no call.
func (c *Client) Update(ctx context.Context, id string, fields map[string]string) error {
	if err := checkID(id, "updating a contact"); err != nil {
		return err
	}
	if len(fields) == 0 {
		return nil
	}
	body, kind, err := encode(fields)
	if err != nil {
		return fmt.Errorf("updating contact %s: %w", id, err)
	}
	_, err = c.do(ctx, request{
		route: "update", attempt: "updating contact " + id, method: http.MethodPut, path: "contacts/" + id,
		body: body, kind: kind, contact: true, mute: true,
	})
	return err
}

// ApplyTags gives a contact tags, by their ids, in one call. Tags that it has
// already change nothing. Without tags it makes no call.
func (c *Client) ApplyTags(ctx context.Context, id string, tags []string) error {
	return c.changeTags(ctx, "tag_apply", "tag-apply", "applying", id, tags)
}

// RemoveTags takes tags from a contact, as [Client.ApplyTags] gives them.
func (c *Client) RemoveTags(ctx context.Context, id string, tags []string) error {
	return c.changeTags(ctx, "untag", "untag", "removing", id, tags)
}

func (c *Client) changeTags(ctx context.Context, route, verb, doing, id string, tags []string) error {
	if err := checkID(id, doing+" tags"); err != nil {
		return err
	}
	if len(tags) == 0 {
		return nil
	}
	_, err := c.do(ctx, request{
		route: route, attempt: fmt.Sprintf("%s %d tags of contact %s", doing, len(tags), id),
		method: http.MethodPost, path: "contacts/" + id + "/" + verb,
		body: []byte(url.Values{"tag_id[]": tags}.Encode()), kind: form, contact: true, tags: true, mute: true,
	})
	return err
}

// encode writes a form, as WP Fusion does. Keys such as "address_1.city" go as
// JSON: in form names PHP turns dots and spaces into underscores, and brackets
// into lists.
func encode(fields map[string]string) (body []byte, kind string, err error) {
	values := url.Values{}
	for key, value := range fields {
		if strings.ContainsAny(key, ". []") {
			body, err = json.Marshal(fields)
			return body, "application/json", err
		}
		values.Set(key, value)
	}
	return []byte(values.Encode()), form, nil
}

// Fields reads the fields that contacts have: key to label. The keys are those
// of the records: for address_*.country, whose value is a code, the readable
// value's key …country_name.
func (c *Client) Fields(ctx context.Context) (map[string]string, error) {
	r := request{route: "fields", attempt: "reading the CRM's fields", method: http.MethodGet, path: "contact/available-fields"}
	value, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	object, _ := value.(map[string]any)
	fields := map[string]string{}
	switch data := object["data"].(type) {
	case map[string]any:
		for key, details := range data {
			label := contact.TextOf(asObject(details), "label")
			if label == "" {
				label = key
			}
			if strings.HasPrefix(key, "address_") && strings.HasSuffix(key, ".country") {
				key += "_name"
			}
			fields[key] = label
		}
	case []any: // PHP's empty object
		if len(data) > 0 {
			return nil, &Rejected{Attempt: r.attempt, Status: http.StatusOK, Reason: "a list instead of fields with keys"}
		}
	default:
		return nil, &Rejected{Attempt: r.attempt, Status: http.StatusOK, Reason: "no fields in it"}
	}
	return fields, nil
}

func checkID(id, attempt string) error {
	if _, err := contact.ParseID(id); err != nil {
		return fmt.Errorf("%s: %w", attempt, errInvalidID)
	}
	return nil
}

// asRecord accepts a contact's record, bare or as the member "data". Anything
// else that is valid JSON concerns this contact alone.
func asRecord(r request, value any) (map[string]any, error) {
	record := asObject(value)
	if inner, ok := record["data"].(map[string]any); ok && record["id"] == nil {
		record = inner
	}
	_, hasID := idText(record["id"])
	if _, hasEmail := record["email"]; !hasID && !hasEmail {
		return nil, &Rejected{Attempt: r.attempt, Status: http.StatusOK, Reason: "something else than a contact's record"}
	}
	return record, nil
}

func asObject(value any) map[string]any {
	object, _ := value.(map[string]any)
	return object
}

// idText returns an id that came as a number or a text.
func idText(value any) (string, bool) {
	switch id := value.(type) {
	case json.Number:
		return id.String(), true
	case string:
		return id, id != ""
	}
	return "", false
}
