package admin

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/roster"
	"spillway/internal/pending"
)

// parkedPageSize is how many parked contacts stand on a page.
const parkedPageSize = 50

type parkedView struct {
	Records          []pending.Record
	Total            int64
	From, To         int
	Previous, Next   int
	HasPrev, HasNext bool
}

func (d *Dashboard) parkedPage(c echo.Context) error {
	ctx := c.Request().Context()
	offset, err := strconv.Atoi(c.QueryParam("offset"))
	if err != nil || offset < 0 {
		offset = 0
	}
	stats, err := d.Contacts.Stats(ctx)
	if err != nil {
		return d.unavailable(c, err)
	}
	// A page beyond the end, as one is after retries, shows the last ones.
	offset = min(offset, max(0, int(stats.Parked)-1)/parkedPageSize*parkedPageSize)
	records, err := d.Contacts.ListParked(ctx, offset, parkedPageSize)
	if err != nil {
		return d.unavailable(c, err)
	}
	return d.render(c, http.StatusOK, "parked", "Parked contacts", parkedView{
		Records: records, Total: stats.Parked, From: offset + 1, To: offset + len(records),
		Previous: max(0, offset-parkedPageSize), HasPrev: offset > 0,
		Next: offset + parkedPageSize, HasNext: int64(offset+parkedPageSize) < stats.Parked,
	})
}

type replicasView struct {
	Replicas []roster.Replica
	Settings []settingsOf
}

// settingsOf are settings and the replicas that have them.
type settingsOf struct {
	Who      []string
	Settings []roster.Setting
}

// replicasPage shows which programs are alive, and their settings. Replicas of
// a kind that have the same settings share a table, so a differing one stands
// out.
func (d *Dashboard) replicasPage(c echo.Context) error {
	replicas, err := d.roster.List(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	view := replicasView{Replicas: replicas, Settings: []settingsOf{{[]string{"this process"}, d.Settings}}}
	places := map[string]int{fingerprint(d.Settings): 0}
	for _, replica := range replicas {
		if !replica.Alive || len(replica.Settings) == 0 {
			continue
		}
		mark := fingerprint(replica.Settings)
		place, known := places[mark]
		if !known {
			place = len(view.Settings)
			places[mark] = place
			view.Settings = append(view.Settings, settingsOf{Settings: replica.Settings})
		}
		view.Settings[place].Who = append(view.Settings[place].Who, replica.Role+" "+replica.Host+":"+strconv.Itoa(replica.PID))
	}
	return d.render(c, http.StatusOK, "replicas", "Replicas and settings", view)
}

func fingerprint(settings []roster.Setting) string {
	var text string
	for _, setting := range settings {
		text += setting.Name + "\x00" + setting.Value + "\x00"
	}
	return text
}
