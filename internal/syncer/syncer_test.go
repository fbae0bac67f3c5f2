package syncer_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/syncer"
	"spillway/internal/vault"
)

var errCut = errors.New("cut off")

// cutter wraps a syncer's parts and cuts a pass off at its nth outward step,
// before the step or, with after set, when the step's effect is there and its
// answer is lost.
type cutter struct {
	syncer.CRM
	syncer.Site
	syncer.Vault
	at, steps int
	after     bool
}

func (c *cutter) step(do func() error) error {
	c.steps++
	if c.steps != c.at {
		return do()
	}
	if c.after {
		_ = do()
	}
	return errCut
}

func (c *cutter) Update(ctx context.Context, id string, fields map[string]string) error {
	return c.step(func() error { return c.CRM.Update(ctx, id, fields) })
}

func (c *cutter) ApplyTags(ctx context.Context, id string, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	return c.step(func() error { return c.CRM.ApplyTags(ctx, id, tags) })
}

func (c *cutter) RemoveTags(ctx context.Context, id string, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	return c.step(func() error { return c.CRM.RemoveTags(ctx, id, tags) })
}

func (c *cutter) Store(ctx context.Context, change contact.Change) (result contact.Result, err error) {
	err = c.step(func() (err error) { result, err = c.Site.Store(ctx, change); return err })
	return result, err
}

func (c *cutter) SealOnce(ctx context.Context, name string, plain []byte, ttl time.Duration) (stored []byte, err error) {
	err = c.step(func() (err error) { stored, err = c.Vault.SealOnce(ctx, name, plain, ttl); return err })
	return stored, err
}

func (c *cutter) Delete(ctx context.Context, name string) error {
	return c.step(func() error { return c.Vault.Delete(ctx, name) })
}

type bundle struct {
	stand *sandbox.Running
	crm   *pulse.Client
	site  *site.Client
	rdb   *redis.Client
	last  int64 // number of the last pass

	createdTag syncer.Tag // nil: none
	noReturn   bool       // of passwords
}

func setup(t *testing.T) *bundle {
	t.Helper()
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "token"},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "app password", StartCost: -1, ContactCost: -1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	b := &bundle{stand: stand, rdb: redistest.Start(t).Client()}
	b.crm, err = pulse.New(pulse.Options{URL: stand.CRMURL, Tokens: pulse.Fixed("token")})
	require.NoError(t, err)
	b.site, err = site.New(site.Options{
		URL: stand.SiteURL, User: "spillway", AppPassword: "app password", RolesAllowed: []string{"customer", "subscriber"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.site.Close(context.Background()) })
	return b
}

func (b *bundle) vault(t *testing.T, key string) *vault.Vault {
	t.Helper()
	v, err := vault.New(b.rdb, []byte(strings.Repeat(key, 32)), "spw:v:")
	require.NoError(t, err)
	return v
}

func (b *bundle) parts(t *testing.T, key string) *cutter {
	t.Helper()
	return &cutter{CRM: b.crm, Site: b.site, Vault: b.vault(t, key)}
}

func (b *bundle) pass(t *testing.T, parts *cutter, id int, action contact.Action) (contact.Result, error) {
	t.Helper()
	return b.prepared(t, parts, id, action)()
}

// prepared returns the next pass over a contact, for any goroutine to run.
func (b *bundle) prepared(t *testing.T, parts *cutter, id int, action contact.Action) func() (contact.Result, error) {
	t.Helper()
	fields, err := contact.ParseFieldMap("user_email=email,first_name=first_name,user_pass=own_password")
	require.NoError(t, err)
	options := syncer.Options{
		Fields: fields, ReturnPassword: "wp_password", ReturnFields: map[string]string{"user_id": "wp_id"}, CreatedTag: b.createdTag,
	}
	if b.noReturn {
		options.ReturnPassword = ""
	}
	s := syncer.New(parts, parts, parts, options)
	b.last++
	ctx, asOf := t.Context(), b.last
	return func() (contact.Result, error) {
		return s.Pass(ctx, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}, contact.Intent{Action: action, Notify: true}, asOf)
	}
}

