package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// serveAPI registers the routes that the WordPress integration of the CRM uses.
func (c *CRM) serveAPI() {
	c.mux.HandleFunc("GET /api/v1/contacts/{id}", c.call("contact", true, c.getContact))
	c.mux.HandleFunc("GET /api/v1/contacts/{id}/tags", c.call("tags", true, c.getTags))
	c.mux.HandleFunc("PUT /api/v1/contacts/{id}", c.call("update", false, c.putContact))
	c.mux.HandleFunc("POST /api/v1/contacts/{id}/tag-apply", c.call("tag_apply", false, c.changeTags))
	c.mux.HandleFunc("POST /api/v1/contacts/{id}/untag", c.call("untag", false, c.changeTags))
	c.mux.HandleFunc("GET /api/v1/contacts/tagged/{$}", c.call("tagged", false, c.getTagged))
	c.mux.HandleFunc("POST /api/v1/contact/find/{$}", c.call("find", false, c.findContact))
	c.mux.HandleFunc("GET /api/v1/contact/available-fields", c.call("fields", false, c.getFields))
	c.mux.HandleFunc("GET /api/v1/tags", c.call("all_tags", false, c.getAllTags))
	// Everything else, "contact/find" without its slash included: the mux would
	// answer that one with a redirect.
	unknown := func(w http.ResponseWriter, _ *http.Request) {
		a := apiError(http.StatusNotFound, "Not found")
		a.write(w, len(a.body))
	}
	c.mux.HandleFunc("/api/v1/", unknown)
	c.mux.HandleFunc("/api/v1/contact/find", unknown)
}

func apiError(status int, text string) answer {
	return reply(status, map[string]string{"error": text})
}

func notFound() answer { return apiError(http.StatusNotFound, "Contact not found") }

func (c *CRM) getContact(r *http.Request, _ []byte) answer {
	fields, ok := c.present(r.PathValue("id"))
	if !ok {
		return notFound()
	}
	return reply(http.StatusOK, fields)
}

// present returns a contact as the API shows it.
func (c *CRM) present(id string) (map[string]any, bool) {
	fields, _, ok := c.records.read(id)
	if !ok {
		return nil, false
	}
	fields["id"] = id
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		fields["id"] = mixedID(n)
	}
	return fields, true
}

// mixedID writes an id as the API may: a number if it is even, else a text, so
// that readers have to accept both.
func mixedID(id int64) any {
	if id%2 == 0 {
		return id
	}
	return strconv.FormatInt(id, 10)
}

func (c *CRM) getTags(r *http.Request, _ []byte) answer {
	_, tags, ok := c.records.read(r.PathValue("id"))
	if !ok {
		return notFound()
	}
	return c.tagPage(r, tags)
}

func (c *CRM) getAllTags(r *http.Request, _ []byte) answer { return c.tagPage(r, c.records.allTags()) }

func (c *CRM) tagPage(r *http.Request, tags []int) answer {
	return paged(r, tags, c.options.TagPageSize, func(tag int) any {
		return map[string]any{"id": mixedID(int64(tag)), "name": c.records.tagName(tag)}
	})
}

func (c *CRM) getTagged(r *http.Request, _ []byte) answer {
	query := r.URL.Query()
	tag, err := strconv.Atoi(query.Get("tag_id"))
	if name := query.Get("tag_name"); err != nil && name != "" {
		named, ok := c.records.tagNamed(name)
		if !ok {
			return apiError(http.StatusNotFound, "Tag not found")
		}
		tag, err = named, nil
	}
	if err != nil {
		return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
	}
	if c.records.isGone(tag) {
		return apiError(http.StatusNotFound, "Tag not found")
	}
	return paged(r, c.records.withTag(tag), c.options.TagPageSize, func(id string) any {
		fields, _ := c.present(id)
		return fields
	})
}

