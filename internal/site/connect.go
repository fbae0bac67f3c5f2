package site

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"spillway/internal/web"
)

// Exchange says which connection code is exchanged, and how the site is reached.
type Exchange struct {
	// URL is the site's address, with user and password for its web server if
	// that asks for them.
	URL    string
	Secret string
	// DryRun asks what the code would bring. The site then makes no password,
	// masks the secrets in WP Fusion's settings, and the code stays good.
	DryRun bool
	Roots  *x509.CertPool // verify the site's certificate; nil: the system's do
}

// Connection is what a site gives for a connection code.
type Connection struct {
	Site     string  `json:"site"` // its address, as the site has it
	User     string  `json:"user"`
	Password string  `json:"password"`  // an application password; empty in a dry run
	Fusion   *Fusion `json:"wp_fusion"` // nil: the code hands no settings over
}

// Fusion is WP Fusion's settings as its own getter returns them. Their shapes
// differ between its versions.
type Fusion struct {
	Version      string   `json:"version"`
	ContactIDKey string   `json:"contact_id_key"`
	TagsKey      string   `json:"tags_key"`
	ImportRoles  []string `json:"import_roles"` // that its imports have given
	Waiting      int      `json:"waiting"`      // batches of work that it has not done yet

	Settings map[string]any    `json:"settings"`
	Secrets  map[string]string `json:"secrets"` // in a dry run an asterisk for each character
}

// ErrCodeRefused reports a connection code that the site does not take. The
// site does not say why: it is used up, an hour old, none of its own, sent
// without HTTPS, or made by someone who may not manage the site any more.
var ErrCodeRefused = errors.New("the site refuses the connection code: it counts for one hour and for one use; make another under Tools » Spillway")

// Connect exchanges a connection code's secret. The error is ErrCodeRefused, a
// *Hindered, or says what else the site answered; it never holds the secret.
func Connect(ctx context.Context, e Exchange) (Connection, error) {
	base, server, err := web.ParseURL(e.URL)
	if err != nil {
		return Connection{}, err
	}
	c := &Client{options: Options{Timeout: defaultTimeout}, base: base, server: server, http: web.Client(nil, e.Roots)}
	sent, err := json.Marshal(map[string]any{"secret": e.Secret, "dry_run": e.DryRun})
	if err != nil {
		return Connection{}, errors.New("exchanging the connection code: its secret is no text")
	}
	a, err := c.ask(ctx, http.MethodPost, connectRoute, nil, sent)
	if err != nil {
		return Connection{}, fmt.Errorf("exchanging the connection code: %w", err)
	}
	if a.status != http.StatusOK {
		return Connection{}, a.connectRefusal()
	}
	var connection Connection
	if json.Unmarshal(a.body, &connection) != nil || connection.User == "" || connection.Password == "" && !e.DryRun {
		return Connection{}, errors.New("exchanging the connection code: the site answered with something else than a connection; make another code and try again")
	}
	return connection, nil
}

// connectRefusal says why there is no connection.
func (a httpAnswer) connectRefusal() error {
	code, message, ok := a.code()
	own, isOwn := strings.CutPrefix(code, "spillway_")
	switch {
	case isOwn && own == "connect_refused":
		return ErrCodeRefused
	case ok && isOwn && a.status == http.StatusConflict:
		return fmt.Errorf("the site hands nothing over (%s): %s", plainCode(own, "refused"), web.Plain(message))
	case ok && a.status == http.StatusNotFound:
		hindered := a.hinders("no_plugin", "")
		hindered.Text = "its plugin spillway-connector takes no connection code"
		hindered.Remedy = "update the plugin: write it with `spillway plugin`, upload it under Plugins » Add New"
		return hindered
	}
	err := a.outage()
	var hindered *Hindered
	if errors.As(err, &hindered) && hindered.Code == "server_password" {
		hindered.Remedy = "give them to `spillway connect` by SPILLWAY_SITE_URL=https://USER:PASSWORD@HOST in its environment; check them if they are there"
	}
	return err
}
