package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"spillway/internal/pending"
	"spillway/internal/sites/gone"
	"spillway/internal/throttle"
)

// siteView is how one site fares.
type siteView struct {
	Name string `json:"name"`
	// Mode is how contacts get to the site; empty: as usual.
	Mode string `json:"mode,omitempty"`
	// State is "paused", "away" (its CRM or site is not called), "busy" (contacts
	// wait or are under way), "idle" or "gone" (it has no settings any more).
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

// Gone says that what waits for the site is kept until its settings come back or a
// person drops it.
func (v siteView) Gone() bool { return v.State == stateGone }

const stateGone = "gone"

// whole says that this dashboard is about the whole installation, not about one
// site of several.
func (d *Dashboard) whole() bool { return !d.several || d.Site == "" }

// sites reads how all sites fare that this dashboard may show, a few at a time; the
// last are those that have gone.
func (d *Dashboard) sites(ctx context.Context) ([]siteView, error) {
	const atOnce = 8
	views := make([]siteView, len(d.all))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, site := range d.all {
		group.Go(func() (err error) {
			views[i], err = readSite(groupCtx, site)
			return err
		})
	}
	if err := group.Wait(); err != nil || !d.whole() || d.Gone == nil {
		return views, err
	}
	left, err := d.Gone.List(ctx)
	for _, site := range left {
		view := viewOf(site.Name, site.Stats)
		view.State = stateGone
		view.Hinders = []string{"it has no settings any more; what waits for it is kept until they come back or you drop it"}
		if site.Served {
			view.Hinders = append(view.Hinders, "a program served it within the last half minute")
		}
		views = append(views, view)
	}
	return views, err
}

func viewOf(name string, stats pending.Stats) siteView {
	view := siteView{
		Name: name, State: "idle", Pending: stats.Pending, Active: stats.Active, Retrying: stats.Retrying, Parked: stats.Parked,
		Oldest: moment(stats.Oldest), LastWebhook: moment(stats.LastWebhook), Hinders: []string{},
	}
	if view.Outstanding() > 0 {
		view.State = "busy"
	}
	return view
}

func readSite(ctx context.Context, site Options) (siteView, error) {
	stats, err := site.Contacts.Stats(ctx)
	if err != nil {
		return siteView{}, err
	}
	view := viewOf(site.Site, stats)
	view.Mode = site.Mode
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
	return map[string]string{"idle": "good", "busy": "busy", "paused": "warn", "away": "bad", stateGone: "warn"}[state]
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
	// Among two hundred, those that need a person come first, those that have gone last.
	rank := func(v siteView) int {
		switch {
		case v.Gone():
			return 2
		case len(v.Hinders) > 0:
			return 0
		default:
			return 1
		}
	}
	slices.SortStableFunc(views, func(a, b siteView) int { return rank(a) - rank(b) })
	return d.render(c, http.StatusOK, "sites", "Sites", views)
}

// dropSite forgets the site that the path names, which has gone. The name again, as
// the parameter confirm, says that this is meant.
func (d *Dashboard) dropSite(c echo.Context) (name string, keys int, err error) {
	name = c.Param("name")
	if c.FormValue("confirm") != name {
		return name, 0, refuse(http.StatusBadRequest, "not_confirmed",
			"dropping forgets everything that waits for the site and cannot be undone: confirm it with the site's name, as confirm="+name)
	}
	if d.Gone == nil {
		err = gone.ErrUnknown
	} else {
		keys, err = d.Gone.Drop(c.Request().Context(), name)
	}
	var inUse *gone.InUse
	switch {
	case errors.Is(err, gone.ErrUnknown):
		return name, 0, refuse(http.StatusNotFound, "unknown_site", err.Error())
	case errors.As(err, &inUse):
		return name, 0, refuse(http.StatusConflict, "site_in_use", inUse.Reason)
	case err != nil:
		return name, keys, d.unavailable(c, err)
	}
	d.Log.Info().Str("site", name).Int("keys", keys).Msg("a site that has gone was dropped by the operator")
	return name, keys, nil
}

func (d *Dashboard) dropSiteForm(c echo.Context) error {
	_, keys, err := d.dropSite(c)
	if err != nil {
		return err
	}
	return d.done(c, "/sites", "drop-site", keys)
}

func (d *Dashboard) dropSiteCall(c echo.Context) error {
	name, keys, err := d.dropSite(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"status": "dropped", "site": name, "keys": keys})
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
