// Package slowdisk gives tests and measurements a Redis on a slow disk: each
// sync of its append-only file takes longer than on this machine's own.
//
// A Redis with appendfsync everysec holds its writes back while a sync takes
// long, so what it acknowledged then lies in its own memory alone.
package slowdisk

import (
	"context"
	_ "embed" // the shim's source
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed shim/slowdisk.c
var source []byte

// Environ builds what makes syncs slow in a folder and returns the variables
// with which a redis-server is started so that each takes that much longer. It
// needs a C compiler, as the race detector does.
func Environ(ctx context.Context, dir string, delay time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	code, library := filepath.Join(dir, "slowdisk.c"), filepath.Join(dir, "slowdisk.so")
	if err := os.WriteFile(code, source, 0o600); err != nil {
		return nil, fmt.Errorf("writing the slow disk's source: %w", err)
	}
	build := exec.CommandContext(ctx, "cc", "-shared", "-fPIC", "-O1", "-o", library, code, "-ldl")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the slow disk with cc: %w: %s", err, out)
	}
	return []string{"LD_PRELOAD=" + library, "SLOWDISK_MS=" + strconv.FormatInt(delay.Milliseconds(), 10)}, nil
}
