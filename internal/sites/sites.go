// Package sites knows which sites an installation has and what their settings
// are.
//
// The folder SPILLWAY_SITES holds a file NAME.env for each site, with the site's
// own settings as NAME=value lines. A secret may stand in a file of its own: the
// setting NAME_FILE names it, by a path that may be relative to the folder, or it
// lies in the folder NAME beside the site's file and has the setting's name. So
// shop/SPILLWAY_CRM_TOKEN holds a setting of shop.env. Other files are left alone.
// Without the folder there is one site, [contact.DefaultSite], whose settings are
// the installation's own.
//
// It guarantees that sites which were read without an error have passed every
// check that needs no network, that no access key is on two of them, and that an
// error lists every wrong line of every file at once and shows no secret.
package sites

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"spillway/internal/config"
	"spillway/internal/contact"
)

const (
	suffix = ".env"
	prefix = "SPILLWAY_"
)

// nameOf matches site names, which become part of Redis keys, metrics and
// addresses.
var nameOf = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)

// ValidName reports whether a site may have that name.
func ValidName(name string) bool { return nameOf.MatchString(name) }

// Read returns the settings of every site, sorted by name: those of the
// installation with the site's own. The error is a [*config.Invalid].
func Read(installation config.Config, role config.Role) ([]config.Config, error) {
	if installation.SitesFolder == "" {
		return []config.Config{installation}, nil
	}
	names, problems := list(installation.SitesFolder)
	all := make([]config.Config, 0, len(names))
	for _, name := range names {
		environ, err := environ(installation.SitesFolder, name)
		if err == nil {
			var site config.Config
			if site, err = installation.WithSite(role, name, environ); err == nil {
				all = append(all, site)
				continue
			}
		}
		var invalid *config.Invalid
		if !errors.As(err, &invalid) {
			invalid = &config.Invalid{Problems: []string{err.Error()}}
		}
		for _, problem := range invalid.Problems {
			problems = append(problems, name+suffix+": "+problem)
		}
	}
	problems = append(problems, sharedKeys(all)...)
	problems = append(problems, shareAccounts(all)...)
	if len(problems) > 0 {
		return nil, &config.Invalid{Problems: problems}
	}
	return all, nil
}

// Find returns the site of that name. The error lists the names there are.
func Find(all []config.Config, name string) (config.Config, error) {
	var names []string
	for _, site := range all {
		if site.Name == name {
			return site, nil
		}
		names = append(names, site.Name)
	}
	return config.Config{}, fmt.Errorf("there is no site %q, use one of: %s", name, strings.Join(names, ", "))
}

// Names returns the names of the sites that have a file in a folder, whatever is in
// it. The error says that the folder could not be read, or holds no site.
func Names(folder string) ([]string, error) {
	names, problems := list(folder)
	if len(names) == 0 {
		return nil, &config.Invalid{Problems: problems}
	}
	return names, nil
}

// Files returns the paths of all files with settings of sites. Somebody who
// watches them notices each site that comes, changes or goes.
func Files(folder string) []string {
	names, misnamed, _ := entries(folder)
	var paths []string
	for _, name := range misnamed { // which somebody should hear of when it comes
		paths = append(paths, filepath.Join(folder, name+suffix))
	}
	for _, name := range names {
		paths = append(paths, filepath.Join(folder, name+suffix))
		environ, err := environ(folder, name)
		if err != nil {
			continue
		}
		for _, pair := range environ {
			if setting, path, _ := strings.Cut(pair, "="); strings.HasSuffix(setting, "_FILE") && path != "" {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// list returns the names of the sites.
func list(folder string) (names, problems []string) {
	names, misnamed, err := entries(folder)
	if err != nil {
		return nil, []string{fmt.Sprintf("SPILLWAY_SITES %q: the folder cannot be read, check its owner and mode", folder)}
	}
	for _, name := range misnamed {
		problems = append(problems, fmt.Sprintf("%q: name the file with up to 40 small letters, digits and hyphens, such as shop.env", name+suffix))
	}
	if len(names) == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Sprintf("SPILLWAY_SITES %q: holds no site, write the settings of one into shop.env there", folder))
	}
	return names, problems
}

// entries returns the names of the files of sites, and those that no site may have.
func entries(folder string) (names, misnamed []string, err error) {
	files, err := os.ReadDir(folder)
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), suffix)
		switch {
		case !ok || strings.HasPrefix(name, "."): // Kubernetes keeps its own there, and editors theirs
		case !nameOf.MatchString(name):
			misnamed = append(misnamed, name)
		default:
			names = append(names, name)
		}
	}
	return names, misnamed, err
}

