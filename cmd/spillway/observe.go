package main

import (
	"context"
	"strings"
	"time"

	"spillway/internal/admin/observations"
	"spillway/internal/config"
	"spillway/internal/contact"
)

// observeCommand groups the commands about a site that is observed.
type observeCommand struct {
	Report observeReportCommand `cmd:"" default:"withargs" help:"Sum up what passes would have done."`
	Reset  observeResetCommand  `cmd:"" help:"Forget what was observed so far."`
}

type observeReportCommand struct {
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (r *observeReportCommand) Run(ctx context.Context, c *console) error {
	settings, rdb, err := c.oneSite(r.envFlag, config.Flags{RedisURL: r.RedisURL}, r.siteFlag)
	if err != nil {
		return err
	}
	defer rdb.Close()
	report, err := observations.New(rdb, settings.Name).Report(ctx)
	if err != nil {
		return err
	}
	if r.JSON {
		return c.json(report)
	}
	if settings.Mode != config.Observe {
		c.say("The site is not observed: SPILLWAY_MODE is %s.\n", settings.Mode)
	}
	if report.Contacts == 0 {
		c.say("Nothing has been observed. Contacts are looked at when their webhooks arrive, or all at once with: spillway resync --all-tagged\n")
		return nil
	}
	tellObservations(c, report)
	return nil
}

// tellObservations prints a report as tables.
func tellObservations(c *console, report observations.Report) {
	c.say("%d contacts observed from %s to %s. Nothing was written.\n\n", report.Contacts, report.Began.Format(time.DateTime), report.Last.Format(time.DateTime))
	for _, line := range []struct {
		outcome contact.Outcome
		text    string
	}{
		{contact.Created, "users would be created"},
		{contact.Updated, "users would be changed"},
		{contact.Unchanged, "users stand so already"},
		{contact.Skipped, "contacts have no user, or the user is another contact's"},
		{contact.Parking, "contacts would park"},
	} {
		c.say("%8d %s\n", report.Outcomes[line.outcome], line.text)
	}
	tellCounts(c, "Contacts that would park", report.Parked)
	tellCounts(c, "Fields of existing users that would change", report.Keys)
	tellCounts(c, "Tags that existing users would get", report.TagsAdded)
	tellCounts(c, "Tags that existing users would lose", report.TagsRemoved)
	tellCounts(c, "Roles that existing users would get", report.Roles)
	tellCounts(c, "Notes", report.Notes)
	if report.Cut > 0 {
		c.say("\nOf %d contacts not all changes are kept.\n", report.Cut)
	}
	if report.Beyond > 0 {
		c.say("\nThere is room for 50,000 contacts; %d passes over further ones are not counted.\n", report.Beyond)
	}
}

func tellCounts(c *console, title string, counts []observations.Count) {
	const most = 30
	if len(counts) == 0 {
		return
	}
	c.say("\n%s:\n", title)
	for _, count := range counts[:min(len(counts), most)] {
		c.say("%8d %-32s such as %s\n", count.Contacts, count.Name, strings.Join(count.Examples, ", "))
		if text := contact.ExplainNote(count.Name); text != count.Name {
			c.say("         %s\n", text)
		}
	}
	if more := len(counts) - most; more > 0 {
		c.say("         and %d more; --json prints all\n", more)
	}
}

type observeResetCommand struct {
	redisFlags
}

// Run is called by kong.
func (r *observeResetCommand) Run(ctx context.Context, c *console) error {
	settings, rdb, err := c.oneSite(r.envFlag, config.Flags{RedisURL: r.RedisURL}, r.siteFlag)
	if err != nil {
		return err
	}
	defer rdb.Close()
	if err := observations.New(rdb, settings.Name).Reset(ctx); err != nil {
		return err
	}
	c.say("What was observed of the site is forgotten.\n")
	return nil
}
