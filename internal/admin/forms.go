package admin

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
)

// done sends the browser back to a page, which then says what was done.
func (d *Dashboard) done(c echo.Context, page, what string, n int) error {
	return c.Redirect(http.StatusSeeOther, d.at(page+"?done="+url.QueryEscape(what)+"&n="+strconv.Itoa(n)))
}

// noticeOf is what a page says about what was just done. The address names
// only which sentence it is.
func noticeOf(c echo.Context) string {
	n, _ := strconv.Atoi(c.QueryParam("n"))
	contacts := contactsText(n)
	switch c.QueryParam("done") {
	case "sync":
		return "The contact is queued; its pass begins at once."
	case "retry":
		return contacts + " queued again."
	case "drop":
		return contacts + " dropped. The next webhook brings it back."
	case "allow":
		return contacts + " queued: their users are created beyond the limit."
	case "drop-site":
		return "The site is dropped: " + strconv.Itoa(n) + " keys of it are deleted from Redis."
	case "pause":
		return "Paused. Webhooks are taken; passes under way end."
	case "resume":
		return "Resumed."
	default:
		return ""
	}
}

func (d *Dashboard) syncForm(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	action, ok := contact.ParseAction(c.FormValue("action"))
	if !ok {
		return refuse(http.StatusBadRequest, "unknown_action", "action is one of update_tags, update, add")
	}
	if _, err := d.resync(c, ref, action); err != nil {
		return err
	}
	return d.done(c, "/contacts/"+ref.ID, "sync", 1)
}

func (d *Dashboard) retryAllForm(c echo.Context) error {
	woken, err := d.retryAll(c)
	if err != nil {
		return err
	}
	return d.done(c, "/parked", "retry", woken)
}

func (d *Dashboard) retryForm(c echo.Context) error {
	ref, err := d.ref(c)
	if err != nil {
		return err
	}
	found, err := d.Contacts.Retry(c.Request().Context(), ref)
	if err != nil {
		return d.unavailable(c, err)
	}
	d.Log.Info().Stringer("contact", ref).Msg("retry asked for by the operator")
	return d.done(c, "/parked", "retry", count(found))
}

func (d *Dashboard) dropForm(c echo.Context) error {
	dropped, err := d.drop(c)
	if err != nil {
		return err
	}
	return d.done(c, "/parked", "drop", count(dropped))
}

func (d *Dashboard) pauseForm(c echo.Context) error {
	if err := d.setPaused(c, true); err != nil {
		return err
	}
	return d.done(c, "/", "pause", 0)
}

func (d *Dashboard) resumeForm(c echo.Context) error {
	if err := d.setPaused(c, false); err != nil {
		return err
	}
	return d.done(c, "/", "resume", 0)
}

func count(one bool) int {
	if one {
		return 1
	}
	return 0
}
