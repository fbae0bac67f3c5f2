package main

import (
	"fmt"
	"strings"

	"spillway/internal/operate/reconcile"
)

// kindTexts say what the kinds of differences are.
var kindTexts = map[reconcile.Kind]string{
	reconcile.TagsMissing:  "The user lacks tags",
	reconcile.TagsLeftOver: "The user has tags that the contact lost",
	reconcile.TagsMixed:    "Both",
	reconcile.WithoutUser:  "A tagged contact has no user",
	reconcile.ContactGone:  "A user's contact is gone",
	reconcile.TwoUsers:     "Several users carry one contact",
}

// tellResult prints a comparison as a table.
func tellResult(c *console, done reconciled) {
	c.say("Compared %d tags of %d contacts with %d users of the site, in %d calls to the CRM.\n",
		done.Tags, done.Contacts, done.Users, done.Calls)
	if len(done.Gone) > 0 {
		c.say("Deleted in the CRM meanwhile, and not compared: tag %s.\n", strings.Join(done.Gone, ", "))
	}
	tellLeftOut(c, done.Result)
	tellFields(c, done.Fields)
	if done.Total() == 0 {
		c.say("Nothing differs.\n")
		return
	}
	c.say("\n%-42s %8s  %s\n", "Difference", "Contacts", "Such as")
	for _, kind := range reconcile.Kinds {
		if n := done.Differences[kind]; n > 0 {
			c.say("%-42s %8d  %s\n", kindTexts[kind], n, suchAs(done.Result, kind))
		}
	}
	c.say("\n")
	if done.Unproven {
		c.say("The contacts without a user are so many that they were counted from the CRM's lists, and not looked at again.\n")
	}
	if done.Repair == nil {
		c.say("Sync them with: spillway reconcile --repair\n")
		return
	}
	left := done.Repair.Left
	c.say("%d contacts were synced; %d of them are parked.\n", done.Repair.Queued, done.Repair.Parked)
	tellLeftOut(c, left)
	if left.Total() == 0 {
		c.say("Nothing differs any more.\n")
		return
	}
	c.say("Left for you:\n")
	for _, kind := range reconcile.Kinds {
		if n := left.Differences[kind]; n > 0 {
			c.say("%-42s %8d  %s\n  %s\n", kindTexts[kind], n, suchAs(left, kind), remedies[kind])
		}
	}
}

// tellFields prints what comparing the fields of a sample found.
func tellFields(c *console, fields *reconcile.FieldsResult) {
	if fields == nil {
		return
	}
	c.say("Fields: %d of %d users compared, %d differ. Of all users about %d do (%d to %d, with 95 %% probability).\n",
		fields.Sampled, fields.Users, fields.Differ, fields.Estimate, fields.Least, fields.Most)
	if fields.LeftOut > 0 {
		c.say("Left out: %d that have work outstanding or are parked, or that the CRM or the site refused.\n", fields.LeftOut)
	}
	for _, key := range fields.Keys {
		c.say("%8d %-32s about %d of all (%d to %d), such as %s\n", key.Differ, key.Key, key.Estimate, key.Least, key.Most, strings.Join(key.Contacts, ", "))
	}
	if fields.Differ > 0 {
		c.say("Sync the fields of all contacts of a tag with: spillway resync --tag NAME\n")
	}
}

// remedies say what to do about what a pass does not repair.
var remedies = map[reconcile.Kind]string{
	reconcile.TagsMissing:  "Look at one with: spillway contact ID. A plugin of the site may change the tags.",
	reconcile.TagsLeftOver: "Look at one with: spillway contact ID. A plugin of the site may change the tags.",
	reconcile.TagsMixed:    "Look at one with: spillway contact ID. A plugin of the site may change the tags.",
	reconcile.WithoutUser:  "If each of them is to be a user of the site, add --yes-create-users.",
	reconcile.ContactGone:  "SPILLWAY_DELETED_CONTACTS=clear_tags takes such users' tags; or delete the users.",
	reconcile.TwoUsers:     "Decide which user the contact belongs to, and take the contact id from the other.",
}

func tellLeftOut(c *console, result reconcile.Result) {
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{result.Outstanding, "%d have work outstanding"},
		{result.Parked, "%d are parked (see: spillway parked)"},
		{result.Moving, "%d changed at each look"},
		{result.Foreign, "%d users carry no contact id of this CRM"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf(part.text, part.n))
		}
	}
	if len(parts) > 0 {
		c.say("Not counted: %s.\n", strings.Join(parts, "; "))
	}
}

// suchAs names some contacts of a kind.
func suchAs(result reconcile.Result, kind reconcile.Kind) string {
	const most = 5
	var ids []string
	for _, example := range result.Examples {
		if example.Kind == kind && len(ids) <= most {
			ids = append(ids, example.Contact)
		}
	}
	if len(ids) > most {
		ids[most] = "…"
	}
	return strings.Join(ids, ", ")
}
