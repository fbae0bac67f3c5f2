package sandbox_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

const contactsPath = "/wp-json/spillway/v1/contacts"

// change is an add for a contact with an address of its own.
func change(id string, members map[string]any) map[string]any {
	all := map[string]any{"contact_id": id, "action": "add", "email": "c" + id + "@example.com"}
	for member, value := range members {
		all[member] = value
	}
	return all
}

func envelope(contacts ...map[string]any) string {
	body, err := json.Marshal(map[string]any{"roles_allowed": []string{"subscriber", "customer"}, "contacts": contacts})
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func (s *served) store(contacts ...map[string]any) response {
	s.Helper()
	return s.call(http.MethodPost, contactsPath, "application/json", envelope(contacts...))
}

func (s *served) outcomes(contacts ...map[string]any) []string {
	s.Helper()
	var got struct{ Results []struct{ Outcome string } }
	s.into(s.store(contacts...), &got)
	outcomes := make([]string, len(got.Results))
	for i, result := range got.Results {
		outcomes[i] = result.Outcome
	}
	return outcomes
}

func TestRequestsTakeTurnsAtTheWorkers(t *testing.T) {
	t.Parallel()
	const cost = 40 * time.Millisecond
	for workers, shortest := range map[int]time.Duration{1: 4 * cost, 2: 2 * cost} {
		site, s := startSite(t, sandbox.SiteOptions{Workers: workers, StartCost: cost, ContactCost: -1})
		began := time.Now()
		var callers sync.WaitGroup
		for id := range 4 {
			callers.Go(func() {
				_, _ = s.try(t.Context(), http.MethodPost, contactsPath, "application/json", envelope(change(strconv.Itoa(id+1), nil)))
			})
		}
		callers.Wait()
		require.GreaterOrEqual(t, time.Since(began), shortest, "%d workers", workers)
		require.Len(t, site.Users(), 4)
		stats := site.Stats()
		require.EqualValues(t, 4, stats.Requests)
		require.Zero(t, stats.Waiting)
		require.Eventually(t, func() bool { return site.Stats().Working == 0 }, patience, time.Millisecond)
	}
}

func TestPageWaitsInLineBehindABatch(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{Workers: 1, StartCost: -1, ContactCost: 100 * time.Millisecond, PageCost: -1})
	stored := make(chan time.Time, 1)
	go func() {
		_, _ = s.try(t.Context(), http.MethodPost, contactsPath, "application/json", envelope(change("1", nil), change("2", nil)))
		stored <- time.Now()
	}()
	require.Eventually(t, func() bool { return site.Stats().Working == 1 }, patience, time.Millisecond)
	page := s.get("/")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.body, "<h1>")
	require.Len(t, site.Users(), 2, "the batch was done before the page's turn came")
	<-stored
	require.EqualValues(t, 1, site.Stats().Pages)
	require.EqualValues(t, 1, site.Stats().InLine)
}

func TestPageTakesItsTime(t *testing.T) {
	t.Parallel()
	_, s := startSite(t, sandbox.SiteOptions{StartCost: 10 * time.Millisecond, PageCost: 60 * time.Millisecond})
	began := time.Now()
	require.Equal(t, http.StatusOK, s.get("/").status)
	require.GreaterOrEqual(t, time.Since(began), 60*time.Millisecond)
	require.Equal(t, http.StatusNotFound, s.get("/missing").status)
	require.Contains(t, s.get("/wp-json/other").body, "rest_no_route")
}

func TestContactsBeyondTheBudgetAreDeferred(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: 60 * time.Millisecond, Budget: 100 * time.Millisecond})
	require.Equal(t, []string{"created", "created", "deferred", "deferred"},
		s.outcomes(change("1", nil), change("2", nil), change("3", nil), change("4", nil)))
	require.Len(t, site.Users(), 2)
	require.EqualValues(t, 2, site.Stats().Deferred)
	site.SetCosts(0, 0)
	require.Equal(t, []string{"created", "created"}, s.outcomes(change("3", nil), change("4", nil)))
}

func TestPoisonedContactKillsItsRequestAlone(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	site.Poison("2")
	answer := s.store(change("1", nil), change("2", nil))
	require.Equal(t, http.StatusInternalServerError, answer.status)
	require.Contains(t, answer.body, "There has been a critical error on this website.")
	require.Empty(t, site.Users(), "nothing is stored")
	require.Equal(t, []string{"created"}, s.outcomes(change("1", nil)))
	site.Cure("2")
	require.Equal(t, []string{"created"}, s.outcomes(change("2", nil)))
}

func TestLostAnswerOfACreationIsRepeated(t *testing.T) {
	t.Parallel()
	creation := change("1", map[string]any{"request_id": "r1", "user_pass": "Generated-1", "generated_pass": true, "notify": true})
	for name, lose := range map[string]func(*sandbox.Site) error{
		"hang": func(site *sandbox.Site) error { return site.StoreThenHang(1) },
		"cut":  func(site *sandbox.Site) error { return site.StoreThenCut(1) },
	} {
		site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
		require.NoError(t, lose(site))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := s.try(ctx, http.MethodPost, contactsPath, "application/json", envelope(creation))
		cancel()
		require.Error(t, err, name)
		require.Eventually(t, func() bool { return len(site.Users()) == 1 }, patience, time.Millisecond, name)
		require.Equal(t, []string{"created"}, s.outcomes(creation), name)
		require.Len(t, site.Users(), 1, name)
		require.Len(t, site.Mails("c1@example.com"), 1, name)
		require.True(t, site.PasswordWorks("c1@example.com", "Generated-1"), name)
	}
}

func TestSiteFailsAndGoesDown(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1, PageCost: -1})
	require.NoError(t, site.Fail(http.StatusBadGateway, 1))
	require.Equal(t, http.StatusBadGateway, s.store(change("1", nil)).status)
	require.Empty(t, site.Users())

	require.NoError(t, site.GoDown())
	for range 3 {
		_, err := s.try(t.Context(), http.MethodGet, "/", "", "")
		require.Error(t, err)
	}
	site.ClearFaults()
	require.Equal(t, http.StatusOK, s.get("/").status)
	require.Error(t, site.Inject(sandbox.Fault{Route: "tags"}), "that route is the CRM's")
}

func TestTwoContactsOfOneAddressAtOnceMakeOneUser(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	var callers sync.WaitGroup
	for id := range 20 {
		callers.Go(func() {
			body := envelope(change(strconv.Itoa(id+1), map[string]any{"email": "one@example.com"}))
			_, _ = s.try(t.Context(), http.MethodPost, contactsPath, "application/json", body)
		})
	}
	callers.Wait()
	require.EqualValues(t, 20, site.Stats().Contacts)
	require.Len(t, site.UsersByEmail("one@example.com"), 1)
}