// paged answers one page of a list as Laravel's paginator does.
func paged[T any](r *http.Request, list []T, size int, present func(T) any) answer {
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || number < 1 {
		number = 1
	}
	last := max(1, (len(list)+size-1)/size)
	data := []any{}
	if number <= last {
		from := (number - 1) * size
		for _, element := range list[from:min(from+size, len(list))] {
			data = append(data, present(element))
		}
	}
	return reply(http.StatusOK, map[string]any{
		"data": data,
		"meta": map[string]int{"current_page": number, "last_page": last, "per_page": size, "total": len(list)},
	})
}

func (c *CRM) putContact(r *http.Request, body []byte) answer {
	id := r.PathValue("id")
	fields, err := decodeFields(r, body)
	if err != nil {
		return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
	}
	sent := make(map[string]string, len(fields))
	for key, value := range fields {
		sent[key] = textOf(value)
	}
	if !c.records.update(id, fields, sent) {
		return notFound()
	}
	return c.getContact(r, nil)
}

func (c *CRM) findContact(r *http.Request, body []byte) answer {
	fields, err := decodeFields(r, body)
	if err != nil {
		return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
	}
	id, ok := c.records.find(textOf(fields["email"]))
	if !ok {
		return notFound()
	}
	record, ok := c.present(id)
	if !ok {
		return notFound()
	}
	return reply(http.StatusOK, record)
}

// changeTags is tag-apply and untag.
func (c *CRM) changeTags(r *http.Request, body []byte) answer {
	fields, err := decodeFields(r, body)
	if err != nil {
		return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
	}
	list, ok := fields["tag_id"].([]any)
	if !ok {
		return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
	}
	var tags []int
	for _, element := range list {
		tag, err := strconv.Atoi(textOf(element))
		if err != nil {
			return apiError(http.StatusUnprocessableEntity, "The given data was invalid.")
		}
		tags = append(tags, tag)
	}
	add, remove := tags, []int(nil)
	if strings.HasSuffix(r.URL.Path, "/untag") {
		add, remove = nil, tags
	}
	if !c.records.changeTags(r.PathValue("id"), add, remove) {
		return notFound()
	}
	return reply(http.StatusOK, map[string]bool{"success": true})
}

// getFields lists the fields that contacts have. The API offers the country's
// code; its readable name is in the records alone.
func (c *CRM) getFields(*http.Request, []byte) answer {
	data := map[string]any{}
	for _, name := range c.records.fieldNames() {
		if strings.HasSuffix(name, ".country_name") {
			continue
		}
		label := strings.ReplaceAll(strings.ReplaceAll(name, "_", " "), ".", " ")
		data[name] = map[string]string{"label": strings.ToUpper(label[:1]) + label[1:]}
	}
	return reply(http.StatusOK, map[string]any{"data": data})
}

// listElement is the end of a form's name that makes a list in PHP: [] or, as
// PHP's own http_build_query() writes it, [0], [1] and so on.
var listElement = regexp.MustCompile(`\[\d*\]$`)

func listName(name string) (string, bool) {
	end := listElement.FindStringIndex(name)
	if end == nil {
		return name, false
	}
	return name[:end[0]], true
}

// decodeFields reads a form or a JSON object. In the names of a form dots and
// spaces become underscores and a trailing [] makes a list, as in PHP.
func decodeFields(r *http.Request, body []byte) (map[string]any, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	fields := map[string]any{}
	if err == nil && kind == "application/json" {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			return nil, fmt.Errorf("reading a JSON object: %w", err)
		}
		delete(fields, "")
		return fields, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("reading a form: %w", err)
	}
	for name, values := range form {
		name, list := listName(name)
		name = strings.NewReplacer(".", "_", " ", "_").Replace(name)
		switch {
		case name == "":
		case list:
			elements, _ := fields[name].([]any)
			for _, value := range values {
				elements = append(elements, value)
			}
			fields[name] = elements
		default:
			fields[name] = values[len(values)-1]
		}
	}
	return fields, nil
}

// textOf writes a JSON value as a text; lists and objects as JSON.
func textOf(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case []any, map[string]any:
		encoded, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(encoded)
	default:
		return fmt.Sprint(v)
	}
}
