// Package wordpress holds the connector plugin, so that the program that needs
// it on a site can hand it out.
package wordpress

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Folder is the plugin's folder below wp-content/plugins.
const Folder = "spillway-connector"

// Protocol is the version of the routes that Spillway speaks; see the plugin's
// PROTOCOL.md.
const Protocol = 2

//go:embed spillway-connector
var files embed.FS

// Files returns the plugin's files, without [Folder] before their names. What
// begins with a dot or an underscore, and folders of tests, are left out.
func Files() (map[string][]byte, error) {
	found := make(map[string][]byte)
	err := fs.WalkDir(files, Folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "tests" || entry.Name() == "node_modules" || entry.Name() == "vendor"):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		content, err := files.ReadFile(name)
		found[strings.TrimPrefix(name, Folder+"/")] = content
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the plugin's files: %w", err)
	}
	return found, nil
}

var versionLine = regexp.MustCompile(`(?m)^ \* Version:\s+(\S+)$`)

// Version returns the plugin's version.
func Version() (string, error) {
	main, err := files.ReadFile(path.Join(Folder, Folder+".php"))
	if err != nil {
		return "", fmt.Errorf("reading the plugin's version: %w", err)
	}
	match := versionLine.FindSubmatch(main)
	if match == nil {
		return "", fmt.Errorf("reading the plugin's version: %s.php has no line Version", Folder)
	}
	return string(match[1]), nil
}

// WriteZip writes the plugin as WordPress takes it under Plugins » Add New »
// Upload Plugin. The same files make the same bytes, whenever and wherever.
func WriteZip(w io.Writer) error {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	content, err := Files()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		// The earliest time that a zip can hold: files have none of their own here.
		header := &zip.FileHeader{Name: path.Join(Folder, name), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(0o644)
		file, err := archive.CreateHeader(header)
		if err == nil {
			_, err = file.Write(content[name])
		}
		if err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("packing the plugin: %w", err)
	}
	if _, err := w.Write(buffer.Bytes()); err != nil {
		return fmt.Errorf("writing the plugin's zip: %w", err)
	}
	return nil
}
