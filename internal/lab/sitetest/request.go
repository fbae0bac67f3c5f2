package sitetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	contactsPath = "/wp-json/spillway/v1/contacts"
	statusPath   = "/wp-json/spillway/v1/status"
)

// object is a JSON object as it goes over the wire. The suite tests the wire,
// absent and unknown members included, so it spells its requests out.
type object map[string]any

// with returns a copy of o with other members added or replaced.
func (o object) with(others object) object {
	merged := make(object, len(o)+len(others))
	for key, value := range o {
		merged[key] = value
	}
	for key, value := range others {
		merged[key] = value
	}
	return merged
}

// change returns the smallest contact for an action, found by id or by email.
func (p person) change(action string) object {
	return object{"contact_id": p.id, "action": action, "email": p.email}
}

func (p person) add(members object) object    { return p.change("add").with(members) }
func (p person) update(members object) object { return p.change("update").with(members) }

// creation returns an add with a generated password, which has to be confirmed.
func (p person) creation(requestID, password string) object {
	return p.add(object{"request_id": requestID, "user_pass": password, "generated_pass": true})
}

func (p person) confirm(requestID string) object {
	return object{"contact_id": p.id, "action": "confirm", "request_id": requestID}
}

// result is the site's answer for one contact.
type result struct {
	ContactID string   `json:"contact_id"`
	Outcome   string   `json:"outcome"`
	UserID    int64    `json:"user_id"`
	UserLogin string   `json:"user_login"`
	Role      string   `json:"role"`
	Notes     []string `json:"notes"`
	// OtherContact has the user in the contact's place.
	OtherContact string `json:"other_contact"`
	// Nil: the answer has no such member.
	AppliedTags []string `json:"applied_tags"`
	RemovedTags []string `json:"removed_tags"`
	Error       *struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Permanent bool   `json:"permanent"`
	} `json:"error"`
}

// account is a user name and an application password.
type account struct{ user, password string }

func (s *trial) strong() *account {
	user, password := s.Credentials()
	return &account{user, password}
}

func (s *trial) weak() *account {
	user, password := s.WeakCredentials()
	return &account{user, password}
}

// try sends a request and returns the answer. A nil account sends none. It
// fails no test, so it may run in any goroutine.
func (s *trial) try(as *account, method, path string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(s.Context(), method, s.URL()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if as != nil {
		request.SetBasicAuth(as.user, as.password)
	}
	response, err := (&http.Client{Timeout: requestTimeout}).Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// requestTimeout is far above the 10 s that a request may work: requests of
// parallel tests wait in line for the site's workers.
const requestTimeout = 90 * time.Second

func (s *trial) call(as *account, method, path string, body []byte) (status int, answer []byte) {
	s.Helper()
	status, answer, err := s.try(as, method, path, body)
	require.NoError(s, err)
	return status, answer
}

func (s *trial) post(as *account, body object) (status int, answer []byte) {
	s.Helper()
	return s.call(as, http.MethodPost, contactsPath, s.encode(body))
}

func (s *trial) encode(body object) []byte {
	s.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(s, err)
	return encoded
}

// envelope is a request in which roles are allowed as Spillway's defaults do.
func envelope(contacts ...object) object {
	return object{"roles_allowed": []string{"subscriber", "customer"}, "default_role": "", "contacts": contacts}
}

// sendAll sends a request and returns the answers, which must be one for each
// contact, in their order.
func (s *trial) sendAll(request object) []result {
	s.Helper()
	status, body := s.post(s.strong(), request)
	return s.results(request, status, body)
}

func (s *trial) results(request object, status int, body []byte) []result {
	s.Helper()
	require.Equal(s, http.StatusOK, status, "%s", body)
	var answer struct {
		Results []result `json:"results"`
	}
	require.NoError(s, json.Unmarshal(body, &answer), "%s", body)
	contacts, _ := request["contacts"].([]object)
	require.Len(s, answer.Results, len(contacts), "%s", body)
	for i, contact := range contacts {
		require.Equal(s, contact["contact_id"], answer.Results[i].ContactID, "the answers' order: %s", body)
	}
	return answer.Results
}

// sendAtOnce sends each contact in a request of its own, all at once.
func (s *trial) sendAtOnce(contacts []object) []result {
	s.Helper()
	type answer struct {
		status int
		body   []byte
		err    error
	}
	answers := make([]answer, len(contacts))
	var senders sync.WaitGroup
	for i, contact := range contacts {
		as, body := s.strong(), s.encode(envelope(contact))
		senders.Go(func() {
			a := &answers[i]
			a.status, a.body, a.err = s.try(as, http.MethodPost, contactsPath, body)
		})
	}
	senders.Wait()
	results := make([]result, len(contacts))
	for i, answer := range answers {
		require.NoError(s, answer.err)
		results[i] = s.results(envelope(contacts[i]), answer.status, answer.body)[0]
	}
	return results
}

// send sends one contact.
func (s *trial) send(contact object) result {
	s.Helper()
	return s.sendAll(envelope(contact))[0]
}

// expect sends one contact that must have an outcome.
func (s *trial) expect(outcome string, contact object) result {
	s.Helper()
	result := s.send(contact)
	require.Equal(s, outcome, result.Outcome, "%+v, error %+v", result, result.Error)
	return result
}

// refused sends one contact that must fail for good, with a code and a message
// without personal data.
func (s *trial) refused(code string, contact object) {
	s.Helper()
	result := s.send(contact)
	s.requireRefused(code, contact, result)
}

func (s *trial) requireRefused(code string, contact object, result result) {
	s.Helper()
	require.Equal(s, "failed", result.Outcome, "%+v", result)
	require.NotNil(s, result.Error)
	require.Equal(s, code, result.Error.Code, result.Error.Message)
	require.NotEmpty(s, result.Error.Message)
	require.True(s, result.Error.Permanent, "repeating %s is useless", code)
	for _, key := range []string{"email", "user_login", "user_pass"} {
		if private, _ := contact[key].(string); private != "" {
			require.NotContains(s, result.Error.Message, private)
		}
	}
}
