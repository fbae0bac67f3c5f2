package main

import (
	"context"
	"fmt"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/dossier"
)

// parkedCommand groups the commands about contacts that failed for good.
type parkedCommand struct {
	List  parkedListCommand  `cmd:"" default:"withargs" help:"List them, the longest parked first."`
	Retry parkedRetryCommand `cmd:"" help:"Try them again."`
	Drop  parkedDropCommand  `cmd:"" help:"Forget them; their next webhook starts anew."`
}

type parkedListCommand struct {
	Limit  int `name:"limit" default:"100" help:"How many to list at most."`
	Offset int `name:"offset" default:"0" help:"How many to leave out before."`
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (p *parkedListCommand) Run(ctx context.Context, c *console) error {
	if p.Limit < 1 || p.Offset < 0 {
		return usageError("--limit is a whole number from 1 on, --offset one from 0 on")
	}
	return c.each(p.redisFlags, func(here *installation, several bool) error { return p.list(ctx, c, here, several) })
}

func (p *parkedListCommand) list(ctx context.Context, c *console, here *installation, several bool) error {
	records, err := here.contacts.ListParked(ctx, p.Offset, p.Limit)
	if err != nil {
		return err
	}
	stats, err := here.contacts.Stats(ctx)
	if err != nil {
		return err
	}
	switch {
	case p.JSON && several: // a document for each site
		return c.json(map[string]any{"site": here.site, "parked": stats.Parked, "contacts": dossier.All(records)})
	case p.JSON:
		return c.json(map[string]any{"parked": stats.Parked, "contacts": dossier.All(records)})
	case several:
		c.say("%s:\n", here.site)
	}
	for _, record := range records {
		c.say("%-18s  since %s  %-11s  %s: %s\n", record.Ref.ID, at(record.Since), record.Intent.Action, record.Failure.Code, record.Failure.Text)
	}
	if more := int(stats.Parked) - p.Offset - len(records); more > 0 {
		c.say("%d more; see --limit and --offset\n", more)
	} else if stats.Parked == 0 {
		c.say("No contact is parked.\n")
	}
	return nil
}

// some says which parked contacts are meant.
type some struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The CRM's ids of the contacts."`
	All bool     `name:"all" help:"All parked contacts."`
}

// refs returns the contacts that are named, none for all.
func (s some) refs() ([]contact.Ref, error) {
	if s.All == (len(s.IDs) > 0) {
		return nil, usageError("name contacts by their ids, or write --all")
	}
	var refs []contact.Ref
	for _, id := range s.IDs {
		ref, err := refOf(id)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// each calls act for the parked contacts that are meant and counts those for
// which it says yes.
func (s some) each(ctx context.Context, here *installation, act func(contact.Ref) (bool, error)) (done int, missing []string, err error) {
	refs, err := s.refs()
	if err != nil {
		return 0, nil, err
	}
	if s.All {
		if refs, err = allParked(ctx, here.contacts); err != nil {
			return 0, nil, err
		}
	}
	for _, ref := range here.own(refs...) {
		ok, err := act(ref)
		switch {
		case err != nil:
			return done, missing, err
		case ok:
			done++
		case !s.All: // else it was woken meanwhile
			missing = append(missing, ref.ID)
		}
	}
	return done, missing, nil
}

func allParked(ctx context.Context, contacts *pending.Contacts) ([]contact.Ref, error) {
	const page = 500
	var refs []contact.Ref
	for offset := 0; ; offset += page {
		records, err := contacts.ListParked(ctx, offset, page)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			refs = append(refs, record.Ref)
		}
		if len(records) == 0 {
			return refs, nil
		}
	}
}

// tell prints what was done; contacts that are not parked make it fail.
func tell(c *console, asJSON bool, verb string, done int, missing []string) error {
	if asJSON {
		if err := c.json(map[string]any{verb: done, "not_parked": missing}); err != nil {
			return err
		}
	} else {
		c.say("%s %s.\n", counted(done, "contact"), verb)
	}
	if len(missing) > 0 {
		return fmt.Errorf("not parked: %v", missing)
	}
	return nil
}

type parkedRetryCommand struct {
	some
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (p *parkedRetryCommand) Run(ctx context.Context, c *console) error {
	if _, err := p.refs(); err != nil {
		return err
	}
	here, err := c.installation(p.redisFlags)
	if err != nil {
		return err
	}
	defer here.Close()
	done, missing, err := p.each(ctx, here, func(ref contact.Ref) (bool, error) {
		record, err := here.contacts.Lookup(ctx, ref)
		if err != nil || record.State != pending.Parked {
			return false, err
		}
		return here.contacts.Retry(ctx, ref)
	})
	if err != nil {
		return err
	}
	return tell(c, p.JSON, "woken", done, missing)
}

type parkedDropCommand struct {
	some
	Yes bool `name:"yes" help:"With --all: yes, all of them."`
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (p *parkedDropCommand) Run(ctx context.Context, c *console) error {
	if _, err := p.refs(); err != nil {
		return err
	}
	if p.All && !p.Yes {
		return usageError("dropping forgets what was to be done for them: write --all --yes if that is meant")
	}
	here, err := c.installation(p.redisFlags)
	if err != nil {
		return err
	}
	defer here.Close()
	done, missing, err := p.each(ctx, here, func(ref contact.Ref) (bool, error) { return dossier.Drop(ctx, here.contacts, ref) })
	if err != nil {
		return err
	}
	return tell(c, p.JSON, "dropped", done, missing)
}
