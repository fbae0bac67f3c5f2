package sandbox

import (
	"crypto/rand"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// User is a user as the site stores it, with the members of sitetest.User. A
// type of its own keeps the test packages out of programs.
type User struct {
	ID          int64          `json:"id"`
	Login       string         `json:"login"`
	Email       string         `json:"email"`
	DisplayName string         `json:"display_name"`
	URL         string         `json:"url"`
	Nicename    string         `json:"nicename"`
	Registered  string         `json:"registered"`
	Roles       []string       `json:"roles"`
	Meta        map[string]any `json:"meta"`     // strings and lists of strings
	RawTags     string         `json:"raw_tags"` // as PHP writes them to the database
}

// NewUser describes a user for [Site.CreateUser].
type NewUser struct {
	Login, Email, Password, Role string
	ContactID                    string // empty: none stored
}

// users is the site's table of users. A user who is stored is not changed any
// more: a change stores a copy, so a failed one leaves nothing behind. The mutex
// stands for the connector's named locks.
type users struct {
	mu        sync.Mutex
	byID      map[int64]*user
	byEmail   map[string]int64 // lower case
	byLogin   map[string]int64 // lower case
	byContact map[string][]int64
	nicenames map[string]int64
	last      int64
	mails     map[string][]string // subjects by address in lower case
	sent      int64

	enrolments []enrolment
}

type user struct {
	User
	password string
	mark     *mark
	newest   newest
	untold   untold
}

// newest is the pass that was stored last on a user.
type newest struct {
	contactID string
	asOf      int64 // the pass's number
	at        time.Time
}

// newestLife is how long a pass keeps older ones out.
const newestLife = time.Hour

const codeSuperseded = "superseded"

// supersedes says that the contact comes from an older pass.
func (n newest) supersedes(in incoming) bool {
	return in.asOf > 0 && n.contactID == in.id && n.asOf > in.asOf && time.Since(n.at) < newestLife
}

// note remembers a contact's pass.
func (u *user) note(in incoming) {
	if in.asOf > 0 {
		u.newest = newest{contactID: in.id, asOf: in.asOf, at: time.Now()}
	}
}

// mark stands on a user whose generated password the CRM has not confirmed yet.
type mark struct {
	contactID string
	requestID string
	password  string
	loggedIn  bool
}

func newUsers() *users {
	return &users{
		byID: map[int64]*user{}, byEmail: map[string]int64{}, byLogin: map[string]int64{},
		byContact: map[string][]int64{}, nicenames: map[string]int64{}, mails: map[string][]string{},
		last: 2, // the accounts of the API
	}
}

func (u *user) clone() *user {
	c := *u
	c.Roles = slices.Clone(u.Roles)
	c.Meta = maps.Clone(u.Meta)
	c.untold = u.untold.clone()
	if u.mark != nil {
		m := *u.mark
		c.mark = &m
	}
	return &c
}

// same tells whether nothing was stored between two copies of a user; what the
// CRM is still to be told of the tags is not part of it.
func (u *user) same(other *user) bool {
	a, b := *u, *other
	a.untold, b.untold = untold{}, untold{}
	return reflect.DeepEqual(a, b)
}

// export returns the user as the database shows it.
func (u *user) export() User {
	out := u.clone().User
	if u.mark != nil {
		out.Meta["spillway_unconfirmed"] = u.mark.requestID
	}
	if tags, ok := out.Meta[tagsKey].([]string); ok {
		out.RawTags = serialize(tags)
	}
	return out
}

// fresh makes a user who is not stored yet, as wp_insert_user does.
func (s *users) fresh(login, email, password, role string) *user {
	u := &user{password: password}
	u.ID = s.last + 1
	u.Login, u.Email, u.DisplayName = login, email, login
	u.Nicename = s.freeNicename(u.ID, login)
	u.Registered = time.Now().UTC().Format(time.DateTime)
	u.Roles = []string{role}
	u.Meta = map[string]any{"nickname": login, "first_name": "", "last_name": "", "description": ""}
	return u
}

// put stores a user in place of the one with the same id.
func (s *users) put(u *user) {
	if old, ok := s.byID[u.ID]; ok {
		s.unindex(old)
	}
	s.byID[u.ID] = u
	s.last = max(s.last, u.ID)
	s.byEmail[strings.ToLower(u.Email)] = u.ID
	s.byLogin[strings.ToLower(u.Login)] = u.ID
	s.nicenames[u.Nicename] = u.ID
	if id, ok := u.Meta[contactIDKey].(string); ok {
		ids := append(s.byContact[id], u.ID)
		slices.Sort(ids)
		s.byContact[id] = ids
	}
}

func (s *users) unindex(u *user) {
	delete(s.byEmail, strings.ToLower(u.Email))
	delete(s.byLogin, strings.ToLower(u.Login))
	delete(s.nicenames, u.Nicename)
	if id, ok := u.Meta[contactIDKey].(string); ok {
		ids := slices.DeleteFunc(slices.Clone(s.byContact[id]), func(other int64) bool { return other == u.ID })
		if s.byContact[id] = ids; len(ids) == 0 {
			delete(s.byContact, id)
		}
	}
}

// find returns the user of a contact: by its id, else by its e-mail address.
func (s *users) find(contactID, email string) (*user, bool) {
	if ids := s.byContact[contactID]; len(ids) > 0 {
		return s.byID[ids[0]], true
	}
	if email == "" {
		return nil, false
	}
	id, ok := s.byEmail[strings.ToLower(email)]
	return s.byID[id], ok
}

// maxLogin is the width of WordPress's column, in characters.
const maxLogin = 60

// freeLogin makes a login from an e-mail address.
func (s *users) freeLogin(email string) string {
	email = cleanLogin(email)
	login := cut(email, maxLogin)
	for n := 1; ; n++ {
		if _, taken := s.byLogin[strings.ToLower(login)]; !taken {
			return login
		}
		digits := strconv.Itoa(n)
		login = cut(email, maxLogin-len(digits)) + digits
	}
}

func cut(text string, length int) string {
	if utf8.RuneCountInString(text) <= length {
		return text
	}
	return string([]rune(text)[:length])
}

// freeNicename makes the name that stands in URLs, and no other user has.
func (s *users) freeNicename(id int64, wanted string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(wanted) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-':
			b.WriteRune(r)
		case r == '.', r == ' ':
			b.WriteByte('-')
		}
	}
	base := cut(strings.Trim(b.String(), "-"), 50)
	nicename := base
	for n := 2; ; n++ {
		if owner, taken := s.nicenames[nicename]; !taken || owner == id {
			return nicename
		}
		suffix := "-" + strconv.Itoa(n)
		nicename = cut(base, 50-len(suffix)) + suffix
	}
}

const passwordLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomPassword makes 12 random letters and digits.
func randomPassword() string {
	password := make([]byte, 12)
	for i := range password {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(passwordLetters))))
		if err != nil { // never: crypto/rand ends the program instead
			return rand.Text()[:12]
		}
		password[i] = passwordLetters[n.Int64()]
	}
	return string(password)
}

func (s *users) counts() (stored, mails int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.byID)), s.sent
}
