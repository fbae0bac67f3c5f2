package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"spillway/internal/config"
)

// Where an installation under systemd has its settings and its data.
const (
	installedSettings = "/etc/spillway"
	installedData     = "/var/lib/spillway"
)

// withInstalled adds the settings of the services on this machine, as they see
// them: the file env of a folder, and each file of secrets below it for the
// setting of its name. What environ has set wins. Without the file env there is
// no installation, and environ is returned as it is.
func withInstalled(environ []string, folder string) ([]string, error) {
	path := filepath.Join(folder, "env")
	found, err := config.WithEnvFile(environ, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return environ, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, notAllowed(path)
	case err != nil:
		return nil, err
	}
	secrets := filepath.Join(folder, "secrets")
	files, err := os.ReadDir(secrets)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, notAllowed(secrets)
	case err != nil:
		return nil, fmt.Errorf("reading the services' secrets: %w", err)
	}
	known := make(map[string]bool)
	for _, entry := range config.Table() {
		known[entry.Name] = true
	}
	for _, pair := range found {
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			delete(known, strings.TrimSuffix(name, "_FILE"))
		}
	}
	for _, file := range files {
		// An empty one counts as unset, as it does for the services.
		if name := "SPILLWAY_" + strings.ToUpper(file.Name()); known[name] {
			found = append([]string{name + "_FILE=" + filepath.Join(secrets, file.Name())}, found...)
		}
	}
	return found, nil
}

func notAllowed(path string) error {
	return fmt.Errorf("%s may not be read by this user: run the command with sudo, or be a member of the group spillway", path)
}

// journals is the folder of journals of a kind: of the installation's data, or
// beside the data of a `spillway run` in this folder.
func (c *console) journals(kind string) string {
	if info, err := os.Stat(c.data); err == nil && info.IsDir() {
		return filepath.Join(c.data, kind)
	}
	return filepath.Join("var", kind)
}
