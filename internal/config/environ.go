package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxFile bounds what is read of a NAME_FILE: no setting is that long.
const maxFile = 64 << 10

// settings collects values and what is wrong with them.
type settings struct {
	flags    map[string]string // by variable
	environ  map[string]string
	empty    map[string]string // files without a value, by the variable that they are for
	contents map[string]file   // of files, by path: a pipe gives its content once
	problems []string
}

// file is what reading one gave.
type file struct {
	value string
	err   error
}

func newSettings(flags Flags, environ []string) *settings {
	s := &settings{flags: flags.values(), environ: make(map[string]string), empty: make(map[string]string), contents: make(map[string]file)}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		// As in the process's own environment, the first of two counts.
		if _, ok := s.environ[name]; !ok && isSetting(name) {
			s.environ[name] = value
		}
	}
	s.dropEmptyFiles()
	return s
}

// dropEmptyFiles makes an empty file count as unset, as an empty variable does. A
// deployment can then name the same files for everybody, and people leave those
// empty that they do not need.
func (s *settings) dropEmptyFiles() {
	for variable, path := range s.environ {
		name, isFile := strings.CutSuffix(variable, "_FILE")
		if !isFile || path == "" {
			continue
		}
		if value, err := s.readFile(path); err == nil && strings.TrimSpace(value) == "" {
			s.empty[name] = path
			delete(s.environ, variable)
		}
	}
}

func (s *settings) given(name string) bool {
	return s.flags[name] != "" || s.environ[name] != "" || s.environ[name+"_FILE"] != ""
}

func (s *settings) anyGiven(names []string) bool { return slices.ContainsFunc(names, s.given) }

// source returns how a setting was given, as a person would look for it.
func (s *settings) source(name string) string {
	switch {
	case s.flags[name] != "":
		return flagOf(name)
	case s.environ[name] == "" && s.environ[name+"_FILE"] != "":
		return name + "_FILE"
	default:
		return name
	}
}

// problem reports a setting without its value.
func (s *settings) problem(name, format string, args ...any) {
	s.problems = append(s.problems, s.source(name)+fmt.Sprintf(format, args...))
}

// wrong reports a value that is no secret.
func (s *settings) wrong(name, value, format string, args ...any) {
	const shown = 120
	if len(value) > shown {
		value = strings.ToValidUTF8(value[:shown], "") + "…"
	}
	s.problem(name, " %q: %s", value, fmt.Sprintf(format, args...))
}

// text returns a setting's value, empty when it is not given or cannot be
// read; the latter is reported.
func (s *settings) text(name string) string {
	return strings.TrimSpace(s.read(name))
}

// secret returns a secret exactly as it was given.
func (s *settings) secret(name string) string {
	value := s.read(name)
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.problem(name, ": holds a line break or a control character, write it on one line")
		return ""
	}
	return value
}

func (s *settings) read(name string) string {
	value, file := s.environ[name], s.environ[name+"_FILE"]
	switch {
	case value != "" && file != "":
		s.problems = append(s.problems, fmt.Sprintf("%s and %s_FILE are both set: remove one of them", name, name))
		return ""
	case s.flags[name] != "":
		return s.flags[name]
	case file != "":
		var err error
		if value, err = s.readFile(file); err != nil {
			s.wrong(name, file, "%v", err)
			return ""
		}
	}
	// Docker's --env-file and Kubernetes keep the quotes that a shell takes away.
	if n := len(value); n > 1 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		s.problem(name, ": stands between quotes, which would count as a part of it: take them away")
		return ""
	}
	return value
}

// readFile reads a file at its first mention.
func (s *settings) readFile(path string) (string, error) {
	content, ok := s.contents[path]
	if !ok {
		content.value, content.err = readFile(path)
		s.contents[path] = content
	}
	return content.value, content.err
}

// byteOrderMark is what some editors write before a text.
var byteOrderMark = []byte("\ufeff")

// readFile returns a file's content, empty or not, without a byte order mark and the line
// break at its end. Its errors never show content.
func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errors.New("the file " + reason(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	value := strings.TrimRight(string(bytes.TrimPrefix(content, byteOrderMark)), "\r\n")
	switch {
	case err != nil:
		return "", errors.New("the file " + reason(err))
	case len(content) > maxFile:
		return "", fmt.Errorf("the file is longer than %d KiB, name the one that holds the value alone", maxFile>>10)
	}
	return value, nil
}

// folder reads the path of a folder that exists.
func (s *settings) folder(name string) string {
	path := s.text(name)
	if path == "" {
		return ""
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		s.wrong(name, path, "the folder %s", reason(err))
		return ""
	case !info.IsDir():
		s.wrong(name, path, "a file, name the folder that holds a NAME.env for each site")
		return ""
	}
	return path
}

func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist, check the path"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user, change its owner or mode"
	default:
		return "cannot be read, name a plain file"
	}
}

// kubernetesService matches the variables that Kubernetes sets in every pod
// for a Service whose name begins with spillway, with their values.
var kubernetesService = regexp.MustCompile(`_(SERVICE_HOST=.*|SERVICE_PORT(_.+)?=.*|PORT_\d+_(TCP|UDP|SCTP)_(ADDR|PORT|PROTO)=.*|PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*)$`)

// isSetting reports a variable of Spillway's, however its prefix is misspelt.
func isSetting(name string) bool {
	const spillway, slips = "SPILLWAY", 2
	prefix, _, ok := strings.Cut(name, "_")
	return ok && (prefix == spillway || len(prefix) <= len(spillway)+slips && edits(strings.ToUpper(prefix), spillway) <= slips)
}

// refuseUnknown reports variables that look like settings but are not. Otherwise
// a misspelt SPILLWAY_RETURN_PASSWORD_FIELD would go unnoticed until somebody
// misses a password.
func (s *settings) refuseUnknown() {
	known := Names()
	var unknown []string
	for name, value := range s.environ {
		_, isKnown := slices.BinarySearch(known, strings.TrimSuffix(name, "_FILE"))
		if !isKnown && !kubernetesService.MatchString(name+"="+value) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		remedy := "remove it; --help and docs/settings.md list the settings"
		if near, ok := nearest(name, known); ok {
			remedy = "did you mean " + near + "?"
		}
		s.problems = append(s.problems, fmt.Sprintf("%s: unknown setting, %s", name, remedy))
	}
}

// nearest returns the known name with the fewest edits, if those are few
// enough for a slip of the pen.
func nearest(name string, known []string) (string, bool) {
	best, fewest := "", len(name)
	for _, candidate := range known {
		for _, spelling := range []string{candidate, candidate + "_FILE"} {
			if n := edits(strings.ToUpper(name), spelling); n < fewest {
				best, fewest = spelling, n
			}
		}
	}
	return best, fewest <= 4
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
