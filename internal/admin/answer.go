package admin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// refusal is an error answer.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func refuse(status int, code, message string) error {
	return echo.NewHTTPError(status, refusal{code, message})
}

// answerError answers in JSON, or with a page for a person.
func (d *Dashboard) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, answer := http.StatusInternalServerError, refusal{"internal", "the request failed; the log says why"}
	if httpError, ok := err.(*echo.HTTPError); ok { //nolint:errorlint // echo passes its own type
		status = httpError.Code
		if stated, ok := httpError.Message.(refusal); ok {
			answer = stated
		} else {
			code := strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_"))
			answer = refusal{code, http.StatusText(status)}
		}
	} else {
		d.Log.Error().Err(err).Msg("a request of the admin address failed")
	}
	var writeErr error
	if wantsPage(c.Request()) {
		view := errorView{Status: http.StatusText(status), Message: answer.Message}
		writeErr = d.render(c, status, "error", "Not done", view)
	} else {
		writeErr = c.JSON(status, map[string]refusal{"error": answer})
	}
	if writeErr != nil {
		d.Log.Debug().Err(writeErr).Msg("an answer was not taken")
	}
}

type errorView struct{ Status, Message string }

// wantsPage tells a person's browser from a program.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get(echo.HeaderAccept), echo.MIMETextHTML) && !strings.HasPrefix(r.URL.Path, "/api/")
}

// unavailable answers for a Redis that is away.
func (d *Dashboard) unavailable(c echo.Context, err error) error {
	if !errors.Is(err, context.Canceled) { // the caller has left
		d.complaints.Warn().Err(err).Msg("a request of the admin address failed")
	}
	c.Response().Header().Set(echo.HeaderRetryAfter, "5")
	return refuse(http.StatusServiceUnavailable, "unavailable", "Redis does not answer; try again")
}

// frame is what every page gets.
type frame struct {
	Title  string
	Path   string // of the page in the navigation
	Signed bool   // there is a session to end
	Notice string
	Search bool // by address, too
	// Site is the one that is shown, if there are several; Overview says that it is
	// all of them.
	Site     string
	Overview bool
	Limited  bool   // the person may open this site alone
	Mode     string // of the site, if it is worth showing
	Page     any
}

// shownSite is the site's name where there are several.
func (d *Dashboard) shownSite() string {
	if d.several {
		return d.Site
	}
	return ""
}

// render answers with a page.
func (d *Dashboard) render(c echo.Context, status int, name, title string, page any) error {
	var body bytes.Buffer
	err := d.pages[name].ExecuteTemplate(&body, "layout", frame{
		Title: title, Path: c.Path(), Signed: c.Get(signedIn) != nil, Notice: noticeOf(c), Search: d.Addresses != nil,
		Site: d.shownSite(), Overview: d.Contacts == nil, Limited: c.Get(limited) == true, Mode: d.Mode, Page: page,
	})
	if err != nil {
		return err
	}
	return c.HTMLBlob(status, body.Bytes())
}
