// Package creations is what a person does about users that the creation limit
// held back: let them be created, or forget them.
//
// It guarantees that a contact is only touched while it is parked for that
// reason. What is interrupted goes on with the next call.
package creations

import (
	"context"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/dossier"
)

// List knows the contacts that were held back.
type List interface {
	Held(ctx context.Context, most int64) ([]string, error)
	Allow(ctx context.Context, contactID string) error
	Forget(ctx context.Context, contactID string) error
}

// code is the reason for which their contacts are parked.
const code = "creation_limit"

// page is how many contacts are read at a time.
const page = 500

// Allow lets all of them be created, beyond the limit, and returns how many.
func Allow(ctx context.Context, contacts *pending.Contacts, list List, site string) (int, error) {
	return each(ctx, contacts, list, site, func(ref contact.Ref) (bool, error) {
		// First: it may be taken up at once.
		if err := list.Allow(ctx, ref.ID); err != nil {
			return false, err
		}
		return contacts.Retry(ctx, ref)
	})
}

// Drop forgets what was to be done for all of them, and returns how many. Their
// next webhooks begin anew.
func Drop(ctx context.Context, contacts *pending.Contacts, list List, site string) (int, error) {
	return each(ctx, contacts, list, site, func(ref contact.Ref) (bool, error) {
		dropped, err := dossier.Drop(ctx, contacts, ref)
		if err != nil {
			return false, err
		}
		return dropped, list.Forget(ctx, ref.ID)
	})
}

func each(ctx context.Context, contacts *pending.Contacts, list List, site string, act func(contact.Ref) (bool, error)) (done int, err error) {
	for {
		ids, err := list.Held(ctx, page)
		if err != nil || len(ids) == 0 {
			return done, err
		}
		for _, id := range ids {
			ref := contact.Ref{Site: site, ID: id}
			record, err := contacts.Lookup(ctx, ref)
			if err != nil {
				return done, err
			}
			if record.State != pending.Parked || record.Failure.Code != code {
				if err := list.Forget(ctx, id); err != nil {
					return done, err
				}
				continue
			}
			acted, err := act(ref)
			if err != nil {
				return done, err
			}
			if acted {
				done++
			}
		}
	}
}
