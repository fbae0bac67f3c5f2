package localrun

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"spillway/internal/config"
)

// DefaultFolder is where a run keeps Redis's data and its log.
const DefaultFolder = "var"

// runningFile is where a run says how to reach it. A lock on it says that the
// run is alive.
const runningFile = "running.env"

// announce tells the operator's commands where this run's Redis is and how to
// call its stand-ins. The announcement ends with the run.
func announce(folder string, settings config.Config, shown []standIn) (withdraw func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder %s: %w", folder, err)
	}
	path := filepath.Join(folder, runningFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("announcing the run: %w", err)
	}
	// Redis's own folder is locked, so nobody else has a reason to hold this.
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another `spillway run` uses %s: stop it first", folder)
	}
	lines := []string{"# How to reach the run that is under way; gone when it stops.", "SPILLWAY_REDIS_URL=" + settings.RedisURL}
	if len(shown) > 0 {
		lines = append(lines, "SPILLWAY_SECRET_KEY="+base64.StdEncoding.EncodeToString(settings.SecretKey), "SPILLWAY_PUBLIC_URL=http://"+settings.IngestAddr)
		if settings.SitesFolder != "" {
			lines = append(lines, "SPILLWAY_SITES="+settings.SitesFolder)
		} else {
			lines = append(lines, siteLines(shown[0].settings)...)
		}
	}
	if err := file.Truncate(0); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("announcing the run: %w", err)
	}
	if _, err := file.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("announcing the run: %w", err)
	}
	return func() {
		_ = os.Remove(path)
		unlock(file)
	}, nil
}

// Running returns the file of settings of the run that is under way with a
// folder, if there is one.
func Running(folder string) (path string, ok bool) {
	path = filepath.Join(folder, runningFile)
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	// A run that was killed leaves the file without its lock.
	if syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return "", false
	}
	return path, true
}