// requireRight checks what must hold after the creation of contact 1, however it
// came about.
func (b *bundle) requireRight(t *testing.T) {
	t.Helper()
	const email = "one@example.org"
	require.Len(t, b.stand.Site.UsersByContact("1"), 1)
	require.Len(t, b.stand.Site.UsersByEmail(email), 1)
	require.Len(t, b.stand.Site.Mails(email), 1)
	record, ok := b.stand.CRM.Contact("1")
	require.True(t, ok)
	password, _ := record["wp_password"].(string)
	require.NotEmpty(t, password)
	require.True(t, b.stand.Site.PasswordWorks(email, password), "the password in the CRM must log in")
	keys, err := b.rdb.Keys(t.Context(), "spw:v:*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "the vault forgets a confirmed password")
}

func TestPassCutOffAtAnyStepOfACreationIsMadeGoodByTheNext(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for at := 1; at <= 5; at++ { // seal, store, return, confirm, forget
			t.Run(strconv.Itoa(at)+" after="+strconv.FormatBool(after), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
				parts := b.parts(t, "k")
				parts.at, parts.after = at, after
				_, err := b.pass(t, parts, 1, contact.Add)
				require.ErrorIs(t, err, errCut)
				_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
				require.NoError(t, err)
				b.requireRight(t)
				passwords := make(map[string]bool)
				for _, update := range b.stand.CRM.Updates("1") {
					passwords[update["wp_password"]] = true
				}
				require.Len(t, passwords, 1, "every return carries the same password")
			})
		}
	}
}

func TestLostOrUnreadableVaultEntryGivesTheUnconfirmedUserANewPassword(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"entry lost": "k", "key changed": "x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, nil)
			parts := b.parts(t, "k")
			parts.at = 3 // the site has the user, the CRM not yet the password
			_, err := b.pass(t, parts, 1, contact.Add)
			require.ErrorIs(t, err, errCut)
			if key == "k" {
				require.NoError(t, b.rdb.FlushDB(t.Context()).Err())
			}
			_, err = b.pass(t, b.parts(t, key), 1, contact.Add)
			require.NoError(t, err)
			b.requireRight(t)
		})
	}
}

func TestTagsReadTheContactOnlyWhenItsIDFindsNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	before := b.stand.CRM.Stats().Calls["contact"]
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.UpdateTags)
	require.NoError(t, err)
	require.Equal(t, before, b.stand.CRM.Stats().Calls["contact"])

	b.stand.CRM.Delete("1")
	b.stand.CRM.Put("2", map[string]any{"email": "one@example.org"}, []int{9}) // merged into another id
	result, err := b.pass(t, b.parts(t, "k"), 2, contact.UpdateTags)
	require.NoError(t, err)
	require.Equal(t, contact.Updated, result.Outcome)
	require.Equal(t, `a:1:{i:0;s:1:"9";}`, b.stand.Site.UsersByContact("2")[0].RawTags)
}

func TestFailureOfTheCRMNeverWipesTags(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	for _, fault := range []sandbox.Fault{
		{Status: 401, Route: "tags", Count: 9},
		{Status: 429, Route: "tags", Count: 9},
		{Status: 503, Route: "tags", Count: 9},
		{Mode: sandbox.FaultGarbage, Route: "tags", Count: 9},
		{Mode: sandbox.FaultReset, Route: "tags", Count: 9},
	} {
		require.NoError(t, b.stand.CRM.Fail(fault))
		for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
			_, err := b.pass(t, b.parts(t, "k"), 1, action)
			require.Error(t, err)
		}
		b.stand.CRM.ClearFaults()
	}
	require.Equal(t, `a:1:{i:0;s:1:"4";}`, b.stand.Site.UsersByContact("1")[0].RawTags)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{})
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.UpdateTags)
	require.NoError(t, err)
	require.Empty(t, b.stand.Site.UsersByContact("1")[0].RawTags, "no tags is an answer, too")
}

func TestContactsOwnPasswordIsUsedAndNotReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org", "own_password": "own & chosen"}, nil)
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	require.True(t, b.stand.Site.PasswordWorks("one@example.org", "own & chosen"))
	require.Zero(t, b.stand.CRM.Received("wp_password"))
	require.Equal(t, 1, b.stand.CRM.Received("wp_id"))
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	require.Equal(t, 1, b.stand.CRM.Received("wp_id"), "what stands in the CRM is not written again")
}

// replacing is a site on which a plugin gives new users passwords of its own.
type replacing struct{ syncer.Site }

func (s replacing) Store(ctx context.Context, change contact.Change) (contact.Result, error) {
	result, err := s.Site.Store(ctx, change)
	if change.Action == contact.Add.String() {
		result.Notes = append(result.Notes, "password_changed")
	}
	return result, err
}

func TestPasswordThatAPluginReplacedIsNotReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, nil)
	parts := b.parts(t, "k")
	parts.Site = replacing{b.site}
	result, err := b.pass(t, parts, 1, contact.Add)
	require.NoError(t, err)
	require.Equal(t, contact.Created, result.Outcome)
	require.False(t, result.PasswordReturned)
	require.Zero(t, b.stand.CRM.Received("wp_password"))
	keys, err := b.rdb.Keys(t.Context(), "spw:v:*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "the vault forgets it")
}
