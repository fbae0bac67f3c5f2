package bench

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
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
