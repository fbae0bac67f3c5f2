package relay

import (
	"context"

	"spillway/internal/contact"
)

// Site is where a pass has its contact stored.
type Site interface {
	Store(ctx context.Context, change contact.Change) (contact.Result, error)
}

// Passes runs passes that have WP Fusion do everything.
type Passes struct {
	Site Site
	// NotifyAlways sends the login details to every new user, asked for or not.
	NotifyAlways bool
}

// Pass carries out an intent for a contact with one request.
func (p *Passes) Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, _ int64) (contact.Result, error) {
	return p.Site.Store(ctx, contact.Change{
		ContactID: ref.ID, Action: intent.Action.String(), Role: intent.Role,
		Notify: intent.Action == contact.Add && (intent.Notify || p.NotifyAlways),
	})
}
