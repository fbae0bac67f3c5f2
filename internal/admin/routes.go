package admin

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// headAsGet lets a HEAD be answered as the GET would be; net/http leaves the body
// out. Some monitors ask for health that way. A stream has no end that a HEAD could
// wait for.
func headAsGet(r *http.Request) *http.Request {
	if r.Method != http.MethodHead || r.URL.Path == eventsPath {
		return r
	}
	get := r.WithContext(r.Context()) // the server goes by its own request
	get.Method = http.MethodGet
	return get
}

// noRoute answers for a method that an address does not take, for what needs a
// site to be named, and for what there is not.
func (d *Dashboard) noRoute(c echo.Context) error {
	if methods := methodsOf(c); methods != "" {
		c.Response().Header().Set(echo.HeaderAllow, methods)
		return refuse(http.StatusMethodNotAllowed, "method_not_allowed", "this address takes "+methods)
	}
	if d.Contacts == nil {
		return refuse(http.StatusBadRequest, "missing_site", "there are several sites: add ?site=NAME; GET /api/v1/sites lists them")
	}
	return refuse(http.StatusNotFound, "not_found", "there is nothing at this address; docs/admin.md lists the pages and the API")
}

// knownSite refuses a site's name that no site has. Whoever looked at one that has
// gone can still sign out.
func (d *Dashboard) knownSite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if d.Contacts == nil && c.QueryParam("site") != "" && c.Path() != "/logout" {
			return refuse(http.StatusNotFound, "unknown_site", "there is no site of this name; GET /api/v1/sites lists them")
		}
		return next(c)
	}
}

// methodsOf lists what the address of a request takes; empty: there is no such
// address.
func methodsOf(c echo.Context) string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		tried := c.Echo().NewContext(nil, nil)
		c.Echo().Router().Find(method, echo.GetPath(c.Request()), tried)
		if path := tried.Path(); path == "" || strings.HasSuffix(path, "*") {
			continue
		}
		methods = append(methods, method)
		if method == http.MethodGet && c.Request().URL.Path != eventsPath {
			methods = append(methods, http.MethodHead)
		}
	}
	return strings.Join(methods, ", ")
}
