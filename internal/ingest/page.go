package ingest

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
)

// wantsPage tells browsers from programs: these ask for JSON or for anything.
func wantsPage(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "text/html") && !strings.Contains(accept, "application/json")
}

//go:embed page.html
var pageSource string

// page is what a person sees of an outcome. Like every answer it holds nothing
// of the contact but its id, and nothing of the request.
type page struct {
	Title string
	Text  []string // a paragraph each
	Code  string   // of a refusal
	Took  string
}

// pageOf says what was done, or why nothing was.
func pageOf(o outcome) page {
	switch {
	case o.refusal != nil:
		return page{Title: "Nothing was done", Text: append([]string{o.refusal.Message}, remedies[o.refusal.Code]...), Code: o.refusal.Code}
	case o.hook.Test:
		return page{Title: "It works", Text: []string{"Spillway takes webhooks at this address, and the access key is right. Nothing was queued."}}
	case o.end == endSynced:
		return page{Title: "Synced", Text: syncedText(o)}
	case o.end == endObserved:
		return page{Title: "Observed", Text: observedText(o), Code: o.event.Code}
	case o.end == endParked:
		return page{
			Title: "Parked",
			Text:  []string{fmt.Sprintf("Contact %s cannot be synced as it is (%s).", o.hook.ID, o.hook.Intent.Action), o.event.Error},
			Code:  o.event.Code,
		}
	}
	queued := page{Title: "Queued", Text: []string{fmt.Sprintf("Contact %s will be synced (%s).", o.hook.ID, o.hook.Intent.Action)}}
	if o.coalesced {
		queued.Text = append(queued.Text, "It was queued already, so one pass does for both.")
	}
	if o.end == endTimeout {
		queued.Text = append(queued.Text, "It takes longer than this answer waits. The dashboard shows how it ends.")
	}
	return queued
}

// syncedText says what the site did with a contact.
func syncedText(o outcome) []string {
	user := "User " + strconv.FormatInt(o.event.UserID, 10)
	text := []string{map[string]string{
		string(contact.Created):   user + " was created for contact " + o.hook.ID + ".",
		string(contact.Updated):   user + " was updated from contact " + o.hook.ID + ".",
		string(contact.Unchanged): user + " already shows what contact " + o.hook.ID + " has.",
		string(contact.Skipped):   "The site has no user for contact " + o.hook.ID + ", so there was nothing to do.",
	}[o.event.Outcome]}
	if o.event.Role != "" {
		text = append(text, "Role: "+o.event.Role+".")
	}
	if o.event.PasswordReturned {
		text = append(text, "The CRM has the new password.")
	}
	if len(o.event.Notes) > 0 {
		text = append(text, "Notes: "+strings.Join(o.event.Notes, ", ")+".")
	}
	return text
}

// observedText says what the site would have done with a contact.
func observedText(o outcome) []string {
	user := "User " + strconv.FormatInt(o.event.UserID, 10)
	text := []string{
		"This site is observed: nothing was written, neither on the site nor in the CRM.",
		map[string]string{
			string(contact.Created):   "A user would be created for contact " + o.hook.ID + ".",
			string(contact.Updated):   user + " would be updated from contact " + o.hook.ID + ".",
			string(contact.Unchanged): user + " already shows what contact " + o.hook.ID + " has.",
			string(contact.Skipped):   "The site has no user for contact " + o.hook.ID + ", so there would be nothing to do.",
			string(contact.Parking):   "Contact " + o.hook.ID + " could not be synced as it is: " + o.event.Error,
		}[o.event.Outcome],
	}
	if len(o.event.Notes) > 0 {
		text = append(text, "Notes: "+strings.Join(o.event.Notes, ", ")+".")
	}
	return text
}

// remedies are what a person can do about a refusal, where its message does not
// say so.
var remedies = map[string][]string{
	"invalid_access_key": {"Compare the key in the address with the setting SPILLWAY_ACCESS_KEYS."},
	"missing_contact_id": {"The address and the access key are right. The CRM names the contact by itself; to try one here, add &contact_id= and its number."},
	"missing_action":     {"Add &wpf_action=update to the address, or update_tags, add or test."},
}

func writePage(c echo.Context, o outcome, took time.Duration) error {
	shown := pageOf(o)
	shown.Took = strconv.FormatInt(max(1, took.Milliseconds()), 10) + " ms"
	// People open pages rarely enough for the template to be read each time.
	parsed, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	var body bytes.Buffer
	if err := parsed.Execute(&body, shown); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	header := c.Response().Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	// The address holds the key.
	header.Set("Referrer-Policy", "no-referrer")
	return c.HTMLBlob(o.status(), body.Bytes())
}
