package torture

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

// trap is the moment at which a worker is to be killed: at a call to the CRM or
// to the site, or at a command to Redis, each before it takes effect or after,
// when its answer is not there yet.
type trap struct {
	contact string
	step    step   // of a call
	redis   string // or, of a command: a name and a text in a key, with a space
	after   bool

	once      sync.Once
	sprung    chan struct{}
	confirmed atomic.Bool
}

func (tr *trap) String() string {
	when := "before "
	if tr.after {
		when = "after "
	}
	return when + string(tr.step) + tr.redis
}

func (tr *trap) spring() { tr.once.Do(func() { close(tr.sprung) }) }

func (tr *trap) matches(calls []call) bool {
	for _, c := range calls {
		if c.contact == tr.contact && c.step == tr.step {
			return true
		}
	}
	return false
}

// arrived and acted never let the call go on: whoever made it gets killed.
func (tr *trap) arrived(ctx context.Context, calls []call) {
	if !tr.after && tr.matches(calls) {
		tr.spring()
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
}

func (tr *trap) acted(ctx context.Context, calls []call, _ []byte) {
	if tr.after && tr.matches(calls) {
		tr.spring()
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
	for _, c := range calls {
		if c.contact == tr.contact && c.step == confirming {
			tr.confirmed.Store(true)
		}
	}
}

// command tells whether a command to Redis is not to be answered, and whether
// it is the trap's. Scripts are known by the key that they change and by what
// has happened before: the first over the record claims the contact, the first
// after the confirmation ends the claim. What a worker that is about to be
// killed wants of other contacts is never answered: it shall not make good what
// an earlier one left.
func (tr *trap) command(words []string) (silent, sprung bool) {
	record := runsOver(words, ":c:default:"+tr.contact)
	switch {
	case !record && runsOver(words, ":c:default:"):
		return true, false
	case tr.redis == "claim":
		sprung = record
	case tr.redis == "finish":
		sprung = record && tr.confirmed.Load()
	case tr.redis == "seal":
		sprung = runsOver(words, "password:default:"+tr.contact)
	case tr.redis == "forget":
		sprung = len(words) > 1 && strings.EqualFold(words[0], "del") && strings.HasSuffix(words[1], "password:default:"+tr.contact)
	}
	return sprung, sprung
}

// runsOver tells whether a command is a script with a key that ends in part, or
// holds it if it ends in a colon.
func runsOver(words []string, part string) bool {
	if len(words) == 0 || !strings.HasPrefix(strings.ToLower(words[0]), "eval") || len(words) < 4 {
		return false
	}
	keys, err := strconv.Atoi(words[2])
	if err != nil || len(words) < 3+keys {
		return false
	}
	return slices.ContainsFunc(words[3:3+keys], func(key string) bool {
		return strings.HasSuffix(key, part) || strings.HasSuffix(part, ":") && strings.Contains(key, part)
	})
}

// traps are all steps of a creation, before and after.
func traps() []*trap {
	var all []*trap
	for _, after := range []bool{false, true} {
		for _, s := range []step{readContact, readTags, storing, returning, confirming} {
			all = append(all, &trap{step: s, after: after})
		}
		for _, name := range []string{"claim", "seal", "forget", "finish"} {
			all = append(all, &trap{redis: name, after: after})
		}
	}
	return all
}

// place is a site of which a test can see the users: the stand-in or WordPress.
type place interface {
	users(contact string) (ids []int64, login string)
	usersByEmail(email string) int
	passwordWorks(login, password string) bool
	mails(to string) int
}

// rig is a Redis, a CRM and a site, and one worker at a time.
type rig struct {
	*run
	t     *testing.T
	store *tapped
	place place
	next  int
}

// binaries builds the programs once per run of the tests.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "spillway-torture-bin-")
	if err != nil {
		return "", err
	}
	built.Store(dir)
	return dir, Build(context.Background(), dir)
})

