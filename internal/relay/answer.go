package relay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/web"
)

// What WP Fusion says, in the words of its pages; they are not translated.
var (
	saidImported = regexp.MustCompile(`^Success\s+User imported with ID\s*([0-9]*)`)
	saidUpdated  = regexp.MustCompile(`(?s)Updated user meta:\s*<pre>(.*?)</pre>`)
	saidTags     = regexp.MustCompile(`(?s)Updated tags:\s*<pre>(.*?)</pre>`)
	saidQueued   = regexp.MustCompile(`^Success\s+Contact #[0-9]+ pushed to async queue`)
	saidBusy     = regexp.MustCompile(`^Doing it wrong\b|\bwebhook is already being processed for contact\b`)
	saidFailed   = regexp.MustCompile(`^(?:Error\s+)?(?:Import user failed for contact ID|Error importing user)\b(.*)`)
	saidLoaded   = regexp.MustCompile(`(?m)^ {4}\[(user_registered|role)\] => (.*)$`)

	errorPage = regexp.MustCompile(`(?i)id=["']error-page["']|class=["']wp-die-message["']`)
	bodyOf    = regexp.MustCompile(`(?is)<body[^>]*>(.*)`)
	titleOf   = regexp.MustCompile(`(?is)<title[^>]*>\s*(.*?)\s*</title>`)
)

// titles are those of WP Fusion's pages, for sites whose own page shows what
// WordPress gives up with.
var titles = map[string]bool{"Success": true, "Doing it wrong": true, "Abort": true, "Not Found": true, "Invalid Access Key": true, "Error": true}

const (
	noteQueued  = "relay_queued"
	noteUnclear = "relay_created_or_linked"
)

// message returns what WordPress answered when WP Fusion ended its request:
// HTML, as JSON or on a page. ok is false for everything else, such as a page of
// the site.
func (a answer) message() (message string, ok bool) {
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(a.body, &said) == nil {
		return said.Message, said.Code == "wp_die"
	}
	if !web.IsPage(a.body) {
		return string(bytes.TrimSpace(a.body)), true
	}
	title := ""
	if found := titleOf.FindSubmatch(a.body); found != nil {
		title = web.Text(string(found[1]))
	}
	body := a.body
	if found := bodyOf.FindSubmatch(a.body); found != nil {
		body = found[1]
	}
	return string(body), errorPage.Match(a.body) || titles[title]
}

// success reads the JSON with which WordPress says in short how it went.
func (a answer) success() (success, ok bool) {
	var said struct {
		Success *bool `json:"success"`
	}
	if json.Unmarshal(a.body, &said) != nil || said.Success == nil {
		return false, false
	}
	return *said.Success, true
}

// read turns an answer into what became of a contact.
func (a answer) read(change contact.Change) (contact.Result, error) {
	id := change.ContactID
	if success, ok := a.success(); ok && a.status == http.StatusOK {
		if success {
			return contact.Result{Outcome: contact.Updated}, nil
		}
		return contact.Result{}, &Failed{ContactID: id, Message: "it says that it had no success", After: a.lock}
	}
	message, ok := a.message()
	if !ok {
		return contact.Result{}, a.strange(id)
	}
	// WP Fusion's words come before what it shows of the contact.
	said, _, _ := strings.Cut(message, "<pre")
	said = web.Text(said)
	switch {
	case strings.Contains(said, "Invalid Access Key"):
		return contact.Result{}, a.hinders("relay_key")
	case saidBusy.MatchString(said):
		return contact.Result{}, &contact.Busy{ContactID: id, Again: a.lock}
	case strings.HasPrefix(said, "No matching user found"):
		return contact.Result{Outcome: contact.Skipped}, nil
	case strings.Contains(said, "Contact data not found"):
		return contact.Result{}, &Refused{id, "relay_not_eligible", "it finds no contact in the request, or one that may not be updated; see WP Fusion's log, and that it is connected to PulseTechnologyCRM"}
	}
	if found := saidFailed.FindStringSubmatch(said); found != nil {
		return contact.Result{}, failedImport(id, found[1], a.lock)
	}
	if a.status == http.StatusOK && strings.HasPrefix(said, "Success") {
		return a.succeeded(id, said, message)
	}
	return contact.Result{}, a.strange(id)
}

// succeeded reads a page that begins with Success.
func (a answer) succeeded(id, said, message string) (contact.Result, error) {
	if found := saidImported.FindStringSubmatch(said); found != nil {
		user, _ := strconv.ParseInt(found[1], 10, 64)
		if user == 0 {
			return contact.Result{}, &noUser{Refused{
				id, "relay_no_user",
				"it says Success and names no user: WordPress did not take the login or the address (another user has it, or it is longer than 60 characters), or a plugin forbade it",
			}}
		}
		return a.imported(user, message), nil
	}
	if saidQueued.MatchString(said) {
		return contact.Result{Outcome: contact.Updated, Notes: []string{noteQueued}}, nil
	}
	for _, shown := range []*regexp.Regexp{saidUpdated, saidTags} {
		if found := shown.FindStringSubmatch(message); found != nil && isNothing(found[1], shown == saidTags) {
			return contact.Result{}, &Failed{ContactID: id, Message: "it says Success, and the CRM did not give it the contact"}
		}
	}
	return contact.Result{Outcome: contact.Updated}, nil
}

