// Package contact is Spillway's domain: which contact of which site, what is
// still to be done for it, how its CRM fields become WordPress fields, and
// what the site answers. Nothing here does I/O, and nothing here imports
// another package of Spillway.
package contact

import (
	"errors"
	"strings"
)

// Ref names one contact of one site. Site is a name such as "default"; ID is
// the CRM's contact id as [ParseID] accepts it.
type Ref struct {
	Site string
	ID   string
}

// DefaultSite is the name of the only site of an installation that has one.
const DefaultSite = "default"

// String returns SITE:ID, the form used in Redis keys and task ids.
func (r Ref) String() string { return r.Site + ":" + r.ID }

// ParseRef reads what [Ref.String] wrote.
func ParseRef(s string) (Ref, error) {
	site, id, ok := strings.Cut(s, ":")
	if !ok || site == "" {
		return Ref{}, errors.New("a contact reference has the form SITE:ID")
	}
	if _, err := ParseID(id); err != nil {
		return Ref{}, err
	}
	return Ref{Site: site, ID: id}, nil
}

// maxIDDigits keeps every id within a signed 64-bit integer.
const maxIDDigits = 18

// ErrInvalidID reports a contact id that is no positive whole number.
var ErrInvalidID = errors.New("a contact id is a positive whole number of at most 18 digits, without leading zeros")

// ParseID accepts the CRM's contact ids: decimal, positive, no sign, no
// spaces, no leading zero, so that one contact has exactly one spelling and
// therefore exactly one record.
func ParseID(s string) (string, error) {
	if s == "" || len(s) > maxIDDigits || s[0] == '0' {
		return "", ErrInvalidID
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "", ErrInvalidID
		}
	}
	return s, nil
}
