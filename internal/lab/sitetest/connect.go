package sitetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const connectPath = "/wp-json/spillway/v1/connect"

// connection is the answer to a good code.
type connection struct {
	Site     *string `json:"site"`
	User     *string `json:"user"`
	Password *string `json:"password"`
	Fusion   any     `json:"wp_fusion"`
}

// A site has one code at a time, so its rules run one after the other.
var connectRules = []rule{{"OneCodeAtATime", func(s *trial) {
	for _, rule := range []rule{
		{"CodeNamesTheSiteAndHoldsASecret", (*trial).testCodeNamesTheSite},
		{"CodeIsExchangedOnceForAPasswordOfTheRole", (*trial).testCodeIsExchangedOnce},
		{"DryRunMakesNothingAndLeavesTheCode", (*trial).testDryRunLeavesTheCode},
		{"WorthlessCodesAreRefusedAlike", (*trial).testWorthlessCodesAreRefusedAlike},
		{"OfTwoAtOnceOneSucceeds", (*trial).testOfTwoAtOnceOneSucceeds},
	} {
		ok := s.Run(rule.name, func(t *testing.T) { rule.test(&trial{T: t, Harness: s.Harness, about: s.about}) })
		require.True(s, ok, rule.name)
	}
}}}

// secretOf reads a code as the protocol writes it.
func (s *trial) secretOf(code string) (site, secret string) {
	s.Helper()
	parts := strings.Split(code, ".")
	require.Len(s, parts, 3)
	require.Equal(s, "spw1", parts[0])
	digest := sha256.Sum256([]byte(parts[1]))
	require.Equal(s, hex.EncodeToString(digest[:4]), parts[2])
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(s, err)
	var read struct{ Site, Secret string }
	require.NoError(s, json.Unmarshal(content, &read))
	require.GreaterOrEqual(s, len(read.Secret), 26, "at least 128 random bits")
	return read.Site, read.Secret
}

func (s *trial) newSecret() string {
	s.Helper()
	_, secret := s.secretOf(s.ConnectionCode())
	return secret
}

func (s *trial) exchange(body string) (status int, answer []byte) {
	s.Helper()
	return s.call(nil, http.MethodPost, connectPath, []byte(body))
}

// exchanged sends a secret that must be good.
func (s *trial) exchanged(secret, more string) connection {
	s.Helper()
	status, body := s.exchange(`{"secret":"` + secret + `"` + more + `}`)
	require.Equal(s, http.StatusOK, status, "%s", body)
	var answer connection
	require.NoError(s, json.Unmarshal(body, &answer))
	require.NotNil(s, answer.Site)
	require.Equal(s, s.URL(), *answer.Site)
	require.NotNil(s, answer.User)
	require.NotNil(s, answer.Password)
	require.Nil(s, answer.Fusion, "the code hands none over")
	return answer
}

// requireCodeRefused returns the answer to a secret that must be worthless.
func (s *trial) requireCodeRefused(body string) string {
	s.Helper()
	status, answer := s.exchange(body)
	require.Equal(s, http.StatusForbidden, status, "%s was answered %s", body, answer)
	var refusal struct{ Code string }
	require.NoError(s, json.Unmarshal(answer, &refusal))
	require.Equal(s, "spillway_connect_refused", refusal.Code)
	return string(answer)
}

func (s *trial) testCodeNamesTheSite() {
	site, _ := s.secretOf(s.ConnectionCode())
	require.Equal(s, s.URL(), site)
}

func (s *trial) testCodeIsExchangedOnce() {
	secret := s.newSecret()
	given := s.exchanged(secret, "")
	status, body := s.call(&account{*given.User, *given.Password}, http.MethodGet, statusPath, nil)
	require.Equal(s, http.StatusOK, status, "%s", body)
	s.requireCodeRefused(`{"secret":"` + secret + `"}`)
	require.NotEqual(s, *given.Password, *s.exchanged(s.newSecret(), "").Password, "each code makes a password of its own")
}

func (s *trial) testDryRunLeavesTheCode() {
	secret := s.newSecret()
	for range 2 {
		require.Empty(s, *s.exchanged(secret, `,"dry_run":true`).Password)
	}
	require.NotEmpty(s, *s.exchanged(secret, "").Password)
}

func (s *trial) testWorthlessCodesAreRefusedAlike() {
	former := s.newSecret()
	secret := s.newSecret()
	altered := "A" + secret[1:]
	if altered == secret {
		altered = "B" + secret[1:]
	}
	refusal := s.requireCodeRefused(`{"secret":"` + former + `"}`)
	for _, body := range []string{
		`{"secret":"` + altered + `"}`, `{"secret":"` + secret + `0"}`, `{"secret":""}`, `{"secret":null}`, `{"secret":["` + secret + `"]}`,
		`{"secret":true}`, `{}`, `[]`, `"` + secret + `"`, `no JSON`, ``,
	} {
		require.Equal(s, refusal, s.requireCodeRefused(body), body)
	}
	s.AgeCode(59 * time.Minute)
	s.exchanged(secret, `,"dry_run":true`)
	s.AgeCode(time.Minute)
	require.Equal(s, refusal, s.requireCodeRefused(`{"secret":"`+secret+`"}`))
	require.Equal(s, refusal, s.requireCodeRefused(`{"secret":"`+secret+`","dry_run":true}`))
}

func (s *trial) testOfTwoAtOnceOneSucceeds() {
	const callers = 6
	body := []byte(`{"secret":"` + s.newSecret() + `"}`)
	statuses := make([]int, callers)
	var senders sync.WaitGroup
	for i := range statuses {
		senders.Go(func() { statuses[i], _, _ = s.try(nil, http.MethodPost, connectPath, body) })
	}
	senders.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	require.Equal(s, map[int]int{http.StatusOK: 1, http.StatusForbidden: callers - 1}, counts)
}
