// Package addresses finds a contact by its e-mail address without keeping any
// address. A pass that reads a contact from the CRM notes, under a keyed hash
// of the address, which contact had it; a search hashes what was typed with the
// same key and looks there.
//
// Without the key, a reader of Redis can neither read an address nor try
// guesses. With the key and Redis, one can find out whether a given address
// belongs to a contact, so the notes are pseudonymous personal data: they are
// made only when a key is set, and a contact's note ends thirty days after the
// last pass that read the address. An address that was changed keeps leading to
// its contact until then.
package addresses

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	// keep is as long as a contact's timeline.
	keep = 30 * 24 * time.Hour
	// most bounds the contacts of one address; the CRM may have the same one
	// several times.
	most        = 10
	callTimeout = 2 * time.Second
)

// Index is the notes in a Redis under one key.
type Index struct {
	rdb redis.UniversalClient
	key []byte
}

// New returns the index of a key, SPILLWAY_SEARCH_KEY. Another key finds
// nothing of what was noted before.
func New(rdb redis.UniversalClient, key []byte) *Index { return &Index{rdb: rdb, key: key} }

func prefixOf(site string) string { return "spw:a:" + site + ":" }

// KeysOf names the notes of a site; the * at the end stands for anything.
func KeysOf(site string) []string { return []string{prefixOf(site) + "*"} }

// hashed is the name of an address's note. Addresses that differ in case or in
// spaces around them are the same, as they are for WordPress.
func (i *Index) hashed(site, address string) string {
	mac := hmac.New(sha256.New, i.key)
	mac.Write([]byte(strings.ToLower(strings.TrimSpace(address))))
	return prefixOf(site) + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Note remembers that a contact has an address. The error names the contact
// only.
func (i *Index) Note(ctx context.Context, ref contact.Ref, address string) error {
	if strings.TrimSpace(address) == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := i.hashed(ref.Site, address)
	_, err := i.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.ZAdd(ctx, key, redis.Z{Score: float64(time.Now().UnixMilli()), Member: ref.ID})
		pipe.ZRemRangeByRank(ctx, key, 0, -most-1)
		pipe.Expire(ctx, key, keep)
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting the address of contact %s: %w", ref, err)
	}
	return nil
}

// Find returns the ids of a site's contacts that had an address when they were
// last read, the most recently read first.
func (i *Index) Find(ctx context.Context, site, address string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := i.rdb.ZRevRange(ctx, i.hashed(site, address), 0, most-1).Result()
	if err != nil {
		return nil, fmt.Errorf("looking for a contact by its address: %w", err)
	}
	return ids, nil
}

// CRM reads contacts; a pass does so through it.
type CRM interface {
	Contact(ctx context.Context, id string) (map[string]any, error)
	Tags(ctx context.Context, id string) ([]string, error)
	Update(ctx context.Context, id string, fields map[string]string) error
	Fields(ctx context.Context) (map[string]string, error)
	ApplyTags(ctx context.Context, id string, tags []string) error
	RemoveTags(ctx context.Context, id string, tags []string) error
}

// Noting is a CRM whose contacts are noted as they are read.
type Noting struct {
	CRM

	// Index gets the notes.
	Index *Index
	// Site is the site of the contacts, Field the CRM's field of the address.
	Site, Field string
	// Missed is told of notes that could not be written: the pass goes on, and
	// the contact's next one notes it.
	Missed func(error)
}

// Contact reads a contact and notes its address.
func (n Noting) Contact(ctx context.Context, id string) (map[string]any, error) {
	record, err := n.CRM.Contact(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := n.Index.Note(ctx, contact.Ref{Site: n.Site, ID: id}, contact.TextOf(record, n.Field)); err != nil {
		n.Missed(err)
	}
	return record, nil
}
