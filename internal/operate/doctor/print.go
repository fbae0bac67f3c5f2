package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print writes a report for people: a line for each finding, and its remedy
// below. With colour the statuses stand out.
func (r Report) Print(w io.Writer, colour bool) error {
	paint := map[Status]string{OK: "32", Warn: "33", Fail: "31;1", Skipped: "2"}
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	var text strings.Builder
	for _, f := range r.Findings {
		status := fmt.Sprintf("%-4s", f.Status)
		if colour {
			status = "\x1b[" + paint[f.Status] + "m" + status + "\x1b[0m"
		}
		fmt.Fprintf(&text, "%s  %-*s  %s\n", status, width, f.Check, f.Text)
		if f.Remedy != "" {
			fmt.Fprintf(&text, "%s→ %s\n", strings.Repeat(" ", 6+width+2), f.Remedy)
		}
	}
	fmt.Fprintf(&text, "\n%d ok, %d warnings, %d failures, %d skipped\n", r.OK, r.Warned, r.Failed, r.Skipped)
	_, err := io.WriteString(w, text.String())
	return err
}
