package site_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/site"
)

const (
	user        = "spillway"
	appPassword = "an application password"
)

// standIn serves the sandbox's site, without costs.
func standIn(t *testing.T) (*sandbox.Site, string) {
	t.Helper()
	stand := sandbox.NewSite(sandbox.SiteOptions{User: user, AppPassword: appPassword, StartCost: 5 * time.Millisecond, ContactCost: -1})
	server := httptest.NewServer(stand)
	t.Cleanup(func() { stand.Close(); server.Close() })
	return stand, server.URL
}

func client(t *testing.T, url string, change func(*site.Options)) *site.Client {
	t.Helper()
	options := site.Options{URL: url, User: user, AppPassword: appPassword, RolesAllowed: []string{"customer"}}
	if change != nil {
		change(&options)
	}
	c, err := site.New(options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func add(id int) contact.Change {
	return contact.Change{ContactID: strconv.Itoa(id), Action: "add", Email: fmt.Sprintf("c%d@example.org", id), Tags: []string{"1"}}
}

// storeAll stores contacts at once and returns the answers by contact.
func storeAll(ctx context.Context, c *site.Client, ids ...int) (results map[int]contact.Result, errs map[int]error) {
	results, errs = make(map[int]contact.Result), make(map[int]error)
	var mu sync.Mutex
	var callers sync.WaitGroup
	for _, id := range ids {
		callers.Go(func() {
			result, err := c.Store(ctx, add(id))
			mu.Lock()
			defer mu.Unlock()
			results[id], errs[id] = result, err
		})
	}
	callers.Wait()
	return results, errs
}

func upTo(n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i + 1
	}
	return ids
}

func TestConcurrentContactsShareRequests(t *testing.T) {
	t.Parallel()
	stand, url := standIn(t)
	c := client(t, url, nil)
	result, err := c.Store(t.Context(), add(1000))
	require.NoError(t, err)
	require.Equal(t, contact.Created, result.Outcome)
	require.EqualValues(t, 1, stand.Stats().Requests)
	results, errs := storeAll(t.Context(), c, upTo(200)...)
	for id := range 200 {
		require.NoError(t, errs[id+1])
		require.Equal(t, contact.Created, results[id+1].Outcome)
		require.Equal(t, fmt.Sprintf("c%d@example.org", id+1), results[id+1].UserLogin, "each caller gets its own answer")
	}
	require.Less(t, stand.Stats().Requests, int64(30))
	require.LessOrEqual(t, stand.Stats().Largest, int64(50))
}

func TestContactThatKillsItsBatchIsRefusedAlone(t *testing.T) {
	t.Parallel()
	stand, url := standIn(t)
	stand.Poison("13")
	c := client(t, url, nil)
	_, errs := storeAll(t.Context(), c, upTo(40)...)
	for id, err := range errs {
		if id != 13 {
			require.NoError(t, err, "contact %d is a neighbour", id)
		}
	}
	refusal, ok := contact.AsRefusal(errs[13])
	require.True(t, ok, "%v", errs[13])
	require.Equal(t, "site_fatal", refusal.Refusal())
	require.Len(t, stand.Users(), 39+countOthers(stand))
}

// countOthers counts the stand-in's users that belong to no contact.
func countOthers(stand *sandbox.Site) (n int) {
	for _, u := range stand.Users() {
		if !strings.HasSuffix(u.Email, "@example.org") {
			n++
		}
	}
	return n
}

func TestRefusedAndFailedContactsAreToldApart(t *testing.T) {
	t.Parallel()
	_, url := standIn(t)
	c := client(t, url, nil)
	_, err := c.Store(t.Context(), contact.Change{ContactID: "5", Action: "add"})
	refusal, ok := contact.AsRefusal(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "no_email", refusal.Refusal())

	passing := scripted(t, func(w http.ResponseWriter, ids []string) {
		answer(w, ids, `{"contact_id":%q,"outcome":"failed","error":{"code":"database","message":"busy","permanent":false}}`)
	})
	_, err = client(t, passing, nil).Store(t.Context(), add(5))
	require.ErrorContains(t, err, "database")
	require.NotErrorIs(t, err, contact.ErrSuperseded)
	requirePassing(t, err)

	older := scripted(t, func(w http.ResponseWriter, ids []string) {
		answer(w, ids, `{"contact_id":%q,"outcome":"failed","error":{"code":"superseded","message":"older","permanent":false}}`)
	})
	_, err = client(t, older, nil).Store(t.Context(), add(5))
	require.ErrorIs(t, err, contact.ErrSuperseded)
	requirePassing(t, err)
}

func requirePassing(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	_, isRefusal := contact.AsRefusal(err)
	_, isOutage := contact.AsOutage(err)
	require.False(t, isRefusal || isOutage, "%v", err)
}

// scripted is a site whose answers to batches a test writes. Its status route
// answers well.
func scripted(t *testing.T, batch func(w http.ResponseWriter, ids []string)) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/status") {
			_, _ = io.WriteString(w, `{"plugin":"0.1.0","protocol":1,"wordpress":"6.1","php":"8.2","roles":{},"limits":{"contacts":100,"seconds":10}}`)
			return
		}
		var request struct {
			Contacts []struct {
				ID string `json:"contact_id"`
			} `json:"contacts"`
		}
		_ = json.NewDecoder(r.Body).Decode(&request)
		ids := make([]string, 0, len(request.Contacts))
		for _, one := range request.Contacts {
			ids = append(ids, one.ID)
		}
		batch(w, ids)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func answer(w io.Writer, ids []string, format string) {
	results := make([]string, 0, len(ids))
	for _, id := range ids {
		results = append(results, fmt.Sprintf(format, id))
	}
	_, _ = fmt.Fprintf(w, `{"results":[%s],"elapsed_ms":1}`, strings.Join(results, ","))
}

