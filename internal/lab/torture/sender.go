package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"spillway/internal/contact"
)

// senders play the CRM: people edit contacts, and each edit sends a webhook to
// one of the ingest servers, again to the next one if it got no 2xx. Some give
// up at once, as senders without retries do; nothing is promised to those.
type senders struct {
	run    *run
	client *http.Client

	mu      sync.Mutex
	tries   int
	sent    int // webhooks
	kept    int // acknowledged
	givenUp int
	errs    map[string]int // what came instead of a 2xx
	synced  int            // answers that waited for the pass
	lies    []string       // what was false in them

	aside chan struct{} // the places of webhooks whose sender waits
	group sync.WaitGroup
}

const (
	senderCount  = 8
	webhookTries = 60
	// waitersCount is how many more senders wait for answers meanwhile.
	waitersCount = 24
)

func newSenders(r *run) *senders {
	return &senders{run: r, errs: map[string]int{}, aside: make(chan struct{}, waitersCount), client: &http.Client{
		Timeout:   30 * time.Second, // more than the longest wait and a Redis that does not answer
		Transport: &http.Transport{MaxIdleConnsPerHost: senderCount + waitersCount, IdleConnTimeout: 10 * time.Second},
	}}
}

// edited is how many contacts are edited at a time, at most a third of all.
const edited = 30

// window returns the contacts that are edited at a moment of the fire: it moves
// over all of them once. So contacts see their last edit, the one that nothing
// mends, at any time and not only at the end.
func (s *senders) window(since time.Duration) []*person {
	people := s.run.people
	size := min(edited, (len(people)+2)/3)
	at := int(float64(len(people)-size+1) * since.Seconds() / s.run.options.Fire.Seconds())
	at = min(at, len(people)-size)
	return people[at : at+size]
}

// send works until ctx ends, and then until what was begun is through.
func (s *senders) send(ctx context.Context, seed uint64) {
	began := time.Now()
	var group sync.WaitGroup
	for i := range senderCount {
		random := rand.New(rand.NewPCG(seed, uint64(i)+100))
		group.Go(func() {
			for ctx.Err() == nil {
				now := s.window(time.Since(began))
				p := now[random.IntN(len(now))]
				if p.poisoned && random.IntN(4) != 0 {
					continue
				}
				s.one(p, actionOf(random), random)
				wait(ctx, time.Duration(random.Int64N(int64(2*s.run.options.Pace))))
			}
		})
	}
	group.Wait()
	s.group.Wait()
	s.client.CloseIdleConnections()
}

func actionOf(random *rand.Rand) contact.Action {
	switch n := random.IntN(10); {
	case n < 3:
		return contact.Add
	case n < 7:
		return contact.Update
	default:
		return contact.UpdateTags
	}
}

// one edits a contact and sends the webhook of it. Some senders wait for the
// pass; others edit meanwhile.
func (s *senders) one(p *person, action contact.Action, random *rand.Rand) {
	made := p.edit(s.run.of(p).crm, action)
	if random.IntN(8) == 0 || action == contact.Add && random.IntN(2) == 0 {
		select {
		case s.aside <- struct{}{}:
			own := rand.New(rand.NewPCG(random.Uint64(), 0))
			s.group.Go(func() {
				defer func() { <-s.aside }()
				s.deliver(p, made, []string{"", "8", "20"}[own.IntN(3)], own)
			})
			return
		default:
		}
	}
	s.deliver(p, made, "0", random)
}

// deliver sends a webhook until it is acknowledged.
func (s *senders) deliver(p *person, made promise, wait string, random *rand.Rand) {
	tries := webhookTries
	if random.IntN(20) == 0 {
		tries = 1
	}
	s.count(func() { s.sent++ })
	ingest := random.IntN(len(s.run.ingests))
	for try := range tries {
		err := s.post(p, made, s.run.webhookURL(ingest+try), wait, random)
		s.count(func() { s.tries++ })
		if err == nil {
			p.keep(made)
			s.count(func() { s.kept++ })
			return
		}
		s.count(func() { s.errs[err.Error()]++ })
		if try+1 < tries {
			time.Sleep(time.Duration(min(try+1, 10)) * 50 * time.Millisecond)
		}
	}
	s.count(func() { s.givenUp++ })
}

