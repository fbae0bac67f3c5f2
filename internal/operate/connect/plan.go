package connect

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"spillway/internal/site"
)

// Verdict says what became of one of WP Fusion's settings.
type Verdict string

// The verdicts.
const (
	Taken   Verdict = "taken"
	Changed Verdict = "changed" // taken, and it means something else here
	Left    Verdict = "left"    // it has no counterpart
	ToDo    Verdict = "to do"   // a person has to decide
)

// Remark tells a person what became of one setting. It holds no secret.
type Remark struct {
	Setting string  `json:"setting"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Line is a setting of the file.
type Line struct {
	Name, Value string
	Comment     string // why it has this value
	Secret      bool
	Off         bool // written as a comment, for a person to fill in
}

// Plan is a site's settings in the making.
type Plan struct {
	Lines   []Line
	Remarks []Remark
}

// Options say what else there is.
type Options struct {
	// Site is [Code.Address].
	Site string
	// TakeOAuth takes WP Fusion's OAuth client and its refresh token in place
	// of its access token.
	TakeOAuth bool
	// Given tells which settings stand in the file or the environment already.
	Given func(name string) bool
	// Shared says that other sites use the same installation. Then settings of
	// the installation are left out of the file.
	Shared bool
}

// NewPlan turns what a site gave into settings.
func NewPlan(given site.Connection, o Options) Plan {
	p := &Plan{}
	p.Lines = append(p.Lines, Line{Name: "SPILLWAY_SITE_URL", Value: o.Site, Comment: "The site.", Secret: strings.Contains(o.Site, "@")})
	p.set("SPILLWAY_SITE_USER", given.User, "Its user with the role Spillway, and an application password made for this file alone.")
	p.secret("SPILLWAY_SITE_APP_PASSWORD", given.Password, "")
	if given.Fusion == nil {
		p.withoutFusion(o.Given)
	} else {
		f := settings{given.Fusion}
		p.accessKey(f.secret("access_key"))
		p.crm(f, o.TakeOAuth)
		p.fields(f)
		p.returned(f)
		p.people(f)
		p.outgoing(f)
		p.upkeep(f)
	}
	p.secretKey(o)
	return *p
}

// Missing names what a person has to fill in before the site can be served.
func (p Plan) Missing() (names []string) {
	for _, line := range p.Lines {
		if line.Off && (line.Name == "SPILLWAY_CRM_URL" || line.Name == "SPILLWAY_CRM_TOKEN") {
			names = append(names, line.Name)
		}
	}
	for _, remark := range p.Remarks {
		if remark.Setting == secretKeyName && remark.Verdict == ToDo {
			names = append(names, secretKeyName)
		}
	}
	return names
}

// Environ is the plan as an environment has it.
func (p Plan) Environ() (environ []string) {
	for _, line := range p.Lines {
		if !line.Off {
			environ = append(environ, line.Name+"="+line.Value)
		}
	}
	return environ
}

// withoutFusion asks for what WP Fusion's settings would have said.
func (p *Plan) withoutFusion(given func(string) bool) {
	if !given("SPILLWAY_ACCESS_KEYS") {
		p.newAccessKey()
	}
	var missing []string
	for _, line := range []Line{
		{Name: "SPILLWAY_CRM_URL", Comment: "The CRM account, such as https://app.ACCOUNT.thepulsespot.com."},
		{Name: "SPILLWAY_CRM_TOKEN", Comment: "A token of the CRM's API, or the three settings of OAuth."},
		{Name: "SPILLWAY_FIELDS", Comment: "wordpress_key=crm_field, comma-separated; without it the address and both names are stored."},
	} {
		if !given(line.Name) && (line.Name != "SPILLWAY_CRM_TOKEN" || !given("SPILLWAY_CRM_REFRESH_TOKEN")) {
			p.ask(line.Name, line.Comment)
			missing = append(missing, line.Name)
		}
	}
	if len(missing) > 0 {
		p.remark("WP Fusion", ToDo, "the code hands over no settings of WP Fusion: fill in "+strings.Join(missing, ", ")+" by hand")
	}
}

// shortestKey is the shortest access key that Spillway takes.
const shortestKey = 8

func (p *Plan) accessKey(key string) {
	if len(key) < shortestKey || strings.ContainsAny(key, ", \t") {
		p.newAccessKey()
		p.remark("access_key", Changed, "WP Fusion's key is empty, shorter than 8 characters, or holds a space or a comma; a new one is made, so change access_key in the CRM's webhook addresses")
		return
	}
	p.secret("SPILLWAY_ACCESS_KEYS", key, "WP Fusion's own key: the CRM's webhook addresses keep it.")
	p.remark("access_key", Taken, "the CRM's webhook addresses need no other key; WP Fusion's has 32 random bits by default, `spillway keys` makes a longer one to move to later")
}

func (p *Plan) newAccessKey() {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails, see crypto/rand
	p.secret("SPILLWAY_ACCESS_KEYS", hex.EncodeToString(key[:]), "A new key, for access_key in the CRM's webhook addresses.")
}

const secretKeyName = "SPILLWAY_SECRET_KEY"

func (p *Plan) secretKey(o Options) {
	needed := slices.ContainsFunc(p.Lines, func(l Line) bool {
		return !l.Off && (l.Name == "SPILLWAY_RETURN_PASSWORD_FIELD" || l.Name == "SPILLWAY_CRM_REFRESH_TOKEN")
	})
	switch {
	case !needed || o.Given(secretKeyName):
	case o.Shared:
		p.remark(secretKeyName, ToDo, "generated passwords and OAuth tokens are sealed with it; it is the installation's, so make one with `spillway keys` and put it beside SPILLWAY_REDIS_URL")
	default:
		var key [32]byte
		_, _ = rand.Read(key[:])
		p.secret(secretKeyName, base64.StdEncoding.EncodeToString(key[:]), "Seals generated passwords and OAuth tokens in Redis.")
	}
}

func (p *Plan) set(name, value, comment string) {
	p.Lines = append(p.Lines, Line{Name: name, Value: value, Comment: comment})
}

func (p *Plan) secret(name, value, comment string) {
	p.Lines = append(p.Lines, Line{Name: name, Value: value, Comment: comment, Secret: true})
}

// ask leaves a setting to a person.
func (p *Plan) ask(name, comment string) {
	p.Lines = append(p.Lines, Line{Name: name, Comment: comment, Off: true})
}

func (p *Plan) remark(setting string, verdict Verdict, text string) {
	p.Remarks = append(p.Remarks, Remark{setting, verdict, text})
}
