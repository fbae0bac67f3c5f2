package bench

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/redisconn/redistest"
)

func onTestStage(t *testing.T, take func(ctx context.Context, s *stage) []Row) ([]Row, error) {
	t.Helper()
	return onStage(t.Context(), measurement{name: "test", take: take}, Options{Out: io.Discard}, t.TempDir())
}

func TestStageEndsAtTheFirstFailureAndTakesDownWhatItStarted(t *testing.T) {
	t.Parallel()
	var ended []string
	_, err := onTestStage(t, func(_ context.Context, s *stage) []Row {
		s.Cleanup(func() { ended = append(ended, "first") })
		s.Cleanup(func() { ended = append(ended, "second") })
		require.NoError(s, errors.New("the reason"), "while %s", "measuring")
		ended = append(ended, "never")
		return nil
	})
	require.ErrorContains(t, err, "the reason")
	require.ErrorContains(t, err, "while measuring")
	require.Equal(t, []string{"second", "first"}, ended)

	_, err = onTestStage(t, func(context.Context, *stage) []Row { panic("a mistake") })
	require.ErrorContains(t, err, "a mistake")

	rows, err := onTestStage(t, func(context.Context, *stage) []Row { return []Row{{What: "a figure"}} })
	require.NoError(t, err)
	require.Len(t, rows, 1)
}

// The growth runs stand on copies of one contact: those must be what
// submissions make.
func TestCopiesOfAContactArePendingContacts(t *testing.T) {
	t.Parallel()
	_, err := onTestStage(t, func(ctx context.Context, s *stage) []Row {
		server := redistest.Start(s)
		contacts, rdb := s.contacts(server.Addr)
		s.submit(ctx, contacts, firstID, 1)
		s.clone(ctx, rdb, firstID, firstID+1, 2500)
		require.EqualValues(s, 2501, s.stats(ctx, contacts).Pending)
		last := contact.Ref{Site: contact.DefaultSite, ID: idOf(firstID + 2500)}
		record, err := contacts.Lookup(ctx, last)
		require.NoError(s, err)
		require.Equal(s, pending.Pending, record.State)
		// A webhook of a copy finds its wake-up.
		before := s.wakeUps(ctx, rdb, contacts.Queues()[0])
		s.submit(ctx, contacts, firstID+2500, 1)
		require.Equal(s, before, s.wakeUps(ctx, rdb, contacts.Queues()[0]))
		require.EqualValues(s, 2501, before)
		return nil
	})
	require.NoError(t, err)
}

// wakeUps counts the tasks that wait at asynq.
func (s *stage) wakeUps(ctx context.Context, rdb *redis.Client, queue string) int64 {
	count, err := rdb.LLen(ctx, "asynq:{"+queue+"}:pending").Result()
	require.NoError(s, err)
	return count
}
