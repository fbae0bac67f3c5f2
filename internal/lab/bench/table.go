package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Sense says on which side of its bound a figure should be.
type Sense string

// The senses. A figure without one is stated, not judged.
const (
	AtLeast Sense = "≥"
	AtMost  Sense = "≤"
)

// Row is one figure of the report.
type Row struct {
	Group string  `json:"group"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"` // empty: a ratio
	Sense Sense   `json:"sense,omitempty"`
	Bound float64 `json:"bound,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// Met says whether the bound is kept; without one it is no question.
func (r Row) Met() (met, asked bool) {
	switch r.Sense {
	case AtLeast:
		return r.Value >= r.Bound, true
	case AtMost:
		return r.Value <= r.Bound, true
	}
	return false, false
}

// verdict is the last column.
func (r Row) verdict() string {
	met, asked := r.Met()
	switch {
	case strings.HasPrefix(r.Note, "not measured"):
		return "not measured"
	case !asked:
		return ""
	case met:
		return "yes"
	}
	return "no"
}

func (r Row) measured() string { return figure(r.Value, r.Unit) }

func (r Row) bound() string {
	if r.Sense == "" {
		return ""
	}
	return string(r.Sense) + " " + figure(r.Bound, r.Unit)
}

// figure writes three significant digits, and whole numbers from a hundred on.
func figure(value float64, unit string) string {
	text := strconv.FormatFloat(value, 'f', 0, 64)
	if size := math.Abs(value); size < 100 {
		decimals := 2
		if size >= 10 {
			decimals = 1
		}
		text = strconv.FormatFloat(value, 'f', decimals, 64)
		if value == math.Trunc(value) {
			text = strconv.FormatFloat(value, 'f', 0, 64)
		}
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// Report is the outcome of a run.
type Report struct {
	Machine Machine   `json:"machine"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Quick   bool      `json:"quick"`
	Rows    []Row     `json:"rows"`
}

// met counts the bounds that are kept, and all.
func (r Report) met() (met, all int) {
	for _, row := range r.Rows {
		kept, asked := row.Met()
		if asked {
			all++
		}
		if kept {
			met++
		}
	}
	return met, all
}

func (r Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func readReport(path string) (Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Report{}, fmt.Errorf("reading the report: %w; run `make bench` first", err)
	}
	var report Report
	if err := json.Unmarshal(text, &report); err != nil {
		return Report{}, fmt.Errorf("reading the report %s: %w", path, err)
	}
	return report, nil
}

// writeTable writes rows for a terminal.
func writeTable(w io.Writer, rows []Row) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "  what\tmeasured\tbound\tmet")
	for _, row := range rows {
		what := row.What
		if row.Note != "" {
			what += " (" + row.Note + ")"
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", what, row.measured(), row.bound(), row.verdict())
	}
	_ = table.Flush()
}

// markdown writes the whole report for docs/performance.md.
func (r Report) markdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%d cores (%s), %.0f GB of memory, Linux %s; Redis %s with its append-only file (`everysec`), PHP %s, WordPress %s, %s; load, Redis and WordPress on the same machine. ",
		m.Cores, m.CPU, m.MemoryGB, m.Kernel, m.Redis, m.PHP, m.WordPress, m.Go)
	fmt.Fprintf(&b, "Taken in one run of %.0f s on %s", r.Seconds, r.Began.Format("2 January 2006"))
	if r.Quick {
		b.WriteString(", with `--quick`")
	}
	b.WriteString(".\n")
	group := ""
	for _, row := range r.Rows {
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(&b, "\n**%s** – %s\n\n| what | measured | bound | met |\n|---|---|---|---|\n", group, aboutOf(group))
		}
		what := row.What
		if row.Note != "" {
			what += "; " + row.Note
		}
		measured := row.measured()
		if row.verdict() == "not measured" {
			measured = ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.ReplaceAll(what, "|", "/"), measured, row.bound(), row.verdict())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func aboutOf(group string) string {
	for _, m := range measurements() {
		if m.name == group {
			return m.about
		}
	}
	return ""
}
