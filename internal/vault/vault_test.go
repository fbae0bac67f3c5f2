package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/vault"
)

const prefix = "spw:vault:"

type bundle struct {
	server *redistest.Server
	rdb    *redis.Client
	vault  *vault.Vault
}

func setup(t *testing.T) bundle {
	t.Helper()
	server := redistest.Start(t)
	rdb := server.Client()
	return bundle{server: server, rdb: rdb, vault: open(t, rdb, 'k')}
}

// open returns a vault whose key is one byte repeated.
func open(t *testing.T, rdb redis.UniversalClient, key byte) *vault.Vault {
	t.Helper()
	v, err := vault.New(rdb, bytes.Repeat([]byte{key}, vault.KeyLength), prefix)
	require.NoError(t, err)
	return v
}

func TestWhatIsSealedOpens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	for _, plain := range []string{"pässword with spaces", "", "\x00\xff", strings.Repeat("x", 100_000)} {
		require.NoError(t, b.vault.Seal(ctx, "default:1", []byte(plain), time.Hour))
		got, err := b.vault.Open(ctx, "default:1")
		require.NoError(t, err)
		require.Equal(t, plain, string(got))
	}
}

func TestDeletedAndUnknownEntriesAreMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	_, err := b.vault.Open(ctx, "default:1")
	require.ErrorIs(t, err, vault.ErrMissing)

	require.NoError(t, b.vault.Seal(ctx, "default:1", []byte("secret"), 0))
	require.NoError(t, b.vault.Delete(ctx, "default:1"))
	require.NoError(t, b.vault.Delete(ctx, "default:1"))
	_, err = b.vault.Open(ctx, "default:1")
	require.ErrorIs(t, err, vault.ErrMissing)
	_, outage := contact.AsOutage(err)
	require.False(t, outage)
}

func TestNothingReadableStandsInRedis(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	secret := "correct-horse-battery-staple"
	require.NoError(t, b.vault.Seal(ctx, "oauth", []byte(secret), 0))
	_, err := b.vault.SealOnce(ctx, "default:1", []byte(secret), time.Hour)
	require.NoError(t, err)

	keys, err := b.rdb.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{prefix + "oauth", prefix + "default:1"}, keys)
	for _, key := range keys {
		value, err := b.rdb.Get(ctx, key).Bytes()
		require.NoError(t, err)
		for length := 4; length <= len(secret); length++ {
			require.NotContains(t, string(value), secret[:length])
		}
		require.NotContains(t, string(value), strings.Repeat("k", 4), "the key itself")
		require.NotContains(t, string(value), base64.StdEncoding.EncodeToString([]byte(secret)))
	}
}

func TestTheSameContentSealsDifferentlyEachTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	seen := map[string]bool{}
	for range 50 {
		require.NoError(t, b.vault.Seal(ctx, "default:1", []byte("secret"), 0))
		entry, err := b.rdb.Get(ctx, prefix+"default:1").Result()
		require.NoError(t, err)
		require.False(t, seen[entry])
		seen[entry] = true
	}
}

func TestAnEntryOpensOnlyInItsPlaceUnaltered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	require.NoError(t, b.vault.Seal(ctx, "default:1", []byte("secret"), 0))
	entry, err := b.rdb.Get(ctx, prefix+"default:1").Bytes()
	require.NoError(t, err)

	require.NoError(t, b.rdb.Set(ctx, prefix+"default:2", entry, 0).Err())
	_, err = b.vault.Open(ctx, "default:2")
	require.ErrorIs(t, err, vault.ErrUnreadable)

	for position := range entry {
		altered := bytes.Clone(entry)
		altered[position] ^= 1
		require.NoError(t, b.rdb.Set(ctx, prefix+"default:1", altered, 0).Err())
		_, err = b.vault.Open(ctx, "default:1")
		require.ErrorIs(t, err, vault.ErrUnreadable, "byte %d altered", position)
	}
	for length := range entry {
		require.NoError(t, b.rdb.Set(ctx, prefix+"default:1", entry[:length], 0).Err())
		_, err = b.vault.Open(ctx, "default:1")
		require.ErrorIs(t, err, vault.ErrUnreadable, "cut to %d bytes", length)
	}
}

func TestAnotherKeyDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.vault.Seal(t.Context(), "default:1", []byte("secret"), 0))
	_, err := open(t, b.rdb, 'x').Open(t.Context(), "default:1")
	require.ErrorIs(t, err, vault.ErrUnreadable)
}

func TestEntriesExpire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	require.NoError(t, b.vault.Seal(ctx, "short", []byte("secret"), 20*time.Millisecond))
	require.NoError(t, b.vault.Seal(ctx, "long", []byte("secret"), time.Hour))
	require.NoError(t, b.vault.Seal(ctx, "endless", []byte("secret"), 0))
	require.Eventually(t, func() bool {
		_, err := b.vault.Open(ctx, "short")
		return err != nil
	}, 30*time.Second, 5*time.Millisecond)
	require.InDelta(t, time.Hour, b.rdb.PTTL(ctx, prefix+"long").Val(), float64(time.Minute))
	require.Equal(t, time.Duration(-1), b.rdb.PTTL(ctx, prefix+"endless").Val())
}

func TestSealOnceKeepsTheFirstContentAndRenewsItsLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	stored, err := b.vault.SealOnce(ctx, "default:1", []byte("first"), time.Minute)
	require.NoError(t, err)
	require.Equal(t, "first", string(stored))

	stored, err = b.vault.SealOnce(ctx, "default:1", []byte("second"), time.Hour)
	require.NoError(t, err)
	require.Equal(t, "first", string(stored))
	require.InDelta(t, time.Hour, b.rdb.PTTL(ctx, prefix+"default:1").Val(), float64(time.Minute))

	_, err = b.vault.SealOnce(ctx, "default:1", []byte("third"), 0)
	require.NoError(t, err)
	require.Equal(t, time.Duration(-1), b.rdb.PTTL(ctx, prefix+"default:1").Val())

	require.NoError(t, b.vault.Delete(ctx, "default:1"))
	stored, err = b.vault.SealOnce(ctx, "default:1", []byte("fourth"), time.Microsecond)
	require.NoError(t, err)
	require.Equal(t, "fourth", string(stored))
	require.Eventually(t, func() bool {
		_, err := b.vault.Open(ctx, "default:1")
		return err != nil
	}, 30*time.Second, time.Millisecond)
}

func TestSealOnceReplacesWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	for _, entry := range []string{"", "junk", strings.Repeat("j", 100)} {
		require.NoError(t, b.rdb.Set(ctx, prefix+"default:1", entry, 0).Err())
		stored, err := b.vault.SealOnce(ctx, "default:1", []byte("secret"), time.Hour)
		require.NoError(t, err)
		require.Equal(t, "secret", string(stored))
		got, err := b.vault.Open(ctx, "default:1")
		require.NoError(t, err)
		require.Equal(t, "secret", string(got))
	}
}

func TestSealOnceFromManyProcessesAgreesOnOneContent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()

	// Before them stands an entry of an older key, which only one may replace.
	require.NoError(t, open(t, b.rdb, 'x').Seal(ctx, "default:1", []byte("older"), 0))
	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		stored = map[string]int{}
	)
	for i := range 20 {
		v := open(t, b.server.Client(), 'k')
		group.Go(func() {
			content, err := v.SealOnce(ctx, "default:1", []byte{byte('a' + i)}, time.Hour)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stored[string(content)]++
			}
		})
	}
	group.Wait()
	require.Len(t, stored, 1)
	for _, count := range stored {
		require.Equal(t, 20, count)
	}
}

func TestAnAbsentRedisIsAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	v := open(t, rdb, 'k')
	server.Kill()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, opened := v.Open(ctx, "default:1")
	_, once := v.SealOnce(ctx, "default:1", []byte("hunter2"), time.Hour)
	for _, err := range []error{opened, once, v.Seal(ctx, "default:1", []byte("hunter2"), 0), v.Delete(ctx, "default:1")} {
		_, outage := contact.AsOutage(err)
		require.True(t, outage, "%v", err)
		require.ErrorContains(t, err, "default:1")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestAKeyOfAnotherLengthIsRefused(t *testing.T) {
	t.Parallel()
	_, err := vault.New(nil, []byte("short"), prefix)
	require.ErrorContains(t, err, "5 bytes")
}
