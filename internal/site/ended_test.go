package site_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

func TestContactThatAPluginRedirectsIsParkedAlone(t *testing.T) {
	t.Parallel()
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		if slices.Contains(ids, "13") {
			w.Header().Set("Location", "https://elsewhere.example.com/secret?x=1")
			w.WriteHeader(http.StatusFound)
			return
		}
		answer(w, ids, updated)
	})
	_, errs := storeAll(t.Context(), client(t, url, nil), upTo(24)...)
	for id, err := range errs {
		if id != 13 {
			require.NoError(t, err, "contact %d is a neighbour", id)
		}
	}
	refusal, ok := contact.AsRefusal(errs[13])
	require.True(t, ok, "%v", errs[13])
	require.Equal(t, "site_rejected", refusal.Refusal())
	require.Contains(t, errs[13].Error(), "a plugin redirects while this user is stored (to host elsewhere.example.com)")
	for _, word := range []string{"SPILLWAY_SITE_URL", "secret"} {
		require.NotContains(t, errs[13].Error(), word)
	}
}

func TestContactThatEndsTheRequestIsToldWithThePlace(t *testing.T) {
	t.Parallel()
	url := scripted(t, func(w http.ResponseWriter, _ []string) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"code":"refused","message":"A plugin ends the request while this user is stored, in the hook user_register (c1@example.org.php:2).","permanent":true}`))
	})
	_, err := client(t, url, nil).Store(t.Context(), add(1))
	refusal, ok := contact.AsRefusal(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "site_fatal", refusal.Refusal())
	require.Contains(t, err.Error(), "A plugin ends the request while this user is stored, in the hook user_register")
	require.NotContains(t, err.Error(), "PHP error log")
	require.NotContains(t, err.Error(), "c1@example.org")
}

func TestDatabaseWithoutNamedLocksIsAnOutageWithAName(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		requests.Add(1)
		answer(w, ids, `{"contact_id":%q,"outcome":"failed","error":{"code":"no_locks","message":"The database refuses named locks.","permanent":false}}`)
	})
	_, err := client(t, url, nil).Store(t.Context(), add(1))
	_, ok := contact.AsOutage(err)
	require.True(t, ok, "%v", err)
	require.Contains(t, err.Error(), "GET_LOCK")
	var named interface{ Code() string }
	require.ErrorAs(t, err, &named)
	require.Equal(t, "no_locks", named.Code())
	require.EqualValues(t, 1, requests.Load())
}
