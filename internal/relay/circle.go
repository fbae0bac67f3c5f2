package relay

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
)

// Proof is the value of [webhook.RelayHeader] for an access key. A web server that
// sends webhooks to Spillway leaves a request to WordPress whose value it knows.
// Ingest refuses every webhook with the header, whatever its value: it was sent
// back in a circle. The key cannot be had from the value: WP Fusion's own keys
// have 32 bits, so each guess is made to take a while.
func Proof(accessKey string) string {
	const rounds, size = 100_000, 16
	sum, err := pbkdf2.Key(sha256.New, accessKey, []byte("spillway relay"), rounds, size)
	if err != nil { // only for sizes that no hash has
		return ""
	}
	return hex.EncodeToString(sum)
}
