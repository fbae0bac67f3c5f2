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
		if d := done.Differences; d[reconcile.TagsMissing]+d[reconcile.TagsLeftOver]+d[reconcile.TagsMixed] > 0 {
			c.say("Sync the users whose tags differ with: spillway reconcile --repair\n")
		}
		for _, kind := range []reconcile.Kind{reconcile.WithoutUser, reconcile.ContactGone, reconcile.TwoUsers} {
			if done.Differences[kind] > 0 {
				c.say("%s: %s\n", kindTexts[kind], remedies[kind])
			}
		}
		return
	}
	left := done.Repair.Left
	c.say("%s synced, %d of them parked.\n", counted(done.Repair.Queued, "contact"), done.Repair.Parked)
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

// remedies say what to do about what a plain repair leaves.
var remedies = map[reconcile.Kind]string{
	reconcile.TagsMissing:  "look at one with: spillway contact ID; a plugin of the site may change the tags",
	reconcile.TagsLeftOver: "look at one with: spillway contact ID; a plugin of the site may change the tags",
	reconcile.TagsMixed:    "look at one with: spillway contact ID; a plugin of the site may change the tags",
	reconcile.WithoutUser:  "if each of them should become a user of the site, spillway reconcile --repair --yes-create-users",
	reconcile.ContactGone:  "with SPILLWAY_DELETED_CONTACTS=clear_tags a repair clears such users' tags; or delete the users",
	reconcile.TwoUsers:     "decide which user the contact belongs to, and take the contact id from the other",
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
		{result.Refused, "%d whose tags the CRM refused"},
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
