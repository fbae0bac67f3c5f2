package sandbox

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// URL is the site's address, once [Serve] or [Site.SetURL] has set it.
func (s *Site) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// SetURL tells the site its address.
func (s *Site) SetURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = strings.TrimSuffix(url, "/")
}

// Users returns all users in the order of their ids, the two accounts of the
// API left out.
func (s *Site) Users() []User {
	return s.users.exported(func(*user) bool { return true })
}

// UserByID returns the user with an id.
func (s *Site) UserByID(id int64) (User, bool) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	u, ok := s.users.byID[id]
	if !ok {
		return User{}, false
	}
	return u.export(), true
}

// UsersByContact returns the users on whom a contact id is stored.
func (s *Site) UsersByContact(contactID string) []User {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	var found []User
	for _, id := range s.users.byContact[contactID] {
		found = append(found, s.users.byID[id].export())
	}
	return found
}

// UsersByEmail returns the users with an address; case does not matter. It looks
// at each user, so that a second one for an address would be seen.
func (s *Site) UsersByEmail(email string) []User {
	return s.users.exported(func(u *user) bool { return strings.EqualFold(u.Email, email) })
}

func (s *users) exported(wanted func(*user) bool) []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []User
	for _, id := range slices.Sorted(maps.Keys(s.byID)) {
		if u := s.byID[id]; wanted(u) {
			found = append(found, u.export())
		}
	}
	return found
}

// CreateUser makes a user as the site's own forms would, and returns the id: 0
// if the login or the address is taken.
func (s *Site) CreateUser(n NewUser) int64 {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	_, loginTaken := s.users.byLogin[strings.ToLower(n.Login)]
	_, emailTaken := s.users.byEmail[strings.ToLower(n.Email)]
	if loginTaken || emailTaken {
		return 0
	}
	if n.Role == "" {
		n.Role = siteDefaultRole
	}
	u := s.users.fresh(n.Login, n.Email, n.Password, n.Role)
	if n.ContactID != "" {
		u.Meta[contactIDKey] = n.ContactID
	}
	s.users.put(u)
	return u.ID
}

// SetTags changes a user's tags behind Spillway's back.
func (s *Site) SetTags(id int64, tags ...string) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	if u, ok := s.users.byID[id]; ok {
		u = u.clone()
		u.Meta[tagsKey] = slices.Clone(tags)
		s.users.put(u)
	}
}

// DeleteUser removes a user as a person in wp-admin would.
func (s *Site) DeleteUser(id int64) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	if u, ok := s.users.byID[id]; ok {
		s.users.unindex(u)
		delete(s.users.byID, id)
	}
}

// PasswordWorks checks a password; it does not count as a login. The login may
// be the e-mail address.
func (s *Site) PasswordWorks(login, password string) bool {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	u, ok := s.users.byName(login)
	return ok && u.password == password
}

// Login signs a user in.
func (s *Site) Login(login, password string) bool {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	u, ok := s.users.byName(login)
	if !ok || u.password != password {
		return false
	}
	if u.mark != nil {
		u = u.clone()
		u.mark.loggedIn = true
		s.users.put(u)
	}
	return true
}

// SetPassword changes a password as the user would.
func (s *Site) SetPassword(id int64, password string) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	u, ok := s.users.byID[id]
	if !ok {
		return
	}
	u = u.clone()
	u.password = password
	s.users.put(u)
}

// AgeOrder makes what a user is known to have stored last older by a time.
func (s *Site) AgeOrder(id int64, by time.Duration) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	if u, ok := s.users.byID[id]; ok {
		u = u.clone()
		u.newest.at = u.newest.at.Add(-by)
		s.users.put(u)
	}
}

// Mails returns the subjects of the mails sent to an address.
func (s *Site) Mails(to string) []string {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	return slices.Clone(s.users.mails[strings.ToLower(to)])
}

func (s *users) byName(login string) (*user, bool) {
	id, ok := s.byLogin[strings.ToLower(login)]
	if !ok {
		id, ok = s.byEmail[strings.ToLower(login)]
	}
	return s.byID[id], ok
}