func (s *senders) count(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

var errNoAnswer = errors.New("no answer")

type refused int

func (r refused) Error() string { return "status " + strconv.Itoa(int(r)) }

// post sends a webhook. Some of those who wait hang up.
func (s *senders) post(p *person, made promise, target, wait string, random *rand.Rand) error {
	ctx := context.Background()
	if wait != "0" && random.IntN(8) == 0 {
		var hangUp context.CancelFunc
		ctx, hangUp = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(time.Second))))
		defer hangUp()
	}
	_, err := s.ask(ctx, p, made, target, wait, random.IntN(3))
	return err
}

// ask sends a webhook in one of the forms that the CRM uses, and checks at once
// what it is told. The error says that nothing was acknowledged.
func (s *senders) ask(ctx context.Context, p *person, made promise, target, wait string, form int) (said told, err error) {
	values := url.Values{"wpf_action": {made.action.String()}, "access_key": {s.run.of(p).key}, "contact_id": {p.ref()}}
	if made.action == contact.Add {
		values.Set("role", "customer")
		values.Set("send_notification", strconv.FormatBool(p.notify))
	}
	if wait != "" {
		values.Set("wait", wait)
	}
	method, body, kind := http.MethodPost, "", ""
	switch form {
	case 0:
		method = http.MethodGet
	case 1:
		values.Del("contact_id")
		kind, body = "application/json", `{"id":`+p.ref()+`,"first_name":"x"}`
	default:
		values.Del("contact_id")
		kind, body = "application/x-www-form-urlencoded", "contact_id="+p.ref()
	}
	request, err := http.NewRequestWithContext(ctx, method, target+"/?"+values.Encode(), strings.NewReader(body))
	if err != nil {
		return told{}, errNoAnswer
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return told{}, errNoAnswer
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return told{}, errNoAnswer
	}
	if json.Unmarshal(text, &said) != nil {
		return told{}, refused(response.StatusCode)
	}
	switch {
	case response.StatusCode == http.StatusOK && said.Status == "synced":
		lie := s.run.lie(p, made, said)
		s.count(func() {
			s.synced++
			if lie != "" {
				s.lies = append(s.lies, lie)
			}
		})
	case response.StatusCode == http.StatusUnprocessableEntity && said.Status == "parked":
		if !p.poisoned {
			s.count(func() { s.lies = append(s.lies, fmt.Sprintf("contact %d is said to be parked", p.id)) })
		}
	case response.StatusCode/100 != 2:
		return told{}, refused(response.StatusCode)
	}
	return said, nil
}

// told is what an answer says.
type told struct {
	Status, Outcome string
	UserID          int64 `json:"user_id"`
}

// lie says what is false in an answer that says synced; empty: all of it is true.
func (r *run) lie(p *person, made promise, said told) string {
	if said.Outcome == "skipped" {
		if made.action == contact.Add {
			return fmt.Sprintf("contact %d has no user, although its add is said to be synced", p.id)
		}
		return "" // it had none when its pass looked
	}
	crm, site := r.of(p).crm, r.of(p).site
	users := site.UsersByContact(p.ref())
	if len(users) != 1 || users[0].ID != said.UserID {
		return fmt.Sprintf("contact %d is said to be user %d, and has %d users", p.id, said.UserID, len(users))
	}
	fields, tags, whole := shown(users[0])
	if !whole || tags < made.tags || made.action != contact.UpdateTags && fields < made.fields {
		return fmt.Sprintf("contact %d is said to be synced, and shows fields %d and tags %d (whole: %v), not %d and %d",
			p.id, fields, tags, whole, made.fields, made.tags)
	}
	record, _ := crm.Contact(p.ref())
	if password, _ := record[passwordField].(string); made.action == contact.Add && !site.PasswordWorks(users[0].Login, password) {
		return fmt.Sprintf("the password in the CRM does not log contact %d in, although its add is said to be synced", p.id)
	}
	return ""
}
