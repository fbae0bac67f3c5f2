package admin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

type loginView struct {
	Next    string
	Problem string
}

func (d *Dashboard) loginPage(c echo.Context) error {
	next := d.next(c.QueryParam("next"))
	if d.Password == "" {
		return c.Redirect(http.StatusSeeOther, next)
	}
	opens, err := d.sessions.reach(c.Request().Context(), tokenOf(c.Request()))
	if err == nil && opens != nothing {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return d.render(c, http.StatusOK, "login", "Sign in", loginView{Next: next})
}

func (d *Dashboard) login(c echo.Context) error {
	next := d.next(c.FormValue("next"))
	if d.Password == "" {
		return c.Redirect(http.StatusSeeOther, next)
	}
	user, password := User, c.FormValue("password")
	if d.SitePassword != "" && same(password, d.SitePassword) {
		user = d.Site
	}
	right, wait := d.try(c.Request(), user, password)
	switch {
	case wait > 0:
		return tooMany(c, wait)
	case !right:
		return d.render(c, http.StatusUnauthorized, "login", "Sign in", loginView{next, "That is not the password."})
	}
	token, err := d.sessions.begin(c.Request().Context(), password)
	if err != nil {
		return d.unavailable(c, err)
	}
	c.SetCookie(cookieOf(c.Request(), token, sessionLife))
	return c.Redirect(http.StatusSeeOther, next)
}

func (d *Dashboard) logout(c echo.Context) error {
	if token := tokenOf(c.Request()); token != "" {
		if err := d.sessions.end(c.Request().Context(), token); err != nil {
			return d.unavailable(c, err)
		}
	}
	c.SetCookie(cookieOf(c.Request(), "", 0))
	return c.Redirect(http.StatusSeeOther, d.at("/login"))
}

// next is where a sign-in leads.
func (d *Dashboard) next(path string) string {
	if path = localPath(path); path == "/" {
		return d.at("/")
	}
	return path
}

// localPath returns a path of this server, so that the login page sends nobody
// elsewhere.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}
