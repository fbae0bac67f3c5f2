package pending

// InLine returns how many webhooks wait for a script.
func (i *Intake) InLine() (n int) {
	for _, l := range i.lines {
		l.mu.Lock()
		n += len(l.waiting)
		l.mu.Unlock()
	}
	return n
}

// Waiting is how many contacts somebody waits for.
func (e *Endings) Waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waits)
}
