package throttle

import "time"

// Status is what operators see of a system that Spillway calls: whether it is
// pressed, held or probed, and why. It is the same on every replica.
type Status struct {
	System string `json:"system"` // "crm" or "site"
	// State is "closed" (calls go through), "open" (nobody calls) or
	// "half_open" (one probe at a time finds out whether the system is back).
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"` // why it is not closed; fit for a log
	// RetryAt is when the next probe may go, if the state is open.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Facts are the limits in force, such as "rate_per_second", "held_seconds"
	// (how long the CRM has asked all callers to wait), "batch", "in_flight",
	// "latency_ms", "probe_ms" and "probe_baseline_ms".
	Facts map[string]float64 `json:"facts,omitempty"`
}
