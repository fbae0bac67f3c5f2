package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"spillway/internal/contact"
)

// webhook makes the nth webhook. The CRM's workflows and its global webhooks
// differ in how they call: with GET or POST, with the id in the query, in a form
// or in a JSON body.
func (b *burst) webhook(ctx context.Context, n int) (*http.Request, error) {
	id := strconv.Itoa(1 + n%b.options.Contacts)
	query := b.target.Query()
	query.Set("access_key", b.options.Key)
	query.Set("wpf_action", b.action(n).String())
	// How fast webhooks are kept is the question, not when they are carried out.
	query.Set("wait", "0")
	method, kind, body := http.MethodPost, "", ""
	// A contact is meant in another way in each turn.
	switch (n + n/b.options.Contacts) % 4 {
	case 0:
		method = http.MethodGet
		query.Set("contact_id", id)
	case 1:
		kind, body = "application/x-www-form-urlencoded", "contact_id="+id
	case 2:
		kind, body = "application/json", `{"id":`+id+`,"first_name":"First `+id+`"}`
	default:
		query.Set("contact_id", id)
	}
	target := *b.target
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	return request, nil
}

// action draws the nth webhook's action; the same burst draws the same ones.
func (b *burst) action(n int) contact.Action {
	random := rand.New(rand.NewPCG(uint64(n), 7))
	return b.deck[random.IntN(len(b.deck))]
}

// actionDeck holds each action as often as its share says.
func actionDeck(shares map[contact.Action]int) ([]contact.Action, error) {
	if shares == nil {
		shares = map[contact.Action]int{contact.Update: 3, contact.UpdateTags: 2, contact.Add: 1}
	}
	var deck []contact.Action
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		share := shares[action]
		if share < 0 || share > 1000 {
			return nil, fmt.Errorf("sending webhooks: the share of %s is %d, use 0 to 1000", action, share)
		}
		for range share {
			deck = append(deck, action)
		}
	}
	if len(deck) == 0 {
		return nil, errors.New("sending webhooks: no action has a share")
	}
	return deck, nil
}