// built is where binaries has put them, if it was called.
var built atomic.Value

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait, for leases and restarts, more than they compute.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	code := m.Run()
	if dir, ok := built.Load().(string); ok {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	redistest.Need(t)
	bin, err := binaries()
	require.NoError(t, err)
	r := &run{
		options: Options{Mode: Always, Bin: bin, Dir: t.TempDir()},
		crm:     sandbox.NewCRM(sandbox.CRMOptions{Token: crmToken}),
		site:    sandbox.NewSite(sandbox.SiteOptions{User: siteUser, AppPassword: appPassword, StartCost: -1, ContactCost: -1}),
		network: newNetwork(), watch: newWatch(), linksTo: map[string][]string{}, links: map[string]*link{},
	}
	t.Cleanup(r.tearDown)
	server, err := newServer("redis", r.options.Dir, "appendonly yes", "appendfsync always")
	require.NoError(t, err)
	require.NoError(t, server.up(t.Context()))
	store := &tapped{server: server, t: t, traps: map[string]*trap{}}
	r.store = store
	require.NoError(t, r.addIngest("ingest"))
	rig := &rig{run: r, t: t, store: store, place: standInPlace{r.site}}
	r.senders = newSenders(r)
	require.NoError(t, poll(t.Context(), 30*time.Second, "waiting for ingest", func(ctx context.Context) error {
		_, err := r.stats(ctx)
		return err
	}))
	return rig
}

// add makes a contact in the CRM and sends its add.
func (r *rig) add(id string) {
	r.t.Helper()
	r.crm.Put(id, map[string]any{"email": "person" + id + "@example.org", "first_name": "first 1"}, []int{4})
	n, err := strconv.Atoi(id)
	require.NoError(r.t, err)
	p := &person{id: n, notify: true}
	require.NoError(r.t, poll(r.t.Context(), 20*time.Second, "sending a webhook", func(context.Context) error {
		return r.senders.post(p, promise{action: contact.Add}, r.webhookURL(0), "0", rand.New(rand.NewPCG(1, 1)))
	}))
}

// worker starts the next worker; tr may be nil.
func (r *rig) worker(tr *trap, change ...string) *process {
	r.t.Helper()
	r.next++
	name := fmt.Sprintf("worker-%d", r.next)
	var watching observer = r.watch
	if tr != nil {
		r.store.traps[name], watching = tr, tr
	}
	p, err := r.addWorker(name, watching, change...)
	require.NoError(r.t, err)
	return p
}

// killAt lets a worker add the contact and kills it in the trap.
func (r *rig) killAt(tr *trap, change ...string) {
	r.t.Helper()
	tr.sprung = make(chan struct{})
	r.add(tr.contact)
	worker := r.worker(tr, change...)
	select {
	case <-tr.sprung:
	case <-time.After(60 * time.Second):
		text, _ := os.ReadFile(worker.log)
		require.FailNow(r.t, "the worker never came to "+tr.String(), "%s", text)
	}
	worker.kill()
}

// idle waits until nothing is outstanding.
func (r *rig) idle() {
	r.t.Helper()
	r.options.Calm, r.options.Brief = 4*time.Minute, true
	require.NoError(r.t, r.settle(r.t.Context()))
}

// passwords are the different passwords that a contact was given, and how often
// one was sent.
func (r *rig) passwords(id string) (different map[string]bool, sent int) {
	different = map[string]bool{}
	for _, update := range r.crm.Updates(id) {
		if password := update[passwordField]; password != "" {
			different[password] = true
			sent++
		}
	}
	return different, sent
}

func (r *rig) inCRM(id string) string {
	record, _ := r.crm.Contact(id)
	password, _ := record[passwordField].(string)
	return password
}

// requireCreatedOnce checks what must hold however the creation was cut off.
func (r *rig) requireCreatedOnce(id, after string) {
	r.t.Helper()
	ids, login := r.place.users(id)
	require.Len(r.t, ids, 1, after)
	require.Equal(r.t, 1, r.place.usersByEmail("person"+id+"@example.org"), after)
	require.True(r.t, r.place.passwordWorks(login, r.inCRM(id)), "killed %s: the password in the CRM must log in", after)
	require.Equal(r.t, 1, r.place.mails("person"+id+"@example.org"), "killed %s: the welcome mail goes out once", after)
}

// requireNoTrace searches logs, Redis and its files for passwords.
func (r *rig) requireNoTrace(ids ...string) {
	r.t.Helper()
	client := r.store.client()
	defer client.Close()
	ctx := r.t.Context()
	left, err := client.Keys(ctx, "spw:v:*").Result()
	require.NoError(r.t, err)
	require.Empty(r.t, left, "the vault forgets what is confirmed")
	files, err := filepath.Glob(filepath.Join(r.options.Dir, "*.log"))
	require.NoError(r.t, err)
	data, err := filepath.Glob(filepath.Join(r.options.Dir, "redis", "*", "*"))
	require.NoError(r.t, err)
	require.NotEmpty(r.t, data, "Redis keeps an append-only file")
	for _, file := range append(files, data...) {
		text, err := os.ReadFile(file)
		require.NoError(r.t, err)
		for _, id := range ids {
			for password := range first(r.passwords(id)) {
				require.NotContains(r.t, string(text), password, "%s holds a password", filepath.Base(file))
			}
			require.NotContains(r.t, string(text), "person"+id+"@", "%s holds an address", filepath.Base(file))
		}
	}
}

