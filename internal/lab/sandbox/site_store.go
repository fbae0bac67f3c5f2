package sandbox

import (
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"spillway/internal/contact"
)

// store does what a contact's action asks for, whole or not at all.
func (s *users) store(in incoming, roles rolePolicy) (result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.find(in.id, in.email)
	switch {
	case in.action == contact.ActionConfirm && in.observed:
		return result{}, permanent("unknown_action", "The action is none of add, update, update_tags.")
	case in.action == contact.ActionConfirm:
		return s.confirm(found, in), nil
	case ok && found.newest.supersedes(in):
		return result{}, &failure{Code: codeSuperseded, Message: "A newer pass of the contact is stored already; nothing was changed."}
	case ok && found.isKeptFrom(in):
		skipped := answerFor(nil, contact.Skipped, []string{"other_contact"})
		skipped.Other = found.contactID()
		return skipped.seen(in), nil
	case ok:
		return s.change(found, in, roles)
	case in.action == contact.Add.String():
		return s.create(in, roles)
	}
	return answerFor(nil, contact.Skipped, nil).seen(in), nil
}

// contactID is the contact that a user belongs to, empty for none.
func (u *user) contactID() string {
	id, _ := u.Meta[contactIDKey].(string)
	return id
}

// isKeptFrom says that a user who was found by the address belongs to another
// contact, from which only an add takes over, and no staff.
func (u *user) isKeptFrom(in incoming) bool {
	switch u.contactID() {
	case "", in.id, in.replaces:
		return false
	}
	return in.action != contact.Add.String() || isStaff(u.Roles)
}

func answerFor(u *user, outcome contact.Outcome, notes []string) result {
	if notes == nil {
		notes = []string{}
	}
	r := result{Outcome: outcome, Notes: notes}
	if u != nil {
		r.UserID, r.UserLogin = u.ID, u.Login
		if len(u.Roles) > 0 {
			r.Role = u.Roles[0]
		}
	}
	return r
}

func (s *users) create(in incoming, roles rolePolicy) (result, error) {
	switch {
	case in.email == "":
		return result{}, permanent("no_email", "A user cannot be created without an e-mail address.")
	case !isEmail(in.email):
		return result{}, permanent("invalid_email", "The e-mail address is not valid.")
	}
	login, loginNote, err := s.newLogin(in)
	if err != nil {
		return result{}, err
	}
	role, note := roles.forNew(in.role)
	password := in.password
	if password == "" {
		password = randomPassword()
	}
	u := s.fresh(login, in.email, password, role)
	u.DisplayName = displayName(in.fields, login)
	u.Meta[contactIDKey] = in.id
	if in.generated || in.password == "" {
		u.Meta["default_password_nag"] = "1"
	}
	if in.generated && in.requestID != "" {
		u.mark = &mark{contactID: in.id, requestID: in.requestID, password: password}
	}
	notes := slices.DeleteFunc([]string{note, loginNote}, func(note string) bool { return note == "" })
	notes = append(append(notes, in.notes...), s.applyFields(u, in.fields)...)
	if u.untold.created = in.createdTag; in.tags == nil && in.createdTag != "" {
		in.tags = []string{}
	}
	s.storeTags(u, in)
	if in.observed {
		answer := answerFor(u, contact.Created, notes)
		answer.UserID = 0
		return answer.created(u, in), nil
	}
	u.note(in)
	s.put(u)
	if in.notify {
		address := strings.ToLower(u.Email)
		s.mails[address] = append(s.mails[address], "[Sandbox] Login Details")
		s.sent++
	}
	answer := answerFor(u, contact.Created, notes)
	u.tell(&answer, in.action)
	return answer, nil
}

// newLogin picks a new user's login, and notes when it is not as the contact has
// it.
func (s *users) newLogin(in incoming) (login, note string, err error) {
	if own := strings.TrimSpace(cut(cleanLogin(in.login), maxLogin)); own != "" {
		if _, taken := s.byLogin[strings.ToLower(own)]; taken {
			return "", "", permanent("user_login_taken", "The login name belongs to another user.")
		}
		login = own
	} else {
		login = s.freeLogin(in.named())
	}
	if in.login != "" && in.login != login {
		note = "login_changed"
	}
	return login, note, nil
}

