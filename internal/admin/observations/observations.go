// Package observations keeps in Redis what passes over a site's contacts would
// do, while the site is observed and nothing is written to it.
//
// It guarantees: a contact counts once, with what its last pass found, and takes
// 500 bytes at most beside its id. Of a site 50,000 contacts are kept; of further
// ones it is counted how often they were looked at. So a site takes about 10 MB
// of Redis, and 30 MB at most. All of it is gone 30 days after the last pass. It
// holds ids, WordPress keys, tags' ids, roles and codes, no values.
package observations

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	// mostContacts of a site are kept.
	mostContacts = 50_000
	// mostBytes is the length of what is kept of a contact.
	mostBytes = 500
	lifetime  = 30 * 24 * time.Hour
	// timeout bounds one question to Redis.
	timeout = 5 * time.Second
)

// Names of fields that are no contact's.
const (
	fieldBegan  = "@" // when the first contact was observed, in seconds since 1970
	fieldBeyond = "+" // passes over contacts for which there was no room
)

// Seen is what the last pass over a contact found.
type Seen struct {
	Contact string `json:"-"`
	// Outcome is what storing would do.
	Outcome     contact.Outcome `json:"o"`
	User        int64           `json:"u,omitempty"`
	Keys        []string        `json:"k,omitempty"`
	TagsAdded   []string        `json:"a,omitempty"`
	TagsRemoved []string        `json:"r,omitempty"`
	Role        string          `json:"l,omitempty"`
	Notes       []string        `json:"n,omitempty"`
	Code        string          `json:"c,omitempty"` // why it would be parked
	At          int64           `json:"t"`           // seconds since 1970
	Cut         bool            `json:"m,omitempty"` // there was more than is kept
}

// Store is where observations of a site are kept.
type Store struct {
	rdb  redis.UniversalClient
	site string
}

// New returns the observations of a site.
func New(rdb redis.UniversalClient, site string) *Store { return &Store{rdb, site} }

func (s *Store) key() string { return KeysOf(s.site)[0] }

// KeysOf names what Redis holds of a site's observations.
func KeysOf(site string) []string { return []string{"spw:observed:" + site} }

// noteScript keeps what was seen of a contact, if there is room.
//
// KEYS[1] the site's observations  ARGV[1] contact  ARGV[2] what was seen
// ARGV[3] the most contacts  ARGV[4] now in s since 1970  ARGV[5] life in s
var noteScript = redis.NewScript(`
redis.call('HSETNX', KEYS[1], '` + fieldBegan + `', ARGV[4])
redis.call('HSETNX', KEYS[1], '` + fieldBeyond + `', 0)
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 or redis.call('HLEN', KEYS[1]) < ARGV[3] + 2 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
else
  redis.call('HINCRBY', KEYS[1], '` + fieldBeyond + `', 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
`)

// Note keeps what an observed pass over a contact found.
func (s *Store) Note(ctx context.Context, contactID string, result contact.Result) error {
	seen := Seen{Outcome: result.Outcome, User: result.UserID, Notes: result.Notes, At: time.Now().Unix()}
	if o := result.Observed; o != nil {
		seen.Keys, seen.TagsAdded, seen.TagsRemoved, seen.Role, seen.Code = o.Keys, o.TagsAdded, o.TagsRemoved, o.Role, o.Code
	}
	text, err := seen.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := noteScript.Run(ctx, s.rdb, []string{s.key()}, contactID, text, mostContacts, seen.At, int(lifetime.Seconds())).Err(); err != nil {
		return &away{fmt.Errorf("keeping it in Redis: %w", err)}
	}
	return nil
}

// encode writes what was seen in at most mostBytes, with the ends of the longest
// lists cut off.
func (s Seen) encode() ([]byte, error) {
	for {
		text, err := json.Marshal(s)
		if err != nil || len(text) <= mostBytes {
			return text, err
		}
		longest := &s.Keys
		for _, list := range []*[]string{&s.TagsAdded, &s.TagsRemoved, &s.Notes} {
			if size(*list) > size(*longest) {
				longest = list
			}
		}
		if len(*longest) == 0 { // no list makes it long
			return json.Marshal(Seen{Outcome: s.Outcome, User: s.User, At: s.At, Cut: true})
		}
		*longest, s.Cut = (*longest)[:len(*longest)-1], true
	}
}

func size(list []string) (n int) {
	for _, text := range list {
		n += len(text) + 3
	}
	return n
}

// Reset forgets what was observed of the site.
func (s *Store) Reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.rdb.Unlink(ctx, s.key()).Err(); err != nil {
		return fmt.Errorf("forgetting the observations of site %s: %w", s.site, err)
	}
	return nil
}

// Each calls a function for every contact that was observed, and returns when the
// first was, zero if none was, and how many passes found no room.
func (s *Store) Each(ctx context.Context, each func(Seen)) (began time.Time, beyond int64, err error) {
	const page = 1000
	done := make(map[string]bool) // a scan may show a field twice
	var cursor uint64
	for {
		fields, next, err := s.scan(ctx, cursor, page)
		if err != nil {
			return time.Time{}, 0, fmt.Errorf("reading the observations of site %s: %w", s.site, err)
		}
		for i := 0; i+1 < len(fields); i += 2 {
			name, text := fields[i], fields[i+1]
			var seen Seen
			switch {
			case done[name]:
				continue
			case name == fieldBegan:
				began = time.Unix(number(text), 0).UTC()
			case name == fieldBeyond:
				beyond = number(text)
			case json.Unmarshal([]byte(text), &seen) == nil:
				seen.Contact = strings.Clone(name)
				each(seen)
			}
			done[name] = true
		}
		if cursor = next; cursor == 0 {
			return began, beyond, nil
		}
	}
}

func (s *Store) scan(ctx context.Context, cursor uint64, count int64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.rdb.HScan(ctx, s.key(), cursor, "", count).Result()
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// away is an error of Redis: the contact waits until it is back.
type away struct{ error }

// Outage returns zero: Redis does not say for how long.
func (*away) Outage() time.Duration { return 0 }

// Unwrap returns Redis's error.
func (e *away) Unwrap() error { return e.error }
