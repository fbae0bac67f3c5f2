package admin

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/creations"
	"spillway/internal/throttle"
)

// Creations knows the users that the creation limit held back.
type Creations interface {
	creations.List
	Counts(ctx context.Context) (throttle.CreationCounts, error)
}

// showCreations is GET /api/v1/creations.
func (d *Dashboard) showCreations(c echo.Context) error {
	counts, err := d.Creations.Counts(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, counts)
}

func (d *Dashboard) allowAll(c echo.Context) (allowed int, err error) {
	allowed, err = creations.Allow(c.Request().Context(), d.Contacts, d.Creations, d.Site)
	if err != nil {
		return allowed, d.unavailable(c, err)
	}
	d.Log.Info().Int("contacts", allowed).Msg("creations beyond the limit allowed by the operator")
	return allowed, nil
}

// allowCreations is POST /api/v1/creations/allow.
func (d *Dashboard) allowCreations(c echo.Context) error {
	allowed, err := d.allowAll(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, map[string]any{"status": "queued", "contacts": allowed})
}

func (d *Dashboard) allowCreationsForm(c echo.Context) error {
	allowed, err := d.allowAll(c)
	if err != nil {
		return err
	}
	return d.done(c, "/", "allow", allowed)
}

// dropCreationsForm forgets those that are held back.
func (d *Dashboard) dropCreationsForm(c echo.Context) error {
	dropped, err := creations.Drop(c.Request().Context(), d.Contacts, d.Creations, d.Site)
	if err != nil {
		return d.unavailable(c, err)
	}
	d.Log.Info().Int("contacts", dropped).Msg("creations beyond the limit dropped by the operator")
	return d.done(c, "/", "drop", dropped)
}
