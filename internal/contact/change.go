package contact

// Change is one contact as the site is to store it: an element of the
// connector's POST /wp-json/spillway/v1/contacts.
type Change struct {
	ContactID string `json:"contact_id"`
	// Action is "add", "update", "update_tags", or "confirm": the CRM has
	// stored the generated password of the creation RequestID, and the tags of
	// AppliedTags and RemovedTags.
	Action string `json:"action"`
	// AsOf numbers the pass that sends the change, in µs of Redis's clock. The
	// site does not store one that is lower than what it has stored of the
	// contact. Zero is left out: the site stores in the order of arrival.
	AsOf int64 `json:"as_of,omitempty"`
	// RequestID names one creation of one user over all its retries.
	RequestID string `json:"request_id,omitempty"`
	// Email finds the user when the contact id does not, and is the address
	// of a user that gets created. It changes no existing user's address:
	// Fields["user_email"] does.
	Email string `json:"email,omitempty"`
	// Replaces is another contact, of which the CRM says that it is gone: its user
	// may be taken over.
	Replaces string `json:"replaces,omitempty"`
	// Fields maps WordPress keys to strings or lists of strings. Nil is left
	// out and leaves the site's fields alone.
	Fields map[string]any `json:"fields,omitempty"`
	// Raw lists the keys of Fields whose empty value is stored, too.
	Raw []string `json:"raw,omitempty"`
	// Tags replaces the user's tags. Nil leaves them alone; empty clears them.
	Tags []string `json:"tags,omitzero"`
	// UserLogin is the contact's own login, for a creation only. Empty: the
	// site makes one from the e-mail address.
	UserLogin string `json:"user_login,omitempty"`
	// UserPass is the password of a created user and, unless GeneratedPass,
	// also of an existing one.
	UserPass      string `json:"user_pass,omitempty"`
	GeneratedPass bool   `json:"generated_pass,omitempty"`
	Role          string `json:"role,omitempty"`
	Notify        bool   `json:"notify,omitempty"`
	// CreatedTag is a tag that a newly created user gets. The site answers it
	// among the AppliedTags of the [Result] until it is confirmed.
	CreatedTag string `json:"created_tag,omitempty"`
	// AppliedTags and RemovedTags are what a confirmation says that the CRM has
	// been told of.
	AppliedTags []string `json:"applied_tags,omitempty"`
	RemovedTags []string `json:"removed_tags,omitempty"`
}

// ActionConfirm is the action of a [Change] that says what the CRM has stored: a
// password, tags, or both.
const ActionConfirm = "confirm"

// Outcome says what the site did with a contact.
type Outcome string

// The outcomes with which a contact is done.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Skipped   Outcome = "skipped" // the site has no user for the contact
	// Parking is an outcome of observed passes alone: the contact would be parked.
	Parking Outcome = "parked"
)

// Observation is what storing a contact would do, of a site that was asked and
// has stored nothing.
type Observation struct {
	// Keys are those of the fields that would change; of a user that would be
	// created, of all fields that it would get.
	Keys        []string `json:"keys"`
	TagsAdded   []string `json:"tags_added"`
	TagsRemoved []string `json:"tags_removed"`
	// Role is the slug of the role that would be given; empty: it stays.
	Role string `json:"role_given"`
	// Code and Message say why the contact would be parked.
	Code    string `json:"-"`
	Message string `json:"-"`
}

// Result is the site's answer for one contact.
type Result struct {
	Outcome   Outcome  `json:"outcome"`
	UserID    int64    `json:"user_id"`
	UserLogin string   `json:"user_login"`
	Role      string   `json:"role"`
	Notes     []string `json:"notes"`
	// AppliedTags and RemovedTags are what the site's own hooks, such as an
	// enrolment's, have done to the user's tags and the CRM has not been told of.
	// The site remembers them until they are confirmed.
	AppliedTags []string `json:"applied_tags"`
	RemovedTags []string `json:"removed_tags"`
	// OtherContact is the contact that has the user with the change's address, if
	// that is why the change was skipped.
	OtherContact string `json:"other_contact"`
	// PasswordReturned says that the CRM has stored the password that was
	// generated for the user. The site does not send it.
	PasswordReturned bool `json:"-"`
	// Observed is what storing would do, where nothing was stored; nil: the
	// contact was stored.
	Observed *Observation `json:"-"`
}
