package doctor

import (
	"bytes"
	"context"
	"errors"
	"time"

	"spillway/internal/assembly"
	"spillway/internal/vault"
)

// oauthEntry is the vault's entry of the CRM's tokens.
const oauthEntry = "oauth"

// secretKey sees whether the key seals and opens, and whether it is the one
// with which the workers have sealed.
func (e *examination) secretKey(ctx context.Context) {
	const check = "secret key"
	needed := e.settings.ReturnPasswordField != "" || e.settings.CRM.OAuth()
	switch {
	case len(e.settings.SecretKey) == 0 && needed:
		e.fail(check, "make one with `spillway keys`, and give all workers the same",
			"SPILLWAY_SECRET_KEY is missing; returned passwords and OAuth need it")
		return
	case len(e.settings.SecretKey) == 0:
		e.skip(check, "SPILLWAY_SECRET_KEY is missing, and nothing needs it")
		return
	case e.rdb == nil:
		e.skip(check, "Redis does not answer")
		return
	}
	sealed, err := vault.New(e.rdb, e.settings.SecretKey, assembly.VaultPrefix)
	if err != nil {
		e.fail(check, "make one with `spillway keys`", "%v", err)
		return
	}
	e.vault = sealed
	const name, life = "doctor", time.Minute
	probe := []byte("probe")
	err = sealed.Seal(ctx, name, probe, life)
	if err == nil {
		var opened []byte
		if opened, err = sealed.Open(ctx, name); err == nil && !bytes.Equal(opened, probe) {
			err = vault.ErrUnreadable
		}
	}
	if err != nil {
		e.fail(check, redisRemedy(err), "sealing a probe: %v", err)
		return
	}
	// Every entry under way was sealed by a worker; any of them tells.
	unreadable, seen, err := e.unreadable(ctx)
	switch {
	case err != nil:
		e.skip(check, "listing what is sealed: %v", err)
	case unreadable > 0:
		e.fail(check, "set SPILLWAY_SECRET_KEY to the key of the workers; what a lost key sealed must be renewed: users whose passwords are under way get new ones by themselves, OAuth needs a new authorisation",
			"%d of %d entries that were looked at were sealed with another key", unreadable, seen)
	default:
		e.keyWorks = true
		e.ok(check, "seals and opens; %d entries of the workers open with it", seen)
	}
}

// unreadable looks at some of the vault's entries.
func (e *examination) unreadable(ctx context.Context) (unreadable, seen int, err error) {
	const rounds, most = 20, 50
	names := []string{oauthEntry}
	var cursor uint64
	for range rounds {
		keys, next, err := e.rdb.Scan(ctx, cursor, assembly.VaultPrefix+"*", 500).Result()
		if err != nil {
			return 0, 0, err
		}
		for _, key := range keys {
			if name := key[len(assembly.VaultPrefix):]; len(names) < most && name != oauthEntry && name != "doctor" {
				names = append(names, name)
			}
		}
		if cursor = next; cursor == 0 || len(names) == most {
			break
		}
	}
	for _, name := range names {
		_, err := e.vault.Open(ctx, name)
		switch {
		case err == nil:
			seen++
		case errors.Is(err, vault.ErrUnreadable):
			seen++
			unreadable++
		case !errors.Is(err, vault.ErrMissing):
			return 0, 0, err
		}
	}
	return unreadable, seen, nil
}
