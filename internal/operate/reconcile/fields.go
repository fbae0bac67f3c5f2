package reconcile

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/pending"
)

// Fields tells which fields of existing users their contacts would change, and
// changes none.
type Fields interface {
	Compare(ctx context.Context, ref contact.Ref) (contact.Result, error)
}

// FieldsResult is what comparing the fields of a sample found.
type FieldsResult struct {
	Percent float64 `json:"percent"`  // of the users with a contact id that were to be compared
	Users   int     `json:"users"`    // with an id of the CRM, from whom the sample was drawn
	Sampled int     `json:"compared"` // whose comparison counts
	Differ  int     `json:"differ"`   // of them
	// Estimate is how many of all users differ; with 95 % probability it is
	// between Least and Most.
	Estimate int `json:"estimate"`
	Least    int `json:"at_least"`
	Most     int `json:"at_most"`
	// Keys says by WordPress key how many of the sample differ, and estimates how
	// many of all do.
	Keys []KeyDifference `json:"keys"`
	// LeftOut are contacts of the sample with work outstanding, parked ones, those
	// that the CRM does not have or the site would not store.
	LeftOut int `json:"left_out"`
}

// KeyDifference is one WordPress key.
type KeyDifference struct {
	Key      string   `json:"key"`
	Differ   int      `json:"differ"`
	Estimate int      `json:"estimate"`
	Least    int      `json:"at_least"`
	Most     int      `json:"at_most"`
	Contacts []string `json:"contact_ids"` // such as these
}

// fieldsAtOnce is how many contacts are compared at a time, so that the site is
// asked about many in one request.
const fieldsAtOnce = 50

// fieldExamples is of how many contacts a key names the ids.
const fieldExamples = 5

// isSampled decides by a contact's id and when the comparison began whether it
// belongs to the sample: an interrupted comparison goes on with the same one.
func (r *run) isSampled(id uint64) bool {
	return float64(mixed(id^mixed(uint64(r.journal.asOf)))) < r.FieldsPercent/100*math.MaxUint64
}

// compareFields compares the fields of the sample.
func (r *run) compareFields(ctx context.Context, s *scan) (*FieldsResult, error) {
	slices.Sort(s.sample)
	sample := slices.Compact(s.sample)
	result := &FieldsResult{Percent: r.FieldsPercent, Users: s.users - s.foreign}
	counts := map[string]*KeyDifference{}
	var mu sync.Mutex
	bar := r.Progress.Bar("fields of", 0, int64(len(sample)))
	done := 0
	for batch := range slices.Chunk(sample, fieldsAtOnce) {
		ids := make([]string, len(batch))
		for i, id := range batch {
			ids[i] = textOf(id)
		}
		group, groupCtx := errgroup.WithContext(ctx)
		for _, id := range ids {
			group.Go(func() error {
				keys, counted, err := r.fieldsOf(groupCtx, bar, contact.Ref{Site: r.Name, ID: id})
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				result.add(counts, id, keys, counted)
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		done += len(batch)
		bar.Set(int64(done))
	}
	result.Estimate, result.Least, result.Most = estimate(result.Differ, result.Sampled, result.Users)
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		count := counts[key]
		count.Estimate, count.Least, count.Most = estimate(count.Differ, result.Sampled, result.Users)
		slices.SortFunc(count.Contacts, func(a, b string) int { return cmp.Compare(numberOf(a), numberOf(b)) })
		result.Keys = append(result.Keys, *count)
	}
	slices.SortStableFunc(result.Keys, func(a, b KeyDifference) int { return cmp.Compare(b.Differ, a.Differ) })
	return result, nil
}

func (f *FieldsResult) add(counts map[string]*KeyDifference, id string, keys []string, counted bool) {
	if !counted {
		f.LeftOut++
		return
	}
	f.Sampled++
	if len(keys) > 0 {
		f.Differ++
	}
	for _, key := range keys {
		count := counts[key]
		if count == nil {
			count = &KeyDifference{Key: key}
			counts[key] = count
		}
		if count.Differ++; len(count.Contacts) < fieldExamples {
			count.Contacts = append(count.Contacts, id)
		}
	}
}

// fieldsOf compares the fields of a contact; counted is false if that says
// nothing of it.
func (r *run) fieldsOf(ctx context.Context, bar *progress.Bar, ref contact.Ref) (keys []string, counted bool, err error) {
	record, err := patiently(ctx, r, bar, func(ctx context.Context) (pending.Record, error) {
		record, err := r.Contacts.Lookup(ctx, ref)
		return record, redisAway(err)
	})
	if err != nil || record.State != pending.Idle {
		return nil, false, err
	}
	seen, err := patiently(ctx, r, bar, func(ctx context.Context) (contact.Result, error) { return r.Fields.Compare(ctx, ref) })
	if _, away := contact.AsOutage(err); err != nil && !away && ctx.Err() == nil {
		return nil, false, nil // it concerns this contact alone
	}
	if err != nil || seen.Observed == nil || seen.UserID == 0 {
		return nil, false, err
	}
	return seen.Observed.Keys, true, nil
}

// estimate says how many of all differ when some of a sample do, and between
// which numbers that lies with 95 % probability: Wilson's interval, narrower the
// more of all are in the sample. At least those that were seen to differ do.
func estimate(differ, sampled, all int) (likely, least, most int) {
	if sampled == 0 {
		return 0, 0, all
	}
	all = max(all, sampled)
	const z = 1.96
	n, share := float64(sampled), float64(differ)/float64(sampled)
	whole := float64(all)
	rest := (whole - n) / max(whole-1, 1)
	if rest <= 0 {
		return differ, differ, differ
	}
	n /= rest // as many as an endless population would need
	middle := (share + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	least = max(differ, int(math.Floor((middle-half)*whole)))
	most = min(all-(sampled-differ), int(math.Ceil((middle+half)*whole)))
	return int(math.Round(share * whole)), least, most
}
