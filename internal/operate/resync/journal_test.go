package resync_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/operate/resync"
)

func TestListReadsTheFirstColumn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ids.csv")
	require.NoError(t, os.WriteFile(path, []byte("\ufeffcontact id,email\n17,a@example.com\n\"18\";x\r\n# a comment\n\n19 \n17\n"), 0o600))
	list, err := resync.ReadList(path)
	require.NoError(t, err)
	b := setup(t)
	result, err := b.run(t.Context(), t, list, nil)
	require.NoError(t, err)
	require.Equal(t, resync.Result{Selected: 3, Skipped: 1, Queued: 3}, result)
}

func TestListNamesTheLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ids")
	for content, says := range map[string]string{
		"1\n-2\n3\nx\n":          "line 2, 4",
		"":                       "holds no contact ids",
		"id\n":                   "holds no contact ids",
		"1\na\nb\nc\nd\ne\nf":    "6 lines hold no contact id, the first are 2, 3, 4, 5, 6",
		"1\n1000000000000000000": "line 2",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := resync.ReadList(path)
		require.ErrorContains(t, err, says)
	}
	_, err := resync.ReadList(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestJournalBelongsToOneSelectionAndOneRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "journal")
	first, err := resync.OpenJournal(path, "tag 7", false)
	require.NoError(t, err)
	require.False(t, first.Found)
	_, err = resync.OpenJournal(path, "tag 7", false)
	require.ErrorIs(t, err, resync.ErrBusy)
	require.NoError(t, first.Close())
	for _, test := range []struct {
		selection string
		restart   bool
		found     bool
	}{{"tag 7", false, true}, {"tag 8", false, false}, {"tag 8", false, true}, {"tag 8", true, false}} {
		journal, err := resync.OpenJournal(path, test.selection, test.restart)
		require.NoError(t, err)
		require.Equal(t, test.found, journal.Found, "%+v", test)
		require.NoError(t, journal.Close())
	}
}

// A process that is killed in mid-write leaves half a line.
func TestAHalfWrittenLineIsIgnored(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	whole := `{"resync":"all tagged","at":"2026-01-02T03:04:05Z"}
{"tag":"1","page":1,"total":4,"ids":["1","2","2","x"]}
{"tag":"1","page":2,"total":4,"ids":["3","4"]}
{"tag":"1","read":true}
{"complete":true}
{"queued":2}
`
	for half, want := range map[string][3]any{
		"":                               {2, 4, true},
		`{"queued":`:                     {2, 4, true},
		`{"queued":4}`:                   {2, 4, true}, // without its line break it may be cut off
		"{\"queued\":99}\n":              {4, 4, true},
		"\x00\x00\x00\n{\"queued\":4}\n": {2, 4, true},
	} {
		require.NoError(t, os.WriteFile(path, []byte(whole+half), 0o600))
		journal, err := resync.OpenJournal(path, "all tagged", false)
		require.NoError(t, err)
		queued, selected, complete := journal.Queued()
		require.Equal(t, want, [3]any{queued, selected, complete}, "%q", half)
		require.NoError(t, journal.Close())
	}
}
