package ingest

import (
	"math"
	"net/http"
	"strconv"
	"time"

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

// observed is the answer to a sender that waited for a pass that only looked: what
// it would have done.
type observed struct {
	Status    string         `json:"status"`
	ContactID string         `json:"contact_id"`
	Action    contact.Action `json:"action"`
	Outcome   string         `json:"outcome"` // what the site would do; "parked": the error says why
	UserID    int64          `json:"user_id"` // 0: the site has no user
	Role      string         `json:"role"`    // that the user would have
	Notes     []string       `json:"notes"`
	Error     *failure       `json:"error,omitempty"`
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
// webhook's address in a browser. The status is the same. took is how long the
// webhook took.
func write(c echo.Context, o outcome, took time.Duration) error {
	header := c.Response().Header()
	header["Cache-Control"] = noStore
	header["X-Content-Type-Options"] = noSniff
	if c.Request().Method == http.MethodOptions {
		header.Set("Allow", webhook.AllowedMethods)
	}
	switch o.status() {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", webhook.AllowedMethods)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter)
	case http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(o.wait.Seconds()))))
	}
	if wantsPage(c.Request()) {
		return writePage(c, o, took)
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
	case o.end == endObserved:
		seen := observed{
			Status: o.end, ContactID: o.hook.ID, Action: o.hook.Intent.Action, Outcome: o.event.Outcome, UserID: o.event.UserID,
			Role: o.event.Role, Notes: append([]string{}, o.event.Notes...),
		}
		if o.event.Code != "" {
			seen.Error = &failure{o.event.Code, o.event.Error}
		}
		return c.JSON(o.status(), seen)
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

// queued is the answer to an accepted webhook. An id is of digits and an
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
