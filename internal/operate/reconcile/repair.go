package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"spillway/internal/contact"
	"spillway/internal/operate/resync"
)

// Repair says how differences are repaired.
type Repair struct {
	// CreateUsers says that contacts without a user get one.
	CreateUsers bool
	// ClearDeleted says that passes clear the tags of users whose contact is gone
	// (SPILLWAY_DELETED_CONTACTS). They take ten minutes, for the CRM is asked
	// twice.
	ClearDeleted bool
	// Outstanding is how many contacts may have outstanding work, whatever caused
	// it, before more are added.
	Outstanding int
	// Folder is where it is noted how far the repair has come.
	Folder string
}

// action returns what repairs a kind; ok is false if nothing but a person does:
// whose contact it is that several users carry.
func (r Repair) action(kind Kind) (action contact.Action, ok bool) {
	switch kind {
	case TwoUsers:
		return 0, false
	case WithoutUser:
		return contact.Add, r.CreateUsers
	case ContactGone:
		return contact.Update, r.ClearDeleted
	}
	return contact.Update, true
}

// Repaired is what became of a repair.
type Repaired struct {
	Queued int `json:"queued"` // contacts
	Parked int `json:"parked"` // of them, that failed for good
	// Left is what still differs.
	Left Result `json:"left"`
}

// Mend queues passes for what differs, waits until they are done, and looks at
// these contacts again. When ctx ends it returns ctx's error; the same call goes
// on where it was.
func Mend(ctx context.Context, options Options, before Result, repair Repair) (Repaired, error) {
	update, add := before.repairable(repair)
	var repaired Repaired
	for _, work := range []struct {
		action contact.Action
		ids    []string
	}{{contact.Update, update}, {contact.Add, add}} {
		if len(work.ids) == 0 {
			continue
		}
		done, err := pass(ctx, options, repair, work.action, work.ids)
		repaired.Queued += done.Queued
		repaired.Parked += done.Parked
		if err != nil {
			return repaired, err
		}
	}
	var err error
	repaired.Left, err = again(ctx, options, before, repair)
	return repaired, err
}

// pass resyncs contacts.
func pass(ctx context.Context, options Options, repair Repair, action contact.Action, ids []string) (resync.Result, error) {
	digest := sha256.Sum256([]byte(strings.Join(ids, " ")))
	name := fmt.Sprintf("%s %s %s", options.Name, action, hex.EncodeToString(digest[:]))
	path := filepath.Join(repair.Folder, fmt.Sprintf("repair-%s-%s.journal", options.Name, action))
	journal, err := resync.OpenJournal(path, name, false)
	if err != nil {
		return resync.Result{}, err
	}
	defer journal.Close()
	return resync.Run(ctx, resync.Options{
		Source: resync.IDs(name, ids), Contacts: options.Contacts, Site: options.Name, Action: action,
		Outstanding: repair.Outstanding, Wait: true, Journal: journal, Progress: options.Progress,
	})
}

// again looks once more at what differed. No pass counts as right by itself this
// time.
func again(ctx context.Context, options Options, before Result, repair Repair) (Result, error) {
	compared := options.Journal
	options.Journal = NewJournal()
	options.Journal.asOf = math.MaxInt64
	options.Journal.order, options.Journal.tags = compared.order, compared.tags
	r := newRun(options)
	s := &scan{users: before.Users, foreign: before.Foreign}
	for _, f := range before.found {
		if before.Unproven && Kinds[f.kind] == WithoutUser && !repair.CreateUsers {
			s.unproven = append(s.unproven, f.id)
			continue
		}
		s.candidates = append(s.candidates, candidate{id: f.id})
	}
	slices.SortFunc(s.candidates, byID)
	if err := r.lookAtAll(ctx, s); err != nil {
		return Result{}, err
	}
	left := r.result(s)
	left.Contacts = before.Contacts
	return left, nil
}
