package sandbox

import "time"

// Inject spoils requests. The error says what is wrong with the fault.
func (s *Site) Inject(fault Fault) error { return s.faults.add(fault) }

// Fail answers the next n requests with a status.
func (s *Site) Fail(status, n int) error { return s.Inject(Fault{Status: status, Count: n}) }

// StoreThenHang lets the next n requests of contacts be stored and never
// answered.
func (s *Site) StoreThenHang(n int) error {
	return s.Inject(Fault{Mode: FaultHangAfter, Count: n, Route: "contacts"})
}

// StoreThenCut lets the next n requests of contacts be stored and answered by
// half.
func (s *Site) StoreThenCut(n int) error {
	return s.Inject(Fault{Mode: FaultHalf, Count: n, Route: "contacts"})
}

// GoDown closes every connection without an answer until [Site.ClearFaults].
func (s *Site) GoDown() error { return s.Inject(Fault{Mode: FaultReset, For: 1000 * time.Hour}) }

// ClearFaults takes all faults back; poisoned contacts stay.
func (s *Site) ClearFaults() { s.faults.clear() }

// Poison makes any request that holds the contact die with status 500 and
// nothing stored, as a fatal error in some plugin's hook would.
func (s *Site) Poison(contactID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poisoned[contactID] = true
}

// Cure takes the poison back.
func (s *Site) Cure(contactID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.poisoned, contactID)
}

func (s *Site) isPoisoned(contactID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.poisoned[contactID]
}
