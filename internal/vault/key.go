package vault

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// KeyLength is the length of a secret key in bytes: AES-256's.
const KeyLength = 32

const keyRemedy = "make one with: openssl rand -base64 32"

// ParseKey reads SPILLWAY_SECRET_KEY: 32 bytes in base64, in the standard or
// the URL alphabet, padded or not. The error shows nothing of the key.
func ParseKey(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, errors.New("the secret key is empty; " + keyRemedy)
	}
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	key, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		// The decoder's own error quotes a position, which is of no use here.
		return nil, errors.New("the secret key is not base64; " + keyRemedy)
	}
	if len(key) != KeyLength {
		return nil, fmt.Errorf("the secret key has %d bytes, not %d; %s", len(key), KeyLength, keyRemedy)
	}
	return key, nil
}
