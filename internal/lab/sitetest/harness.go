// Package sitetest is the contract that a site must keep: the sentences of
// deploy/wordpress/spillway-connector/PROTOCOL.md as tests. The sandbox's site
// and the connector plugin in a real WordPress both run it.
package sitetest

import "time"

// Harness is a running site as the contract suite sees it: the address that
// Spillway calls, and what a person with access to the site's database sees.
type Harness interface {
	// URL is the site's address, without a slash at the end.
	URL() string
	// Credentials are a user name and an application password with the rights
	// that the connector asks for; weak ones belong to a subscriber.
	Credentials() (user, appPassword string)
	WeakCredentials() (user, appPassword string)

	// UserByID, UserByContact and UsersByEmail read users as they are stored.
	UserByID(id int64) (User, bool)
	UsersByContact(contactID string) []User
	UsersByEmail(email string) []User
	// CreateUser makes a user as the site's own forms would.
	CreateUser(NewUser) int64
	// PasswordWorks asks the site's own check; it does not count as a login.
	PasswordWorks(login, password string) bool
	// Login signs the user in through the site's own function.
	Login(login, password string) bool
	// SetPassword changes a password as the user would.
	SetPassword(id int64, password string)
	// AgeOrder makes what a user is known to have stored last older by a time,
	// in whole seconds.
	AgeOrder(id int64, by time.Duration)
	// ConnectionCode makes a connection code as an administrator does, without
	// WP Fusion's settings. AgeCode makes the current one older.
	ConnectionCode() string
	AgeCode(by time.Duration)
	// Mails lists the subjects of the mails sent to an address.
	Mails(to string) []string
}

// User is a user as stored.
type User struct {
	ID          int64
	Login       string
	Email       string
	DisplayName string
	URL         string
	Nicename    string
	Registered  string
	Roles       []string
	// Meta holds user meta: strings, or lists of strings for PHP arrays.
	Meta map[string]any
	// RawTags is the tags' meta value as it stands in the database, empty for
	// a site without one.
	RawTags string
}

// NewUser describes a user for [Harness.CreateUser].
type NewUser struct {
	Login, Email, Password, Role string
	ContactID                    string // empty: none stored
}
