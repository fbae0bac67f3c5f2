package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/refusals"
	"spillway/internal/pending/history"
)

// The API's counts over time, replicas, refusals and the pause.

const (
	minutesKept = 24 * 60
	hoursKept   = 30 * 24
)

func (d *Dashboard) series(c echo.Context) error {
	step, kept, name := history.Minute, minutesKept, "minute"
	switch c.QueryParam("step") {
	case "", "minute":
	case "hour":
		step, kept, name = history.Hour, hoursKept, "hour"
	default:
		return refuse(http.StatusBadRequest, "invalid_step", "step is minute or hour")
	}
	n, err := numberOf(c, "n", 60)
	if err != nil {
		return err
	}
	points, err := d.Timelines.Series(c.Request().Context(), step, max(1, min(n, kept)))
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"step": name, "points": points})
}

func (d *Dashboard) listReplicas(c echo.Context) error {
	replicas, err := d.roster.List(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"replicas": replicas})
}

func (d *Dashboard) listRefusals(c echo.Context) error {
	hours, err := numberOf(c, "hours", refusalHours)
	if err != nil {
		return err
	}
	codes, err := refusals.Read(c.Request().Context(), d.Redis, d.Site, hours)
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"codes": codes})
}

func (d *Dashboard) pause(c echo.Context) error {
	if err := d.setPaused(c, true); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"paused": true})
}

func (d *Dashboard) resume(c echo.Context) error {
	if err := d.setPaused(c, false); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"paused": false})
}
