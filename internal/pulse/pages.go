package pulse

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"spillway/internal/contact"
)

const (
	// maxPages bounds a contact's tags, and all tags.
	maxPages = 1_000
	// maxTaggedPages bounds the contacts of a tag: more than a million of them.
	maxTaggedPages = 100_000
)

// Tags reads the ids of a contact's tags, all pages, each once, in the CRM's
// order. An empty list is a contact without tags; anything in the answers that
// is unclear is an error. Tags that change while they are read may be missing:
// the change itself causes a webhook, and that another pass.
func (c *Client) Tags(ctx context.Context, id string) ([]string, error) {
	if err := checkID(id, "reading a contact's tags"); err != nil {
		return nil, err
	}
	r := request{
		route: "tags", attempt: "reading tags of contact " + id, method: http.MethodGet,
		path: "contacts/" + id + "/tags", contact: true,
	}
	tags := []string{}
	err := c.list(ctx, r, maxPages, func(id string, _ map[string]any) error {
		tags = append(tags, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// Tag is a tag of the CRM.
type Tag struct {
	ID   string
	Name string
}

// AllTags reads all tags that the account has.
func (c *Client) AllTags(ctx context.Context) ([]Tag, error) {
	r := request{route: "all_tags", attempt: "reading the CRM's tags", method: http.MethodGet, path: "tags"}
	var tags []Tag
	err := c.list(ctx, r, maxPages, func(id string, item map[string]any) error {
		tags = append(tags, Tag{ID: id, Name: contact.TextOf(item, "name")})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// list reads all pages and calls each once for every id.
func (c *Client) list(ctx context.Context, r request, limit int, each func(id string, item map[string]any) error) error {
	seen := map[string]bool{}
	for number := 1; ; number++ {
		read, err := c.page(ctx, r, number, limit)
		if err != nil {
			return err
		}
		for i, id := range read.ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			if err := each(id, asObject(read.items[i])); err != nil {
				return err
			}
		}
		// The number is that of the latest page: the list may have got shorter.
		if number >= read.last {
			return nil
		}
	}
}

// page is one page of a list. Elements that stand for nothing are left out.
type page struct {
	ids   []string
	items []any // of each id
	last  int   // the number of pages
	total int   // elements of all pages; 0 when the answer does not tell
}

// page reads one page of a list that has limit pages at most.
func (c *Client) page(ctx context.Context, r request, number, limit int) (page, error) {
	r.query = maps.Clone(r.query)
	if r.query == nil {
		r.query = url.Values{}
	}
	r.query.Set("page", strconv.Itoa(number))
	value, err := c.do(ctx, r)
	if err != nil {
		return page{}, err
	}
	rejected := func(reason string) error {
		return &Rejected{Attempt: r.attempt, Status: http.StatusOK, Reason: fmt.Sprintf("page %d: %s", number, reason)}
	}
	object := asObject(value)
	items, ok := object["data"].([]any)
	if !ok {
		return page{}, rejected("no list in it")
	}
	read := page{total: total(object)}
	read.last, ok = lastPage(object)
	switch {
	case !ok:
		return page{}, rejected("a number of pages that cannot be read")
	case read.last > limit:
		return page{}, rejected(fmt.Sprintf("more than %d pages", limit))
	}
	for _, item := range items {
		id, ok := itemID(item)
		if !ok {
			return page{}, rejected("an element without an id")
		}
		if id != "" {
			read.ids, read.items = append(read.ids, id), append(read.items, item)
		}
	}
	return read, nil
}

// total returns how many elements a list has over all pages, 0 when the answer
// does not tell.
func total(object map[string]any) int {
	told := object["total"]
	if meta, ok := object["meta"].(map[string]any); ok {
		told = meta["total"]
	}
	text, _ := idText(told)
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// lastPage returns the number of pages, 1 when the answer does not tell. PHP
// writes an empty object as [].
func lastPage(object map[string]any) (int, bool) {
	told := object["last_page"]
	if meta, ok := object["meta"].(map[string]any); ok {
		told = meta["last_page"]
	}
	var text string
	switch number := told.(type) {
	case nil:
		return 1, true
	case json.Number:
		text = number.String()
	case string:
		text = number
	}
	last, err := strconv.Atoi(text)
	return last, err == nil
}

// itemID returns the id of an element: an object's, or the element itself. A
// null stands for nothing and has the id "".
func itemID(item any) (id string, ok bool) {
	if object, isObject := item.(map[string]any); isObject {
		value, has := object["id"]
		if !has {
			return "", false
		}
		item = value
	}
	if item == nil {
		return "", true
	}
	return idText(item)
}
