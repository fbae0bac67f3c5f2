package pulse

import (
	"context"
	"net/http"
	"net/url"
)

// TaggedPage is one page of the contacts that carry a tag.
type TaggedPage struct {
	Page  int      // from 1 on
	Last  int      // the number of pages, as this page tells
	Total int      // contacts of all pages; 0 when the page does not tell
	IDs   []string // as the CRM has them; a contact may be on several pages
}

// Tagged reads the contacts that carry a tag from a page on, and ends with
// each's first error. A caller that notes the page can go on there another
// time. A contact that loses the tag meanwhile pushes others onto pages that
// have been read; a changed Total tells that it may have happened.
func (c *Client) Tagged(ctx context.Context, tagID string, from int, each func(TaggedPage) error) error {
	r := request{
		route: "tagged", attempt: "reading the contacts of a tag", method: http.MethodGet,
		path: "contacts/tagged/", query: url.Values{"tag_id": {tagID}},
	}
	for number := max(from, 1); ; number++ {
		read, err := c.page(ctx, r, number, maxTaggedPages)
		if err != nil {
			return err
		}
		if err := each(TaggedPage{Page: number, Last: read.last, Total: read.total, IDs: read.ids}); err != nil {
			return err
		}
		if number >= read.last {
			return nil
		}
	}
}
