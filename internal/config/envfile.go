package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/joho/godotenv"
)

// WithEnvFile adds the SPILLWAY_ (also misspelt) and OTEL_ variables of a file of NAME=value
// lines to an environment. What the environment has set already, as NAME or
// NAME_FILE and not empty, wins. Other variables of the file are left out. A
// value with a $, a # or quotes belongs between single quotes. The error names
// the line, never its content; a missing file is an [fs.ErrNotExist].
func WithEnvFile(environ []string, path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	content = bytes.TrimPrefix(content, byteOrderMark)
	values, err := godotenv.UnmarshalBytes(content)
	if err != nil {
		// godotenv's own error quotes the rest of the file.
		return nil, fmt.Errorf("reading settings of %s: line %d is wrong, write NAME=value", path, wrongLine(string(content)))
	}
	set := make(map[string]bool)
	for _, pair := range environ {
		// An empty variable counts as unset here, too: compose passes one on for
		// each ${NAME} that it does not know.
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			set[strings.TrimSuffix(name, "_FILE")] = true
		}
	}
	added := make([]string, 0, len(environ)+len(values))
	for name, value := range values {
		ours := isSetting(name) || strings.HasPrefix(name, tracesPrefix)
		if ours && !set[strings.TrimSuffix(name, "_FILE")] {
			added = append(added, name+"="+value)
		}
	}
	// Of two variables of one name the first counts: the empty ones come last.
	return append(added, environ...), nil
}

// tracesPrefix begins OpenTelemetry's variables.
const tracesPrefix = "OTEL_"

// SetTraces puts the OTEL_ variables of an environment into the process's own:
// OpenTelemetry reads them nowhere else.
func SetTraces(environ []string) error {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, tracesPrefix) || value == "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// wrongLine returns the number of the line after the longest beginning of the
// file that can be read.
func wrongLine(content string) int {
	lines := strings.SplitAfter(content, "\n")
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "")); err == nil {
			return n + 1
		}
	}
	return 1
}
