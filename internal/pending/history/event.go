package history

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

// Event is the end of one pass, or of a parked contact that was dropped.
type Event struct {
	Time time.Time `json:"time"`
	// Kind is "synced", "retrying", "parked", "dropped" or "observed".
	Kind    string `json:"kind"`
	Action  string `json:"action"`
	Outcome string `json:"outcome,omitempty"` // what the site did, of a synced contact
	// UserID is the site's id of the user.
	UserID int64    `json:"user_id,omitempty"`
	Role   string   `json:"role,omitempty"` // that the user has, if the site said so
	Notes  []string `json:"notes,omitempty"`
	// Waited is how long the contact's work was outstanding, Took how long the
	// pass took, both in milliseconds.
	Waited int64  `json:"waited_ms"`
	Took   int64  `json:"took_ms"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
	// Times is how many passes in a row failed with this code, the first of them
	// at First. The event tells of the last one; zero: there was one alone.
	Times int       `json:"times,omitempty"`
	First time.Time `json:"first,omitzero"`
	// PasswordReturned says that the CRM was given the user's new password.
	PasswordReturned bool `json:"password_returned,omitempty"`
	// Webhooks are the latest of those that this pass was the first to see, the
	// newest last, three at most; Covered is how many there were in all. A retry
	// may have none.
	Webhooks []contact.Receipt `json:"webhooks,omitempty"`
	Covered  int               `json:"covered"`
	// RequestID names the contact's newest webhook in the logs.
	RequestID string `json:"request_id,omitempty"`
}

// The kinds of events.
const (
	Synced   = "synced"
	Retrying = "retrying"
	Parked   = "parked"
	Dropped  = "dropped"  // a parked contact, by the operator; no pass
	Observed = "observed" // a pass that wrote nothing; its outcome is what it would have done
)

const (
	// keptReceipts and keptError bound an event: timelines of all contacts that
	// ever had a webhook lie in the memory that webhooks need.
	keptReceipts = 3
	keptError    = 200
)

// marks begin the text of an event of each kind.
var marks = map[string]string{Synced: shard.SyncedMark, Retrying: shard.RetryingMark, Parked: "!", Dropped: "x", Observed: "?"}

// stored is what of an event is kept as JSON. Members are one letter long, and
// times are in milliseconds since 1970.
type stored struct {
	Time     int64    `json:"t"`
	Action   string   `json:"a,omitempty"`
	Outcome  string   `json:"o,omitempty"`
	UserID   int64    `json:"u,omitempty"`
	Role     string   `json:"l,omitempty"`
	Notes    []string `json:"n,omitempty"`
	Waited   int64    `json:"w,omitempty"`
	Took     int64    `json:"d,omitempty"`
	Code     string   `json:"c,omitempty"`
	Error    string   `json:"e,omitempty"`
	Password bool     `json:"p,omitempty"`
	Receipts []string `json:"r,omitempty"` // "MS ACTION REQUEST_ID"
	Covered  int      `json:"v,omitempty"`
	Request  string   `json:"i,omitempty"` // if it is not that of the last receipt
}

// Encode returns the event as timelines hold it: the kind's mark, then JSON. A
// failure that is retried has a head between them, by which the script that
// writes it recognises a repetition and counts it: "ACTION:CODE TIMES FIRST_MS
// COVERED ".
func (e Event) Encode() string {
	s := stored{
		Time: e.Time.UnixMilli(), Action: e.Action, Outcome: e.Outcome, UserID: e.UserID, Role: e.Role, Notes: e.Notes,
		Waited: e.Waited, Took: e.Took, Code: e.Code, Error: shorten(e.Error), Password: e.PasswordReturned,
		Covered: e.Covered, Request: e.RequestID,
	}
	for _, receipt := range e.Webhooks[max(0, len(e.Webhooks)-keptReceipts):] {
		s.Receipts = append(s.Receipts, fmt.Sprintf("%d %d %s", receipt.At.UnixMilli(), int(receipt.Action), receipt.RequestID))
		if receipt.RequestID == s.Request {
			s.Request = ""
		}
	}
	head := marks[e.Kind]
	if e.Kind == Retrying {
		head += fmt.Sprintf("%s:%s 1 %d %d ", e.Action, e.Code, s.Time, e.Covered)
	}
	text, err := json.Marshal(s)
	if err != nil { // no part of it can fail
		return ""
	}
	return head + string(text)
}

func shorten(text string) string {
	if len(text) <= keptError {
		return text
	}
	return strings.ToValidUTF8(text[:keptError], "") + "…"
}

// Decode reads what [Event.Encode] wrote, and what became of it by counting; ok
// is false for anything else.
func Decode(text string) (event Event, ok bool) {
	kind := ""
	for name, mark := range marks {
		if rest, found := strings.CutPrefix(text, mark); found {
			kind, text = name, rest
			break
		}
	}
	var s stored
	head, rest, _ := strings.Cut(text, "{")
	if json.Unmarshal([]byte("{"+rest), &s) != nil || kind == "" || s.Time == 0 {
		return Event{}, false // of an older format
	}
	event = Event{
		Time: time.UnixMilli(s.Time).UTC(), Kind: kind, Action: s.Action, Outcome: s.Outcome, UserID: s.UserID, Role: s.Role, Notes: s.Notes,
		Waited: s.Waited, Took: s.Took, Code: s.Code, Error: s.Error, PasswordReturned: s.Password, Covered: s.Covered, RequestID: s.Request,
	}
	var first int64
	if n, _ := fmt.Sscanf(head, "%s %d %d %d", new(string), &event.Times, &first, &event.Covered); n == 4 && event.Times > 1 {
		event.First = time.UnixMilli(first).UTC()
	} else {
		event.Times = 0
	}
	for _, text := range s.Receipts {
		parts := strings.SplitN(text, " ", 3)
		if len(parts) != 3 {
			continue
		}
		ms, errTime := strconv.ParseInt(parts[0], 10, 64)
		action, errAction := strconv.Atoi(parts[1])
		if errTime != nil || errAction != nil {
			continue
		}
		event.Webhooks = append(event.Webhooks, contact.Receipt{
			At: time.UnixMilli(ms).UTC(), Action: contact.Action(action), RequestID: parts[2],
		})
	}
	if last := len(event.Webhooks) - 1; last >= 0 && event.RequestID == "" {
		event.RequestID = event.Webhooks[last].RequestID
	}
	return event, true
}
