package assembly

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"spillway/internal/admin"
	"spillway/internal/admin/addresses"
	"spillway/internal/admin/roster"
	"spillway/internal/config"
	"spillway/internal/observe"
	"spillway/internal/pending/history"
	"spillway/internal/sites/gone"
	"spillway/internal/throttle"
)

// siteAdmin returns what the admin address of an ingest process shows of a site.
func siteAdmin(rdb redis.UniversalClient, settings config.Config, connecting admin.Connector, left *gone.Sites, health http.Handler, log zerolog.Logger) admin.Options {
	options := admin.Options{
		Contacts: newContacts(rdb, settings, nil), Timelines: history.New(rdb, settings.Name, settings.Queues), Systems: Systems(rdb, settings), Redis: rdb,
		Password: settings.AdminPassword, SitePassword: settings.SitePassword,
		Creations: throttle.NewCreations(rdb, settings.Name, settings.CreationLimit),
		Connector: connecting,
		Health:    health, Site: settings.Name, CRMURL: settings.CRM.URL, SiteURL: settings.Site.URL,
		Settings: shown(settings), MonitorWritable: settings.MonitorWritable, Gone: left, Log: log,
	}
	if settings.Mode != config.Connector {
		options.Mode = string(settings.Mode)
	}
	if len(settings.SearchKey) > 0 {
		options.Addresses = addresses.New(rdb, settings.SearchKey)
	}
	return options
}

// wholeAdmin returns what it shows of the whole installation.
func wholeAdmin(rdb redis.UniversalClient, settings config.Config, connecting admin.Connector, left *gone.Sites, health http.Handler, log zerolog.Logger) admin.Options {
	return admin.Options{
		Redis: rdb, Password: settings.AdminPassword, Connector: connecting, Health: health, Settings: shown(settings),
		MonitorWritable: settings.MonitorWritable, Gone: left, Log: log,
	}
}

// shown are the settings as the dashboard shows them.
func shown(settings config.Config) []roster.Setting {
	var list []roster.Setting
	for _, setting := range settings.Settings() {
		list = append(list, roster.Setting{Name: setting.Name, Value: setting.Value})
	}
	return list
}

// announce keeps this process on the list of replicas until ctx ends.
func announce(ctx context.Context, rdb redis.UniversalClient, role string, settings config.Config, underWay func() int, log zerolog.Logger) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	replica := roster.Replica{
		ID: role + ":" + rand.Text()[:10], Role: role, Host: host, PID: os.Getpid(), Version: observe.Version(), Settings: shown(settings),
	}
	if role == roster.Worker {
		replica.Concurrency = settings.WorkerConcurrency
	}
	roster.New(rdb).Announce(ctx, replica, underWay, seldom(log, "the list of replicas misses this one"))
}

// seldom logs what goes wrong again and again: a line per ten seconds.
func seldom(log zerolog.Logger, message string) func(error) {
	log = log.Sample(&zerolog.BurstSampler{Burst: 1, Period: 10 * time.Second})
	return func(err error) { log.Warn().Err(err).Msg(message) }
}
