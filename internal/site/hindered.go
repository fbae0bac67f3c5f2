package site

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"spillway/internal/web"
)

// Hindered reports that something between Spillway and the connector keeps
// contacts from being stored, and what a person has to do about it. It is a
// [contact.Outage]: contacts wait.
type Hindered struct {
	Status int    // of the answer that shows it
	Code   string // which of the hindrances
	Text   string // what was seen
	Remedy string
	After  time.Duration // how long the site asked to be left alone; zero: it did not
}

func (e *Hindered) Error() string {
	return fmt.Sprintf("the site does not let Spillway store contacts: %s (%s): %s", e.Text, e.Code, e.Remedy)
}

// Outage returns how long the site asked to be left alone.
func (e *Hindered) Outage() time.Duration { return e.After }

// hindrances are what keeps Spillway out, each with its remedy. Those that the
// connector tells have its code there, with spillway_ before it.
var hindrances = map[string]struct{ text, remedy string }{
	"wrong_password": {
		"SPILLWAY_SITE_APP_PASSWORD is no application password of SPILLWAY_SITE_USER",
		"make one in WordPress under Users » Profile » Application Passwords of that user; the password with which people sign in is none",
	},
	"unknown_user": {
		"the site has no user of the name in SPILLWAY_SITE_USER",
		"set it to the login name or the e-mail address of the user with the role Spillway",
	},
	"passwords_off": {
		"application passwords are switched off on the site",
		"switch them on in the security plugin that forbids them: in Wordfence untick \"Disable WordPress application passwords\" under All Options, in Solid Security look at its settings of WordPress's API",
	},
	"no_credentials": {
		"no Authorization header reaches WordPress, nor X-Spillway-Authorization",
		"let web server and proxies hand them on: CGIPassAuth On for Apache with PHP as CGI or FPM, fastcgi_param HTTP_AUTHORIZATION $http_authorization for nginx",
	},
	"no_tls": {
		"WordPress does not see that Spillway calls over HTTPS, and takes no application password then",
		"let the proxy that speaks HTTPS send X-Forwarded-Proto, and have wp-config.php set $_SERVER['HTTPS'] to 'on' for it",
	},
	"no_right": {
		"the user SPILLWAY_SITE_USER may not store contacts",
		"give that user the role Spillway, under Users in WordPress, on the site of SPILLWAY_SITE_URL",
	},
	"refused": {
		"a plugin of the site refuses the application password",
		"see that plugin's settings and log, such as a list of addresses or a second factor, and let it except this user",
	},
	"not_let_in": {
		"it refuses SPILLWAY_SITE_USER with SPILLWAY_SITE_APP_PASSWORD",
		"check both, and update the connector plugin, which since 0.3.0 tells why",
	},
	"rest_closed": {
		"a plugin of the site closes its REST API",
		"let that plugin except the routes below spillway/v1, or the role Spillway",
	},
	"refused_page": {
		"it answers a page in place of the connector",
		"look for what makes that page: a security plugin that refuses REST requests of visitors (in All-In-One Security \"disallow unauthorized REST requests\"), or a firewall in front; if it is WordPress's critical error, see the site's PHP error log",
	},
	"server_password": {
		"the web server asks for a user and a password of its own (Basic authentication)",
		"write them into the address, SPILLWAY_SITE_URL=https://USER:PASSWORD@HOST; check them if they are there",
	},
	"challenge": {
		"a firewall in front of it wants to see a person",
		"let the firewall of the host or the CDN except this machine's address, or the path /wp-json/spillway/",
	},
	"rate_limited": {
		"it limits how often it may be called",
		"let the host, CDN or firewall except this machine's address, or lower SPILLWAY_SITE_CONCURRENCY",
	},
	"no_plugin": {
		"it has no route spillway/v1",
		"install and activate the plugin spillway-connector: write it with `spillway plugin`, upload it under Plugins » Add New",
	},
	"no_rest": {
		"no WordPress with REST routes answers, neither below /wp-json/ nor at ?rest_route=",
		"check SPILLWAY_SITE_URL, with the folder if WordPress is in one, and that no page cache or rule takes these addresses",
	},
}

// codesOfWordPress are WordPress's own words for some of them.
var codesOfWordPress = map[string]string{
	"incorrect_password":                      "wrong_password",
	"invalid_username":                        "unknown_user",
	"invalid_email":                           "unknown_user",
	"application_passwords_disabled":          "passwords_off",
	"application_passwords_disabled_for_user": "passwords_off",
	"rest_no_route":                           "no_plugin",
}

// hinders makes the error of a hindrance; words say what else was seen.
func (a httpAnswer) hinders(code, words string) *Hindered {
	known := hindrances[code]
	if words != "" {
		words = ", " + words
	}
	return &Hindered{Status: a.status, Code: code, Text: fmt.Sprintf("%s (status %d%s)", known.text, a.status, words), Remedy: known.remedy}
}

// hindrance recognises what an answer without results or status tells. Nil: it
// tells of nothing but an outage.
func (a httpAnswer) hindrance() *Hindered {
	if code, message, ok := a.code(); ok {
		return a.hindranceOf(code, message)
	}
	switch {
	case web.IsChallenge(a.header, a.body):
		return a.hinders("challenge", web.Words(a.body))
	case a.status == http.StatusTooManyRequests:
		e := a.hinders("rate_limited", web.Words(a.body))
		e.After = web.RetryAfter(a.status, a.header, time.Now())
		return e
	case a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") != "":
		return a.hinders("server_password", "")
	case a.status == http.StatusUnauthorized && !web.IsPage(a.body):
		return a.hinders("not_let_in", "")
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return a.hinders("refused_page", web.Words(a.body))
	case a.status == http.StatusInternalServerError && web.IsPage(a.body):
		return a.hinders("refused_page", web.Words(a.body))
	}
	return nil
}

// hindranceOf is hindrance for an answer of WordPress.
func (a httpAnswer) hindranceOf(code, message string) *Hindered {
	own, isOwn := strings.CutPrefix(code, "spillway_")
	if _, ok := hindrances[own]; isOwn && ok {
		return a.hinders(own, "")
	}
	refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	switch known, ok := codesOfWordPress[code]; {
	case ok:
		return a.hinders(known, "")
	case code == "rest_forbidden" && a.status == http.StatusForbidden: // a connector before 0.3.0
		return a.hinders("no_right", "")
	case code == "rest_forbidden" && refused:
		return a.hinders("not_let_in", "")
	case refused:
		return a.hinders("rest_closed", "code "+code)
	case code == "wp_die": // WordPress's word for a plugin's page, to those who accept JSON
		return a.hinders("refused_page", web.Quoted(message))
	}
	return nil
}

// code is that of WordPress's error, with its message, if the answer is one.
func (a httpAnswer) code() (code, message string, ok bool) {
	var refusal struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(a.body, &refusal) != nil || !codeLike.MatchString(refusal.Code) {
		return "", "", false
	}
	return refusal.Code, refusal.Message, true
}

// isJSON reports that the answer may be one of WordPress's REST routes.
func (a httpAnswer) isJSON() bool { return json.Valid(a.body) }
