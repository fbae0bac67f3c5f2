package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pending"
)

const (
	comparedTags = 100
	tagsEach     = 5
	editsRate    = 50 // a second
	// comparedPage is how many contacts a page of the CRM's lists has.
	comparedPage = 100
)

// reconcileRows compare a CRM with a site on which differences of all kinds were
// made behind Spillway's back, while contacts are edited.
func reconcileRows(ctx context.Context, s *stage) []Row {
	contacts, each := pick(s, 50_000, 5_000), pick(s, 117, 20)
	c := s.comparison(ctx, contacts)
	planted := c.plant(each)
	p := s.worker(ctx, c.target, map[string]string{"SPILLWAY_CRM_RATE": "1000", "SPILLWAY_CRM_CONCURRENCY": "32"})
	defer p.stop()

	stop := c.edit(ctx)
	found := c.compare(ctx)
	edits := stop()
	s.drained(ctx, c.pending, time.Minute)
	missed, invented := differ(planted, found.kinds())
	full := found.tagged + 2*int64(contacts)

	repaired := c.compare(ctx, "--repair", "--yes-create-users")
	again := c.compare(ctx)
	pages := reconcilePageRows(ctx, s)
	const of = "reconcile, "
	shape := fmt.Sprintf("%d contacts, %d tags, %d each; %d differences of %d kinds; %d edits meanwhile", contacts, comparedTags, tagsEach, len(planted), len(reconcile.Kinds), edits)
	return append([]Row{
		{What: of + "differences that were missed", Value: float64(missed), Unit: "contacts", Sense: AtMost, Bound: 0, Note: shape},
		{What: of + "differences that are none", Value: float64(invented), Unit: "contacts", Sense: AtMost, Bound: 0},
		{
			What: of + "its calls to the CRM against those of a resync of all", Value: float64(found.Calls) / float64(full), Sense: AtMost, Bound: 0.1,
			Note: fmt.Sprintf("%d calls against %d: the lists, and two for each contact", found.Calls, full),
		},
		{What: of + "its calls to the CRM, a second", Value: float64(found.Calls) / found.took.Seconds(), Unit: "calls/s", Note: fmt.Sprintf("%.0f s in all, 10 s of them a wait", found.took.Seconds())},
		{What: of + "the most memory that it took", Value: found.memory, Unit: "MB", Sense: AtMost, Bound: 200},
		{What: of + "contacts that a repair synced", Value: float64(repaired.Repair.Queued), Unit: "contacts", Sense: AtLeast, Bound: float64(4 * each)},
		{
			What: of + "differences after the repair that a pass takes away", Value: float64(again.Total() - again.Differences[reconcile.ContactGone] - again.Differences[reconcile.TwoUsers]),
			Unit: "contacts", Sense: AtMost, Bound: 0,
			Note: fmt.Sprintf("a person decides on %d users whose contact is gone and %d contacts on two users", again.Differences[reconcile.ContactGone], again.Differences[reconcile.TwoUsers]),
		},
	}, pages...)
}

// comparison is a CRM and a site that agree.
type comparison struct {
	*stage

	crm      *crm
	site     *sandbox.Site
	target   target
	pending  *pending.Contacts
	contacts int
	folder   string
	planted  int // contacts from 1 on that differ
}

