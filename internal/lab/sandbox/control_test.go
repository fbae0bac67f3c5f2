package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

func TestControlRoutesPlayTheCRMsUsers(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{Token: "right"})
	s.token = "" // none is needed

	s.into(s.json(http.MethodPut, "/control/contacts/5", map[string]any{"email": "a@example.com", "tags": []int{3, 4}}), new(any))
	require.Equal(t, []int{3, 4}, crm.Tags("5"))
	s.into(s.json(http.MethodPut, "/control/contacts/5", map[string]any{"first_name": "Ann"}), new(any))
	var got struct {
		Fields  map[string]any
		Tags    []int
		Updates []map[string]string
	}
	s.into(s.get("/control/contacts/5"), &got)
	require.Equal(t, "a@example.com", got.Fields["email"])
	require.NotContains(t, got.Fields, "tags")
	require.Equal(t, []int{3, 4}, got.Tags, "left alone without the member")
	require.EqualValues(t, "2", got.Fields["version"])

	require.Equal(t, http.StatusOK, s.call(http.MethodDelete, "/control/contacts/5", "", "").status)
	require.Equal(t, http.StatusNotFound, s.call(http.MethodDelete, "/control/contacts/5", "", "").status)
	require.Equal(t, http.StatusNotFound, s.get("/control/contacts/5").status)
	for path, body := range map[string]string{"/control/contacts/05": "{}", "/control/contacts/6": "[]"} {
		require.Equal(t, http.StatusBadRequest, s.call(http.MethodPut, path, "", body).status, path)
	}

	s.into(s.json(http.MethodPost, "/control/seed", map[string]any{"contacts": 20, "tags": 3}), new(any))
	require.Len(t, crm.IDs(), 20)
	require.Equal(t, http.StatusBadRequest, s.call(http.MethodPost, "/control/seed", "", `{"contacts":-1}`).status)

	s.into(s.json(http.MethodPost, "/control/latency", map[string]any{"milliseconds": 2.5}), new(any))
	require.JSONEq(t, `{"milliseconds":2.5}`, s.get("/control/latency").body)

	s.into(s.json(http.MethodPost, "/control/fail", map[string]any{"status": 500, "count": 1, "route": "contact"}), new(any))
	require.Equal(t, http.StatusBadRequest, s.call(http.MethodPost, "/control/fail", "", `{"mode":"burn"}`).status)
	s.token = "right"
	require.Equal(t, http.StatusInternalServerError, s.get("/api/v1/contacts/1").status)
	var stats sandbox.CRMStats
	s.into(s.get("/control/stats"), &stats)
	require.EqualValues(t, 1, stats.Spoilt)
	require.EqualValues(t, 1, stats.Calls["contact"])
}

func TestControlRoutesLookIntoTheSite(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	id := site.CreateUser(sandbox.NewUser{Login: "ann", Email: "a@example.com", Password: "first", ContactID: "7"})
	var got struct{ Users []sandbox.User }
	for path, want := range map[string]int{"": 1, "?contact=7": 1, "?contact=8": 0, "?email=A@example.com": 1} {
		s.into(s.get("/control/users"+path), &got)
		require.Len(t, got.Users, want, path)
	}
	var user sandbox.User
	s.into(s.get("/control/users/3"), &user)
	require.Equal(t, id, user.ID)
	require.Equal(t, http.StatusNotFound, s.get("/control/users/4").status)

	for password, works := range map[string]bool{"first": true, "second": false} {
		got := s.object(s.json(http.MethodPost, "/control/password", map[string]any{"login": "ann", "password": password}))
		require.Equal(t, works, got["works"])
	}
	require.JSONEq(t, `{"mails":[]}`, s.get("/control/mails?to=a@example.com").body)

	s.into(s.call(http.MethodPut, "/control/poison/7", "", ""), new(any))
	require.Equal(t, http.StatusInternalServerError, s.store(change("7", nil)).status)
	s.into(s.call(http.MethodDelete, "/control/poison/7", "", ""), new(any))
	require.Equal(t, http.StatusOK, s.store(change("7", nil)).status)

	s.into(s.json(http.MethodPost, "/control/latency", map[string]any{"start_milliseconds": 1}), new(any))
	require.JSONEq(t, `{"start_milliseconds":1,"contact_milliseconds":0}`, s.get("/control/latency").body)
	var stats sandbox.SiteStats
	s.into(s.get("/control/stats"), &stats)
	require.EqualValues(t, 1, stats.Killed)
	require.EqualValues(t, 1, stats.Users)
}

func TestControlRoutesAnswerThisMachineAlone(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.Handler{
		"CRM": sandbox.NewCRM(sandbox.CRMOptions{}), "site": sandbox.NewSite(sandbox.SiteOptions{}),
	} {
		for remote, want := range map[string]int{
			"192.0.2.1:1234": http.StatusForbidden, "127.0.0.1:1234": http.StatusOK, "[::1]:1234": http.StatusOK, "": http.StatusForbidden,
		} {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/control/stats", strings.NewReader(""))
			request.RemoteAddr = remote
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, want, recorder.Code, "%s from %q", name, remote)
		}
	}
}

func TestHangingAnswersEndWhenTheCRMIsClosed(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	require.NoError(t, crm.Fail(sandbox.Fault{Mode: sandbox.FaultHang}))
	ended := make(chan error, 1)
	go func() {
		_, err := s.try(t.Context(), http.MethodGet, "/api/v1/tags", "", "")
		ended <- err
	}()
	require.Eventually(t, func() bool { return crm.Stats().Spoilt == 1 }, patience, time.Millisecond)
	crm.Close()
	require.Error(t, <-ended)
}
