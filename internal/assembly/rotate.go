package assembly

import (
	"context"
	"os"

	"github.com/rs/zerolog"

	"spillway/internal/assembly/rotation"
	"spillway/internal/config"
	"spillway/internal/ingest"
	"spillway/internal/webhook"
)

// rotate keeps the server's access keys and its certificate as their files
// have them, until ctx ends. A hang-up reads them at once.
func rotate(ctx context.Context, server *ingest.Server, settings config.Config, hangUps <-chan os.Signal, log zerolog.Logger) {
	files := settings.Files
	items := []rotation.Item{{Name: "SPILLWAY_ACCESS_KEYS", Load: func() error {
		keys, err := files.ReadAccessKeys()
		if err != nil {
			return err
		}
		ring, err := webhook.NewKeyring(keys)
		if err == nil {
			server.SetKeys(ring)
		}
		return err
	}}}
	if files.AccessKeys != "" {
		items[0].Files = []string{files.AccessKeys}
	}
	if settings.Certificate != nil {
		certificate := rotation.Item{Name: "SPILLWAY_TLS_CERT", Load: func() error {
			certificate, err := files.ReadCertificate()
			if err == nil {
				server.SetCertificate(certificate)
			}
			return err
		}}
		if files.TLSCert != "" && files.TLSKey != "" {
			certificate.Files = []string{files.TLSCert, files.TLSKey}
		}
		items = append(items, certificate)
	}
	rotation.Watch(ctx, rotation.Options{Items: items, Signal: hangUps, Log: log})
}
