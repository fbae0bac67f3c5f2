package torture

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
)

// askers is a run whose senders wait, with three programs of each kind.
func askers(t *testing.T, mode Mode) *run {
	t.Helper()
	redistest.Need(t)
	bin, err := binaries()
	require.NoError(t, err)
	r, err := setUp(t.Context(), Options{Mode: mode, Seed: 1, Bin: bin, Dir: t.TempDir(), Contacts: 30}, 3)
	require.NoError(t, err)
	t.Cleanup(r.tearDown)
	require.NoError(t, r.addIngest("ingest-3"))
	for _, p := range r.people {
		p.poisoned = false
		r.site.Cure(p.ref())
	}
	r.awaitAnswers(t, 0)
	return r
}

// awaitAnswers adds a contact until every ingest answers that it is done.
func (r *run) awaitAnswers(t *testing.T, n int) {
	t.Helper()
	for i := range r.ingests {
		var last error
		require.NoError(t, poll(t.Context(), 2*time.Minute, "waiting for an answer that waits", func(ctx context.Context) error {
			defer wait(ctx, 50*time.Millisecond)
			said, err := r.add(ctx, n, i, "10")
			if err == nil && said.Status != "synced" {
				err = fmt.Errorf("%s answers %s", r.ingests[i].name, said.Status)
			}
			if ctx.Err() == nil || last == nil {
				last = err // one that the end of the wait cuts off says nothing
			}
			return last
		}))
	}
}

// add edits a contact and sends its add to one of the ingests.
func (r *run) add(ctx context.Context, n, ingest int, wait string) (told, error) {
	p := r.people[n]
	made := p.edit(r.crm, contact.Add)
	said, err := r.senders.ask(ctx, p, made, r.webhookURL(ingest), wait, n%3)
	if err == nil {
		p.keep(made)
	}
	return said, err
}

// requireKept waits until all that was acknowledged is carried out, and
// requires that no answer was a lie.
func (r *run) requireKept(t *testing.T) {
	t.Helper()
	require.NoError(t, poll(t.Context(), 3*time.Minute, "waiting for the last contact", func(ctx context.Context) error {
		defer wait(ctx, 100*time.Millisecond)
		stats, err := r.stats(ctx)
		if open := stats.Pending + stats.Active + stats.Retrying; err == nil && open > 0 {
			err = fmt.Errorf("%d contacts have outstanding work", open)
		}
		return err
	}))
	report := &Report{}
	for _, p := range r.people {
		r.verifyPerson(p, report)
	}
	require.Empty(t, report.Problems)
	require.Empty(t, r.senders.lies)
}

func TestEachIngestHearsOfThePassesOfEachWorker(t *testing.T) {
	t.Parallel()
	r := askers(t, Always)
	said := make(chan told, len(r.people))
	for n := range r.people {
		go func() {
			answer, err := r.add(t.Context(), n, n, "30")
			if err != nil {
				answer.Status = err.Error()
			}
			said <- answer
		}()
	}
	for range r.people {
		require.Equal(t, "synced", (<-said).Status)
	}
	r.requireKept(t)
}

func TestAnswerDoesNotWaitForAKilledWorker(t *testing.T) {
	t.Parallel()
	r := askers(t, Always)
	r.crm.SetLatency(time.Minute) // no pass ends
	said := make(chan told, 1)
	go func() {
		answer, _ := r.add(t.Context(), 1, 0, "8")
		said <- answer
	}()
	require.Eventually(t, func() bool {
		stats, err := r.stats(t.Context())
		return err == nil && stats.Active == 1
	}, 30*time.Second, 10*time.Millisecond, "its pass is under way")
	for _, worker := range r.workers {
		worker.kill()
	}
	r.crm.SetLatency(crmLatency)
	require.Equal(t, "queued", (<-said).Status)
	for _, worker := range r.workers {
		require.NoError(t, worker.start())
	}
	r.requireKept(t)
}

func TestAnswersAreTrueWhileRedisFailsOver(t *testing.T) {
	t.Parallel()
	r := askers(t, Sentinel)
	said := make(chan told, len(r.people))
	for n := range r.people[1:] {
		go func() {
			answer, err := r.add(t.Context(), n+1, n, "10")
			if err != nil {
				answer.Status = "refused"
			}
			said <- answer
		}()
	}
	require.NoError(t, r.store.crash(t.Context(), time.Second))
	for range r.people[1:] {
		require.Contains(t, []string{"synced", "queued", "refused"}, (<-said).Status)
	}
	r.awaitAnswers(t, 1)
	r.requireKept(t)
}
