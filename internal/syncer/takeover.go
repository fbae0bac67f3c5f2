package syncer

import (
	"context"
	"errors"

	"spillway/internal/contact"
)

// codeNotFound is the CRM's definite answer that it has no such contact. An
// outage, a refused token or a page is no answer.
const codeNotFound = "contact_not_found"

// noteOtherContact is the site's note on a skipped change; the other contact's
// id is added for readers of the timeline.
const noteOtherContact = "other_contact"

func isNotFound(err error) bool {
	refusal, ok := contact.AsRefusal(err)
	return ok && refusal.Refusal() == codeNotFound
}

// isMergedInto says that the CRM, asked for another contact, answers this one's
// record: the two were merged.
func isMergedInto(err error, id string) bool {
	var other interface{ AnsweredAs() string }
	return errors.As(err, &other) && other.AnsweredAs() == id
}

// store stores a change. A user with the contact's address who belongs to
// another contact is taken over only when the CRM says that the other one is
// gone, as after a merge of the two; else the change stays skipped.
func (s *Syncer) store(ctx context.Context, change contact.Change) (contact.Result, error) {
	result, err := s.site.Store(ctx, change)
	if err != nil || result.OtherContact == "" {
		return result, err
	}
	for i, note := range result.Notes {
		if note == noteOtherContact {
			result.Notes[i] += ":" + result.OtherContact
		}
	}
	if _, err := contact.ParseID(result.OtherContact); err != nil {
		return result, nil //nolint:nilerr // an id of another CRM, which cannot be asked
	}
	switch _, err := s.crm.Contact(ctx, result.OtherContact); {
	case err == nil:
		return result, nil
	case !isNotFound(err) && !isMergedInto(err, change.ContactID):
		return contact.Result{}, err
	}
	change.Replaces = result.OtherContact
	return s.site.Store(ctx, change)
}
