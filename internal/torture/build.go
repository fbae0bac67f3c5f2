package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	File     string // below the module's root
	Old, New string
}

// Build compiles the programs into dir, with a mutation if it is not nil. A
// text that the mutation does not find is an error: a guard that moved must not
// pass for one that was taken out.
func Build(ctx context.Context, dir string, mutation *Mutation) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	if mutation != nil {
		overlay, err := mutation.overlay(root, dir)
		if err != nil {
			return fmt.Errorf("taking out the guard %q: %w", mutation.Name, err)
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/ingest", "./cmd/worker")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("finding the module: run this below its root")
	}
	return filepath.Dir(file), nil
}

// overlay writes the mutated files and returns the name of the list that go
// build takes.
func (m *Mutation) overlay(root, dir string) (string, error) {
	mutated := map[string]string{}
	for _, cut := range m.Cuts {
		path := filepath.Join(root, filepath.FromSlash(cut.File))
		text, ok := mutated[path]
		if !ok {
			original, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(original)
		}
		if n := strings.Count(text, cut.Old); n != 1 {
			return "", fmt.Errorf("%s holds the text %q %d times, not once", cut.File, cut.Old, n)
		}
		mutated[path] = strings.Replace(text, cut.Old, cut.New, 1)
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
