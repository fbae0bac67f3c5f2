package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Keyring holds the accepted access keys of all sites: more than one of a site
// while a key is being replaced. It keeps their hashes alone, so nothing can print
// a key from it. A nil Keyring accepts no key.
type Keyring struct {
	sums  [][sha256.Size]byte
	sites []string // of each sum
}

// NewKeyring returns the keyring of the keys of each site. Each site has at least
// one, none is empty, and no key is on two sites.
func NewKeyring(keys map[string][]string) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("making a keyring: there is no site, name at least one")
	}
	ring := &Keyring{}
	holder := make(map[[sha256.Size]byte]string)
	for _, site := range slices.Sorted(maps.Keys(keys)) {
		if len(keys[site]) == 0 {
			return nil, fmt.Errorf("making a keyring: site %s has no access key, set at least one", site)
		}
		for i, key := range keys[site] {
			if key == "" {
				return nil, fmt.Errorf("making a keyring: access key %d of %d of site %s is empty, remove it", i+1, len(keys[site]), site)
			}
			sum := sha256.Sum256([]byte(key))
			if other, taken := holder[sum]; taken && other != site {
				return nil, fmt.Errorf("making a keyring: access key %d of site %s is also one of site %s, give each site keys of its own", i+1, site, other)
			}
			holder[sum] = site
			ring.sums, ring.sites = append(ring.sums, sum), append(ring.sites, site)
		}
	}
	return ring, nil
}

// Site returns the site that a key belongs to; empty: the key is not accepted. It
// compares key with every accepted one, byte by byte: no two spellings are equal,
// and the empty key is never accepted. How long it takes depends on key's length
// and on the number of keys alone, not on how much of it is right or on which key
// it equals.
func (k *Keyring) Site(key string) string {
	if k == nil {
		return ""
	}
	// Hashing makes the lengths equal, without which the comparison would tell
	// the length of the accepted keys.
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := range k.sums {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], k.sums[i][:]), i, found)
	}
	if found < 0 {
		return ""
	}
	return k.sites[found]
}
