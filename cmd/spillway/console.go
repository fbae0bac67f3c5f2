package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/operate/localrun"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/redisconn"
	"spillway/internal/sites"
)

// console is what a command has of the world: where it prints, what is typed
// in, and what the environment says.
type console struct {
	out, err io.Writer
	in       io.Reader
	environ  []string

	installed string // folder of the services' settings
	data      string // folder of the services' data
}

func (c *console) say(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// counted says how many of something there are: "1 contact", "2 contacts".
func counted[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// json prints a value for programs.
func (c *console) json(value any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// colours says whether escape sequences would be understood.
func (c *console) colours() bool {
	file, ok := c.out.(*os.File)
	for _, pair := range c.environ {
		if strings.HasPrefix(pair, "NO_COLOR=") && pair != "NO_COLOR=" {
			return false
		}
	}
	return ok && term.IsTerminal(int(file.Fd()))
}

// jsonFlag is on every command that prints data.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// envFlag is on every command that reads settings.
type envFlag struct {
	EnvFile string `name:"env-file" placeholder:"PATH" help:"Settings as NAME=value lines (default .env, or else /etc/spillway/env, if there is one)."`
}

// siteFlag is on every command that is about the contacts of a site.
type siteFlag struct {
	Site string `name:"site" placeholder:"NAME" help:"The site, where an installation has several."`
}

// one returns the site that is meant.
func (f siteFlag) one(all []config.Config) (config.Config, error) {
	if f.Site == "" && len(all) > 1 {
		var names []string
		for _, site := range all {
			names = append(names, site.Name)
		}
		return config.Config{}, usageError("there are several sites, say which one with --site: " + strings.Join(names, ", "))
	}
	chosen, err := f.some(all)
	if err != nil {
		return config.Config{}, err
	}
	return chosen[0], nil
}

// some returns the site that is meant, or all.
func (f siteFlag) some(all []config.Config) ([]config.Config, error) {
	if f.Site == "" {
		return all, nil
	}
	site, err := sites.Find(all, f.Site)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return []config.Config{site}, nil
}

// redisFlags are on the commands that need no more than Redis.
type redisFlags struct {
	siteFlag
	envFlag
	RedisURL string `name:"redis-url" placeholder:"URL" help:"Redis, as SPILLWAY_REDIS_URL. One with a password belongs in the environment."`
}

// settings reads an operator's settings, one for each site. Where none names a
// Redis, those of a `spillway run` in this folder are added, or else those of the
// services that are installed on this machine.
func (c *console) settings(env envFlag, flags config.Flags) ([]config.Config, error) {
	environ, err := c.withEnvFile(env)
	if err != nil {
		return nil, err
	}
	if flags.RedisURL == "" && !namesRedis(environ) {
		if path, ok := localrun.Running(localrun.DefaultFolder); ok {
			if environ, err = config.WithEnvFile(withoutRedis(environ), path); err != nil {
				return nil, err
			}
		} else if env.EnvFile == "" {
			if environ, err = withInstalled(environ, c.installed); err != nil {
				return nil, err
			}
		}
	}
	settings, err := flags.Config(config.Operator, environ)
	if err != nil {
		return nil, err
	}
	return sites.Read(settings, config.Operator)
}

func (c *console) withEnvFile(env envFlag) ([]string, error) {
	path := env.EnvFile
	if path == "" {
		path = ".env"
	}
	environ, err := config.WithEnvFile(c.environ, path)
	if errors.Is(err, fs.ErrNotExist) && env.EnvFile == "" {
		return c.environ, nil
	}
	return environ, err
}

const redisVariable = "SPILLWAY_REDIS_URL"

// namesRedis reports a Redis that a command can reach; "embedded" is none.
func namesRedis(environ []string) bool {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if (name == redisVariable && value != "embedded" || name == redisVariable+"_FILE") && value != "" {
			return true
		}
	}
	return false
}

func withoutRedis(environ []string) []string {
	var kept []string
	for _, pair := range environ {
		if name, _, _ := strings.Cut(pair, "="); name != redisVariable {
			kept = append(kept, pair)
		}
	}
	return kept
}

// open connects to the Redis of the settings.
func open(settings config.Config) (redis.UniversalClient, error) {
	if settings.RedisURL == "embedded" {
		return nil, usageError("SPILLWAY_REDIS_URL is embedded, which other processes reach only while `spillway run` is under way in this folder")
	}
	rdb, err := redisconn.Open(settings.RedisURL, redisconn.ForIngest, redisconn.WithRoots(settings.Roots))
	if err != nil {
		return nil, fmt.Errorf("SPILLWAY_REDIS_URL: %w", err)
	}
	return rdb, nil
}

// oneSite reads the settings of the site that is meant and connects to its Redis.
// The caller closes rdb.
func (c *console) oneSite(env envFlag, flags config.Flags, site siteFlag) (settings config.Config, rdb redis.UniversalClient, err error) {
	all, err := c.settings(env, flags)
	if err != nil {
		return config.Config{}, nil, err
	}
	if settings, err = site.one(all); err != nil {
		return config.Config{}, nil, err
	}
	rdb, err = open(settings)
	return settings, rdb, err
}

// installation is what the settings of a site lead to.
type installation struct {
	site      string
	rdb       redis.UniversalClient
	contacts  *pending.Contacts
	timelines *history.Timelines
}

func (i *installation) Close() { _ = i.rdb.Close() }

// own makes contacts those of the site.
func (i *installation) own(refs ...contact.Ref) []contact.Ref {
	for at := range refs {
		refs[at].Site = i.site
	}
	return refs
}

// installation connects to Redis for the site that is meant. The caller closes
// it.
func (c *console) installation(flags redisFlags) (*installation, error) {
	settings, rdb, err := c.oneSite(flags.envFlag, config.Flags{RedisURL: flags.RedisURL}, flags.siteFlag)
	if err != nil {
		return nil, err
	}
	return installed(settings, rdb), nil
}

// each connects to Redis for the site that is meant, or for one after the other.
func (c *console) each(flags redisFlags, act func(here *installation, several bool) error) error {
	all, err := c.settings(flags.envFlag, config.Flags{RedisURL: flags.RedisURL})
	if err != nil {
		return err
	}
	chosen, err := flags.some(all)
	if err != nil {
		return err
	}
	for _, settings := range chosen {
		rdb, err := open(settings)
		if err != nil {
			return err
		}
		here := installed(settings, rdb)
		err = act(here, len(chosen) > 1)
		here.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func installed(settings config.Config, rdb redis.UniversalClient) *installation {
	return &installation{settings.Name, rdb, assembly.Contacts(rdb, settings), history.New(rdb, settings.Name, settings.Queues)}
}
