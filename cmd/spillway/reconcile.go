package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/admin/comparisons"
	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pulse"
)

type reconcileCommand struct {
	Tags []string `name:"tags" sep:"none" placeholder:"NAME" help:"Compare this tag alone, by its name or id; may be repeated. Without it all tags are compared." group:"What"`

	Fields         float64       `name:"fields" placeholder:"PERCENT" help:"Also compare the fields of so many percent of the users, drawn at random, and estimate how many of all differ. Costs a call to the CRM for each of them." group:"What"`
	Repair         bool          `name:"repair" help:"Sync what differs, and look again." group:"Repair"`
	YesCreateUsers bool          `name:"yes-create-users" help:"With --repair: yes, each tagged contact without a user is to be a user of the site." group:"Repair"`
	Outstanding    int           `name:"outstanding" default:"500" help:"With --repair: how many contacts may have outstanding work, webhooks' own included, before more are added." group:"Repair"`
	Grace          time.Duration `name:"grace" default:"10s" help:"How long a difference must stand before it counts: longer than the CRM's webhooks are under way." group:"How"`
	Folder         string        `name:"folder" placeholder:"PATH" help:"Where the journal is kept, by which an interrupted comparison goes on (default: /var/lib/spillway/reconcile if there is such an installation, or else var/reconcile)." group:"How"`
	Restart        bool          `name:"restart" help:"Begin anew instead of where the last one was interrupted." group:"How"`
	redisFlags
	jsonFlag
}

// check finds what kong cannot.
func (r *reconcileCommand) check() error {
	switch {
	case r.YesCreateUsers && !r.Repair:
		return usageError("--yes-create-users goes with --repair, which alone creates users")
	case r.Fields < 0 || r.Fields > 100:
		return usageError("--fields is a number of percent, from 0 to 100")
	case r.Grace <= 0:
		return usageError("--grace is a time such as 10s")
	case r.Outstanding < 1:
		return usageError("--outstanding is a whole number from 1 on")
	}
	return nil
}

// reconciled is what the command prints as JSON.
type reconciled struct {
	reconcile.Result
	Calls  int64               `json:"crm_calls"` // of this run
	Repair *reconcile.Repaired `json:"repair,omitempty"`
}

// Run is called by kong.
func (r *reconcileCommand) Run(ctx context.Context, c *console) error {
	r.Folder = cmp.Or(r.Folder, c.journals("reconcile"))
	if err := r.check(); err != nil {
		return err
	}
	settings, rdb, err := c.oneSite(r.envFlag, config.Flags{RedisURL: r.RedisURL}, r.siteFlag)
	if err != nil {
		return err
	}
	defer rdb.Close()
	if r.Repair && settings.Mode == config.Observe {
		return usageError("--repair syncs contacts, and in mode observe nothing is written: set SPILLWAY_MODE=connector first")
	}
	var calls atomic.Int64
	crm, err := operatorsCRM(rdb, settings, func(pulse.Call) { calls.Add(1) })
	if err != nil {
		return err
	}
	site, err := operatorsSite(settings)
	if err != nil {
		return err
	}
	defer site.Close(context.WithoutCancel(ctx))

	lock := reconcile.NewLock(rdb, settings.Name)
	held, release, err := lock.Take(ctx)
	if err != nil {
		return err
	}
	defer release()
	journal, err := r.journal(settings)
	if err != nil {
		return err
	}
	defer journal.Close()
	// Data goes to the output, the way to it to the other one.
	shown := c.out
	if r.JSON {
		shown = c.err
	}
	if read, tags := journal.Read(); journal.Found {
		fmt.Fprintf(shown, "Going on with the comparison of %s: %d of %d tags read. Begin anew with --restart.\n", at(journal.Begun), read, tags)
	}
	bars := progress.New(shown)
	options := reconcile.Options{
		CRM: crm, Site: site, Contacts: assembly.Contacts(rdb, settings), Name: settings.Name, Now: lock.Now,
		Tags: r.Tags, Settle: r.Grace, Journal: journal, Progress: bars,
	}
	if r.Fields > 0 {
		fields, end, err := operatorsFields(settings, crm)
		if err != nil {
			return err
		}
		defer end()
		options.Fields, options.FieldsPercent = fields, r.Fields
	}
	done := reconciled{}
	done.Result, err = reconcile.Run(held, options)
	if err == nil && r.Repair {
		options.FieldsPercent = 0 // passes repair all fields of what they sync, and no others
		done.Repair = new(reconcile.Repaired)
		*done.Repair, err = reconcile.Mend(held, options, done.Result, reconcile.Repair{
			CreateUsers: r.YesCreateUsers, ClearDeleted: settings.ClearDeleted, Outstanding: r.Outstanding, Folder: r.Folder,
		})
	}
	bars.Wait()
	done.Calls = calls.Load()
	if err != nil {
		return r.ended(ctx, held, c.err, err)
	}
	if err := errors.Join(journal.Finish(), r.keep(ctx, rdb, settings.Name, done)); err != nil {
		return err
	}
	return r.tell(c, done)
}

// keep shows the dashboard what was found. A comparison of some tags alone would
// not compare with the others there.
func (r *reconcileCommand) keep(ctx context.Context, rdb redis.UniversalClient, site string, done reconciled) error {
	if len(r.Tags) > 0 {
		return nil
	}
	found := done.Result
	if done.Repair != nil {
		found = done.Repair.Left
	}
	return comparisons.New(rdb).Write(ctx, found.Kept(site, comparisons.ByCommand, done.Calls))
}

// journal opens the journal of this comparison.
func (r *reconcileCommand) journal(settings config.Config) (*reconcile.Journal, error) {
	compared := fmt.Sprintf("%q, %s, %s", r.Tags, settings.CRM.URL, settings.Site.URL)
	digest := sha256.Sum256([]byte(compared))
	return reconcile.OpenJournal(filepath.Join(r.Folder, hex.EncodeToString(digest[:6])+".journal"), compared, r.Restart)
}

// ended says how a comparison that did not come to its end goes on.
func (r *reconcileCommand) ended(ctx, held context.Context, w io.Writer, err error) error {
	if ctx.Err() == nil && held.Err() != nil {
		return context.Cause(held)
	}
	fmt.Fprintln(w, "\nThe same command goes on from here.")
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return err
}

// tell prints what was found. Differences that are left end the command with
// [errDiffers].
func (r *reconcileCommand) tell(c *console, done reconciled) error {
	left := done.Result
	if done.Repair != nil {
		left = done.Repair.Left
	}
	if r.JSON {
		if err := c.json(done); err != nil {
			return err
		}
	} else {
		tellResult(c, done)
	}
	if left.Total() > 0 {
		return errDiffers
	}
	return nil
}
