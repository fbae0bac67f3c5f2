package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/polltest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
)

// editor plays the people who edit contacts in the CRM: each edit sends a webhook
// to the site, whoever answers there.
type editor struct {
	crm      *sandbox.CRM
	site     string
	contacts int

	spillway atomic.Pointer[string] // its admin address, once it runs
	edits    atomic.Int64
	problem  atomic.Pointer[string] // the first webhook that was not taken
}

// work edits one contact after the other until ctx ends. A contact's turn comes
// again when its last edit is stored: who stores an older state last, WP Fusion
// or Spillway, nobody can say while both are at work on one contact.
func (e *editor) work(ctx context.Context, pause time.Duration) {
	for n := 0; ctx.Err() == nil; n++ {
		id := n%e.contacts + 1
		for ctx.Err() == nil && !e.stored(ctx, id) {
			time.Sleep(20 * time.Millisecond)
		}
		e.crm.Put(strconv.Itoa(id), map[string]any{"company": fmt.Sprintf("edit %d", n)}, []int{id, 100 + n})
		if err := e.webhook(context.WithoutCancel(ctx), id); err != nil {
			problem := fmt.Sprintf("edit %d: %v", n, err)
			e.problem.CompareAndSwap(nil, &problem)
		}
		e.edits.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// stored says whether Spillway has nothing left to do for a contact. WP Fusion's
// endpoint answers when it is done.
func (e *editor) stored(ctx context.Context, id int) bool {
	admin := e.spillway.Load()
	if admin == nil {
		return true
	}
	_, body := get(ctx, fmt.Sprintf("%s/api/v1/contacts/%d", *admin, id))
	return strings.Contains(body, `"state":"idle"`)
}

// webhook sends one over a connection of its own.
func (e *editor) webhook(ctx context.Context, id int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/?wpf_action=update&contact_id=%d&access_key=%s", e.site, id, accessKey), nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s: %.300s", response.Status, body)
	}
	return nil
}

// more waits for further edits.
func (e *editor) more(t *testing.T, edits int64) {
	t.Helper()
	until := e.edits.Load() + edits
	polltest.Until(t, 2*time.Minute, func() bool { return e.edits.Load() >= until }, "people go on editing")
}

// The webhooks of a site with WP Fusion are handed to Spillway and back by its web
// server, while contacts are edited all the time.
func TestMovingOverAndBackLosesNothing(t *testing.T) {
	t.Parallel()
	const contacts = 6
	crm := sandbox.NewCRM(sandbox.CRMOptions{Token: crmToken, Latency: 5 * time.Millisecond})
	crmServer := httptest.NewServer(crm)
	t.Cleanup(crmServer.Close)
	ingest := freeAddr(t)
	f := &front{name: "nginx", logs: t.TempDir()}
	require.NoError(t, os.Chmod(f.logs, 0o777))
	files := shipped(t, "nginx", ingest, f, "snippets/", "FOLDER/", "/etc/nginx/", "FOLDER/", "/var/log/nginx/", f.logs+"/")
	takeover := filepath.Join(files, "taken-over.conf")
	require.NoError(t, os.WriteFile(takeover, nil, 0o644))
	endpoint, source := wptest.FusionEndpoint(crmServer.URL, crmToken, accessKey)
	site := wptest.Start(t, wptest.Options{
		WPFusion: true, NginxReloads: true, Plugins: map[string]string{endpoint: source},
		NginxHTTP:   "include " + files + "/spillway-http.conf;\n",
		NginxServer: "include " + takeover + ";",
	})
	for id := 1; id <= contacts; id++ {
		crm.Put(strconv.Itoa(id), map[string]any{"email": email(id), "company": "before"}, []int{id})
		status, body := get(t.Context(), fmt.Sprintf("%s/?wpf_action=add&contact_id=%d&access_key=%s", site.URL(), id, accessKey))
		require.Equal(t, http.StatusOK, status, body)
	}

	e := &editor{crm: crm, site: site.URL(), contacts: contacts}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.work(ctx, 250*time.Millisecond)
	}()
	t.Cleanup(func() { stop(); <-done })
	e.more(t, contacts)
	s := startBefore(t, site, map[string]string{"SPILLWAY_CRM_URL": crmServer.URL, "SPILLWAY_INGEST_ADDR": ingest})
	e.spillway.Store(&s.admin)

	require.NoError(t, os.WriteFile(takeover, []byte("include "+files+"/spillway-takeover.conf;\n"), 0o644))
	site.ReloadNginx()
	polltest.Until(t, 30*time.Second, func() bool { return s.stats(t)["received"] > 0 }, "webhooks reach Spillway")
	before := len(site.EndpointCalls())
	e.more(t, 2*contacts)
	require.Len(t, site.EndpointCalls(), before, "WP Fusion has none of them")

	require.NoError(t, os.WriteFile(takeover, nil, 0o644))
	site.ReloadNginx()
	polltest.Until(t, 30*time.Second, func() bool { return len(site.EndpointCalls()) > before }, "webhooks reach WP Fusion again")
	e.more(t, contacts)
	stop()
	<-done
	polltest.Until(t, time.Minute, func() bool {
		stats := s.stats(t)
		return stats["pending"]+stats["active"]+stats["retrying"] == 0
	}, "nothing is outstanding")
	s.ingest.stop(t)
	s.worker.stop(t)

	require.Nil(t, e.problem.Load(), "each webhook was taken")
	for id := 1; id <= contacts; id++ {
		record, _ := crm.Contact(strconv.Itoa(id))
		users := site.UsersByContact(strconv.Itoa(id))
		require.Len(t, users, 1)
		require.Equal(t, record["company"], users[0].Meta["billing_company"])
		var tags []string
		for _, tag := range crm.Tags(strconv.Itoa(id)) {
			tags = append(tags, strconv.Itoa(tag))
		}
		require.Equal(t, tags, users[0].Meta["pulsetech_tags"])
	}
}