func (s *stage) comparison(_ context.Context, contacts int) *comparison {
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(sandbox.CRMOptions{TagPageSize: comparedPage}, 0)
	site, siteURL := s.startSite(sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	c := &comparison{
		stage: s, crm: stand, site: site, target: standInTarget(server.URL(), stand.url, siteURL, site), contacts: contacts, folder: s.TempDir(),
	}
	c.pending, _ = s.contacts(server.Addr)
	for id := 1; id <= contacts; id++ {
		c.put(id, tagsOf(id))
		c.user(id, id, tagsOf(id))
	}
	return c
}

// tagsOf are a contact's tags.
func tagsOf(id int) []int {
	tags := make([]int, tagsEach)
	for i := range tags {
		tags[i] = 1 + (id*7+i*(i+1)/2)%comparedTags
	}
	return tags
}

func (c *comparison) put(id int, tags []int) {
	c.crm.Put(strconv.Itoa(id), map[string]any{"email": fmt.Sprintf("c%d@example.com", id)}, tags)
}

func (c *comparison) user(number, id int, tags []int) {
	address := fmt.Sprintf("c%d@example.com", number)
	user := c.site.CreateUser(sandbox.NewUser{Login: address, Email: address, Password: "x", ContactID: strconv.Itoa(id)})
	c.setTags(user, tags)
}

func (c *comparison) setTags(user int64, tags []int) {
	texts := make([]string, len(tags))
	for i, tag := range tags {
		texts[i] = strconv.Itoa(tag)
	}
	c.site.SetTags(user, texts...)
}

// plant makes differences of all kinds, each contacts of each kind.
func (c *comparison) plant(each int) map[string]reconcile.Kind {
	planted := map[string]reconcile.Kind{}
	for _, kind := range reconcile.Kinds {
		for range each {
			c.planted++
			id, tags := strconv.Itoa(c.planted), tagsOf(c.planted)
			user := c.site.UsersByContact(id)[0].ID
			planted[id] = kind
			switch kind {
			case reconcile.TagsMissing:
				c.setTags(user, tags[1:])
			case reconcile.TagsLeftOver:
				c.put(c.planted, tags[:2])
			case reconcile.TagsMixed:
				c.put(c.planted, append([]int{1 + (tags[0]+1)%comparedTags}, tags[3:]...))
			case reconcile.WithoutUser:
				c.site.DeleteUser(user)
			case reconcile.ContactGone:
				c.crm.Delete(id)
			case reconcile.TwoUsers:
				c.user(c.contacts+c.planted, c.planted, tags)
			}
		}
	}
	return planted
}

// edit edits contacts that do not differ, with webhooks, until stop, which
// returns how many.
func (c *comparison) edit(ctx context.Context) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	var under sync.WaitGroup
	edits := 0
	under.Go(func() {
		for tick := time.NewTicker(time.Second / editsRate); ; edits++ {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			id := c.planted + 1 + (edits*7919)%(c.contacts-c.planted)
			c.put(id, tagsOf(id+edits+1))
			ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}
			_, _ = c.pending.Submit(context.WithoutCancel(ctx), ref, contact.Intent{Action: contact.Update}, contact.Receipt{})
		}
	})
	return func() int {
		cancel()
		under.Wait()
		return edits
	}
}

// compared is what `spillway reconcile` printed, and what it took.
type compared struct {
	reconcile.Result
	Calls  int64 `json:"crm_calls"`
	Repair struct {
		Queued int `json:"queued"`
	} `json:"repair"`

	tagged int64 // calls of the lists
	took   time.Duration
	memory float64 // MB
}

func (c compared) kinds() map[string]reconcile.Kind {
	kinds := map[string]reconcile.Kind{}
	for _, d := range c.Examples {
		kinds[d.Contact] = d.Kind
	}
	return kinds
}

// compare runs `spillway reconcile`.
func (c *comparison) compare(ctx context.Context, more ...string) (found compared) {
	const differences = 3 // the exit code
	before, began := c.crm.Stats().Calls["tagged"], time.Now()
	command := exec.CommandContext(ctx, filepath.Join(c.bin, "spillway"), append([]string{"reconcile", "--json", "--folder", c.folder}, more...)...)
	command.Env = append(os.Environ(),
		"SPILLWAY_REDIS_URL="+c.target.redisURL, "SPILLWAY_CRM_URL="+c.target.crmURL, "SPILLWAY_CRM_TOKEN="+crmToken, "SPILLWAY_CRM_RATE=1000",
		"SPILLWAY_SITE_URL="+c.target.siteURL, "SPILLWAY_SITE_USER="+c.target.user, "SPILLWAY_SITE_APP_PASSWORD="+c.target.appPassword)
	var said bytes.Buffer
	command.Stderr = &said
	printed, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == differences {
		err = nil
	}
	require.NoError(c, err, "comparing: %s", said.String())
	require.NoError(c, json.Unmarshal(printed, &found), "%s", printed)
	found.took, found.tagged = time.Since(began), c.crm.Stats().Calls["tagged"]-before
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		found.memory = float64(usage.Maxrss) / 1024
	}
	return found
}

// differ counts what was planted and not found, and what was found and not
// planted.
func differ(planted, found map[string]reconcile.Kind) (missed, invented int) {
	for _, id := range slices.Collect(maps.Keys(planted)) {
		if found[id] != planted[id] {
			missed++
		}
	}
	for id := range found {
		if _, ok := planted[id]; !ok {
			invented++
		}
	}
	return missed, invented
}
