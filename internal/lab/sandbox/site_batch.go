package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"spillway/internal/contact"
)

const maxContacts = 100

// batch is the body of POST /wp-json/spillway/v1/contacts.
type batch struct {
	contacts []map[string]any // each has a "contact_id" that is a text
	roles    rolePolicy

	loginFormat string // empty: email
	observed    bool   // nothing is to be stored
}

// result is the answer for one contact. Members are absent by outcome.
type result struct {
	ContactID string          `json:"contact_id"`
	Outcome   contact.Outcome `json:"outcome"`
	UserID    int64           `json:"user_id,omitempty"`
	Other     string          `json:"other_contact,omitempty"`
	UserLogin string          `json:"user_login,omitempty"`
	Role      string          `json:"role,omitempty"`
	Notes     []string        `json:"notes,omitzero"`
	Error     *failure        `json:"error,omitempty"`
	// Tags that the site has changed and the CRM does not know of.
	AppliedTags []string `json:"applied_tags,omitempty"`
	RemovedTags []string `json:"removed_tags,omitempty"`

	*observation // nil: the contact was stored
}

const (
	outcomeFailed   contact.Outcome = "failed"
	outcomeDeferred contact.Outcome = "deferred"
)

// failure says why a contact was not stored, without personal data.
type failure struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Permanent bool   `json:"permanent"`
}

func (f *failure) Error() string { return f.Code + ": " + f.Message }

func permanent(code, message string) *failure {
	return &failure{Code: code, Message: message, Permanent: true}
}

// storeContacts is POST /wp-json/spillway/v1/contacts.
func (s *Site) storeContacts(r *http.Request, body []byte) answer { return s.batch(r, body, false) }

// observe is POST /wp-json/spillway/v1/observations.
func (s *Site) observe(r *http.Request, body []byte) answer { return s.batch(r, body, true) }

func (s *Site) batch(r *http.Request, body []byte, observed bool) answer {
	if a, refused := s.refuse(r); refused {
		return a
	}
	started := time.Now()
	request, err := decodeBatch(body)
	if err != nil {
		s.count(func(stats *SiteStats) { stats.BadBody++ })
		return restError(http.StatusBadRequest, "spillway_bad_request", err.Error())
	}
	request.observed = observed
	s.count(func(stats *SiteStats) {
		stats.Requests++
		stats.Contacts += int64(len(request.contacts))
		stats.Largest = max(stats.Largest, int64(len(request.contacts)))
	})
	// The transaction that the poisoned contact's neighbours share is lost with it.
	if !observed && slices.ContainsFunc(request.contacts, func(c map[string]any) bool { return s.isPoisoned(textOf(c["contact_id"])) }) {
		s.count(func(stats *SiteStats) { stats.Killed++ })
		return criticalError()
	}
	results := make([]result, len(request.contacts))
	for i, members := range request.contacts {
		if time.Since(started) >= s.options.Budget {
			results[i] = result{ContactID: textOf(members["contact_id"]), Outcome: outcomeDeferred}
			s.count(func(stats *SiteStats) { stats.Deferred++ })
			continue
		}
		time.Sleep(time.Duration(s.costs.contact.Load()))
		results[i] = s.storeContact(members, request)
		if outcome := results[i].Outcome; !observed && (outcome == contact.Created || outcome == contact.Updated) {
			s.count(func(stats *SiteStats) { stats.Stored++ })
		}
	}
	return reply(http.StatusOK, map[string]any{"results": results, "elapsed_ms": time.Since(started).Milliseconds()})
}

func (s *Site) storeContact(members map[string]any, request batch) result {
	id := textOf(members["contact_id"])
	incoming, err := decodeContact(id, members)
	var stored result
	if err == nil {
		incoming.loginFormat, incoming.observed = request.loginFormat, request.observed
		stored, err = s.users.store(incoming, request.roles)
	}
	var failed *failure
	switch {
	case errors.As(err, &failed):
		if failed.Code == codeSuperseded {
			s.count(func(stats *SiteStats) { stats.Superseded++ })
		}
		return result{ContactID: id, Outcome: outcomeFailed, Error: failed}
	case err != nil:
		return result{ContactID: id, Outcome: outcomeFailed, Error: &failure{Code: "exception", Message: "The contact could not be stored."}}
	}
	stored.ContactID = id
	return stored
}

// decodeBatch reads a request's body. Its errors are for the caller, and hold
// nothing of the body.
func decodeBatch(body []byte) (batch, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value, more any
	if err := decoder.Decode(&value); err != nil {
		return batch{}, errors.New("the body is no JSON")
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return batch{}, errors.New("the body is more than one JSON value")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return batch{}, errors.New("the body is no JSON object")
	}
	list, ok := object["contacts"].([]any)
	if !ok {
		return batch{}, errors.New(`the body has no list "contacts"`)
	}
	if len(list) > maxContacts {
		return batch{}, fmt.Errorf("the body holds more than %d contacts", maxContacts)
	}
	request := batch{contacts: make([]map[string]any, len(list))}
	for i, element := range list {
		members, _ := element.(map[string]any)
		id, err := text(members, "contact_id")
		if err != nil || id == "" {
			return batch{}, errors.New(`an element of "contacts" is no object with a "contact_id"`)
		}
		members["contact_id"] = id
		request.contacts[i] = members
	}
	var err, errDefault error
	request.loginFormat, _ = object["login_format"].(string)
	if object["login_format"] != nil && !slices.Contains([]string{"email", "flname", "fnamenum"}, request.loginFormat) {
		return batch{}, errors.New(`"login_format" is none of email, flname, fnamenum`)
	}
	request.roles.allowed, err = texts(object, "roles_allowed")
	request.roles.standard, errDefault = text(object, "default_role")
	if err != nil || errDefault != nil {
		return batch{}, errors.New(`"roles_allowed" is no list of texts, or "default_role" is no text`)
	}
	return request, nil
}

