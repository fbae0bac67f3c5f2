package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"spillway/internal/admin/comparisons"
)

// comparisonView is the page of the last comparison.
type comparisonView struct {
	comparisons.Comparison

	Known bool
	Kinds []shownKind
}

// shownKind is a kind of difference in words, with contacts.
type shownKind struct {
	Name, Text, Remedy string
	Count, Before      int
	Contacts           []string
}

// kindsShown are the kinds in their order, with what to do about them.
var kindsShown = []shownKind{
	{Name: "tags_missing", Text: "The user lacks tags", Remedy: "spillway reconcile --repair"},
	{Name: "tags_left_over", Text: "The user has tags that the contact lost", Remedy: "spillway reconcile --repair"},
	{Name: "tags_mixed", Text: "Both", Remedy: "spillway reconcile --repair"},
	{Name: "without_user", Text: "A tagged contact has no user", Remedy: "spillway reconcile --repair --yes-create-users, if each is to have one"},
	{Name: "contact_gone", Text: "A user's contact is gone", Remedy: "SPILLWAY_DELETED_CONTACTS=clear_tags, or delete the user"},
	{Name: "two_users", Text: "Several users carry one contact", Remedy: "take the contact id from the wrong one"},
}

func (d *Dashboard) comparisonPage(c echo.Context) error {
	last, known, err := comparisons.New(d.Redis).Read(c.Request().Context(), d.Site)
	if err != nil {
		return d.unavailable(c, err)
	}
	view := comparisonView{Comparison: last, Known: known && !last.Began.IsZero()}
	for _, kind := range kindsShown {
		kind.Count, kind.Before = last.Differences[kind.Name], last.Before[kind.Name]
		for _, example := range last.Examples {
			if example.Kind == kind.Name {
				kind.Contacts = append(kind.Contacts, example.Contact)
			}
		}
		view.Kinds = append(view.Kinds, kind)
	}
	return d.render(c, http.StatusOK, "comparison", "Comparison", view)
}

// lastComparison answers with what the last comparison found; 404 before the
// first.
func (d *Dashboard) lastComparison(c echo.Context) error {
	last, known, err := comparisons.New(d.Redis).Read(c.Request().Context(), d.Site)
	if err != nil {
		return d.unavailable(c, err)
	}
	if !known {
		return refuse(http.StatusNotFound, "not_compared", "nothing has been compared yet: run `spillway reconcile`, or set SPILLWAY_RECONCILE")
	}
	return c.JSON(http.StatusOK, last)
}
