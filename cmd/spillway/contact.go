package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending/dossier"
	"spillway/internal/pending/history"
)

type contactCommand struct {
	ID string `arg:"" help:"The CRM's id of the contact."`
	redisFlags
	jsonFlag
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
	ref = here.own(ref)[0]
	view, err := dossier.Read(ctx, here.contacts, here.timelines, ref)
	if err != nil {
		return err
	}
	if s.JSON {
		return c.json(view)
	}
	printDossier(c, view)
	return nil
}

func printDossier(c *console, v dossier.Dossier) {
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
	for i, receipt := range v.Received {
		name := ""
		if i == 0 {
			name = "received"
		}
		from := "asked for by the operator"
		if receipt.RequestID != "" {
			from = "request " + receipt.RequestID
		}
		row(name, "%s  %-11s  %s", at(receipt.At), receipt.Action, from)
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
	if event.Times > 0 {
		text += fmt.Sprintf(" %d times since %s", event.Times, at(event.First))
	}
	if event.Outcome != "" {
		text += ": " + event.Outcome
	}
	if event.UserID != 0 {
		text += fmt.Sprintf(" user %d", event.UserID)
	}
	if event.Code != "" {
		text += fmt.Sprintf(": %s: %s", event.Code, event.Error)
	}
	if event.Kind != history.Dropped {
		text += fmt.Sprintf(" (waited %s, took %s)", millis(event.Waited), millis(event.Took))
	}
	for _, note := range event.Notes {
		text += " [" + note
		if words := contact.ExplainNote(note); words != note {
			text += ": " + words
		}
		text += "]"
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
