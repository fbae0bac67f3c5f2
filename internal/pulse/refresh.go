package pulse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	attemptRefresh  = "refreshing the CRM's access token"
	refreshedRemedy = "authorise Spillway's OAuth client again and set SPILLWAY_CRM_REFRESH_TOKEN to the new token; " +
		"check SPILLWAY_CRM_CLIENT_ID and SPILLWAY_CRM_CLIENT_SECRET; WP Fusion needs an OAuth client of its own"
)

// refresh obtains a new pair under the lock, and stores it.
func (t *OAuth) refresh(ctx context.Context, old string) (string, error) {
	// The refresh token is spent with the call, whether or not anybody waits
	// for the answer.
	ctx = context.WithoutCancel(ctx)
	p, interrupted, err := t.prepare(ctx, old)
	if err != nil {
		return "", err
	}
	if p.Access != "" && p.Access != old {
		return t.adopt(p), nil
	}
	next, fresh, err := t.request(ctx, p, interrupted)
	if err != nil {
		return "", err
	}
	t.unstored, t.unstoredFrom = &next, p.Refresh
	deadline := time.Now().Add(storeTime)
	for {
		err := t.store(ctx, next)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return "", err
		}
		time.Sleep(storePause)
	}
	t.remember(ctx, "fresh", next.Access, max(fresh, time.Millisecond))
	return next.Access, nil
}

// prepare reads the pair to refresh and notes that its refresh token is about
// to be presented. With a Redis that answers slowly it gives up before the lock
// can end: another worker would present the same token.
func (t *OAuth) prepare(ctx context.Context, old string) (p pair, interrupted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	if err := t.settle(ctx); err != nil {
		return pair{}, false, err
	}
	// Another worker may have refreshed between the last look and the lock.
	if p, _, err = t.load(ctx); err != nil || p.Access != "" && p.Access != old {
		return p, false, err
	}
	if err := t.worthRefreshing(ctx, p); err != nil {
		return pair{}, false, err
	}
	// An earlier worker may have presented the token and ended before it knew,
	// or stored, what came of it. The token is presented again all the same: the
	// call may never have arrived.
	interrupted = t.remembered(ctx, "presented", p.Refresh)
	t.remember(ctx, "presented", p.Refresh, 0)
	if ctx.Err() != nil {
		return pair{}, false, &Unavailable{
			Attempt: attemptRefresh, Reason: "Redis answers too slowly to refresh under its lock: see what keeps it busy", Err: ctx.Err(),
		}
	}
	return p, interrupted, nil
}

// settle stores a pair that an earlier refresh could not store. It gives it up
// if the vault holds its successor: then it was stored after all, and another
// worker has gone on from there.
func (t *OAuth) settle(ctx context.Context) error {
	if t.unstored == nil {
		return nil
	}
	p, found, err := t.load(ctx)
	if err != nil {
		return err
	}
	if found && p.Refresh != t.unstoredFrom && p.Refresh != t.unstored.Refresh {
		t.unstored = nil
		t.adopt(p)
		return nil
	}
	return t.store(ctx, *t.unstored)
}

// store seals a new pair; only then it is used.
func (t *OAuth) store(ctx context.Context, p pair) error {
	plain, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("storing the CRM's new tokens: %w", err)
	}
	if err := t.o.Vault.Seal(ctx, t.o.Name, plain, 0); err != nil {
		return fmt.Errorf("storing the CRM's new tokens, which are lost if this worker ends before: %w", err)
	}
	t.unstored = nil
	t.adopt(p)
	return nil
}

// request exchanges a pair for the next one. fresh is how long the new access
// token counts as just issued, half its life at most.
func (t *OAuth) request(ctx context.Context, p pair, interrupted bool) (next pair, fresh time.Duration, err error) {
	r := request{attempt: attemptRefresh, method: http.MethodPost, kind: form, body: []byte(url.Values{
		"grant_type":    {"refresh_token"},
		"client_id":     {t.o.ClientID},
		"client_secret": {t.o.ClientSecret},
		"refresh_token": {p.Refresh},
	}.Encode())}
	a, took, err := send(ctx, t.http, t.o.Timeout, t.o.TokenURL, r, nil)
	t.observe(Call{Route: "token", Status: a.status, Duration: took})
	if err != nil {
		return pair{}, 0, noAnswer(ctx, attemptRefresh, err, t.o.Timeout)
	}
	unavailable := func(reason string, retryAfter time.Duration) error {
		return &Unavailable{Attempt: attemptRefresh, Status: a.status, RetryAfter: retryAfter, Reason: reason}
	}
	if a.status != http.StatusOK {
		t.remember(ctx, "presented", "", 0) // what came of it is known
	}
	// Members are read one by one: the old token is spent, so a strange
	// member must not cost the new one.
	value, isJSON := decode(a.body)
	told := asObject(value)
	access, _ := told["access_token"].(string)
	code, failed := told["error"]
	switch {
	case isBusy(a.status):
		return pair{}, 0, unavailable(fmt.Sprintf("the CRM is busy or away (status %d)", a.status), retryAfter(a.header, time.Now()))
	case access == "" && failed, a.status == http.StatusBadRequest, a.status == http.StatusUnauthorized:
		return pair{}, 0, t.refused(ctx, p, a.status, code, interrupted)
	case a.status >= 300 && a.status < 400:
		return pair{}, 0, unavailable("the CRM answered with a redirect"+target(a.header)+": set SPILLWAY_CRM_TOKEN_URL to the address that answers itself", shutOut)
	case a.status >= 400, !isJSON, access == "":
		return pair{}, 0, unavailable(fmt.Sprintf("the answer holds no token (status %d): check SPILLWAY_CRM_TOKEN_URL", a.status), shutOut)
	}
	next = pair{Access: access, Refresh: p.Refresh, Seed: p.Seed}
	if refresh, ok := told["refresh_token"].(string); ok && refresh != "" {
		next.Refresh = refresh // OAuth 2 allows to keep the old one
	}
	fresh = freshTime
	if text, ok := idText(told["expires_in"]); ok {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
			fresh = time.Duration(min(seconds/2, freshTime.Seconds()) * float64(time.Second))
		}
	}
	return next, fresh, nil
}

// refused notes for all workers that a refresh token is spent or revoked.
func (t *OAuth) refused(ctx context.Context, p pair, status int, code any, interrupted bool) error {
	t.remember(ctx, "refused", p.Refresh, refusedTime)
	detail := knownCode(code)
	if interrupted {
		detail += "; a worker had presented it before and ended, or got no answer, before the next one was stored"
	}
	return t.refusedError(status, detail)
}

func (t *OAuth) refusedError(status int, detail string) error {
	return &Unavailable{
		Attempt: attemptRefresh, Status: status, RetryAfter: refusedTime,
		Reason: "the CRM refused the refresh token (" + detail + "): " + refreshedRemedy,
	}
}

// knownCode repeats one of the error codes that OAuth has for a refresh.
func knownCode(code any) string {
	text, _ := code.(string)
	switch text {
	case "invalid_request", "invalid_client", "invalid_grant", "unsupported_grant_type", "invalid_scope":
		return strings.ReplaceAll(text, "_", " ")
	}
	return "without a known reason"
}
