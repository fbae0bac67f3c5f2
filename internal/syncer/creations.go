package syncer

import (
	"context"
	"errors"
	"fmt"

	"spillway/internal/contact"
)

// CodeCreationLimit parks a contact whose user would be one more than
// SPILLWAY_CREATION_LIMIT allows within an hour.
const CodeCreationLimit = "creation_limit"

// Creations bound how many users are created within an hour.
type Creations interface {
	// Reserve takes a place before the site may create a contact's user; a
	// repetition has the place already.
	Reserve(ctx context.Context, contactID string) (bool, error)
	// Made counts a creation, once; confirmed says that a confirmation follows.
	Made(ctx context.Context, contactID string, confirmed bool) error
	// Ended gives back a place that was not used, and ends what was confirmed.
	Ended(ctx context.Context, contactID string) error
	// Hold lists a contact that was held back.
	Hold(ctx context.Context, contactID string) error
}

// limited is a site on which only so many users are created.
type limited struct {
	site      Site
	creations Creations
}

// Limit returns a site whose creations are bounded. Contacts whose users exist
// are stored whatever the limit says.
func Limit(site Site, creations Creations) Site { return &limited{site, creations} }

// Store stores a change, see [Limit].
func (l *limited) Store(ctx context.Context, change contact.Change) (contact.Result, error) {
	switch change.Action {
	case contact.Add.String():
		return l.add(ctx, change)
	case contact.ActionConfirm:
		result, err := l.site.Store(ctx, change)
		if err == nil && change.RequestID != "" {
			err = l.creations.Ended(ctx, change.ContactID)
		}
		return result, err
	default:
		return l.site.Store(ctx, change)
	}
}

func (l *limited) add(ctx context.Context, change contact.Change) (contact.Result, error) {
	granted, err := l.creations.Reserve(ctx, change.ContactID)
	if err != nil {
		return contact.Result{}, err
	}
	if !granted {
		return l.withoutCreation(ctx, change)
	}
	result, err := l.site.Store(ctx, change)
	if err != nil {
		// A site that refuses the contact has made no user. Otherwise nobody knows,
		// and the place stays reserved for the repetition.
		if isFinal(err) {
			err = errors.Join(err, l.creations.Ended(ctx, change.ContactID))
		}
		return result, err
	}
	if result.Outcome == contact.Created {
		return result, l.creations.Made(ctx, change.ContactID, change.RequestID != "")
	}
	return result, l.creations.Ended(ctx, change.ContactID)
}

func isFinal(err error) bool {
	_, refused := contact.AsRefusal(err)
	_, away := contact.AsOutage(err)
	var suspicion contact.Suspicion
	doubtful := errors.As(err, &suspicion) && suspicion.Confirmed() > 1
	return refused && !away && !doubtful
}

// withoutCreation stores a contact whose user exists, and holds the others back:
// an update creates nobody.
func (l *limited) withoutCreation(ctx context.Context, change contact.Change) (contact.Result, error) {
	update := change
	update.Action = contact.Update.String()
	result, err := l.site.Store(ctx, update)
	switch {
	case err != nil || result.Outcome != contact.Skipped:
		return result, err
	case result.OtherContact != "":
		return l.site.Store(ctx, change) // an add takes the user over
	}
	if err := l.creations.Hold(ctx, change.ContactID); err != nil {
		return contact.Result{}, err
	}
	return contact.Result{}, &heldBack{change.ContactID}
}

// heldBack is the refusal of a creation over the limit.
type heldBack struct{ id string }

func (e *heldBack) Error() string {
	return fmt.Sprintf("contact %s has no user, and as many were created within the last hour as SPILLWAY_CREATION_LIMIT allows: "+
		"see what made the CRM add it, then allow or drop it with `spillway creations`", e.id)
}

// Refusal returns [CodeCreationLimit].
func (e *heldBack) Refusal() string { return CodeCreationLimit }
