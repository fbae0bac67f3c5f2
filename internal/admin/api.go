package admin

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/dossier"
	"spillway/internal/throttle"
)

func (d *Dashboard) stats(c echo.Context) error {
	ctx := c.Request().Context()
	stats, err := d.Contacts.Stats(ctx)
	if err != nil {
		return d.unavailable(c, err)
	}
	systems, err := d.systems(ctx)
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, statsView{stats, systems})
}

// statsView is the counters and how the systems fare.
type statsView struct {
	pending.Stats

	Systems []throttle.Status `json:"systems,omitempty"`
}

func (d *Dashboard) contact(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	view, err := dossier.Read(c.Request().Context(), d.Contacts, d.Timelines, ref)
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, view)
}

// syncContact syncs a contact now, whatever state it is in. The action add, in the
// query or the body, creates the user if there is none; without an action the sync
// is an update.
func (d *Dashboard) syncContact(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	// A body must not be passed over: what asks for add would get an update.
	asked := struct {
		Action string `json:"action" form:"action"`
	}{}
	if err := new(echo.DefaultBinder).BindBody(c, &asked); err != nil {
		return refuse(http.StatusBadRequest, "invalid_body", `the body is not understood: leave it out and write ?action=add, or send JSON such as {"action":"add"}`)
	}
	if inQuery := c.QueryParam("action"); inQuery != "" {
		asked.Action = inQuery
	}
	action := contact.Update
	if asked.Action != "" {
		var ok bool
		if action, ok = contact.ParseAction(asked.Action); !ok {
			return refuse(http.StatusBadRequest, "unknown_action", "action is one of update_tags, update, add")
		}
	}
	coalesced, err := d.resync(c, ref, action)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, map[string]any{
		"status": "queued", "contact_id": ref.ID, "action": action.String(), "coalesced": coalesced,
	})
}

const longestList = 500

// numberOf reads a whole number from the query.
func numberOf(c echo.Context, name string, fallback int) (int, error) {
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

func (d *Dashboard) listParked(c echo.Context) error {
	offset, err := numberOf(c, "offset", 0)
	if err != nil {
		return err
	}
	limit, err := numberOf(c, "limit", 100)
	if err != nil {
		return err
	}
	records, err := d.Contacts.ListParked(c.Request().Context(), offset, max(1, min(limit, longestList)))
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"contacts": dossier.All(records)})
}

// dropParked forgets a parked contact; its next webhook brings it back.
func (d *Dashboard) dropParked(c echo.Context) error {
	dropped, err := d.drop(c)
	if err != nil {
		return err
	}
	if !dropped {
		return refuse(http.StatusNotFound, "not_parked", "this contact is not parked")
	}
	return c.JSON(http.StatusOK, map[string]any{"status": "dropped", "contact_id": c.Param("id")})
}

func (d *Dashboard) retryParked(c echo.Context) error {
	woken, err := d.retryAll(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, map[string]any{"status": "queued", "contacts": woken})
}
