package dashboard

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/history"
	"spillway/internal/pending"
	"spillway/internal/throttle"
)

func (d *dashboard) stats(c echo.Context) error {
	stats, err := d.Contacts.Stats(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	view := statsView{Stats: stats}
	if d.Systems != nil {
		if view.Systems, err = d.Systems.Read(c.Request().Context()); err != nil {
			return d.unavailable(c, err)
		}
	}
	return c.JSON(http.StatusOK, view)
}

// statsView is the statistics as the API shows them.
type statsView struct {
	pending.Stats
	Systems []throttle.Status `json:"systems,omitempty"`
}

// failure is a failed pass as the API shows it.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// contactView is a contact as the API shows it.
type contactView struct {
	ContactID   string          `json:"contact_id"`
	State       pending.State   `json:"state"`
	Action      string          `json:"action,omitempty"`
	Webhooks    int64           `json:"webhooks"`
	Attempts    int             `json:"attempts"`
	Since       *time.Time      `json:"since,omitempty"`
	NextAttempt *time.Time      `json:"next_attempt,omitempty"`
	LastSync    *time.Time      `json:"last_sync"`
	LastError   *failure        `json:"last_error"`
	Timeline    []history.Event `json:"timeline,omitempty"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func viewOf(record pending.Record) contactView {
	view := contactView{
		ContactID: record.Ref.ID, State: record.State, Webhooks: record.Webhooks, Attempts: record.Attempts,
		Since: moment(record.Since), NextAttempt: moment(record.Next),
	}
	if record.State != pending.Idle {
		view.Action = record.Intent.Action.String()
	}
	if record.Failure.Code != "" {
		view.LastError = &failure{record.Failure.Code, record.Failure.Text}
	}
	return view
}

func (d *dashboard) contact(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	record, err := d.Contacts.Lookup(ctx, ref)
	if err != nil {
		return d.unavailable(c, err)
	}
	events, lastSync, err := d.Timelines.Timeline(ctx, ref)
	if err != nil {
		return d.unavailable(c, err)
	}
	view := viewOf(record)
	view.LastSync, view.Timeline = moment(lastSync), events
	if view.LastError == nil {
		// The last failure that the timeline remembers, if any.
		for _, event := range events {
			if event.Code != "" {
				view.LastError = &failure{event.Code, event.Error}
				break
			}
		}
	}
	return c.JSON(http.StatusOK, view)
}

// syncContact syncs a contact now, whatever state it is in. ?action=add creates
// the user if there is none; without it the sync is an update.
func (d *dashboard) syncContact(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	action := contact.Update
	if asked := c.QueryParam("action"); asked != "" {
		var ok bool
		if action, ok = contact.ParseAction(asked); !ok {
			return refuse(http.StatusBadRequest, "unknown_action", "action is one of update_tags, update, add")
		}
	}
	coalesced, err := d.Contacts.Resync(c.Request().Context(), ref, contact.Intent{Action: action})
	if err != nil {
		return d.unavailable(c, err)
	}
	d.Log.Info().Stringer("contact", ref).Stringer("action", action).Msg("sync asked for by the operator")
	return c.JSON(http.StatusAccepted, map[string]any{
		"status": "queued", "contact_id": ref.ID, "action": action.String(), "coalesced": coalesced,
	})
}

const longestList = 500

func (d *dashboard) listParked(c echo.Context) error {
	number := func(name string, fallback int) (int, error) {
		text := c.QueryParam(name)
		if text == "" {
			return fallback, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, refuse(http.StatusBadRequest, "invalid_"+name, name+" is a whole number, zero or more")
		}
		return n, nil
	}
	offset, err := number("offset", 0)
	if err != nil {
		return err
	}
	limit, err := number("limit", 100)
	if err != nil {
		return err
	}
	records, err := d.Contacts.ListParked(c.Request().Context(), offset, max(1, min(limit, longestList)))
	if err != nil {
		return d.unavailable(c, err)
	}
	views := make([]contactView, 0, len(records))
	for _, record := range records {
		views = append(views, viewOf(record))
	}
	return c.JSON(http.StatusOK, map[string]any{"contacts": views})
}

func (d *dashboard) retryParked(c echo.Context) error {
	woken, err := d.Contacts.RetryParked(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	d.Log.Info().Int("contacts", woken).Msg("parked contacts woken by the operator")
	return c.JSON(http.StatusAccepted, map[string]any{"status": "queued", "contacts": woken})
}
