package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// verify stops the programs and checks what is at rest.
func (r *run) verify(ctx context.Context, report *Report) {
	r.verifyParked(ctx, report)
	for _, p := range r.workers {
		report.problem(p.terminate())
	}
	for _, p := range r.ingests {
		report.problem(p.terminate())
	}
	for _, of := range r.tenants() {
		r.verifyUsers(of, report)
	}
	for _, p := range r.people {
		r.verifyPerson(p, report)
	}
	r.verifyLeftovers(ctx, report)
	r.verifySecrets(report)
}

// verifyUsers requires that a site has no address twice, and nobody of another site.
func (r *run) verifyUsers(of *tenant, report *Report) {
	own := map[string]bool{}
	for _, p := range r.people {
		own[p.email] = r.of(p).name == of.name
	}
	byEmail := map[string]int{}
	for _, user := range of.site.Users() {
		email := strings.ToLower(user.Email)
		if byEmail[email]++; byEmail[email] == 2 {
			report.found(&report.DoubledUsers, "the address of user %d belongs to another user too", user.ID)
		}
		if mine, known := own[email]; known && !mine {
			report.found(&report.Strangers, "user %d of %s is a contact of another site", user.ID, of.name)
		}
	}
}

// verifyParked requires that the poisoned contact is parked, and nobody else.
func (r *run) verifyParked(ctx context.Context, report *Report) {
	for _, p := range r.people {
		var view struct {
			State     string
			LastError struct{ Code, Message string } `json:"last_error"`
		}
		err := errors.New("no ingest server")
		for _, admin := range r.admins {
			if err = getJSON(ctx, fmt.Sprintf("http://%s/api/v1/contacts/%d%s", admin, p.id, r.query(r.of(p))), &view); err == nil {
				break
			}
		}
		if err != nil {
			report.problem(fmt.Errorf("asking for contact %d: %w", p.id, err))
			return
		}
		parked := view.State == "parked"
		if parked {
			report.Parked++
		}
		if parked != p.poisoned && p.touched {
			report.found(&report.WronglyParked, "contact %d is %s (%s: %s), poisoned: %v", p.id, view.State, view.LastError.Code, view.LastError.Message, p.poisoned)
		}
	}
}

func (r *run) verifyPerson(p *person, report *Report) {
	crm, site := r.of(p).crm, r.of(p).site
	users := site.UsersByContact(p.ref())
	if len(users) > 1 {
		report.found(&report.DoubledUsers, "contact %d has %d users", p.id, len(users))
	}
	if p.poisoned {
		return
	}
	if len(users) == 0 {
		if p.addPromised {
			report.found(&report.Lost, "contact %d has no user, although an add was acknowledged", p.id)
		}
		return
	}
	user := users[0]
	if !p.addTried {
		report.found(&report.DoubledUsers, "contact %d has a user that no add asked for", p.id)
	}
	fields, tags, whole := shown(user)
	switch {
	case !whole:
		report.found(&report.Torn, "contact %d shows a mixture of versions: %v, %s", p.id, user.Meta, user.RawTags)
	case fields < p.promisedFields, tags < p.promisedTags:
		report.found(&report.Lost, "contact %d shows fields %d and tags %d, acknowledged were %d and %d (the CRM has %d and %d)",
			p.id, fields, tags, p.promisedFields, p.promisedTags, p.fields, p.tags)
	}
	passwords := map[string]bool{}
	for _, update := range crm.Updates(p.ref()) {
		if password := update[passwordField]; password != "" {
			passwords[password] = true
		}
	}
	record, _ := crm.Contact(p.ref())
	password, _ := record[passwordField].(string)
	if !site.PasswordWorks(user.Login, password) {
		report.found(&report.WrongPasswords, "the password in the CRM does not log contact %d in (%d were returned)", p.id, len(passwords))
	}
	if len(passwords) > 1 {
		report.found(&report.ChangedPasswords, "contact %d was given %d passwords", p.id, len(passwords))
	}
	mails, want := len(site.Mails(user.Email)), 0
	if p.notify {
		want = 1
	}
	if mails != want {
		report.found(&report.WrongMails, "contact %d got %d welcome mails, not %d", p.id, mails, want)
	}
}

// remains are the keys that may be in Redis when no contact has work: all are
// bounded in number or forget themselves.
func (r *run) remains(poisoned string) *regexp.Regexp {
	const of = `(\.[a-z0-9-]+)?` // a further site
	patterns := []string{
		`spw:\{spillway` + of + `\}:[hn]:.*`,               // timelines and counts over time
		`spw:\{spillway` + of + `\}:(stats|parked|queues)`, // counters; the index of the parked contact; a setting
		`spw:queues(:[a-z0-9-]+)?`, `spw:sites`,            // how many queues there are; which sites
		`spw:history:shares`,                                // how full Redis was, by hour
		`spw:\{spillway` + of + `\}:c:(` + poisoned + `)`,   // its record
		`spw:v:password:(` + poisoned + `)`,                 // its sealed password: it may be retried
		`(rate:)?spw:\{(crm|site)` + of + `\}:.*`,           // limits that the workers share
		`spw:\{replicas\}:.*`, `spw:refusals(:[a-z0-9-]+)?`, // who is alive; refused webhooks by code and hour
		`spw:ingest:down`,         // when no ingest was there
		`asynq:queues`,            // asynq's list of queues
		`asynq:(servers|workers)`, // and of servers; killed ones stay until someone lists them
		`asynq:\{spillway` + of + `\}:(processed|failed).*`, // asynq's counts, which end after 90 days
		`torture:await`,
	}
	if r.options.Brief {
		patterns = append(patterns, `asynq:\{spillway`+of+`\}:.*`)
	}
	return regexp.MustCompile("^(" + strings.Join(patterns, "|") + ")$")
}

func (r *run) verifyLeftovers(ctx context.Context, report *Report) {
	var poisoned []string
	for _, p := range r.people {
		if p.poisoned {
			poisoned = append(poisoned, r.of(p).name+":"+p.ref())
		}
	}
	allowed := r.remains(strings.Join(poisoned, "|"))
	client := r.store.client()
	defer client.Close()
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		if !allowed.MatchString(keys.Val()) {
			kind, _ := client.Type(ctx, keys.Val()).Result()
			report.found(&report.Leftovers, "Redis still holds the %s %s", kind, keys.Val())
		}
	}
	report.problem(keys.Err())
}

// verifySecrets searches logs and what Redis wrote down for what nobody may
// read there.
func (r *run) verifySecrets(report *Report) {
	secrets := [][]byte{[]byte("@example.org"), []byte(accessKey), []byte(crmToken), []byte(appPassword), []byte(secretKey)}
	for _, p := range r.people {
		for _, update := range r.of(p).crm.Updates(p.ref()) {
			if password := update[passwordField]; password != "" {
				secrets = append(secrets, []byte(password))
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(r.options.Dir, "*.log"))
	for _, dir := range r.store.folder() {
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			report.problem(err)
			continue
		}
		for _, secret := range secrets {
			if bytes.Contains(text, secret) {
				report.found(&report.Leaks, "%s holds a secret or an address: %.4s…", filepath.Base(file), secret)
				break
			}
		}
	}
}
