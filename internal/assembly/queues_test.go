package assembly

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

func TestAProgramThatStartedWithoutRedisChecksItsQueuesOnceRedisIsThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	contacts := pending.New(server.Client(), pending.Options{})
	require.NoError(t, contacts.Adopt(t.Context()))
	ref := contact.Ref{Site: contact.DefaultSite, ID: "7"}
	_, err := contacts.Submit(t.Context(), ref, contact.Intent{Action: contact.Update}, contact.Receipt{})
	require.NoError(t, err)
	server.Kill()

	environ := []string{
		"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_QUEUES=2", "SPILLWAY_ACCESS_KEYS=a-long-access-key",
		"SPILLWAY_CRM_URL=http://127.0.0.1:1", "SPILLWAY_CRM_TOKEN=a-token",
		"SPILLWAY_SITE_URL=http://127.0.0.1:1", "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=an app password",
		"SPILLWAY_INGEST_ADDR=127.0.0.1:0", "SPILLWAY_ADMIN_ADDR=127.0.0.1:0", "SPILLWAY_WORKER_ADDR=127.0.0.1:0",
	}
	logged := &logtest.Log{}
	ended := map[string]chan error{}
	for name, program := range map[string]struct {
		role config.Role
		run  Program
	}{
		"ingest": {config.Ingest, Ingest}, "worker": {config.Worker, Worker},
	} {
		settings, err := config.Load(program.role, nil, environ)
		require.NoError(t, err)
		done := make(chan error, 1)
		ended[name] = done
		go func() { done <- program.run(t.Context(), settings, zerolog.New(logged)) }()
	}
	polltest.Until(t, 30*time.Second, func() bool {
		return len(logged.Named("the number of queues was not checked; it is once Redis answers")) == len(ended)
	}, "both have started without Redis")
	server.Restart()
	for name, done := range ended {
		var other *pending.OtherQueues
		select {
		case err := <-done:
			require.ErrorAs(t, err, &other, name)
		case <-time.After(2 * time.Minute):
			require.Fail(t, name+" goes on with another number of queues", logged.String())
		}
	}
}
