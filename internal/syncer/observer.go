package syncer

import (
	"context"
	"fmt"

	"spillway/internal/contact"
)

// Observations keep what passes would have done.
type Observations interface {
	Note(ctx context.Context, contactID string, result contact.Result) error
}

// Observer runs passes that write nothing, neither on the site nor in the CRM, and
// notes what each would have done. It generates no password.
type Observer struct {
	syncer       *Syncer
	observations Observations
}

// NewObserver returns an observer. The site must be one that only tells what
// storing would do. Of the options those count that decide what is stored.
func NewObserver(crm CRM, site Site, options Options, observations Observations) *Observer {
	options.ReturnPassword, options.ReturnFields, options.Absences = "", nil, nil
	return &Observer{New(readOnly{crm}, site, nil, options), observations}
}

// Pass looks at a contact. What would park it is its result: the contact is done.
// Every other error is one of [Syncer.Pass].
func (o *Observer) Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, asOf int64) (contact.Result, error) {
	result, err := o.syncer.Pass(ctx, ref, intent, asOf)
	if err != nil {
		judgement := Judge(err, 0)
		if judgement.Verdict != Park {
			return contact.Result{}, err
		}
		result = contact.Result{Outcome: contact.Parking, Observed: &contact.Observation{Code: judgement.Code, Message: err.Error()}}
	}
	if err := o.observations.Note(ctx, ref.ID, result); err != nil {
		return contact.Result{}, fmt.Errorf("noting what was observed of contact %s: %w", ref.ID, err)
	}
	return result, nil
}

// readOnly is a CRM to which nothing is written.
type readOnly struct{ CRM }

// Update writes nothing.
func (readOnly) Update(context.Context, string, map[string]string) error { return nil }

// ApplyTags writes nothing.
func (readOnly) ApplyTags(context.Context, string, []string) error { return nil }

// RemoveTags writes nothing.
func (readOnly) RemoveTags(context.Context, string, []string) error { return nil }
