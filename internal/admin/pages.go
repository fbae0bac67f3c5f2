package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/pending"
)

//go:embed templates assets
var files embed.FS

// parsePages returns the pages by name; each has the layout and the parts that
// several share.
func parsePages(at func(path string) string) map[string]*template.Template {
	versions := make(map[string]string)
	for _, name := range []string{"app.css", "app.js", "icon.svg"} {
		content, err := files.ReadFile("assets/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		digest := sha256.Sum256(content)
		versions[name] = hex.EncodeToString(digest[:6])
	}
	functions := template.FuncMap{
		"at": at, "siteBadge": siteBadge,
		"asset": func(name string) string { return "/assets/" + name + "?v=" + versions[name] },
		"n":     numberText, "contacts": contactsText, "span": spanText, "ago": agoText, "stamp": stampText, "iso": isoText, "ms": msText, "explain": contact.ExplainNote,
		"state": stateText, "badge": badgeOf, "fact": factOf, "system": systemName, "percent": percentText, "share": shareText, "join": strings.Join,
		"age":   func(t time.Time) string { return spanText(max(0, time.Since(t)).Truncate(time.Second)) },
		"until": func(t time.Time) string { return spanText(max(0, time.Until(t))) },
	}
	pages := make(map[string]*template.Template)
	for _, name := range []string{"now", "parked", "replicas", "sites", "contact", "find", "comparison", "observations", "connect", "login", "bounce", "error"} {
		pages[name] = template.Must(template.New(name).Funcs(functions).
			ParseFS(files, "templates/head.html", "templates/layout.html", "templates/"+name+".html"))
	}
	return pages
}

// asset serves what the pages load. A page names the version, so a browser
// keeps it as long as it likes.
func (d *Dashboard) asset(c echo.Context) error {
	name := c.Param("name")
	content, err := files.ReadFile("assets/" + name)
	if err != nil {
		return refuse(http.StatusNotFound, "not_found", "there is no such file")
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(c.Response(), c.Request(), name, time.Time{}, bytes.NewReader(content))
	return nil
}

// numberText groups the digits of a number by thousands.
func numberText(value any) string {
	text := fmt.Sprint(value)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// contactsText counts contacts: "1 contact", "2,000 contacts".
func contactsText(n int) string {
	if n == 1 {
		return "1 contact"
	}
	return numberText(n) + " contacts"
}

// spanText writes a duration as a person would: one or two units.
func spanText(d time.Duration) string {
	switch {
	case d < 950*time.Millisecond && d > 0:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < 100*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
}

func agoText(t time.Time) string {
	age := time.Since(t)
	if age < time.Second {
		return "just now"
	}
	if age < 10*time.Second {
		return fmt.Sprintf("%d s ago", int(age.Seconds())) // no tenths that hop
	}
	return spanText(age) + " ago"
}

func stampText(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05") }
func isoText(t time.Time) string   { return t.UTC().Format(time.RFC3339) }
func msText(ms int64) string {
	if ms == 0 {
		return "0 ms"
	}
	return spanText(time.Duration(ms) * time.Millisecond)
}

func percentText(part, whole int64) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.0f %%", float64(part)/float64(whole)*100)
}

func shareText(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }

func stateText(s pending.State) string {
	return map[pending.State]string{
		pending.Idle:     "nothing is outstanding",
		pending.Pending:  "waiting for its pass",
		pending.Active:   "a pass is under way",
		pending.Retrying: "the last pass failed, the next one is scheduled",
		pending.Parked:   "failed for good, waits for a webhook or for you",
	}[s]
}

// badgeOf is the look of a state, of a kind of event, or of a system's state.
func badgeOf(value any) string {
	switch fmt.Sprint(value) {
	case "active", "pending":
		return "busy"
	case "idle", "synced", "closed":
		return "good"
	case "retrying", "half_open":
		return "warn"
	case "parked", "open":
		return "bad"
	default:
		return "plain"
	}
}

func systemName(name string) string {
	return map[string]string{"crm": "CRM", "site": "Site"}[name]
}

// shownFact is a limit in force, in words.
type shownFact struct{ Name, Value string }

// factOf names a system's fact and its unit.
func factOf(name string, value float64) shownFact {
	words := strings.ReplaceAll(name, "_", " ")
	text := strconv.FormatFloat(value, 'f', -1, 64)
	if value != float64(int64(value)) {
		text = strconv.FormatFloat(value, 'f', 1, 64)
	}
	switch {
	case strings.HasSuffix(name, "_ms"):
		return shownFact{strings.TrimSuffix(words, " ms"), text + " ms"}
	case name == "share": // of the time in which the site is called
		return shownFact{words, shareText(value)}
	case strings.HasSuffix(name, "_per_second"):
		return shownFact{strings.TrimSuffix(words, " per second"), text + "/s"}
	default:
		return shownFact{words, text}
	}
}
