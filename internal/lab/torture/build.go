package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Mutation takes a guard out of the source, so that the suite can be shown to
// notice. The product has no switch for it: the mutated text is compiled into
// binaries of its own.
type Mutation struct {
	Name string
	Why  string // what the guard is for
	Cuts []Cut
}

// Cut replaces text in one file. Old must be in it exactly once.
type Cut struct {
	File     string // below the module's root, or below $GOROOT/
	Old, New string
}

// Programs builds what a run needs into dir: with a guard taken out unless it
// is nil, and with clocks that can be set if they are to be apart.
func Programs(ctx context.Context, dir string, guard *Mutation, clocksApart bool) error {
	if clocksApart {
		return Build(ctx, dir, guard, clocks())
	}
	return Build(ctx, dir, guard)
}

// Build compiles the programs into dir, with mutations; nil ones are none. A
// text that a mutation does not find is an error: a guard that moved must not
// pass for one that was taken out.
func Build(ctx context.Context, dir string, mutations ...*Mutation) error {
	roots, err := findRoots(ctx)
	if err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	mutations = slices.DeleteFunc(slices.Clone(mutations), func(m *Mutation) bool { return m == nil })
	if len(mutations) > 0 {
		overlay, err := roots.overlay(dir, mutations)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/ingest", "./cmd/worker")...)
	cmd.Dir = roots.module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return nil
}

// roots are the folders below which the files of cuts are.
type roots struct {
	module, goroot string
}

func findRoots(ctx context.Context) (roots, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD", "GOROOT").Output()
	if err != nil {
		return roots{}, fmt.Errorf("finding the module: %w", err)
	}
	file, goroot, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if file == "" || file == os.DevNull {
		return roots{}, fmt.Errorf("finding the module: run this below its root")
	}
	return roots{module: filepath.Dir(file), goroot: goroot}, nil
}

func (r roots) path(file string) string {
	if below, ok := strings.CutPrefix(file, "$GOROOT/"); ok {
		return filepath.Join(r.goroot, filepath.FromSlash(below))
	}
	return filepath.Join(r.module, filepath.FromSlash(file))
}

// overlay writes the mutated files and returns the name of the list that go
// build takes.
func (r roots) overlay(dir string, mutations []*Mutation) (string, error) {
	mutated := map[string]string{}
	for _, mutation := range mutations {
		for _, cut := range mutation.Cuts {
			path := r.path(cut.File)
			text, ok := mutated[path]
			if !ok {
				original, err := os.ReadFile(path)
				if err != nil {
					return "", fmt.Errorf("taking out the guard %q: %w", mutation.Name, err)
				}
				text = string(original)
			}
			if n := strings.Count(text, cut.Old); n != 1 {
				return "", fmt.Errorf("taking out the guard %q: %s holds the text %q %d times, not once", mutation.Name, cut.File, cut.Old, n)
			}
			mutated[path] = strings.Replace(text, cut.Old, cut.New, 1)
		}
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range mutated {
		file := filepath.Join(dir, fmt.Sprintf("mutated-%d-%s", len(list.Replace), filepath.Base(path)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		list.Replace[path] = file
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, encoded, 0o600)
}
