// Package logtest collects what is logged, for tests that read it meanwhile.
package logtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Log is a writer of lines that may be read at any time. The zero value is
// empty; several goroutines may use it.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Named returns the fields of the JSON lines with a message.
func (l *Log) Named(message string) (found []map[string]any) {
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["message"] == message {
			found = append(found, fields)
		}
	}
	return found
}
