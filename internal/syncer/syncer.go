// Package syncer runs one pass over one contact: it reads the contact from the
// CRM, stores it on the site, and returns the generated password and other
// asked-for values to the CRM.
//
// A pass may be cut off at any point and run again from the start: it ends in
// the same state, creates no second user, and returns the password that logs
// in. It keeps nothing between passes but the generated password, which is
// sealed in the vault before the site learns it and removed after the CRM and
// the site have confirmed it.
package syncer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
)

// CRM is where contacts are read and passwords returned.
type CRM interface {
	Contact(ctx context.Context, id string) (map[string]any, error)
	Tags(ctx context.Context, id string) ([]string, error)
	Update(ctx context.Context, id string, fields map[string]string) error
	// Fields reads the fields that contacts have. Its answer shows that the CRM
	// can be asked for contacts at all.
	Fields(ctx context.Context) (map[string]string, error)
	ApplyTags(ctx context.Context, id string, tags []string) error
	RemoveTags(ctx context.Context, id string, tags []string) error
}

// Site is where contacts are stored.
type Site interface {
	Store(ctx context.Context, change contact.Change) (contact.Result, error)
}

// Vault keeps generated passwords under way.
type Vault interface {
	// SealOnce stores plain under the name unless something readable is
	// stored there, and returns what is then stored.
	SealOnce(ctx context.Context, name string, plain []byte, ttl time.Duration) (stored []byte, err error)
	Delete(ctx context.Context, name string) error
}

// Options say what goes where.
type Options struct {
	Fields contact.FieldMap
	// ReturnPassword is the CRM field for generated passwords; empty: the
	// site generates them and nobody learns them.
	ReturnPassword string
	// ReturnFields maps "user_login" and "user_id" to CRM fields.
	ReturnFields map[string]string
	// CreatedTag is the tag that a contact gets in the CRM after its user was
	// created and the password returned. Nil: none.
	CreatedTag Tag
	// NotifyAlways sends the login details to every new user, asked for or not.
	NotifyAlways bool
	// Absences make a contact's tags be cleared once the CRM has said twice that
	// it has no such contact. Nil: the user stays as it is.
	Absences Absences
}

// Tag is a tag of the CRM whose id may have to be looked up.
type Tag interface {
	ID(ctx context.Context) (string, error)
}

// Syncer runs passes. It holds no state of its own and is safe for concurrent
// use.
type Syncer struct {
	crm     CRM
	site    Site
	vault   Vault // nil if no password is returned
	options Options
}

// New returns a syncer. vault may be nil if options.ReturnPassword is empty.
func New(crm CRM, site Site, vault Vault, options Options) *Syncer {
	return &Syncer{crm: crm, site: site, vault: vault, options: options}
}

// passwordTTL is how long an unconfirmed password is kept. The CRM may be down
// for a weekend, and a parked contact be looked at on Monday.
const passwordTTL = 14 * 24 * time.Hour

// Pass carries out an intent for a contact. asOf orders the contact's passes, see
// [contact.Change]. Its error is a [contact.Outage], a [contact.Refusal],
// [contact.ErrSuperseded], or a failure that may pass; see [Judge].
func (s *Syncer) Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, asOf int64) (contact.Result, error) {
	result, err := s.pass(ctx, ref, intent, asOf)
	if s.options.Absences == nil {
		return result, err
	}
	return s.withAbsence(ctx, ref, asOf, result, err)
}

func (s *Syncer) pass(ctx context.Context, ref contact.Ref, intent contact.Intent, asOf int64) (contact.Result, error) {
	if intent.Action == contact.UpdateTags {
		return s.syncTags(ctx, ref, asOf)
	}
	record, tags, err := s.read(ctx, ref.ID)
	if err != nil {
		return contact.Result{}, err
	}
	change := s.change(ref, intent, record, tags)
	change.AsOf = asOf
	if change.CreatedTag, err = s.createdTag(ctx, intent); err != nil {
		return contact.Result{}, err
	}
	if intent.Action != contact.Add || s.options.ReturnPassword == "" || change.UserPass != "" {
		result, err := s.store(ctx, change)
		if err != nil {
			return contact.Result{}, err
		}
		if err := s.returnFields(ctx, ref, intent, record, result, nil); err != nil {
			return result, err
		}
		return result, s.confirm(ctx, ref, result, "")
	}
	return s.addWithPassword(ctx, ref, intent, record, change)
}

// syncTags reads no fields. Only when the contact id finds no user is the
// e-mail address read, since the CRM may have merged two contacts.
func (s *Syncer) syncTags(ctx context.Context, ref contact.Ref, asOf int64) (contact.Result, error) {
	tags, err := s.crm.Tags(ctx, ref.ID)
	if err != nil {
		return contact.Result{}, err
	}
	change := contact.Change{ContactID: ref.ID, Action: contact.UpdateTags.String(), AsOf: asOf, Tags: listed(tags)}
	result, err := s.store(ctx, change)
	if err != nil {
		return result, err
	}
	if result.Outcome != contact.Skipped {
		return result, s.confirm(ctx, ref, result, "")
	}
	record, err := s.crm.Contact(ctx, ref.ID)
	if err != nil {
		return contact.Result{}, err
	}
	if change.Email = s.email(record); change.Email == "" {
		return result, nil
	}
	if result, err = s.store(ctx, change); err != nil {
		return result, err
	}
	return result, s.confirm(ctx, ref, result, "")
}

