package syncer

import (
	"context"

	"spillway/internal/contact"
)

// Comparer asks a site which fields of existing users would change if their
// contacts were synced.
type Comparer struct{ syncer *Syncer }

// NewComparer returns a comparer. The site must be one that only tells what
// storing would do.
func NewComparer(crm CRM, site Site, options Options) *Comparer {
	return &Comparer{New(readOnly{crm}, site, nil, options)}
}

// Compare reads a contact, its tags aside, in one call to the CRM. Its error is
// one of [Syncer.Pass].
func (c *Comparer) Compare(ctx context.Context, ref contact.Ref) (contact.Result, error) {
	record, err := c.syncer.crm.Contact(ctx, ref.ID)
	if err != nil {
		return contact.Result{}, err
	}
	change := c.syncer.change(ref, contact.Intent{Action: contact.Update}, record, nil)
	change.Tags = nil
	return c.syncer.site.Store(ctx, change)
}
