// Package dossier is what an operator is shown of one contact: where its work
// stands and what happened to it. The admin API and the command show the same.
package dossier

import (
	"context"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// Dossier is one contact. Times that are not known are nil.
type Dossier struct {
	ContactID   string        `json:"contact_id"`
	State       pending.State `json:"state"`
	Action      string        `json:"action,omitempty"` // empty of an idle contact
	Webhooks    int64         `json:"webhooks"`
	Attempts    int           `json:"attempts"`
	Since       *time.Time    `json:"since,omitempty"`
	NextAttempt *time.Time    `json:"next_attempt,omitempty"`
	LastSync    *time.Time    `json:"last_sync"`
	LastError   *Failure      `json:"last_error"`
	// Received are the latest webhooks that no pass has covered yet.
	Received []contact.Receipt `json:"received,omitempty"`
	Timeline []history.Event   `json:"timeline,omitempty"`
}

// Failure is why a pass failed.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Of returns what a record tells: no timeline and no last sync.
func Of(record pending.Record) Dossier {
	d := Dossier{
		ContactID: record.Ref.ID, State: record.State, Webhooks: record.Webhooks, Attempts: record.Attempts,
		Since: moment(record.Since), NextAttempt: moment(record.Next), Received: record.Received,
	}
	if record.State != pending.Idle {
		d.Action = record.Intent.Action.String()
	}
	if record.Failure.Code != "" {
		d.LastError = &Failure{record.Failure.Code, record.Failure.Text}
	}
	return d
}

// All returns what each of the records tells.
func All(records []pending.Record) []Dossier {
	all := make([]Dossier, 0, len(records))
	for _, record := range records {
		all = append(all, Of(record))
	}
	return all
}

// Read returns all that is known of a contact.
func Read(ctx context.Context, contacts *pending.Contacts, timelines *history.Timelines, ref contact.Ref) (Dossier, error) {
	record, err := contacts.Lookup(ctx, ref)
	if err != nil {
		return Dossier{}, err
	}
	events, lastSync, err := timelines.Timeline(ctx, ref)
	if err != nil {
		return Dossier{}, err
	}
	d := Of(record)
	d.LastSync, d.Timeline = moment(lastSync), events
	for _, event := range events {
		if d.LastError != nil {
			break
		}
		if event.Code != "" { // the last failure that the timeline remembers
			d.LastError = &Failure{event.Code, event.Error}
		}
	}
	return d, nil
}

// Drop forgets a parked contact on an operator's behalf, and says so on its
// timeline. It reports whether the contact was parked.
func Drop(ctx context.Context, contacts *pending.Contacts, ref contact.Ref) (dropped bool, err error) {
	record, err := contacts.Lookup(ctx, ref)
	if err != nil || record.State != pending.Parked {
		return false, err
	}
	event := history.Event{
		Time: time.Now().UTC(), Kind: history.Dropped, Action: record.Intent.Action.String(), Notes: []string{"by the operator"},
	}
	return contacts.Drop(ctx, ref, event.Encode())
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
