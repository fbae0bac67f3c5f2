package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/observations"
	"spillway/internal/contact"
)

// observationsView is the page that says what passes would do.
type observationsView struct {
	observations.Report

	Shown  []shownOutcome
	Tables []shownCounts
}

type shownOutcome struct {
	Name, Text string
	Contacts   int
}

// shownCounts is a table of counts, cut off after the most frequent.
type shownCounts struct {
	ID, Title, Column string
	Rows              []observations.Count
	More              int
	Explained         bool // the names are notes, with a meaning
}

// rowsShown is how long a table of counts gets.
const rowsShown = 50

func countsOf(id, title, column string, counts []observations.Count) shownCounts {
	shown := shownCounts{ID: id, Title: title, Column: column, Rows: counts}
	if more := len(counts) - rowsShown; more > 0 {
		shown.Rows, shown.More = counts[:rowsShown], more
	}
	return shown
}

func (d *Dashboard) observationsPage(c echo.Context) error {
	report, err := observations.New(d.Redis, d.Site).Report(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	view := observationsView{Report: report}
	for _, outcome := range []struct {
		name contact.Outcome
		text string
	}{
		{contact.Created, "A user would be created"},
		{contact.Updated, "The user would be changed"},
		{contact.Unchanged, "Everything stands so already"},
		{contact.Skipped, "Nothing: no user, or another contact's"},
		{contact.Parking, "The contact would be parked"},
	} {
		view.Shown = append(view.Shown, shownOutcome{string(outcome.name), outcome.text, report.Outcomes[outcome.name]})
	}
	notes := countsOf("notes", "Notes", "Note", report.Notes)
	notes.Explained = true
	view.Tables = []shownCounts{
		countsOf("parked", "Contacts that would park", "Reason", report.Parked),
		countsOf("keys", "Fields of existing users that would change", "WordPress key", report.Keys),
		countsOf("added", "Tags that existing users would get", "Tag", report.TagsAdded),
		countsOf("removed", "Tags that existing users would lose", "Tag", report.TagsRemoved),
		countsOf("roles", "Roles that existing users would get", "Role", report.Roles),
		notes,
	}
	return d.render(c, http.StatusOK, "observations", "Observations", view)
}

// showObservations is GET /api/v1/observations.
func (d *Dashboard) showObservations(c echo.Context) error {
	report, err := observations.New(d.Redis, d.Site).Report(c.Request().Context())
	if err != nil {
		return d.unavailable(c, err)
	}
	return c.JSON(http.StatusOK, report)
}
