package ingest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// browse opens a webhook's address as a browser does.
func (w *waiting) browse(ctx context.Context, parameters string) <-chan answer {
	pages := make(chan answer, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+query+parameters, nil)
		if err != nil {
			pages <- answer{err: err}
			return
		}
		r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			pages <- answer{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		pages <- answer{response.StatusCode, string(body), err}
	}()
	return pages
}

// hears waits until senders may wait: Redis knows of ingest's subscription before
// ingest does.
func (w *waiting) hears(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		got := <-w.browse(t.Context(), "wpf_action=update&contact_id=999&wait=0.4")
		return got.err == nil && strings.Contains(got.body, "It takes longer than this answer waits.")
	}, longWait, 5*time.Millisecond)
}

func TestAPersonWhoWaitsSeesWhatWasDone(t *testing.T) {
	w := startWaiting(t, nil)
	w.hears(t)
	for id, c := range map[string]struct {
		event history.Event
		shown []string
	}{
		"5": {
			history.Event{Outcome: string(contact.Created), UserID: 42, Role: "<b>customer", PasswordReturned: true, Notes: []string{"field_kept:city", "relinked"}},
			[]string{"<h1>Synced</h1>", "User 42 was created for contact 5.", "Role: &lt;b&gt;customer.", "The CRM has the new password.", "Notes: field_kept:city, relinked."},
		},
		"6": {history.Event{Outcome: string(contact.Updated), UserID: 43}, []string{"User 43 was updated from contact 6."}},
		"7": {history.Event{Outcome: string(contact.Unchanged), UserID: 44}, []string{"User 44 already shows what contact 7 has."}},
		"8": {history.Event{Outcome: string(contact.Skipped)}, []string{"The site has no user for contact 8"}},
	} {
		pages := w.browse(t.Context(), "wpf_action=add&contact_id="+id)
		claim := w.claim(t, id)
		c.event.Kind, c.event.Action, c.event.Time = history.Synced, "add", time.Now()
		w.finish(t, claim, c.event)
		got := <-pages
		require.NoError(t, got.err)
		require.Equal(t, http.StatusOK, got.status)
		for _, text := range append(c.shown, "Spillway answered within ") {
			require.Contains(t, got.body, text)
		}
		require.NotContains(t, got.body, key)
	}
}

func TestAPersonWhoWaitsSeesWhyAContactIsParked(t *testing.T) {
	w := startWaiting(t, nil)
	w.hears(t)
	pages := w.browse(t.Context(), "wpf_action=add&contact_id=5")
	claim := w.claim(t, "5")
	event := history.Event{Time: time.Now(), Kind: history.Parked, Action: "add", Code: "no_email", Error: "the contact has <no> address"}
	_, err := claim.Park(t.Context(), pending.Failure{Code: event.Code, Text: event.Error}, event.Encode())
	require.NoError(t, err)
	got := <-pages
	require.NoError(t, got.err)
	require.Equal(t, http.StatusUnprocessableEntity, got.status)
	for _, text := range []string{"<h1>Parked</h1>", "Contact 5 cannot be synced as it is (add).", "the contact has &lt;no&gt; address", "<code>no_email</code>"} {
		require.Contains(t, got.body, text)
	}
}

func TestAPersonWhoWaitedInVainIsToldSo(t *testing.T) {
	w := startWaiting(t, nil)
	w.hears(t)
	got := <-w.browse(t.Context(), "wpf_action=update&contact_id=5&wait=1")
	require.NoError(t, got.err)
	require.Contains(t, got.body, "<h1>Queued</h1>")
	require.Contains(t, got.body, "It takes longer than this answer waits.")
}
