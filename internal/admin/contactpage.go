package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// contactPage is one contact: where it stands and what happened to it.
type contactPageView struct {
	Record   pending.Record
	Events   []history.Event
	LastSync time.Time
	UserID   int64  // of the last pass that knew it
	CRMLink  string // empty: no link
	UserLink string
	View     string
}

func (d *Dashboard) contactPage(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	view, err := d.readContact(c.Request().Context(), ref)
	if err != nil {
		return d.unavailable(c, err)
	}
	return d.render(c, http.StatusOK, "contact", "Contact "+ref.ID, view)
}

func (d *Dashboard) readContact(ctx context.Context, ref contact.Ref) (view contactPageView, err error) {
	view.View = "contact:" + ref.ID
	if view.Record, err = d.Contacts.Lookup(ctx, ref); err != nil {
		return view, err
	}
	if view.Events, view.LastSync, err = d.Timelines.Timeline(ctx, ref); err != nil {
		return view, err
	}
	for _, event := range view.Events {
		if event.UserID != 0 {
			view.UserID = event.UserID
			break
		}
	}
	if d.CRMURL != "" {
		view.CRMLink = d.CRMURL + "/crm/contact/" + ref.ID + "/edit"
	}
	if d.SiteURL != "" && view.UserID != 0 {
		view.UserLink = d.SiteURL + "/wp-admin/user-edit.php?user_id=" + strconv.FormatInt(view.UserID, 10)
	}
	return view, nil
}

func (d *Dashboard) contactFragments(ctx context.Context, ref contact.Ref) ([]fragment, error) {
	view, err := d.readContact(ctx, ref)
	if err != nil {
		return nil, err
	}
	return d.fragments("contact", view, "live-state", "live-timeline")
}

// findView is a search that did not end at one contact.
type findView struct {
	Found   []string
	Problem string
}

// findContact takes an id or an e-mail address. It is a POST, so that the
// address stands in no log and no browser's history, and the answer does not
// repeat it.
func (d *Dashboard) findContact(c echo.Context) error {
	sought := strings.TrimSpace(c.FormValue("q"))
	if id, err := contact.ParseID(strings.TrimPrefix(sought, "#")); err == nil {
		return c.Redirect(http.StatusSeeOther, d.at("/contacts/"+id))
	}
	view := findView{}
	status := http.StatusOK
	switch {
	case !strings.Contains(sought, "@"):
		status, view.Problem = http.StatusBadRequest, "Type a contact's id (a number) or an e-mail address."
	case d.Addresses == nil:
		view.Problem = "Contacts are found by id only: SPILLWAY_SEARCH_KEY is not set on ingest and on the workers."
	default:
		var err error
		if view.Found, err = d.Addresses.Find(c.Request().Context(), d.Site, sought); err != nil {
			return d.unavailable(c, err)
		}
		if len(view.Found) == 1 {
			return c.Redirect(http.StatusSeeOther, d.at("/contacts/"+view.Found[0]))
		}
		if len(view.Found) == 0 {
			view.Problem = "No contact with this address was read from the CRM in the last 30 days. A contact whose passes only " +
				"set tags is not read, so its address is not known. Search by its id."
		}
	}
	return d.render(c, status, "find", "Search", view)
}