// named is what the login of a contact without one is made of.
func (in incoming) named() string {
	first, last := joined(in.fields["first_name"]), joined(in.fields["last_name"])
	switch {
	case in.loginFormat == "flname" && cleanLogin(first+last) != "":
		return first + last
	case in.loginFormat == "fnamenum" && cleanLogin(first) != "":
		return first + strconv.Itoa(1+int(crc32.ChecksumIEEE([]byte(in.id))%99999))
	}
	return in.email
}

// change stores a contact on the user who was found.
func (s *users) change(before *user, in incoming, roles rolePolicy) (result, error) {
	u := before.clone()
	var notes []string
	if other := u.contactID(); other != "" && other != in.id {
		notes = append(notes, "relinked")
	}
	u.Meta[contactIDKey] = in.id
	created := false
	if in.action != contact.UpdateTags.String() {
		staff := isStaff(u.Roles)
		if in.action == contact.Add.String() {
			var note string
			if created, note = u.repeatCreation(in, staff); note != "" {
				notes = append(notes, note)
			}
		}
		if !in.generated && in.password != "" && !staff {
			u.password = in.password
		}
		notes = append(append(notes, in.notes...), s.applyFields(u, in.fields)...)
		if note := u.giveRole(in.role, staff, roles); note != "" {
			notes = append(notes, note)
		}
	}
	s.storeTags(u, in)
	outcome := contact.Updated
	switch {
	case created:
		outcome = contact.Created
	case u.same(before):
		outcome = contact.Unchanged
	}
	if in.observed {
		return answerFor(u, outcome, notes).changed(before, u, in), nil
	}
	u.note(in)
	s.put(u)
	answer := answerFor(u, outcome, notes)
	u.tell(&answer, in.action)
	return answer, nil
}

// displayName is what WordPress shows of a new user whose fields name none.
func displayName(fields map[string]any, login string) string {
	names := slices.DeleteFunc([]string{joined(fields["first_name"]), joined(fields["last_name"])}, func(name string) bool { return name == "" })
	if len(names) == 0 {
		return login
	}
	return strings.Join(names, " ")
}

// repeatCreation decides what an add means for a user whose generated password
// is not confirmed yet: whether it is answered as the creation.
func (u *user) repeatCreation(in incoming, staff bool) (created bool, note string) {
	if u.mark == nil {
		return false, ""
	}
	changed := u.password != u.mark.password && u.password != in.password
	switch {
	case changed:
		u.mark = nil
		return false, "password_changed"
	case in.requestID == u.mark.requestID:
		return true, ""
	case in.id != u.mark.contactID:
		// Another contact of the same address: the password is the first one's.
		return false, ""
	case u.mark.loggedIn, staff:
		u.mark = nil
		return false, ""
	}
	// Spillway has lost the first password: the user gets the new one.
	u.password, u.mark = in.password, nil
	if u.password == "" {
		u.password = randomPassword()
	}
	if in.generated && in.requestID != "" {
		u.mark = &mark{contactID: in.id, requestID: in.requestID, password: u.password}
	}
	return true, ""
}

func (u *user) giveRole(asked string, staff bool, roles rolePolicy) (note string) {
	if asked == "" {
		return ""
	}
	slug, note := roles.resolve(asked)
	switch {
	case note == "" && slices.Contains(u.Roles, slug):
		return ""
	case staff:
		return "role_kept"
	case note == "":
		u.Roles = []string{slug}
	}
	return note
}

// confirm clears the mark of the creation that the CRM has confirmed, and forgets
// the tags that it has been told of.
func (s *users) confirm(found *user, in incoming) result {
	if found == nil {
		return answerFor(nil, contact.Skipped, nil)
	}
	u := found.clone()
	forgotten := u.forget(in)
	if u.mark != nil && u.mark.requestID == in.requestID {
		u.mark, forgotten = nil, true
	}
	if !forgotten {
		return answerFor(found, contact.Unchanged, nil)
	}
	s.put(u)
	return answerFor(u, contact.Updated, nil)
}
