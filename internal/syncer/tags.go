package syncer

import (
	"context"
	"errors"
	"fmt"

	"spillway/internal/contact"
)

// createdTag returns the tag of a created user, empty when there is none to give.
// It must be known before the user is created, since the site remembers it until
// the CRM has it.
func (s *Syncer) createdTag(ctx context.Context, intent contact.Intent) (string, error) {
	if intent.Action != contact.Add || s.options.CreatedTag == nil {
		return "", nil
	}
	id, err := s.options.CreatedTag.ID(ctx)
	if err != nil {
		return "", fmt.Errorf("SPILLWAY_CREATED_TAG: %w", err)
	}
	return id, nil
}

// confirm brings to the CRM what the site's own hooks have done to the contact's
// tags, and tells the site what the CRM has stored: these tags and, if requestID
// is not empty, the password of that creation. It comes after the password is
// returned, since a mail that the CRM sends on a tag may quote the password.
//
// The site remembers what is not confirmed, so the next pass makes good for one
// that is cut off here: it is told of the same tags unless the CRM shows them.
// Tags that the CRM refuses do not keep the password from being confirmed.
func (s *Syncer) confirm(ctx context.Context, ref contact.Ref, result contact.Result, requestID string) error {
	told := contact.Change{ContactID: ref.ID, Action: contact.ActionConfirm, RequestID: requestID}
	applying := s.crm.ApplyTags(ctx, ref.ID, result.AppliedTags)
	if applying == nil {
		told.AppliedTags = result.AppliedTags
	}
	failed := applying
	if _, away := contact.AsOutage(applying); !away {
		removing := s.crm.RemoveTags(ctx, ref.ID, result.RemovedTags)
		if removing == nil {
			told.RemovedTags = result.RemovedTags
		}
		failed = errors.Join(applying, removing)
	}
	if requestID == "" && len(told.AppliedTags) == 0 && len(told.RemovedTags) == 0 {
		return failed
	}
	if _, err := s.site.Store(ctx, told); err != nil {
		return errors.Join(failed, fmt.Errorf("confirming what the CRM has stored of contact %s: %w", ref.ID, err))
	}
	return failed
}
