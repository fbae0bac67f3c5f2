package ingest

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/webhook"
)

type tested struct {
	Success bool `json:"success"`
}

// synced is the answer to a sender that waited for a pass that succeeded.
type synced struct {
	Status           string         `json:"status"`
	ContactID        string         `json:"contact_id"`
	Action           contact.Action `json:"action"`
	Outcome          string         `json:"outcome"` // what the site did
	UserID           int64          `json:"user_id"` // 0: the site has no user
	Role             string         `json:"role"`    // empty: the site did not say
	PasswordReturned bool           `json:"password_returned"`
	Notes            []string       `json:"notes"`
}

// parked is the answer to a sender that waited for a pass that failed for good.
type parked struct {
	Status    string `json:"status"`
	ContactID string `json:"contact_id"`
	failed
}

type failed struct {
	Error failure `json:"error"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// write answers with JSON, or with a page for a person who has opened the
// webhook's address in a browser. The status is the same.
func write(c echo.Context, o outcome) error {
	header := c.Response().Header()
	header["Cache-Control"] = noStore
	header["X-Content-Type-Options"] = noSniff
	switch o.status() {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", webhook.AllowedMethods)
	case http.StatusRequestEntityTooLarge:
		// The rest of the body is not worth waiting for.
		header.Set("Connection", "close")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter)
	case http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(o.wait.Seconds()))))
	}
	if wantsPage(c.Request()) {
		return writePage(c, o)
	}
	switch {
	case o.refusal != nil:
		return c.JSON(o.status(), failed{failure{o.refusal.Code, o.refusal.Message}})
	case o.hook.Test:
		return c.JSON(o.status(), tested{true})
	case o.end == endSynced:
		return c.JSON(o.status(), synced{
			Status: o.end, ContactID: o.hook.ID, Action: o.hook.Intent.Action, Outcome: o.event.Outcome, UserID: o.event.UserID,
			Role: o.event.Role, PasswordReturned: o.event.PasswordReturned, Notes: append([]string{}, o.event.Notes...),
		})
	case o.end == endParked:
		return c.JSON(o.status(), parked{o.end, o.hook.ID, failed{failure{o.event.Code, o.event.Error}}})
	default:
		header[echo.HeaderContentType] = typeJSON
		c.Response().WriteHeader(o.status())
		_, err := c.Response().Write(queued(o))
		return err
	}
}

// The values of headers that answers share; nothing changes them.
var (
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
	typeJSON = []string{echo.MIMEApplicationJSON}
)

// queued is what an accepted webhook is answered. An id is of digits and an
// action's name of letters, so neither needs escapes.
func queued(o outcome) []byte {
	b := make([]byte, 0, 128)
	b = append(b, `{"status":"queued","contact_id":"`...)
	b = append(b, o.hook.ID...)
	b = append(b, `","action":"`...)
	b = append(b, o.hook.Intent.Action.String()...)
	b = append(b, `","coalesced":`...)
	b = strconv.AppendBool(b, o.coalesced)
	return append(b, "}\n"...)
}

// wantsPage tells browsers from programs: these ask for JSON or for anything.
func wantsPage(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "text/html") && !strings.Contains(accept, "application/json")
}

//go:embed page.html
var pageSource string

type page struct {
	Title, Text, Code string
}

func writePage(c echo.Context, o outcome) error {
	shown := page{Title: "Queued", Text: fmt.Sprintf("Contact %s will be synced (%s).", o.hook.ID, o.hook.Intent.Action)}
	switch {
	case o.refusal != nil:
		shown = page{Title: http.StatusText(o.status()), Text: o.refusal.Message, Code: o.refusal.Code}
	case o.hook.Test:
		shown = page{Title: "It works", Text: "Spillway takes webhooks at this address, and the access key is right."}
	case o.coalesced:
		shown.Text += " It was queued already, so one pass does for both."
	}
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