// read gets the contact and its tags side by side.
func (s *Syncer) read(ctx context.Context, id string) (record map[string]any, tags []string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { record, err = s.crm.Contact(ctx, id); return err })
	group.Go(func() (err error) { tags, err = s.crm.Tags(ctx, id); return err })
	err = group.Wait()
	return record, tags, err
}

func (s *Syncer) email(record map[string]any) string {
	return contact.EmailAddress(contact.TextOf(record, s.options.Fields.CRMField("user_email", "email")))
}

// change maps a CRM record to what the site must store. The login and the
// password have members of their own, since they follow other rules than
// fields.
func (s *Syncer) change(ref contact.Ref, intent contact.Intent, record map[string]any, tags []string) contact.Change {
	fields, raw := s.options.Fields.Values(record)
	change := contact.Change{
		ContactID: ref.ID, Action: intent.Action.String(), Email: s.email(record),
		Fields: fields, Raw: raw, Tags: listed(tags),
		Role: intent.Role, Notify: (intent.Notify || s.options.NotifyAlways) && intent.Action == contact.Add,
	}
	change.UserLogin, _ = fields["user_login"].(string)
	change.UserPass, _ = fields["user_pass"].(string)
	delete(fields, "user_login")
	delete(fields, "user_pass")
	if email, ok := fields["user_email"].(string); ok {
		fields["user_email"] = contact.EmailAddress(email)
	}
	return change
}

// listed turns no tags into an empty list, which clears them: nil would leave
// the site's tags alone.
func listed(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

// creation is what the vault keeps while a creation is unconfirmed.
type creation struct {
	RequestID string `json:"request_id"`
	Password  string `json:"password"`
}

// addWithPassword adds a contact whose password, if a user gets created, goes
// back to the CRM. The order makes every cut-off harmless: sealed, then known
// to the site, then to the CRM, then its tags, then confirmed, then forgotten.
func (s *Syncer) addWithPassword(
	ctx context.Context, ref contact.Ref, intent contact.Intent, record map[string]any, change contact.Change,
) (contact.Result, error) {
	made, err := s.sealed(ctx, ref)
	if err != nil {
		return contact.Result{}, err
	}
	change.RequestID, change.UserPass, change.GeneratedPass = made.RequestID, made.Password, true
	result, err := s.store(ctx, change)
	if err != nil {
		return contact.Result{}, err
	}
	// A plugin of the site may set another password than the given one; then
	// the given one logs nobody in.
	returned := result.Outcome == contact.Created && !slices.Contains(result.Notes, "password_changed")
	var extra map[string]string
	if returned {
		extra = map[string]string{s.options.ReturnPassword: made.Password}
	}
	if err := s.returnFields(ctx, ref, intent, record, result, extra); err != nil {
		return result, err
	}
	requestID := ""
	if result.Outcome == contact.Created {
		requestID = made.RequestID
	}
	if err := s.confirm(ctx, ref, result, requestID); err != nil {
		return result, err
	}
	result.PasswordReturned = returned
	if err := s.vault.Delete(ctx, vaultName(ref)); err != nil {
		return result, fmt.Errorf("removing the confirmed password of contact %s: %w", ref.ID, err)
	}
	return result, nil
}

// sealed returns the password and request id of the contact's creation, the
// same over all repetitions.
func (s *Syncer) sealed(ctx context.Context, ref contact.Ref) (creation, error) {
	// rand.Text has at least 128 random bits in 26 letters and digits.
	plain, err := json.Marshal(creation{RequestID: rand.Text(), Password: rand.Text()[:passwordLength]})
	if err != nil {
		return creation{}, fmt.Errorf("encoding the creation of contact %s: %w", ref.ID, err)
	}
	stored, err := s.vault.SealOnce(ctx, vaultName(ref), plain, passwordTTL)
	if err != nil {
		return creation{}, fmt.Errorf("sealing the password of contact %s: %w", ref.ID, err)
	}
	var made creation
	if json.Unmarshal(stored, &made) != nil || made.RequestID == "" || made.Password == "" {
		return creation{}, fmt.Errorf("the vault's entry for contact %s is not a creation; delete %s in Redis", ref.ID, vaultName(ref))
	}
	return made, nil
}

// passwordLength gives 80 bits with rand.Text's alphabet of 32. WP Fusion's
// generated passwords have 12 characters of 62, 71 bits.
const passwordLength = 16

func vaultName(ref contact.Ref) string { return passwords + ref.String() }

// passwords begins the names of the vault's entries.
const passwords = "password:"

// SecretsOf names the vault's entries of a site; the * at the end stands for
// anything.
func SecretsOf(site string) string { return passwords + site + ":*" }

// returnFields writes to the CRM what differs there: the login and id of an
// added user, where fields are set for them, and what is in extra. Comparing
// makes a lost answer harmless and ends the loop of a CRM that sends a webhook
// for every change.
func (s *Syncer) returnFields(
	ctx context.Context, ref contact.Ref, intent contact.Intent, record map[string]any, result contact.Result, extra map[string]string,
) error {
	if intent.Action != contact.Add || result.UserID == 0 {
		return nil
	}
	update := make(map[string]string, len(extra)+2)
	for field, value := range extra {
		update[field] = value
	}
	for key, value := range map[string]string{"user_login": result.UserLogin, "user_id": strconv.FormatInt(result.UserID, 10)} {
		field := s.options.ReturnFields[key]
		if field != "" && value != "" && contact.TextOf(record, field) != value {
			update[field] = value
		}
	}
	if len(update) == 0 {
		return nil
	}
	return s.crm.Update(ctx, ref.ID, update)
}
