package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/history"
	"spillway/internal/pending"
)

type contactCommand struct {
	ID string `arg:"" help:"The CRM's id of the contact."`
	redisFlags
	jsonFlag
}

// contactView is a contact as the admin API shows it, too.
type contactView struct {
	ContactID   string          `json:"contact_id"`
	State       pending.State   `json:"state"`
	Action      string          `json:"action,omitempty"`
	Webhooks    int64           `json:"webhooks"`
	Attempts    int             `json:"attempts"`
	Since       *time.Time      `json:"since,omitempty"`
	NextAttempt *time.Time      `json:"next_attempt,omitempty"`
	LastSync    *time.Time      `json:"last_sync"`
	LastError   *failureView    `json:"last_error"`
	Timeline    []history.Event `json:"timeline,omitempty"`
}

type failureView struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func viewOf(record pending.Record) contactView {
	view := contactView{
		ContactID: record.Ref.ID, State: record.State, Webhooks: record.Webhooks, Attempts: record.Attempts,
		Since: moment(record.Since), NextAttempt: moment(record.Next),
	}
	if record.State != pending.Idle {
		view.Action = record.Intent.Action.String()
	}
	if record.Failure.Code != "" {
		view.LastError = &failureView{record.Failure.Code, record.Failure.Text}
	}
	return view
}

func refOf(id string) (contact.Ref, error) {
	id, err := contact.ParseID(strings.TrimSpace(id))
	if err != nil {
		return contact.Ref{}, usageError(err.Error())
	}
	return contact.Ref{Site: contact.DefaultSite, ID: id}, nil
}

// Run is called by kong.
func (s *contactCommand) Run(ctx context.Context, c *console) error {
	ref, err := refOf(s.ID)
	if err != nil {
		return err
	}
	here, err := c.installation(s.redisFlags)
	if err != nil {
		return err
	}
	defer here.Close()
	record, err := here.contacts.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	events, lastSync, err := here.timelines.Timeline(ctx, ref)
	if err != nil {
		return err
	}
	view := viewOf(record)
	view.LastSync, view.Timeline = moment(lastSync), events
	if view.LastError == nil {
		// The last failure that the timeline remembers, if any.
		for _, event := range events {
			if event.Code != "" {
				view.LastError = &failureView{event.Code, event.Error}
				break
			}
		}
	}
	if s.JSON {
		return c.json(view)
	}
	view.print(c)
	return nil
}

func (v contactView) print(c *console) {
	row := func(name, format string, args ...any) { c.say("%-12s %s\n", name, fmt.Sprintf(format, args...)) }
	row("contact", "%s", v.ContactID)
	state := string(v.State)
	if v.Since != nil {
		state += fmt.Sprintf(" since %s", at(*v.Since))
	}
	row("state", "%s", state)
	if v.Action != "" {
		row("to do", "%s (%d webhooks, %d failed attempts)", v.Action, v.Webhooks, v.Attempts)
	}
	if v.NextAttempt != nil {
		row("next attempt", "%s", at(*v.NextAttempt))
	}
	if v.LastSync != nil {
		row("last sync", "%s", at(*v.LastSync))
	} else {
		row("last sync", "not known")
	}
	if v.LastError != nil {
		row("last error", "%s: %s", v.LastError.Code, v.LastError.Message)
	}
	if len(v.Timeline) == 0 {
		return
	}
	c.say("\n")
	for _, event := range v.Timeline {
		c.say("%s\n", line(event))
	}
}

// line is an event of the timeline for people.
func line(event history.Event) string {
	text := fmt.Sprintf("%s  %-8s %s", at(event.Time), event.Kind, event.Action)
	if event.Outcome != "" {
		text += ": " + event.Outcome
	}
	if event.UserID != 0 {
		text += fmt.Sprintf(" user %d", event.UserID)
	}
	if event.Code != "" {
		text += fmt.Sprintf(": %s: %s", event.Code, event.Error)
	}
	text += fmt.Sprintf(" (waited %s, took %s)", millis(event.Waited), millis(event.Took))
	if len(event.Notes) > 0 {
		text += " [" + strings.Join(event.Notes, ", ") + "]"
	}
	return text
}

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func millis(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.String()
}
