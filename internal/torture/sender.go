package torture

import (
	"context"
	"errors"
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
}

const (
	senderCount  = 8
	webhookTries = 60
)

func newSenders(r *run) *senders {
	return &senders{run: r, errs: map[string]int{}, client: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: senderCount, IdleConnTimeout: 10 * time.Second},
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

// one edits a contact and sends the webhook of it.
func (s *senders) one(p *person, action contact.Action, random *rand.Rand) {
	made := p.edit(s.run.crm, action)
	tries := webhookTries
	if random.IntN(20) == 0 {
		tries = 1
	}
	s.count(func() { s.sent++ })
	ingest := random.IntN(len(s.run.ingests))
	for try := range tries {
		err := s.post(p, made, s.run.webhookURL(ingest+try), random.IntN(3))
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

// post sends a webhook in one of the forms that the CRM uses.
func (s *senders) post(p *person, made promise, target string, form int) error {
	values := url.Values{"wpf_action": {made.action.String()}, "access_key": {accessKey}, "contact_id": {p.ref()}}
	if made.action == contact.Add {
		values.Set("role", "customer")
		values.Set("send_notification", strconv.FormatBool(p.notify))
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
	request, err := http.NewRequestWithContext(context.Background(), method, target+"/?"+values.Encode(), strings.NewReader(body))
	if err != nil {
		return errNoAnswer
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return errNoAnswer
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return errNoAnswer
	}
	if response.StatusCode/100 != 2 {
		return refused(response.StatusCode)
	}
	return nil
}
