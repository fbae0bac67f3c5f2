package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Keyring holds the accepted access keys: more than one while a key is being
// replaced. It keeps their hashes alone, so nothing can print a key from it.
// A nil Keyring accepts no key.
type Keyring struct {
	sums [][sha256.Size]byte
}

// NewKeyring returns the keyring of at least one key, none of them empty.
func NewKeyring(keys []string) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("making a keyring: there is no access key, set at least one")
	}
	ring := &Keyring{sums: make([][sha256.Size]byte, len(keys))}
	for i, key := range keys {
		if key == "" {
			return nil, fmt.Errorf("making a keyring: access key %d of %d is empty, remove it", i+1, len(keys))
		}
		ring.sums[i] = sha256.Sum256([]byte(key))
	}
	return ring, nil
}

// Accepts compares key with every accepted one, byte by byte: no two spellings
// are equal, and the empty key is never accepted. How long it takes depends on
// key's length alone, not on how much of it is right or on which key it equals.
func (k *Keyring) Accepts(key string) bool {
	if k == nil {
		return false
	}
	// Hashing makes the lengths equal, without which the comparison would tell
	// the length of the accepted keys.
	sum := sha256.Sum256([]byte(key))
	accepted := 0
	for i := range k.sums {
		accepted |= subtle.ConstantTimeCompare(sum[:], k.sums[i][:])
	}
	return accepted == 1
}
