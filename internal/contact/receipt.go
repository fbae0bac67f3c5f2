package contact

import "time"

// Receipt is what is kept of one webhook for the operator's eyes: enough to say
// when it came, what it asked for, and which pass carried it out.
type Receipt struct {
	At     time.Time `json:"at"`
	Action Action    `json:"action"`
	// RequestID names the webhook in the logs of ingest and of the worker.
	RequestID string `json:"request_id,omitempty"`
	// Trace is the W3C traceparent of a webhook that is traced, 55 bytes at
	// most; empty: it is not.
	Trace string `json:"-"`
}
