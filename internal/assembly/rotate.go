package assembly

import (
	"context"
	"os"

	"github.com/rs/zerolog"

	"spillway/internal/assembly/rotation"
	"spillway/internal/config"
	"spillway/internal/ingest"
	"spillway/internal/sites"
)

// siteFiles watches the files of the sites. After each change that passes the
// checks it hands all sites to apply.
func siteFiles(settings config.Config, role config.Role, apply func([]config.Config) error) rotation.Item {
	if settings.SitesFolder == "" {
		return ownKeys(settings, apply)
	}
	return rotation.Item{
		Name: "SPILLWAY_SITES", Files: func() []string { return sites.Files(settings.SitesFolder) },
		Load: func() error {
			all, err := sites.Read(settings, role)
			if err != nil {
				return err
			}
			return apply(all)
		},
	}
}

// ownKeys keeps the access keys of an installation's only site. Its other
// settings stand in the environment.
func ownKeys(settings config.Config, apply func([]config.Config) error) rotation.Item {
	item := rotation.Item{Name: "SPILLWAY_ACCESS_KEYS", Load: func() error {
		keys, err := settings.Files.ReadAccessKeys()
		if err != nil {
			return err
		}
		next := settings
		next.AccessKeys = keys
		return apply([]config.Config{next})
	}}
	if file := settings.Files.AccessKeys; file != "" {
		item.Files = func() []string { return []string{file} }
	}
	return item
}

// certificateFiles keeps the server's certificate.
func certificateFiles(server *ingest.Server, settings config.Config) rotation.Item {
	files := settings.Files
	item := rotation.Item{Name: "SPILLWAY_TLS_CERT", Load: func() error {
		certificate, err := files.ReadCertificate()
		if err == nil {
			server.SetCertificate(certificate)
		}
		return err
	}}
	if files.TLSCert != "" && files.TLSKey != "" {
		item.Files = func() []string { return []string{files.TLSCert, files.TLSKey} }
	}
	return item
}

// watch applies changes of the files until ctx ends. SIGHUP makes it read all
// files at once.
func watch(ctx context.Context, hangUps <-chan os.Signal, log zerolog.Logger, items ...rotation.Item) {
	rotation.Watch(ctx, rotation.Options{Items: items, Signal: hangUps, Log: log})
}