// environ returns a site's settings as an environment has them.
func environ(folder, name string) ([]string, error) {
	pairs, err := config.WithEnvFile(nil, filepath.Join(folder, name+suffix))
	if err != nil {
		return nil, err
	}
	for i, pair := range pairs {
		if setting, path, _ := strings.Cut(pair, "="); strings.HasSuffix(setting, "_FILE") && path != "" && !filepath.IsAbs(path) {
			pairs[i] = setting + "=" + filepath.Join(folder, path)
		}
	}
	entries, err := os.ReadDir(filepath.Join(folder, name))
	if err != nil { // there need not be one
		return pairs, nil //nolint:nilerr // a setting that is missing is reported by its name
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			pairs = append(pairs, entry.Name()+"_FILE="+filepath.Join(folder, name, entry.Name()))
		}
	}
	return pairs, nil
}

// sharedKeys finds access keys that would not tell for which site a webhook is.
func sharedKeys(all []config.Config) (problems []string) {
	holder := make(map[string]string)
	for _, site := range all {
		for i, key := range site.AccessKeys {
			if other, taken := holder[key]; taken {
				problems = append(problems, fmt.Sprintf(
					"%s%s: SPILLWAY_ACCESS_KEYS: key %d is also a key of %s%s, and a key tells for which site a webhook is: give each site keys of its own",
					site.Name, suffix, i+1, other, suffix))
				continue
			}
			holder[key] = site.Name
		}
	}
	return problems
}

// shareAccounts finds out which sites use the same CRM account: an address is
// one, and its calls are counted together, at the lowest rate that one of its
// sites sets. Sites that also have the same OAuth client share its tokens, since
// each renewal makes the tokens before it void. Account and tokens of
// [contact.DefaultSite] have no name, as before there were several sites.
func shareAccounts(all []config.Config) (problems []string) {
	rates := make(map[string]float64)
	owner := make(map[string]config.Config) // of OAuth tokens
	account := func(site config.Config) string { return strings.ToLower(site.CRM.URL) }
	client := func(site config.Config) string { return account(site) + "\n" + site.CRM.ClientID }
	var first config.Config
	for _, site := range all {
		if rate := rates[account(site)]; rate == 0 || site.CRM.Rate < rate {
			rates[account(site)] = site.CRM.Rate
		}
		if site.Name == contact.DefaultSite {
			first = site
		}
		if !site.CRM.OAuth() {
			continue
		}
		other, shared := owner[client(site)]
		if shared && (other.CRM.RefreshToken != site.CRM.RefreshToken || other.CRM.ClientSecret != site.CRM.ClientSecret) {
			problems = append(problems, fmt.Sprintf(
				"%s%s: SPILLWAY_CRM_REFRESH_TOKEN: has the OAuth client of %s%s, but another secret or refresh token: write the same into both, or use another client",
				site.Name, suffix, other.Name, suffix))
			continue
		}
		owner[client(site)] = site
	}
	for i := range all {
		crm := &all[i].CRM
		crm.Rate = rates[account(all[i])]
		if first.Name == "" || account(all[i]) != account(first) {
			crm.Account = digest(account(all[i]))
		}
		if first.Name == "" || client(all[i]) != client(first) {
			crm.Tokens = digest(client(all[i]))
		}
	}
	return problems
}

// digest is a name for Redis that shows nothing of what it stands for.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// Equal reports that a site's own settings are the same in two readings.
func Equal(one, other config.Config) bool { return reflect.DeepEqual(one.OfSite, other.OfSite) }
