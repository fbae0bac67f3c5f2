package site

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Listed is what the site stores of a contact, by user: several users may carry
// one contact id.
type Listed struct {
	UserID    int64    `json:"user_id"`
	ContactID string   `json:"contact_id"` // any text, as it is stored
	Tags      []string `json:"tags"`       // each once
	// AsOf is the number of the pass that was stored last, [contact.Change.AsOf],
	// which is Redis's clock in microseconds. Zero: none is known.
	AsOf int64 `json:"as_of"`
	// StoredAt is when that was, in seconds since 1970 by the site's clock.
	StoredAt int64 `json:"stored_at"`
}

const (
	// largestListing is how many users one question may look at.
	largestListing = 1000
	// smallestListing is how few are asked for when more make too long an answer.
	smallestListing = 50
	// MostContacts is how many contacts [Client.UsersOf] asks for at once.
	MostContacts = 100
)

// ErrNoListing says that the site's connector cannot list what it stores.
var ErrNoListing = errors.New("the site's connector plugin is too old to tell what it stores: write the current one with `spillway plugin` and upload it under Plugins » Add New")

// Users reads what the site stores of the users above a user id, page by page in
// the order of their ids, and calls each for every one that has a contact id. It
// returns the user id after which to go on, and false at the end. A page looks
// at up to 1,000 users, and at fewer when the site's answer takes too long or is
// too large. The error is each's, [ErrNoListing] or a [contact.Outage].
func (c *Client) Users(ctx context.Context, after int64, each func(Listed) error) (next int64, more bool, err error) {
	for limit := largestListing; ; limit /= 4 {
		query := uncached()
		query.Set("after", strconv.FormatInt(after, 10))
		query.Set("limit", strconv.Itoa(limit))
		users, last, err := c.list(ctx, query)
		var failure *wholeFailure
		switch {
		case errors.As(err, &failure) && limit/4 >= smallestListing && ctx.Err() == nil:
			continue
		case err != nil:
			return after, true, listingError(err)
		}
		for _, user := range users {
			if err := each(user); err != nil {
				return after, true, err
			}
		}
		if last == nil {
			return after, false, nil
		}
		if *last <= after {
			return after, true, &Unavailable{Reason: "asked for what it stores, it answered a page that leads nowhere"}
		}
		return *last, true, nil
	}
}

// UsersOf returns the users that carry one of the contact ids, at most
// [MostContacts], in the order of the users' ids. The error is [ErrNoListing] or
// a [contact.Outage].
func (c *Client) UsersOf(ctx context.Context, contacts []string) ([]Listed, error) {
	query := uncached()
	query.Set("contact_ids", strings.Join(contacts, ","))
	users, _, err := c.list(ctx, query)
	if err != nil {
		return nil, listingError(err)
	}
	return users, nil
}

// list asks the listing route. A *wholeFailure is a page that is too much.
func (c *Client) list(ctx context.Context, query url.Values) (users []Listed, next *int64, err error) {
	const timeout = 20 * time.Second // a page of 1,000 users takes a tenth of a second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a, err := c.ask(ctx, http.MethodGet, contactsRoute, query, nil)
	if err != nil {
		return nil, nil, err
	}
	if a.status != http.StatusOK {
		if code, _, ok := a.code(); ok && code == "rest_no_route" {
			return nil, nil, ErrNoListing
		}
		return nil, nil, a.outage()
	}
	var read struct {
		Users []Listed `json:"users"`
		Next  *int64   `json:"next"`
	}
	if json.Unmarshal(a.body, &read) != nil || read.Users == nil {
		if e := a.hindrance(); e != nil {
			return nil, nil, e
		}
		return nil, nil, &wholeFailure{kind: fatal, what: "the request was answered with something else than users"}
	}
	return read.Users, read.Next, nil
}

// listingError makes the failure of a request an outage.
func listingError(err error) error {
	var failure *wholeFailure
	if errors.As(err, &failure) {
		return &Unavailable{Reason: "asked for what it stores, " + failure.what}
	}
	return err
}
