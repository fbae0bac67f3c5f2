package site

import (
	"context"
	"net/http"
	"net/url"

	"spillway/internal/web"
)

// The connector's routes, as WordPress names them.
const (
	contactsRoute     = "/spillway/v1/contacts"
	observationsRoute = "/spillway/v1/observations"
	statusRoute       = "/spillway/v1/status"
	connectRoute      = "/spillway/v1/connect"
)

// address is where WordPress answers a route: below /wp-json/, or as a query
// where that path is not WordPress's. That is so with plain permalinks, and
// where a plugin has given the path another name.
func (c *Client) address(route string, query url.Values, asQuery bool) string {
	if !asQuery {
		u := c.base.JoinPath("wp-json", route)
		u.RawQuery = query.Encode()
		return u.String()
	}
	u := c.base.JoinPath("/")
	all := url.Values{"rest_route": {route}}
	for name, values := range query {
		all[name] = values
	}
	u.RawQuery = all.Encode()
	return u.String()
}

// ask sends a request to a route. When something else than WordPress's REST API
// answers, it looks whether that is at the other address, and keeps to the one
// that is right.
func (c *Client) ask(ctx context.Context, method, route string, query url.Values, sent []byte) (httpAnswer, error) {
	asQuery := c.asQuery.Load()
	a, err := c.call(ctx, method, c.address(route, query, asQuery), sent)
	if err != nil || !a.isElsewhere() {
		return a, err
	}
	// A question first: a POST to an unknown address might do anything.
	probe, err := c.call(ctx, http.MethodGet, c.address(statusRoute, uncached(), !asQuery), nil)
	if err != nil || !probe.isJSON() {
		return a, nil
	}
	c.asQuery.Store(!asQuery)
	return c.call(ctx, method, c.address(route, query, !asQuery), sent)
}

// isElsewhere reports an answer that no REST route of WordPress gives: a page
// of the site, or of its web server, which knows no such path.
func (a httpAnswer) isElsewhere() bool {
	if web.IsChallenge(a.header, a.body) {
		return false
	}
	return a.status == http.StatusOK && web.IsPage(a.body) || a.status == http.StatusNotFound && !a.isJSON()
}
