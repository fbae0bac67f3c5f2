package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/redis/go-redis/v9"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/resync"
)

type resyncCommand struct {
	Tags      []string `name:"tag" sep:"none" placeholder:"NAME" help:"Contacts that carry a tag, by its name or id; may be repeated." xor:"selection" group:"Which contacts"`
	File      string   `name:"file" placeholder:"PATH" help:"Contacts of a file: an id per line, or a CSV file whose first column holds ids." xor:"selection" group:"Which contacts"`
	AllTagged bool     `name:"all-tagged" help:"Contacts that carry any tag." xor:"selection" group:"Which contacts"`

	Action         string `name:"action" default:"update" enum:"update_tags,update,add" help:"What to sync: update_tags, update, or add, which creates users (default update)." group:"How"`
	YesCreateUsers bool   `name:"yes-create-users" help:"With --action add: yes, each of the contacts is to be a user of the site." group:"How"`
	Outstanding    int    `name:"outstanding" default:"500" help:"How many contacts may have outstanding work, webhooks' own included, before more are added." group:"How"`
	NoWait         bool   `name:"no-wait" help:"End when all are queued, instead of when all are synced or parked." group:"How"`
	Folder         string `name:"folder" placeholder:"PATH" help:"Where the journal is kept, by which an interrupted resync goes on (default: /var/lib/spillway/resync if there is such an installation, or else var/resync)." group:"How"`
	Restart        bool   `name:"restart" help:"Begin anew instead of where the last one was interrupted." group:"How"`
	config.Flags
	siteFlag
	envFlag
	jsonFlag
}

// check finds what kong cannot.
func (r *resyncCommand) check() error {
	switch {
	case len(r.Tags) == 0 && r.File == "" && !r.AllTagged:
		return usageError("say which contacts: --tag NAME, --file PATH or --all-tagged")
	case r.Action == "add" && !r.YesCreateUsers:
		return usageError("--action add makes a user of the site of each contact that has none: add --yes-create-users if that is meant")
	case r.Action != "add" && r.YesCreateUsers:
		return usageError("--yes-create-users goes with --action add, which alone creates users")
	case r.Outstanding < 1:
		return usageError("--outstanding is a whole number from 1 on")
	}
	return nil
}

// Run is called by kong.
func (r *resyncCommand) Run(ctx context.Context, c *console) error {
	if err := r.check(); err != nil {
		return err
	}
	settings, rdb, err := c.oneSite(r.envFlag, r.Flags, r.siteFlag)
	if err != nil {
		return err
	}
	defer rdb.Close()
	source, err := r.source(rdb, settings)
	if err != nil {
		return err
	}
	selection := fmt.Sprintf("%s, %s, %s", source.Name(), r.Action, settings.CRM.URL)
	if settings.Name != contact.DefaultSite {
		selection += ", site " + settings.Name
	}
	digest := sha256.Sum256([]byte(selection))
	journal, err := resync.OpenJournal(filepath.Join(cmp.Or(r.Folder, c.journals("resync")), hex.EncodeToString(digest[:6])+".journal"), selection, r.Restart)
	if err != nil {
		return err
	}
	defer journal.Close()
	// Data goes to the output, the way to it to the other one.
	shown := c.out
	if r.JSON {
		shown = c.err
	}
	if queued, selected, _ := journal.Queued(); journal.Found {
		fmt.Fprintf(shown, "Going on with the resync of %s: %d contacts found, %d queued. Begin anew with --restart.\n", at(journal.Begun), selected, queued)
	}
	bars := progress.New(shown)
	action, _ := contact.ParseAction(r.Action) // an enum of kong's
	result, err := resync.Run(ctx, resync.Options{
		Source: source, Contacts: assembly.Contacts(rdb, settings), Site: settings.Name, Action: action,
		Outstanding: r.Outstanding, Wait: !r.NoWait, Journal: journal, Progress: bars,
	})
	bars.Wait()
	return r.tell(c, result, err)
}

func (r *resyncCommand) tell(c *console, result resync.Result, err error) error {
	interrupted := errors.Is(err, context.Canceled)
	if r.JSON && (err == nil || interrupted) {
		if printed := c.json(struct {
			resync.Result
			Finished bool `json:"finished"`
		}{result, err == nil}); printed != nil {
			return printed
		}
	}
	switch {
	case interrupted && result.Queued < result.Selected || interrupted && result.Selected == 0:
		fmt.Fprintf(c.err, "\n%d of %d contacts are queued. The same command goes on from here.\n", result.Queued, result.Selected)
	case interrupted:
		fmt.Fprintf(c.err, "\nAll %d contacts are queued; the workers go on with them.\n", result.Queued)
	case err == nil && !r.JSON:
		c.say("%s queued", counted(result.Queued, "contact"))
		if result.Earlier > 0 {
			c.say(" (%d of them before the interruption)", result.Earlier)
		}
		if !r.NoWait {
			c.say(", %d synced, %d parked", result.Synced, result.Parked)
		}
		if result.Skipped > 0 {
			c.say("; %d duplicates skipped", result.Skipped)
		}
		c.say(".\n")
		if result.Parked > 0 {
			c.say("See why with: spillway parked\n")
		}
	}
	return err
}

func (r *resyncCommand) source(rdb redis.UniversalClient, settings config.Config) (resync.Source, error) {
	if r.File != "" {
		list, err := resync.ReadList(r.File)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, contact.ErrInvalidID) {
			return nil, usageError(err.Error())
		}
		return list, err
	}
	crm, err := operatorsCRM(rdb, settings, nil)
	if err != nil {
		return nil, err
	}
	return resync.ByTags(crm, r.Tags...), nil
}
