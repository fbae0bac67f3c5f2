package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Connector sets a site up from a connection code of its connector plugin.
type Connector interface {
	// Connect exchanges a code and writes the site's settings. The error is a
	// [*ByHand], or says in words that hold no secret what is wrong.
	Connect(ctx context.Context, code string) (Connected, error)
}

// Connected is a site whose settings were written.
type Connected struct {
	Site    string // its name
	Remarks []ConnectRemark
}

// ConnectRemark says what became of one of WP Fusion's settings.
type ConnectRemark struct{ Setting, Verdict, Text string }

// ByHand says that this process does not set the site up, and which command does.
// The code has not been used.
type ByHand struct{ Why, Command string }

func (b *ByHand) Error() string { return b.Why }

// connectView is the page that takes a connection code.
type connectView struct {
	Open    bool // there is a password that guards it
	Problem string
	ByHand  *ByHand
	Done    *Connected
}

// connectPage shows the form. Only the installation's own password opens it: a
// code names an address that is called, and what that answers becomes settings.
func (d *Dashboard) connectPage(c echo.Context) error {
	return d.renderConnect(c, http.StatusOK, connectView{})
}

func (d *Dashboard) renderConnect(c echo.Context, status int, view connectView) error {
	view.Open = d.Password != "" && d.Connector != nil
	return d.render(c, status, "connect", "Connect a site", view)
}

// connectForm asks for the password once more: a session may also be that of
// someone who has only a site's password, or of a browser that was left open.
func (d *Dashboard) connectForm(c echo.Context) error {
	if d.Password == "" || d.Connector == nil {
		return refuse(http.StatusForbidden, "no_password", "without SPILLWAY_ADMIN_PASSWORD no code is taken here: use spillway connect")
	}
	right, wait := d.attempts.try(clientOf(c.Request()), func() bool {
		return same(c.FormValue("password"), d.Password)
	})
	switch {
	case wait > 0:
		return tooMany(c, wait)
	case !right:
		d.complaints.Warn().Msg("a connection code came without the admin password")
		return d.renderConnect(c, http.StatusForbidden, connectView{Problem: "That is not the admin password of the installation."})
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), callTimeout-time.Second)
	defer cancel()
	done, err := d.Connector.Connect(ctx, c.FormValue("code"))
	var byHand *ByHand
	switch {
	case errors.As(err, &byHand):
		return d.renderConnect(c, http.StatusOK, connectView{ByHand: byHand})
	case err != nil:
		return d.renderConnect(c, http.StatusUnprocessableEntity, connectView{Problem: err.Error()})
	}
	d.Log.Info().Str("site", done.Site).Msg("a site was connected at the dashboard")
	return d.renderConnect(c, http.StatusOK, connectView{Done: &done})
}
