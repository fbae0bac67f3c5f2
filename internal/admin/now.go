package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/refusals"
	"spillway/internal/admin/roster"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/throttle"
)

const (
	// parkedShown is how many parked contacts stand on the first page.
	parkedShown = 8
	// refusalHours is how far back refusals are shown.
	refusalHours = 24
)

// brisk is what changes all the time.
type brisk struct {
	Stats    pending.Stats
	Held     int64 // users that the creation limit held back
	Drain    drain
	Systems  []throttle.Status
	Replicas []roster.Replica
	Codes    []refusals.Code
	Parked   []pending.Record
	More     int64 // parked contacts that are not shown
	Delay    time.Duration
	Memory   history.Filling
	Verdict  verdict
	Gone     []string // names of sites that have gone, for who may see all
}

// nowView is the first page.
type nowView struct {
	brisk

	Chart chart
	View  string
}

// verdict is the state of things in a sentence.
type verdict struct {
	Look  string // good, busy, warn or bad
	Title string
	Notes []string
}

func (d *Dashboard) nowPage(c echo.Context) error {
	ctx := c.Request().Context()
	chosen := rangeOf(c.QueryParam("range"))
	view := nowView{View: "now:" + chosen.Name}
	var err error
	if view.brisk, err = d.readBrisk(ctx); err != nil {
		return d.unavailable(c, err)
	}
	if view.Chart, err = d.readChart(ctx, chosen); err != nil {
		return d.unavailable(c, err)
	}
	return d.render(c, http.StatusOK, "now", "Now", view)
}

// chartEvery is how many ticks pass between two drawings of the chart.
const chartEvery = 5

// nowFragments is what the first page shows a second later.
func (d *Dashboard) nowFragments(ctx context.Context, chosen chartRange, tick int) ([]fragment, error) {
	view, err := d.readBrisk(ctx)
	if err != nil {
		return nil, err
	}
	fragments, err := d.fragments("now", view, "live-verdict", "live-figures", "live-systems", "live-parked", "live-refusals", "live-replicas")
	if err != nil || tick%chartEvery != 0 {
		return fragments, err
	}
	drawn, err := d.readChart(ctx, chosen)
	if err != nil {
		return fragments, err
	}
	more, err := d.fragments("now", drawn, "live-chart")
	return append(fragments, more...), err
}

func (d *Dashboard) readChart(ctx context.Context, chosen chartRange) (chart, error) {
	points, err := d.Timelines.Series(ctx, chosen.step, chosen.n)
	if err != nil {
		return chart{}, err
	}
	return drawChart(chosen, points), nil
}

func (d *Dashboard) readBrisk(ctx context.Context) (b brisk, err error) {
	if b.Stats, err = d.Contacts.Stats(ctx); err != nil {
		return b, err
	}
	if b.Systems, err = d.systems(ctx); err != nil {
		return b, err
	}
	if b.Replicas, err = d.roster.List(ctx); err != nil {
		return b, err
	}
	if b.Codes, err = refusals.Read(ctx, d.Redis, d.Site, refusalHours); err != nil {
		return b, err
	}
	if b.Stats.Parked > 0 {
		if b.Parked, err = d.Contacts.ListParked(ctx, 0, parkedShown); err != nil {
			return b, err
		}
	}
	counts, err := d.Creations.Counts(ctx)
	if err != nil {
		return b, err
	}
	b.Held = min(counts.Held, b.Stats.Parked)
	b.More = max(0, b.Stats.Parked-int64(len(b.Parked)))
	minutes, err := d.Timelines.Series(ctx, history.Minute, 15)
	if err != nil {
		return b, err
	}
	if len(minutes) > 0 {
		b.Delay = delayOf(sumOf(minutes))
	}
	if b.Memory, err = d.keeper.Filling(ctx); err != nil {
		b.Memory = history.Filling{} // INFO may not be permitted
	}
	b.Drain = d.pace.judge(time.Now(), b.Stats, minutes)
	if d.whole() && d.Gone != nil {
		if b.Gone, err = d.Gone.Names(ctx); err != nil {
			return b, err
		}
	}
	b.Verdict = judge(b)
	return b, nil
}

// keysTried is how many webhooks with a wrong key within two hours are worth a
// remark: one may be a slip.
const keysTried = 5

// memoryShort is the share of Redis's memory, and daysShort the time left, from
// which on a person should act.
const (
	memoryShort = 0.85
	daysShort   = 14
)

// judge says what an operator should know first.
func judge(b brisk) verdict {
	v := verdict{Look: "good", Title: "All is synced: no contact waits"}
	workers, silent := 0, 0
	for _, replica := range b.Replicas {
		switch {
		case !replica.Alive:
			silent++
		case replica.Role == roster.Worker:
			workers++
		}
	}
	if b.Stats.Parked > 0 {
		v.Title = "No contact waits for a pass"
	}
	contacts := numberText(b.Drain.Outstanding) + " contacts wait"
	if b.Drain.Outstanding == 1 {
		contacts = "1 contact waits"
	}
	waits := b.Drain.Outstanding > 0
	switch {
	case b.Stats.Paused:
		v.Look, v.Title = "warn", "Paused: webhooks are taken, contacts wait"
	case waits && workers == 0:
		v.Look, v.Title = "bad", "No worker is alive: "+contacts
	case waits && b.Drain.Known:
		v.Look, v.Title = "busy", fmt.Sprintf("Draining: %s, about %s left", contacts, spanText(b.Drain.Left))
	case waits:
		v.Look, v.Title = "busy", contacts
	case workers == 0:
		v.Look, v.Title = "warn", "No worker is alive: webhooks are taken and will wait"
	}
	note := func(look, text string) {
		if look == "bad" || v.Look == "good" || v.Look == "busy" {
			v.Look = look
		}
		v.Notes = append(v.Notes, text)
	}
	for _, system := range b.Systems {
		switch system.State {
		case "open":
			note("bad", "The "+systemWord(system.System)+" is away, so nothing calls it: "+system.Reason)
		case "half_open":
			note("warn", "The "+systemWord(system.System)+" was away; one call at a time finds out whether it is back")
		}
		if held := system.Facts["held_seconds"]; held > 0 && waits {
			note("warn", fmt.Sprintf("The %s asked all callers to wait, for another %.0f s; contacts keep their order", systemWord(system.System), held))
		}
	}
	if b.Held > 0 {
		note("bad", numberText(b.Held)+" new users are held back: SPILLWAY_CREATION_LIMIT is reached")
	}
	if b.Stats.Parked > 0 {
		note("warn", numberText(b.Stats.Parked)+" parked: a pass failed for good")
	}
	if share := b.Memory.Share; share > memoryShort {
		note("bad", fmt.Sprintf("Redis uses %.0f %% of its memory: webhooks are refused when it is full", share*100))
	} else if days := b.Memory.FullIn(); days > 0 && days < daysShort {
		note("warn", fmt.Sprintf("Redis fills up: %.0f %% of its memory is used, and webhooks will be refused in about %.0f days", share*100, max(days, 1)))
	}
	if silent > 0 {
		note("warn", fmt.Sprintf("%d silent in the list of replicas: killed, or cut off from Redis", silent))
	}
	for _, code := range b.Codes {
		if n := len(code.Hours); code.Code == "invalid_access_key" && n > 1 && code.Hours[n-1]+code.Hours[n-2] >= keysTried {
			note("warn", "Webhooks with a wrong access key were refused within the last two hours")
		}
	}
	return v
}

func systemWord(name string) string {
	if name == "crm" {
		return "CRM"
	}
	return name
}
