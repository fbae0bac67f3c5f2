// Package vault keeps small secrets in Redis, sealed: generated passwords that
// are under way to the CRM, and the CRM's OAuth tokens.
//
// Guarantee: an entry is encrypted and authenticated with AES-256-GCM under a
// key that never reaches Redis, and it is bound to its full Redis key, so one
// that was altered, or copied to another name, does not open. Anyone who can
// read Redis learns that an entry exists, its name, its age and its length.
//
// Limits: an older entry put back under the same name opens, so anyone who can
// write to Redis can undo a change. A changed secret key makes every entry
// unreadable ([ErrUnreadable]). Entries last as long as Redis keeps them;
// callers must cope with a missing entry.
package vault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// ErrMissing reports that there is no entry of that name, or no longer.
var ErrMissing = errors.New("the vault has no such entry")

// ErrUnreadable reports an entry that this key does not open: it was sealed
// under another SPILLWAY_SECRET_KEY, or altered, or moved.
var ErrUnreadable = errors.New("the vault's entry does not open: it was sealed with another SPILLWAY_SECRET_KEY, or is damaged")

const (
	// An entry is the version, the key id, and GCM's nonce, ciphertext and tag.
	version     = 1
	keyIDLength = 4
	headLength  = 1 + keyIDLength

	// KeyLength is the length of a secret key in bytes: AES-256's.
	KeyLength = 32

	// redisTimeout bounds one operation, go-redis's own repetitions included.
	redisTimeout = 5 * time.Second
)

// Vault seals and opens entries. It may be used by many goroutines.
type Vault struct {
	rdb    redis.UniversalClient
	aead   cipher.AEAD
	head   []byte
	prefix string
}

// New returns the vault whose entries are kept under prefix+NAME in Redis, such
// as "spw:v:default:123". key has [KeyLength] bytes.
func New(rdb redis.UniversalClient, key []byte, prefix string) (*Vault, error) {
	if len(key) != KeyLength {
		return nil, fmt.Errorf("the vault's key has %d bytes, not %d", len(key), KeyLength)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing the vault's cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("preparing the vault's cipher: %w", err)
	}
	digest := sha256.Sum256(key)
	return &Vault{rdb: rdb, aead: aead, head: append([]byte{version}, digest[:keyIDLength]...), prefix: prefix}, nil
}

// Seal stores plain under name for ttl, in place of what was there. A ttl of
// zero or less keeps it until it is deleted.
func (v *Vault) Seal(ctx context.Context, name string, plain []byte, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := v.rdb.Set(ctx, v.prefix+name, v.seal(name, plain), max(ttl, 0)).Err(); err != nil {
		return &Unavailable{Attempt: "sealing " + name, Err: err}
	}
	return nil
}

// Open returns what was sealed under name. The error is [ErrMissing],
// [ErrUnreadable], or an outage of Redis, which alone is a [contact.Outage].
func (v *Vault) Open(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	entry, err := v.rdb.Get(ctx, v.prefix+name).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, fmt.Errorf("opening %s: %w", name, ErrMissing)
	case err != nil:
		return nil, &Unavailable{Attempt: "opening " + name, Err: err}
	}
	plain, ok := v.open(name, entry)
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", name, ErrUnreadable)
	}
	return plain, nil
}

// Delete removes the entry; one that is missing is deleted already.
func (v *Vault) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := v.rdb.Del(ctx, v.prefix+name).Err(); err != nil {
		return &Unavailable{Attempt: "deleting " + name, Err: err}
	}
	return nil
}

func (v *Vault) seal(name string, plain []byte) []byte {
	return v.aead.Seal(bytes.Clone(v.head), nil, plain, v.bound(name))
}

func (v *Vault) open(name string, entry []byte) ([]byte, bool) {
	if len(entry) < headLength || !bytes.Equal(entry[:headLength], v.head) {
		return nil, false
	}
	plain, err := v.aead.Open(nil, nil, entry[headLength:], v.bound(name))
	return plain, err == nil
}

// bound is the additional data that ties an entry to its place.
func (v *Vault) bound(name string) []byte {
	return append(bytes.Clone(v.head), v.prefix+name...)
}

// Unavailable reports that Redis did not take or give an entry. It is a
// [contact.Outage].
type Unavailable struct {
	Attempt string // what was attempted, with the entry's name
	Err     error
}

var _ contact.Outage = (*Unavailable)(nil)

func (e *Unavailable) Error() string {
	return fmt.Sprintf("%s in the vault: Redis does not answer as it should: %v", e.Attempt, e.Err)
}

// Unwrap returns Redis's error.
func (e *Unavailable) Unwrap() error { return e.Err }

// Outage returns zero: Redis does not say when it will be back.
func (e *Unavailable) Outage() time.Duration { return 0 }