// incoming is one contact of a request, its members of the right types.
type incoming struct {
	id, action, requestID, email string
	replaces                     string         // a contact that is gone: its user may be taken over
	asOf                         int64          // 0: the pass has no number
	fields                       map[string]any // accepted ones: strings and lists of strings
	notes                        []string       // on fields that are not to be stored
	tags                         []string       // nil: leave them alone
	login, password              string
	loginFormat                  string
	generated                    bool
	role                         string
	notify                       bool
	createdTag                   string
	appliedTags, removedTags     []string // which the CRM has been told of
	observed                     bool     // nothing is to be stored
}

func decodeContact(id string, members map[string]any) (incoming, error) {
	in := incoming{id: id}
	for member, target := range map[string]*string{
		"action": &in.action, "request_id": &in.requestID, "email": &in.email,
		"user_login": &in.login, "user_pass": &in.password, "role": &in.role, "created_tag": &in.createdTag,
		"replaces": &in.replaces,
	} {
		value, err := text(members, member)
		if err != nil {
			return incoming{}, err
		}
		*target = value
	}
	for member, target := range map[string]*bool{"generated_pass": &in.generated, "notify": &in.notify} {
		value, ok := members[member].(bool)
		if !ok && members[member] != nil {
			return incoming{}, wrongType(member)
		}
		*target = value
	}
	if number := members["as_of"]; number != nil && in.action != contact.ActionConfirm {
		var ok bool
		if in.asOf, ok = wholeNumber(number); !ok {
			return incoming{}, wrongType("as_of")
		}
	}
	in.email = strings.TrimSpace(in.email)
	switch in.action {
	case contact.Add.String(), contact.Update.String(), contact.UpdateTags.String(), contact.ActionConfirm:
	default:
		return incoming{}, permanent("unknown_action", "The action is none of add, update, update_tags, confirm.")
	}
	tags, err := texts(members, "tags")
	if err != nil {
		return incoming{}, err
	}
	for _, tag := range tags {
		if tag != "" && !slices.Contains(in.tags, tag) {
			in.tags = append(in.tags, tag)
		}
	}
	if tags != nil && in.tags == nil {
		in.tags = []string{}
	}
	for member, target := range map[string]*[]string{"applied_tags": &in.appliedTags, "removed_tags": &in.removedTags} {
		if *target, err = texts(members, member); err != nil {
			return incoming{}, err
		}
	}
	raw, err := texts(members, "raw")
	if err != nil {
		return incoming{}, err
	}
	fields, ok := members["fields"].(map[string]any)
	// PHP writes an empty object as an empty list.
	if list, isList := members["fields"].([]any); !ok && members["fields"] != nil && (!isList || len(list) > 0) {
		return incoming{}, wrongType("fields")
	}
	if in.fields, in.notes, err = acceptFields(fields, raw); err != nil {
		return incoming{}, err
	}
	if in.role == "" {
		in.role = firstText(fields["role"])
	}
	return in, nil
}

func wrongType(member string) *failure {
	return permanent("invalid_contact", fmt.Sprintf("The contact's %q is not of the expected type.", member))
}

// wholeNumber reads a number that is whole and not below zero.
func wholeNumber(value any) (number int64, ok bool) {
	digits, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	number, err := digits.Int64()
	return number, err == nil && number >= 0
}

// text reads a member that is a text or a whole number; absent and null ones
// are empty.
func text(members map[string]any, member string) (string, error) {
	switch value := members[member].(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case json.Number:
		if !strings.ContainsAny(value.String(), ".eE") {
			return value.String(), nil
		}
	}
	return "", wrongType(member)
}

// texts reads a member that is a list of texts; nil if it is absent or null.
func texts(members map[string]any, member string) ([]string, error) {
	if members[member] == nil {
		return nil, nil
	}
	list, ok := members[member].([]any)
	if !ok {
		return nil, wrongType(member)
	}
	values := make([]string, len(list))
	for i, element := range list {
		value, err := text(map[string]any{member: element}, member)
		if err != nil || element == nil {
			return nil, wrongType(member)
		}
		values[i] = value
	}
	return values, nil
}

func firstText(value any) string {
	if list, ok := value.([]any); ok {
		if len(list) == 0 {
			return ""
		}
		value = list[0]
	}
	first, _ := value.(string)
	return first
}

// status is GET /wp-json/spillway/v1/status.
func (s *Site) status(r *http.Request, _ []byte) answer {
	if a, refused := s.refuse(r); refused {
		return a
	}
	return reply(http.StatusOK, map[string]any{
		"plugin": s.options.PluginVersion, "protocol": s.options.Protocol, "wordpress": "6.1.9", "php": "8.2.7", "wp_fusion": "",
		"roles": roleTitles(), "default_role": siteDefaultRole, "multisite": false,
		"contact_id_key": contactIDKey, "tags_key": tagsKey,
		"limits": map[string]int{"contacts": maxContacts, "seconds": int(math.Ceil(s.options.Budget.Seconds()))},
		"fields": s.knownFields(r.URL.Query().Get("fields")),
		"rights": map[string]any{"own": true, "beyond": []string{}}, "locks": true, "transactions": true,
	})
}
