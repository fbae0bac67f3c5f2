package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/pulse"
	"spillway/internal/throttle"
	"spillway/internal/vault"
)

// crm sees whether the CRM lets Spillway in, and how quickly it answers.
func (e *examination) crm(ctx context.Context) {
	const check = "CRM"
	settings := e.settings.CRM
	switch {
	case settings.URL == "":
		e.skip(check, "SPILLWAY_CRM_URL is missing")
		return
	case settings.Token == "" && !settings.OAuth():
		e.skip(check, "SPILLWAY_CRM_TOKEN is missing, and so are the settings of OAuth")
		return
	case settings.OAuth() && !e.keyWorks:
		// With a wrong key the stored tokens look lost, and the first renewal
		// would be spent in their place.
		e.skip(check, "OAuth's tokens are sealed in Redis, and the secret key does not open what is there")
		return
	}
	seen := e.newAnswered()
	client, budget, err := assembly.CRM(assembly.CRMOptions{Settings: settings, Redis: e.rdb, Vault: e.vault, HTTP: seen.client()})
	if err != nil {
		e.fail(check, "mend the setting", "%v", err)
		return
	}
	const calls = 3
	var took []time.Duration
	for range calls {
		if e.crmFields, err = client.Fields(ctx); err != nil {
			break
		}
		took = append(took, seen.took)
	}
	if err != nil {
		e.fail(check, crmRemedy(err, settings), "%s: %v", settings.URL, err)
		return
	}
	slices.Sort(took)
	with := "the token"
	if settings.OAuth() {
		with = "OAuth"
	}
	e.ok(check, "%s lets Spillway in with %s; a call takes %s (median of %d)", settings.URL, with, millis(took[len(took)/2]), calls)
	e.certificate("CRM certificate", seen.expiry)
	e.noteClock("CRM", seen)
	if settings.OAuth() {
		e.oauth(ctx)
	}
	e.rate(ctx, budget)
	e.createdTag(ctx, client)
}

// createdTag looks for the tag of new users among all that the CRM has.
func (e *examination) createdTag(ctx context.Context, client *pulse.Client) {
	const check = "created tag"
	given := e.settings.CreatedTag
	if given == "" {
		return
	}
	tags, err := client.AllTags(ctx)
	if err != nil {
		e.skip(check, "%v", err)
		return
	}
	id, err := pulse.FindTag(tags, given)
	if err != nil {
		e.fail(check, "make the tag in the CRM, or set SPILLWAY_CREATED_TAG to the id or name of one that is there; adds wait until then", "%v", err)
		return
	}
	for _, tag := range tags {
		if tag.ID == id {
			e.ok(check, "new users' contacts get the tag %s, %q", id, tag.Name)
		}
	}
}

func crmRemedy(err error, settings config.CRM) string {
	var unavailable *pulse.Unavailable
	if !errors.As(err, &unavailable) {
		return "check that SPILLWAY_CRM_URL is the account's application address, and that its API answers"
	}
	switch {
	case (unavailable.Status == http.StatusUnauthorized || unavailable.Status == http.StatusForbidden) && settings.OAuth():
		return "authorise Spillway's OAuth client again and set SPILLWAY_CRM_REFRESH_TOKEN to the new token"
	case unavailable.Status == http.StatusUnauthorized || unavailable.Status == http.StatusForbidden:
		return "make a token in the CRM that may read and change contacts, and set SPILLWAY_CRM_TOKEN"
	case unavailable.Status == http.StatusTooManyRequests:
		return "wait; if it happens often lower SPILLWAY_CRM_RATE"
	case unavailable.Status == 0:
		return "check SPILLWAY_CRM_URL, and that this machine reaches it"
	}
	return "check that SPILLWAY_CRM_URL is the account's application address; else wait until the CRM is back"
}

// oauth tells where the tokens come from.
func (e *examination) oauth(ctx context.Context) {
	const check = "CRM OAuth"
	_, err := e.vault.Open(ctx, oauthEntry)
	switch {
	case errors.Is(err, vault.ErrMissing):
		e.warn(check, "make sure that all workers use this Redis", "the tokens are not in the vault, although one has just been used")
	case err != nil:
		e.fail(check, "see the lines on Redis and the secret key", "%v", err)
	default:
		e.ok(check, "the tokens are sealed in Redis, and the access token works")
	}
}

// rate tells what the workers may call, and what they do at present.
func (e *examination) rate(ctx context.Context, budget *throttle.Budget) {
	const check = "CRM rate"
	settings := e.settings.CRM
	if budget == nil {
		e.skip(check, "Redis does not answer")
		return
	}
	now, held, err := budget.Rate(ctx)
	const remedy = "if it happens often, lower SPILLWAY_CRM_RATE to what the CRM allows"
	switch {
	case err != nil:
		e.skip(check, "%v", err)
	case held > 0:
		e.warn(check, remedy, "the CRM asked all callers to wait (429); no call is made for another %s", held.Round(time.Second))
	case now < 0.99*settings.Rate:
		e.warn(check, remedy, "%.1f of %g calls per second: the CRM answered 429 a short while ago", now, settings.Rate)
	default:
		e.ok(check, "%g calls per second over all workers, %d at once per worker; a full update takes 2 calls per contact", settings.Rate, settings.Concurrency)
	}
}
