package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"

	"spillway/deploy/wordpress"
	"spillway/internal/config"
	"spillway/internal/observe"
	"spillway/internal/operate/completion"
)

type keysCommand struct {
	jsonFlag
}

// Run is called by kong.
func (k *keysCommand) Run(c *console) error {
	var access [16]byte
	var secret [32]byte
	_, _ = rand.Read(access[:]) // never fails, see crypto/rand
	_, _ = rand.Read(secret[:])
	accessKey, secretKey := hex.EncodeToString(access[:]), base64.StdEncoding.EncodeToString(secret[:])
	if k.JSON {
		return c.json(map[string]string{"access_key": accessKey, "secret_key": secretKey})
	}
	c.say("SPILLWAY_ACCESS_KEYS=%s\nSPILLWAY_SECRET_KEY=%s\n", accessKey, secretKey)
	return nil
}

type envCommand struct {
	jsonFlag
}

// Run is called by kong.
func (e *envCommand) Run(c *console) error {
	if e.JSON {
		return c.json(map[string]any{"settings": config.Table()})
	}
	c.say("%s", config.Example())
	return nil
}

type pluginCommand struct {
	Output string `name:"output" short:"o" default:"spillway-connector.zip" placeholder:"PATH" help:"Where to write it; - is the output (default spillway-connector.zip)."`
	jsonFlag
}

// Run is called by kong.
func (p *pluginCommand) Run(c *console) error {
	version, err := wordpress.Version()
	if err != nil {
		return err
	}
	var zip bytes.Buffer
	if err := wordpress.WriteZip(&zip); err != nil {
		return err
	}
	if p.Output == "-" {
		_, err := c.out.Write(zip.Bytes())
		return err
	}
	if err := os.WriteFile(p.Output, zip.Bytes(), 0o644); err != nil { //nolint:gosec // the plugin is no secret
		return fmt.Errorf("writing the plugin: %w", err)
	}
	digest := sha256.Sum256(zip.Bytes())
	if p.JSON {
		return c.json(map[string]any{"path": p.Output, "version": version, "bytes": zip.Len(), "sha256": hex.EncodeToString(digest[:])})
	}
	c.say("%s: connector %s, %d bytes. In WordPress: Plugins » Add New » Upload Plugin, then Activate.\n", p.Output, version, zip.Len())
	return nil
}

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Run is called by kong.
func (s *completionCommand) Run(ctx context.Context, c *console) error {
	parser, _, err := newParser(ctx, c)
	if err != nil {
		return err
	}
	script, err := completion.Script(s.Shell, parser.Model)
	if err != nil {
		return err
	}
	c.say("%s", script)
	return nil
}

type versionCommand struct {
	jsonFlag
}

// Run is called by kong.
func (v *versionCommand) Run(c *console) error {
	plugin, err := wordpress.Version()
	if err != nil {
		return err
	}
	if v.JSON {
		return c.json(map[string]any{
			"version": observe.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			"plugin": plugin, "protocol": wordpress.Protocol,
		})
	}
	c.say("spillway %s (%s, %s/%s), connector %s\n", observe.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, plugin)
	return nil
}
