package admin

import (
	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/pending/dossier"
)

// What the API and the forms both do.

func (d *Dashboard) resync(c echo.Context, ref contact.Ref, action contact.Action) (coalesced bool, err error) {
	coalesced, err = d.Contacts.Resync(c.Request().Context(), ref, contact.Intent{Action: action})
	if err != nil {
		return false, d.unavailable(c, err)
	}
	d.Log.Info().Stringer("contact", ref).Stringer("action", action).Msg("sync asked for by the operator")
	return coalesced, nil
}

func (d *Dashboard) retryAll(c echo.Context) (woken int, err error) {
	woken, err = d.Contacts.RetryParked(c.Request().Context())
	if err != nil {
		return woken, d.unavailable(c, err)
	}
	d.Log.Info().Int("contacts", woken).Msg("parked contacts woken by the operator")
	return woken, nil
}

// drop forgets the parked contact that the path names.
func (d *Dashboard) drop(c echo.Context) (bool, error) {
	ref, err := d.ref(c)
	if err != nil {
		return false, err
	}
	dropped, err := dossier.Drop(c.Request().Context(), d.Contacts, ref)
	if err != nil {
		return false, d.unavailable(c, err)
	}
	if dropped {
		d.Log.Info().Stringer("contact", ref).Msg("parked contact dropped by the operator")
	}
	return dropped, nil
}

func (d *Dashboard) setPaused(c echo.Context, on bool) error {
	change, said := d.Contacts.Resume, "resumed by the operator"
	if on {
		change, said = d.Contacts.Pause, "paused by the operator"
	}
	if err := change(c.Request().Context()); err != nil {
		return d.unavailable(c, err)
	}
	d.Log.Info().Msg(said)
	return nil
}
