package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"spillway/internal/contact"
)

// Absences remember which contacts the CRM says it does not have.
type Absences interface {
	// Absent notes that the CRM has just said so, and returns how long ago it
	// said so first.
	Absent(ctx context.Context, ref contact.Ref) (time.Duration, error)
	// Present forgets it.
	Present(ctx context.Context, ref contact.Ref) error
}

// deletedAfter is how long a contact must have been gone before its user's tags
// are cleared.
const deletedAfter = 10 * time.Minute

// noteDeleted is on the result of a pass that cleared the tags of a contact that
// is gone.
const noteDeleted = "contact_deleted"

// withAbsence looks at how a pass ended. Only the CRM's definite answer that it
// has no such contact counts, twice, [deletedAfter] apart: then the tags are
// cleared like any other change of tags. A pass that read the contact starts the
// count anew, whether or not the site took it.
func (s *Syncer) withAbsence(ctx context.Context, ref contact.Ref, asOf int64, result contact.Result, err error) (contact.Result, error) {
	switch {
	case err == nil:
		return result, s.options.Absences.Present(ctx, ref)
	case !isNotFound(err):
		if _, refused := contact.AsRefusal(err); refused {
			err = errors.Join(err, s.options.Absences.Present(ctx, ref))
		}
		return result, err
	}
	gone, err := s.options.Absences.Absent(ctx, ref)
	if err != nil {
		return contact.Result{}, err
	}
	if gone < deletedAfter {
		return contact.Result{}, &contact.Absent{ContactID: ref.ID, Again: deletedAfter - gone}
	}
	// A wrong address of the CRM finds no contact either.
	if _, err := s.crm.Fields(ctx); err != nil {
		return contact.Result{}, fmt.Errorf("clearing the tags of contact %s, which the CRM does not find: %w", ref.ID, err)
	}
	change := contact.Change{ContactID: ref.ID, Action: contact.UpdateTags.String(), AsOf: asOf, Tags: []string{}}
	if result, err = s.site.Store(ctx, change); err != nil {
		return contact.Result{}, err
	}
	result.Notes = append(result.Notes, noteDeleted)
	return result, s.options.Absences.Present(ctx, ref)
}
