package ingest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

func TestWebhookIsNamedInItsAnswerTheLogAndItsReceipt(t *testing.T) {
	t.Parallel()
	var receipts []contact.Receipt
	b := setup(t, submit(func(_ context.Context, _ contact.Ref, _ contact.Intent, receipt contact.Receipt) (bool, error) {
		receipts = append(receipts, receipt)
		return false, nil
	}))
	for _, test := range []struct {
		given string
		kept  bool
	}{
		{"", false},
		{"caller-1_A", true},
		{strings.Repeat("a", 64), true},
		{strings.Repeat("a", 65), false},
		{"with space", false},
		{`quote"`, false},
		{"é", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, query+"wpf_action=update&contact_id=5", nil)
		r.Header.Set("X-Request-Id", test.given)
		w := b.do(r)
		require.Equal(t, http.StatusOK, w.Code)
		id := w.Header().Get("X-Request-Id")
		if test.kept {
			require.Equal(t, test.given, id)
		} else {
			require.Regexp(t, `^[A-Za-z0-9_-]{11}$`, id)
		}
		require.Equal(t, contact.Receipt{Action: contact.Update, RequestID: id}, receipts[len(receipts)-1])
		require.Contains(t, b.log.String(), `"request_id":"`+id+`"`)
	}
	w := b.call(http.MethodGet, "/?wpf_action=update", "")
	require.Equal(t, http.StatusForbidden, w.Code)
	require.NotEmpty(t, w.Header().Get("X-Request-Id"), "refusals have one, too")
}