const updated = `{"contact_id":%q,"outcome":"updated","user_id":4,"user_login":"x","role":"customer","notes":[]}`

func TestDeferredContactsAreSentAgain(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		if requests.Add(1) == 2 && len(ids) > 1 { // the first request is the lone one
			_, _ = fmt.Fprintf(w, `{"results":[`+updated, ids[0])
			for _, id := range ids[1:] {
				_, _ = fmt.Fprintf(w, `,{"contact_id":%q,"outcome":"deferred"}`, id)
			}
			_, _ = io.WriteString(w, `]}`)
			return
		}
		answer(w, ids, updated)
	})
	_, errs := storeAll(t.Context(), client(t, url, nil), upTo(20)...)
	for id, err := range errs {
		require.NoError(t, err, "contact %d", id)
	}
}

func TestAnswerWithoutAContactFailsThatContactOnly(t *testing.T) {
	t.Parallel()
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		_, _ = io.WriteString(w, `{"results":[{"contact_id":"777","outcome":"updated","user_id":1}]}`)
	})
	_, err := client(t, url, nil).Store(t.Context(), add(5))
	requirePassing(t, err)
}

func TestOutagesSayWhatIsWrongAndHowLong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		header [2]string
		body   string
		says   string
		after  time.Duration
	}{
		"busy, in seconds":   {503, [2]string{"Retry-After", "7"}, "", "503", 7 * time.Second},
		"too many requests":  {429, [2]string{"Retry-After", "3"}, "", "429", 3 * time.Second},
		"wrong password":     {401, [2]string{}, "{}", "SPILLWAY_SITE_APP_PASSWORD", 0},
		"rights are missing": {403, [2]string{}, `{"code":"rest_forbidden","data":{"status":403}}`, "", 0},
		"no plugin":          {404, [2]string{}, `{"code":"rest_no_route"}`, "spillway-connector", 0},
		"redirect":           {301, [2]string{"Location", "https://www.example.com/secret?x=1"}, "", "https://www.example.com", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.header[0] != "" {
					w.Header().Set(test.header[0], test.header[1])
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			t.Cleanup(server.Close)
			_, err := client(t, server.URL, nil).Store(t.Context(), add(1))
			outage, ok := contact.AsOutage(err)
			require.True(t, ok, "%v", err)
			require.Contains(t, err.Error(), test.says)
			require.Equal(t, test.after, outage.Outage().Round(time.Second))
			for _, secret := range []string{"example.org", appPassword, "secret?x"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestSiteThatIsDownIsAnOutageForAll(t *testing.T) {
	t.Parallel()
	stand, url := standIn(t)
	require.NoError(t, stand.GoDown())
	_, errs := storeAll(t.Context(), client(t, url, nil), upTo(10)...)
	for id, err := range errs {
		_, ok := contact.AsOutage(err)
		require.True(t, ok, "contact %d: %v", id, err)
	}
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	_, err := client(t, refused.URL, nil).Store(t.Context(), add(1))
	_, ok := contact.AsOutage(err)
	require.True(t, ok, "%v", err)
}

func TestSiteThatDiesOfEveryContactParksNotAllOfThem(t *testing.T) {
	t.Parallel()
	url := scripted(t, func(w http.ResponseWriter, _ []string) { w.WriteHeader(http.StatusInternalServerError) })
	_, errs := storeAll(t.Context(), client(t, url, nil), upTo(30)...)
	refused := 0
	for _, err := range errs {
		if _, ok := contact.AsRefusal(err); ok {
			refused++
			continue
		}
		_, ok := contact.AsOutage(err)
		require.True(t, ok, "%v", err)
	}
	require.LessOrEqual(t, refused, 3)
}

func TestCallerThatLeavesTheLineIsNotSent(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}, 100), make(chan struct{})
	var mu sync.Mutex
	var sent []string
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		mu.Lock()
		sent = append(sent, ids...)
		mu.Unlock()
		entered <- struct{}{}
		<-proceed
		answer(w, ids, updated)
	})
	c := client(t, url, nil)
	first := make(chan error, 1)
	go func() { _, err := c.Store(context.Background(), add(1)); first <- err }()
	<-entered // the only slot is taken
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { _, err := c.Store(ctx, add(2)); second <- err }()
	cancel()
	_, ok := contact.AsOutage(<-second)
	require.True(t, ok)
	close(proceed)
	require.NoError(t, <-first)
	require.NoError(t, c.Close(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"1"}, sent)
}

func TestChangesOfOneContactKeepTheirOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var most int
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		seen := make(map[string]int)
		mu.Lock()
		for _, id := range ids {
			seen[id]++
			most = max(most, seen[id])
		}
		mu.Unlock()
		answer(w, ids, updated)
	})
	c := client(t, url, nil)
	var callers sync.WaitGroup
	for range 30 {
		callers.Go(func() {
			_, err := c.Store(context.Background(), add(1))
			if err != nil {
				t.Errorf("storing: %v", err)
			}
		})
	}
	callers.Wait()
	require.Equal(t, 1, most, "a batch never holds two changes of one contact")
}

func TestClosedClientAcceptsNothing(t *testing.T) {
	t.Parallel()
	_, url := standIn(t)
	c := client(t, url, nil)
	require.NoError(t, c.Close(t.Context()))
	_, err := c.Store(t.Context(), add(1))
	_, ok := contact.AsOutage(err)
	require.True(t, ok, "%v", err)
}

func TestStatusTellsWhatTheSiteIs(t *testing.T) {
	t.Parallel()
	_, url := standIn(t)
	status, err := client(t, url, nil).Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, status.Protocol)
	_, err = client(t, url, func(o *site.Options) { o.AppPassword = "wrong" }).Status(t.Context())
	require.ErrorContains(t, err, "SPILLWAY_SITE_APP_PASSWORD")
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, options := range []site.Options{
		{URL: "ftp://x", User: "u", AppPassword: "p"},
		{URL: "https://x/?q", User: "u", AppPassword: "p"},
		{URL: "https://x", User: "u"},
		{URL: "https://x", User: "u", AppPassword: "p", Batch: 101},
	} {
		_, err := site.New(options)
		require.ErrorContains(t, err, "SPILLWAY_SITE_")
	}
}
