package main

import (
	"context"
	"fmt"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/dossier"
)

type syncCommand struct {
	IDs     []string      `arg:"" name:"id" help:"The CRM's ids of the contacts."`
	Action  string        `name:"action" default:"update" enum:"update_tags,update,add" help:"What to sync: update_tags, update, or add, which creates users (default update)."`
	Wait    bool          `name:"wait" help:"Wait until they are synced or parked; parked ones make it fail."`
	Timeout time.Duration `name:"timeout" default:"2m" help:"How long to wait."`
	redisFlags
	jsonFlag
}

type syncView struct {
	ContactID string           `json:"contact_id"`
	Action    string           `json:"action"`
	Coalesced bool             `json:"coalesced"`
	State     pending.State    `json:"state,omitempty"` // with --wait
	Error     *dossier.Failure `json:"error,omitempty"`
}

// Run is called by kong.
func (s *syncCommand) Run(ctx context.Context, c *console) error {
	var refs []contact.Ref
	for _, id := range s.IDs {
		ref, err := refOf(id)
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	action, _ := contact.ParseAction(s.Action) // an enum of kong's
	here, err := c.installation(s.redisFlags)
	if err != nil {
		return err
	}
	defer here.Close()
	here.own(refs...)
	views := make([]syncView, 0, len(refs))
	for _, ref := range refs {
		coalesced, err := here.contacts.Resync(ctx, ref, contact.Intent{Action: action})
		if err != nil {
			return err
		}
		views = append(views, syncView{ContactID: ref.ID, Action: s.Action, Coalesced: coalesced})
	}
	if s.Wait {
		ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("not all are synced after %s; the workers go on", s.Timeout))
		defer cancel()
		err = wait(ctx, here.contacts, refs, views)
	}
	if s.JSON {
		if printed := c.json(map[string]any{"contacts": views}); printed != nil {
			return printed
		}
	} else {
		for _, view := range views {
			c.say("%s\n", view)
		}
	}
	return err
}

func (v syncView) String() string {
	text := fmt.Sprintf("%s  queued (%s)", v.ContactID, v.Action)
	switch v.State {
	case "":
	case pending.Idle:
		text = fmt.Sprintf("%s  synced (%s)", v.ContactID, v.Action)
	default:
		text = fmt.Sprintf("%s  %s (%s)", v.ContactID, v.State, v.Action)
	}
	if v.Error != nil {
		text += fmt.Sprintf(": %s: %s", v.Error.Code, v.Error.Message)
	}
	return text
}

// wait fills in the states once every contact is idle or parked, or when ctx
// ends. Parked ones are an error.
func wait(ctx context.Context, contacts *pending.Contacts, refs []contact.Ref, views []syncView) error {
	for {
		left, parked := 0, 0
		for i, ref := range refs {
			record, err := contacts.Lookup(ctx, ref)
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return err
			}
			views[i].State, views[i].Error = record.State, dossier.Of(record).LastError
			switch record.State {
			case pending.Idle:
			case pending.Parked:
				parked++
			default:
				left++
			}
		}
		switch {
		case left == 0 && parked > 0:
			return fmt.Errorf("%d of %d contacts are parked", parked, len(refs))
		case left == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
