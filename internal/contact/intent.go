package contact

import (
	"fmt"
	"strings"
)

// Action is what a webhook asks for. Actions are ordered by what they include:
// UpdateTags < Update < Add.
type Action uint8

// The actions, weakest first. The zero value is no action.
const (
	UpdateTags Action = iota + 1 // tags only
	Update                       // fields and tags of an existing user
	Add                          // as Update, and creates the user if there is none
)

var actionNames = [...]string{UpdateTags: "update_tags", Update: "update", Add: "add"}

// String returns the name that stands in webhooks, records and requests.
func (a Action) String() string {
	if a >= UpdateTags && a <= Add {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Action) UnmarshalText(text []byte) error {
	parsed, ok := ParseAction(string(text))
	if !ok {
		return fmt.Errorf("unknown action %q", text)
	}
	*a = parsed
	return nil
}

// ParseAction reads an action's name; case does not matter, as in WP Fusion.
func ParseAction(s string) (Action, bool) {
	for action := UpdateTags; action <= Add; action++ {
		if strings.EqualFold(s, actionNames[action]) {
			return action, true
		}
	}
	return 0, false
}

// Intent is what is still to be done for a contact. It is all that is kept of
// a webhook: fields, tags and the e-mail address are read from the CRM when
// the pass runs, so an intent holds no personal data.
type Intent struct {
	Action Action
	Role   string // slug or title of a WordPress role; empty: none asked for
	Notify bool   // send WordPress's login-details mail to a user that gets created
}
