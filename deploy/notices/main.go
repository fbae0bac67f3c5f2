// Command notices prints the licences of everything that is linked into the
// programs named as arguments: of Go itself and of each module, as the module
// cache has them. A module without a licence file is an error. Run it where `go`
// finds the main module.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// module is what `go list` says of one.
type module struct {
	Path, Version, Dir string
	Main               bool
}

func run(ctx context.Context, out io.Writer, packages []string) error {
	modules, err := linked(ctx, packages)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Spillway is under the MIT licence, see LICENSE. The connector plugin that `spillway plugin`")
	fmt.Fprintln(out, "writes is under the GPL, version 2 or later, as WordPress is. Linked into the programs are:")
	for _, m := range modules {
		files, err := licences(m.Dir)
		if err != nil {
			return fmt.Errorf("licences of %s: %w", m.Path, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(m.Dir, file))
			if err != nil {
				return fmt.Errorf("licences of %s: %w", m.Path, err)
			}
			fmt.Fprintf(out, "\n%s\n%s %s, %s\n\n%s\n", rule, m.Path, m.Version, file, text)
		}
	}
	return nil
}

const rule = "================================================================================"

// linked returns Go and the modules of all packages that the programs import, by
// path.
func linked(ctx context.Context, packages []string) ([]module, error) {
	list := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=Module"}, packages...)...) //nolint:gosec // the packages are the build script's
	list.Stderr = os.Stderr
	pipe, err := list.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	if err := list.Start(); err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	seen := make(map[string]module)
	for decoder := json.NewDecoder(pipe); ; {
		var one struct{ Module *module }
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("listing packages: %w", err)
		}
		if m := one.Module; m != nil && !m.Main {
			seen[m.Path] = *m
		}
	}
	if err := list.Wait(); err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	toolchain, err := golang(ctx)
	if err != nil {
		return nil, err
	}
	modules := []module{toolchain}
	for _, m := range seen {
		modules = append(modules, m)
	}
	slices.SortFunc(modules[1:], func(a, b module) int { return cmp.Compare(a.Path, b.Path) })
	return modules, nil
}

// golang returns the standard library as a module.
func golang(ctx context.Context) (module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return module{}, fmt.Errorf("asking for Go's folder: %w", err)
	}
	var env struct{ GOROOT, GOVERSION string }
	if err := json.Unmarshal(out, &env); err != nil {
		return module{}, fmt.Errorf("asking for Go's folder: %w", err)
	}
	return module{Path: "Go's standard library", Version: env.GOVERSION, Dir: env.GOROOT}, nil
}

var licenceFile = regexp.MustCompile(`(?i)^((?:un)?licen[cs]e|copying|notice|patents)([.-].*)?$`)

// licences returns the names of a folder's licence files, sorted.
func licences(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && licenceFile.MatchString(entry.Name()) {
			files = append(files, entry.Name())
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("none in %s", dir)
	}
	return files, nil
}