func first[T, U any](t T, _ U) T { return t }

// standInPlace is the stand-in site.
type standInPlace struct{ site *sandbox.Site }

func (p standInPlace) users(contact string) (ids []int64, login string) {
	for _, user := range p.site.UsersByContact(contact) {
		ids, login = append(ids, user.ID), user.Login
	}
	return ids, login
}

func (p standInPlace) usersByEmail(email string) int { return len(p.site.UsersByEmail(email)) }
func (p standInPlace) passwordWorks(login, password string) bool {
	return p.site.PasswordWorks(login, password)
}
func (p standInPlace) mails(to string) int { return len(p.site.Mails(to)) }

func TestWorkerKilledBetweenAnyTwoStepsOfACreation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// Scripts that Redis knows already are sent once.
	r.add("1")
	warm := r.worker(nil)
	r.idle()
	require.NoError(t, warm.terminate())
	all := traps()
	ids := []string{"1"}
	for i, tr := range all {
		tr.contact = strconv.Itoa(100 + i)
		ids = append(ids, tr.contact)
		r.killAt(tr)
	}
	last := r.worker(nil)
	r.idle()
	for _, tr := range all {
		r.requireCreatedOnce(tr.contact, tr.String())
		different, sent := r.passwords(tr.contact)
		require.Len(t, different, 1, "killed %s: every return carries the same password", tr)
		t.Logf("killed %s: the password was returned %d times", tr, sent)
	}
	require.NoError(t, last.terminate())
	r.requireNoTrace(ids...)
}

// TestVaultThatLostAnEntryOrItsKey kills workers in mid-creation, takes their
// sealed passwords away, and lets a worker finish that cannot know them.
func TestVaultThatLostAnEntryOrItsKey(t *testing.T) {
	t.Parallel()
	const otherKey = "SPILLWAY_SECRET_KEY=b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgMTI="
	for name, test := range map[string]struct {
		lose   func(r *rig, id string)
		change []string
	}{
		"entry deleted": {lose: func(r *rig, id string) {
			client := r.store.client()
			defer client.Close()
			require.NoError(r.t, client.Del(r.t.Context(), "spw:v:password:default:"+id).Err())
		}},
		"key changed": {lose: func(*rig, string) {}, change: []string{otherKey}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			stages := map[string]*trap{
				"100": {step: storing, after: true},    // the user exists, the CRM has no password
				"101": {step: returning, after: true},  // the CRM has the first password
				"102": {step: returning, after: true},  // and the user logged in with it
				"103": {step: storing, after: true},    // the user chose a password meanwhile
				"104": {step: storing, after: false},   // sealed, nothing more
				"105": {step: confirming, after: true}, // confirmed, not forgotten
			}
			for _, id := range slices.Sorted(maps.Keys(stages)) {
				stages[id].contact = id
				r.killAt(stages[id])
				test.lose(r, id)
			}
			firstPassword := r.inCRM("102")
			ids, login := r.place.users("102")
			require.True(t, r.site.Login(login, firstPassword))
			require.Len(t, ids, 1)
			chosen, _ := r.place.users("103")
			r.site.SetPassword(chosen[0], "chosen by the user")

			worker := r.worker(nil, test.change...)
			r.idle()
			for _, id := range []string{"100", "101", "102", "104", "105"} {
				r.requireCreatedOnce(id, stages[id].String())
			}
			require.Len(t, first(r.passwords("101")), 2, "an unconfirmed user gets a new password")
			require.Len(t, first(r.passwords("102")), 1, "a user who has logged in keeps the password")
			require.Equal(t, firstPassword, r.inCRM("102"))
			require.True(t, r.site.PasswordWorks("person103@example.org", "chosen by the user"))
			require.Empty(t, r.inCRM("103"), "a password that does not log in is not returned")
			require.Len(t, first(r.passwords("105")), 1, "a confirmed user keeps the password")
			require.NoError(t, worker.terminate())
			r.requireNoTrace(slices.Sorted(maps.Keys(stages))...)
		})
	}
}
