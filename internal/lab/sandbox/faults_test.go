package sandbox_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

const put = "/api/v1/contacts/1"

// spoilt makes a change that meets a fault, and reports what the caller sees.
func spoilt(t *testing.T, fault sandbox.Fault) (crm *sandbox.CRM, answer response, err error) {
	t.Helper()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("1", nil, nil)
	require.NoError(t, crm.Fail(fault))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if fault.Mode != sandbox.FaultHang && fault.Mode != sandbox.FaultHangAfter {
		ctx = t.Context()
	}
	answer, err = s.try(ctx, http.MethodPut, put, "application/json", `{"a":"b"}`)
	require.EqualValues(t, 1, crm.Stats().Spoilt)
	require.Equal(t, http.StatusOK, s.get(put).status, "the fault is over")
	return crm, answer, err
}

func TestFaultsTakeTheCallsPlace(t *testing.T) {
	t.Parallel()
	t.Run("Status", func(t *testing.T) {
		t.Parallel()
		crm, answer, err := spoilt(t, sandbox.Fault{Status: http.StatusTooManyRequests, RetryAfter: 1500 * time.Millisecond})
		require.NoError(t, err)
		require.Equal(t, http.StatusTooManyRequests, answer.status)
		require.Equal(t, "2", answer.header.Get("Retry-After"))
		require.Empty(t, crm.Updates("1"))
	})
	t.Run("Garbage", func(t *testing.T) {
		t.Parallel()
		crm, answer, err := spoilt(t, sandbox.Fault{Mode: sandbox.FaultGarbage})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.status)
		require.Contains(t, answer.body, "<title>")
		require.Empty(t, crm.Updates("1"))
	})
	t.Run("Reset", func(t *testing.T) {
		t.Parallel()
		crm, _, err := spoilt(t, sandbox.Fault{Mode: sandbox.FaultReset})
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, crm.Updates("1"))
	})
	t.Run("Hang", func(t *testing.T) {
		t.Parallel()
		crm, _, err := spoilt(t, sandbox.Fault{Mode: sandbox.FaultHang})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, crm.Updates("1"))
	})
}

func TestFaultsThatLoseTheAnswerKeepTheEffect(t *testing.T) {
	t.Parallel()
	t.Run("Half", func(t *testing.T) {
		t.Parallel()
		crm, answer, err := spoilt(t, sandbox.Fault{Mode: sandbox.FaultHalf})
		require.Error(t, err)
		require.Equal(t, http.StatusOK, answer.status)
		require.NotEmpty(t, answer.body)
		require.Len(t, crm.Updates("1"), 1)
	})
	t.Run("HangAfter", func(t *testing.T) {
		t.Parallel()
		crm, _, err := spoilt(t, sandbox.Fault{Mode: sandbox.FaultHangAfter})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, crm.Updates("1"), 1)
	})
}

func TestLateCallTakesEffectAfterItsCallerHasGivenUp(t *testing.T) {
	t.Parallel()
	site, s := startSite(t, sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	require.NoError(t, site.Inject(sandbox.Fault{Mode: sandbox.FaultLate, Route: "contacts", After: 50 * time.Millisecond}))
	ctx, giveUp := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := s.try(ctx, http.MethodPost, contactsPath, "application/json", envelope(change("1", nil)))
		given <- err
	}()
	require.Eventually(t, func() bool { return site.Stats().Late == 1 }, patience, time.Millisecond)
	require.Empty(t, site.Users())
	giveUp()
	require.ErrorIs(t, <-given, context.Canceled)
	require.Eventually(t, func() bool { return site.Stats().Late == 0 }, patience, time.Millisecond)
	require.Len(t, site.Users(), 1)
}

func TestFaultsEnd(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("1", nil, nil)

	require.NoError(t, crm.FailNext(2, http.StatusBadGateway))
	for _, want := range []int{http.StatusBadGateway, http.StatusBadGateway, http.StatusOK} {
		require.Equal(t, want, s.get(put).status)
	}

	require.NoError(t, crm.Fail(sandbox.Fault{For: 100 * time.Millisecond}))
	require.Equal(t, http.StatusServiceUnavailable, s.get(put).status)
	require.Eventually(t, func() bool { return s.get(put).status == http.StatusOK }, patience, 10*time.Millisecond)

	require.NoError(t, crm.Fail(sandbox.Fault{For: time.Hour}))
	require.Equal(t, http.StatusServiceUnavailable, s.get(put).status)
	crm.ClearFaults()
	require.Equal(t, http.StatusOK, s.get(put).status)
}

func TestFaultsOfOneRouteLeaveTheOthers(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("1", nil, nil)
	require.NoError(t, crm.Fail(sandbox.Fault{Route: "tags"}))
	require.Equal(t, http.StatusOK, s.get(put).status)
	require.Equal(t, http.StatusServiceUnavailable, s.get(put+"/tags").status)
	require.Equal(t, http.StatusOK, s.get(put+"/tags").status)
}

func TestWrongFaultsAreRefused(t *testing.T) {
	t.Parallel()
	crm := sandbox.NewCRM(sandbox.CRMOptions{})
	for _, fault := range []sandbox.Fault{
		{Mode: "burn"}, {Status: 99}, {Count: -1}, {For: -1}, {After: -1}, {Route: "nowhere"},
	} {
		require.Error(t, crm.Fail(fault), "%+v", fault)
	}
}
