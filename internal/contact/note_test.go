package contact_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

func TestNotesAreExplained(t *testing.T) {
	t.Parallel()
	require.Contains(t, contact.ExplainNote("other_contact:7"), "contact 7")
	require.Contains(t, contact.ExplainNote("field_kept:user_url"), "user_url")
	require.Contains(t, contact.ExplainNote("field_refused:mepr-address:one"), "mepr-address:one")
	require.NotEqual(t, "relinked", contact.ExplainNote("relinked"))
	require.Equal(t, "from_tomorrow:x", contact.ExplainNote("from_tomorrow:x"))
}
