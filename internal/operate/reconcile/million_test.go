package reconcile_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

// many is a CRM and a site with a user for each contact, which agree. It makes
// its pages as they are asked for, so what is measured is the comparison's.
type many struct{ contacts, tags int }

const manyTagsEach, manyPage = 5, 100

func (m many) AllTags(context.Context) ([]pulse.Tag, error) {
	all := make([]pulse.Tag, m.tags)
	for i := range all {
		all[i] = pulse.Tag{ID: strconv.Itoa(i + 1), Name: "Tag " + strconv.Itoa(i+1)}
	}
	return all, nil
}

// of are a contact's tags: five of those that follow each other.
func (m many) of(id int) []string {
	tags := make([]string, manyTagsEach)
	for i := range tags {
		tags[i] = strconv.Itoa(1 + (id+i)%m.tags)
	}
	return tags
}

func (m many) Tagged(_ context.Context, tag string, from int, each func(pulse.TaggedPage) error) error {
	number, err := strconv.Atoi(tag)
	if err != nil {
		return err
	}
	per := m.contacts / m.tags * manyTagsEach // contacts of a tag
	last := per / manyPage
	for page := from; page <= last; page++ {
		ids := make([]string, 0, manyPage)
		for at := (page - 1) * manyPage; at < page*manyPage; at++ {
			round, i := at/manyTagsEach, at%manyTagsEach
			ids = append(ids, strconv.Itoa(1+round*m.tags+(number-1-i+m.tags-1)%m.tags))
		}
		if err := each(pulse.TaggedPage{Page: page, Last: last, Total: per, IDs: ids}); err != nil {
			return err
		}
	}
	return nil
}

func (m many) Tags(_ context.Context, id string) ([]string, error) {
	number, err := strconv.Atoi(id)
	return m.of(number), err
}

func (m many) Users(_ context.Context, after int64, each func(site.Listed) error) (next int64, more bool, err error) {
	const page = 1000
	for id := int(after) + 1; id <= min(int(after)+page, m.contacts); id++ {
		if err := each(site.Listed{UserID: int64(id), ContactID: strconv.Itoa(id), Tags: m.of(id)}); err != nil {
			return 0, false, err
		}
	}
	return after + page, int(after)+page < m.contacts, nil
}

func (m many) UsersOf(context.Context, []string) ([]site.Listed, error) { return nil, nil }

type idle struct{ reconcile.Contacts }

func (idle) Lookup(context.Context, contact.Ref) (pending.Record, error) {
	return pending.Record{}, nil
}

// BenchmarkAMillionContacts compares a million contacts of five tags each, with a
// journal, and reports the most memory that the process took. Run it by itself:
//
//	go test -run '^$' -bench AMillionContacts -benchtime 1x ./internal/operate/reconcile
func BenchmarkAMillionContacts(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("asks Linux for the memory")
	}
	all := many{contacts: 1_000_000, tags: 100}
	for b.Loop() {
		journal, err := reconcile.OpenJournal(filepath.Join(b.TempDir(), "journal"), "all", true)
		require.NoError(b, err)
		result, err := reconcile.Run(b.Context(), reconcile.Options{
			CRM: all, Site: all, Contacts: idle{}, Name: contact.DefaultSite, Journal: journal, Progress: progress.New(io.Discard),
			Now: func(context.Context) (time.Time, error) { return time.Now(), nil }, Settle: time.Millisecond,
		})
		require.NoError(b, err)
		require.Equal(b, all.contacts, result.Contacts)
		require.Equal(b, all.contacts, result.Users)
		require.Zero(b, result.Total(), "%+v", result.Examples)
		require.NoError(b, journal.Close())
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	most := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(b, most)
	kilobytes, err := strconv.ParseFloat(string(most[1]), 64)
	require.NoError(b, err)
	b.ReportMetric(kilobytes/1024, "MB-at-most")
}