// isNothing says that what WP Fusion shows as loaded is an error or nothing at
// all. A contact without a tag is usual, one without a field is none.
func isNothing(shown string, mayBeEmpty bool) bool {
	text := web.Text(shown)
	if strings.HasPrefix(text, "WP_Error Object") {
		return true
	}
	return !mayBeEmpty && (text == "" || text == "Array ( )")
}

// imported is the result of an add. WP Fusion does not say whether it created
// the user; when the user was registered does, by the site's own clock.
func (a answer) imported(user int64, message string) contact.Result {
	result := contact.Result{Outcome: contact.Created, UserID: user}
	registered, known := time.Time{}, false
	for _, found := range saidLoaded.FindAllStringSubmatch(message, -1) {
		// A value of the contact may look like one of these lines, and comes
		// before them.
		switch value := strings.TrimSpace(found[2]); found[1] {
		case "role":
			result.Role = web.Plain(value)
		case "user_registered":
			var err error
			registered, err = time.Parse(time.DateTime, value)
			known = err == nil
		}
	}
	const slack = 3 * time.Second // both have whole seconds
	sent, err := http.ParseTime(a.header.Get("Date"))
	switch {
	case err != nil || !known:
		result.Notes = []string{noteUnclear}
	case registered.Before(sent.Add(-a.took - slack)):
		result.Outcome = contact.Updated
	}
	return result
}

// failedImport reads why an add failed. WP Fusion's lock on the contact stays.
func failedImport(id, why string, lock time.Duration) error {
	if strings.Contains(why, "No email provided") {
		return &Refused{id, "no_email", "the contact has no e-mail address, or the CRM did not give it to WP Fusion"}
	}
	_, why, _ = strings.Cut(why, "Error:")
	return &Failed{ContactID: id, Message: cmp.Or(web.Quoted(why), "it does not say why"), After: lock}
}

// strange judges an answer that is none of WP Fusion's for a contact.
func (a answer) strange(id string) error {
	if err := a.notWPFusion(); err != nil {
		return err
	}
	if a.status == http.StatusInternalServerError {
		return &died{Refused{id, "site_fatal", "the request ended in status 500"}, a.lock}
	}
	return a.hinders("relay_no_endpoint")
}

// words are what a person would read of the answer, without what WP Fusion shows
// of a contact.
func (a answer) words() string {
	words := web.Words(a.body)
	if message, ok := a.message(); ok {
		said, _, _ := strings.Cut(message, "<pre")
		words = cmp.Or(web.Quoted(said), words)
	}
	return strings.TrimPrefix(fmt.Sprintf("%s, status %d", words, a.status), ", ")
}

// notWPFusion recognises what stands before WP Fusion, or in its place; nil:
// nothing is known to.
func (a answer) notWPFusion() error {
	if a.isSpillway() {
		return a.hinders(CodeCircle)
	}
	switch {
	case web.IsChallenge(a.header, a.body):
		return a.hinders("challenge")
	case a.status == http.StatusTooManyRequests:
		e := a.hinders("rate_limited")
		e.After = web.RetryAfter(a.status, a.header, time.Now())
		return e
	case a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") != "":
		return a.hinders("server_password")
	case strings.Contains(string(a.body), "Invalid Access Key"):
		return a.hinders("relay_key")
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return a.hinders("refused_page")
	case a.status == http.StatusNotFound:
		return a.hinders("relay_no_endpoint")
	case a.status == http.StatusGatewayTimeout:
		return &unknown{Unavailable{Reason: "its web server gave up waiting (status 504); whether WP Fusion went on is not known, so the contact is asked for again in a minute", After: a.lock}}
	case a.status > http.StatusInternalServerError:
		return &Unavailable{Reason: fmt.Sprintf("it answered with status %d", a.status), After: web.RetryAfter(a.status, a.header, time.Now())}
	case a.status >= 300 && a.status < 400:
		return &Unavailable{Reason: a.redirected()}
	}
	return nil
}

// redirected names where to, without path and query: those may hold anything.
func (a answer) redirected() string {
	const why = "it redirects (status %d), and Spillway follows no redirect with the access key; set SPILLWAY_SITE_URL to "
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Host == "" {
		return fmt.Sprintf(why+"the address that the site itself uses", a.status)
	}
	return fmt.Sprintf(why+"%s://%s and the folder if WordPress is in one, or let a plugin that sends visitors to a login page except addresses with wpf_action",
		a.status, web.Plain(to.Scheme), web.Plain(to.Host))
}

// isSpillway recognises ingest's answers. WP Fusion has none like them.
func (a answer) isSpillway() bool {
	var said struct {
		Status string `json:"status"`
		Error  struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &said) != nil {
		return false
	}
	switch said.Status {
	case "queued", "synced", "parked":
		return true
	}
	return said.Error.Code != ""
}

// hinders makes the error of a hindrance, with the words that were seen.
func (a answer) hinders(code string) *Hindered {
	return hindered(code, a.words())
}

func hindered(code, seen string) *Hindered {
	known := hindrances[code]
	return &Hindered{Reason: code, Text: known.text + " (" + seen + ")", Remedy: known.remedy}
}
