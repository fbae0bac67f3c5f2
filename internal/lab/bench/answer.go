package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

// passwordField is the CRM's field for generated passwords.
const passwordField = "wp_password"

// answerRows measure how long the answer to a lone add takes, which comes when
// the CRM holds the new user's password. Contacts are added in turn through
// Spillway and by the calls that it needs, made straight; the site is real.
func answerRows(ctx context.Context, s *stage) []Row {
	rounds := pick(s, 15, 5)
	const warming = 2
	stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, 2*(rounds+warming))
	site := s.wordpress(stand.url, false, "")
	server := redistest.Start(s, everySecond()...)
	target := site.target(server.URL(), stand.url)
	_, webhooks, _ := s.ingest(ctx, server.URL(), nil)
	s.worker(ctx, target, map[string]string{"SPILLWAY_RETURN_PASSWORD_FIELD": passwordField, "SPILLWAY_FIELDS": siteFields})

	var through, straight []float64
	for id := 1; id <= 2*(rounds+warming); id += 2 {
		took := s.timed(func() { s.answeredAdd(ctx, webhooks, stand, id) })
		alone := s.timed(func() { s.straightAdd(ctx, target, stand, id+1) })
		if id > 2*warming {
			through, straight = append(through, took), append(straight, alone)
		}
	}
	return []Row{{
		What: "the answer to a lone add, against the sum of its calls", Value: median(through) / median(straight), Sense: AtMost, Bound: 1.3,
		Note: fmt.Sprintf("%.0f ms, the calls %.0f ms: reading the contact and its tags at once, storing, returning the password, confirming it; medians of %d, the CRM takes %v a call",
			median(through), median(straight), rounds, crmLatency),
	}}
}

// timed returns how many ms something takes.
func (s *stage) timed(do func()) float64 {
	began := time.Now()
	do()
	return milliseconds(time.Since(began))
}

// answeredAdd adds a contact through Spillway and requires that the answer says
// so, and is true.
func (s *stage) answeredAdd(ctx context.Context, webhooks string, stand *crm, id int) {
	var answer struct {
		Status, Outcome  string
		PasswordReturned bool `json:"password_returned"`
	}
	s.call(ctx, http.MethodGet, "http://"+webhooks+"/?wpf_action=add&wait=30&access_key="+accessKey+"&contact_id="+idOf(id), nil, nil, &answer)
	require.Equal(s, "synced created true", fmt.Sprint(answer.Status, " ", answer.Outcome, " ", answer.PasswordReturned))
	record, _ := stand.Contact(idOf(id))
	require.NotEmpty(s, record[passwordField], "the CRM does not hold the password of contact %d", id)
}

// straightAdd adds a contact by the calls that it needs.
func (s *stage) straightAdd(ctx context.Context, t target, stand *crm, id int) {
	const password = "a-password-of-16"
	asCRM := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+crmToken) }
	asUser := func(r *http.Request) { r.SetBasicAuth(t.user, t.appPassword) }
	record := t.crmURL + "/api/v1/contacts/" + idOf(id)
	both, reading := errgroup.WithContext(ctx)
	for _, url := range []string{record, record + "/tags"} {
		both.Go(func() error {
			s.call(reading, http.MethodGet, url, nil, asCRM, nil)
			return nil
		})
	}
	require.NoError(s, both.Wait())
	known, _ := stand.Contact(idOf(id))
	email, _ := known["email"].(string)
	store := func(change contact.Change) {
		var answer struct {
			Results []struct{ Outcome string }
		}
		s.call(ctx, http.MethodPost, t.siteURL+"/wp-json/spillway/v1/contacts",
			map[string]any{"roles_allowed": []string{"subscriber"}, "default_role": "", "contacts": []contact.Change{change}}, asUser, &answer)
		require.Len(s, answer.Results, 1)
		require.NotEqual(s, "failed", answer.Results[0].Outcome)
	}
	store(contact.Change{
		ContactID: idOf(id), Action: contact.Add.String(), RequestID: "bench-" + idOf(id), Email: email, UserPass: password, GeneratedPass: true,
		Fields: map[string]any{"user_email": email, "first_name": "First", "last_name": "Last", "billing_company": "Company", "billing_city": "City", "billing_phone": "1"},
		Tags:   []string{"1", "51"},
	})
	s.call(ctx, http.MethodPut, record, map[string]string{passwordField: password}, asCRM, nil)
	store(contact.Change{ContactID: idOf(id), Action: contact.ActionConfirm, RequestID: "bench-" + idOf(id)})
}

// call makes one call and requires a 2xx; answer may be nil.
func (s *stage) call(ctx context.Context, method, url string, body any, prepare func(*http.Request), answer any) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		require.NoError(s, err)
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, sent)
	require.NoError(s, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if prepare != nil {
		prepare(request)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	require.Equal(s, 2, response.StatusCode/100, "%s %s answers %d: %s", method, request.URL.Path, response.StatusCode, text)
	if answer != nil {
		require.NoError(s, json.Unmarshal(text, answer), "%s", text)
	}
}
