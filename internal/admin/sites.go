package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"spillway/internal/throttle"
)

// siteView is how one site fares.
type siteView struct {
	Name string `json:"name"`
	// Mode is how contacts get to the site; empty: as usual.
	Mode string `json:"mode,omitempty"`
	// State is "paused", "away" (its CRM or site is not called), "busy" (contacts
	// wait or are under way) or "idle".
	State       string     `json:"state"`
	Pending     int64      `json:"pending"`
	Active      int64      `json:"active"`
	Retrying    int64      `json:"retrying"`
	Parked      int64      `json:"parked"`
	Oldest      *time.Time `json:"oldest_pending,omitempty"`
	LastWebhook *time.Time `json:"last_webhook"`
	// Hinders says what a person may have to do something about.
	Hinders []string `json:"hinders"`
}

// sites reads how all sites fare that this dashboard may show, a few at a time.
func (d *Dashboard) sites(ctx context.Context) ([]siteView, error) {
	const atOnce = 8
	views := make([]siteView, len(d.all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, site := range d.all {
		group.Go(func() (err error) {
			views[i], err = readSite(ctx, site)
			return err
		})
	}
	return views, group.Wait()
}

func readSite(ctx context.Context, site Options) (siteView, error) {
	stats, err := site.Contacts.Stats(ctx)
	if err != nil {
		return siteView{}, err
	}
	view := siteView{
		Name: site.Site, Mode: site.Mode, State: "idle", Pending: stats.Pending, Active: stats.Active, Retrying: stats.Retrying, Parked: stats.Parked,
		Oldest: moment(stats.Oldest), LastWebhook: moment(stats.LastWebhook), Hinders: []string{},
	}
	if stats.Pending+stats.Active+stats.Retrying > 0 {
		view.State = "busy"
	}
	if site.Systems != nil {
		systems, err := site.Systems.Read(ctx)
		if err != nil {
			return siteView{}, err
		}
		for _, system := range systems {
			if system.State != throttle.Closed {
				view.State = "away"
				view.Hinders = append(view.Hinders, "the "+systemWord(system.System)+" is away: "+system.Reason)
			}
			if held := system.Facts["held_seconds"]; held > 0 {
				view.Hinders = append(view.Hinders, fmt.Sprintf("the %s asked all callers to wait, for another %.0f s", systemWord(system.System), held))
			}
		}
	}
	if stats.Parked > 0 {
		view.Hinders = append(view.Hinders, numberText(stats.Parked)+" parked: a pass failed for good")
	}
	if stats.Paused {
		view.State = "paused"
		view.Hinders = append(view.Hinders, "paused by the operator")
	}
	return view, nil
}

// Outstanding are the contacts that wait or are under way.
func (v siteView) Outstanding() int64 { return v.Pending + v.Active + v.Retrying }

func siteBadge(state string) string {
	return map[string]string{"idle": "good", "busy": "busy", "paused": "warn", "away": "bad"}[state]
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (d *Dashboard) listSites(c echo.Context) error {
	views, err := d.sites(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"sites": views})
}

func (d *Dashboard) sitesPage(c echo.Context) error {
	views, err := d.sites(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	return d.render(c, http.StatusOK, "sites", "Sites", views)
}

// noSite answers for what needs a site to be named.
func (d *Dashboard) noSite(c echo.Context) error {
	if name := c.QueryParam("site"); name != "" {
		return refuse(http.StatusNotFound, "unknown_site", "there is no site of this name; GET /api/v1/sites lists them")
	}
	return refuse(http.StatusBadRequest, "missing_site", "there are several sites: add ?site=NAME; GET /api/v1/sites lists them")
}

// at is the address of a page of this dashboard.
func (d *Dashboard) at(path string) string {
	if !d.several || d.Site == "" {
		return path
	}
	sign := "?"
	if strings.Contains(path, "?") {
		sign = "&"
	}
	return path + sign + "site=" + d.Site
}
