package assembly

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"spillway/internal/config"
)

// healthTimeout is below the time-outs that container engines commonly set.
const healthTimeout = 3 * time.Second

// healthCommand is the argument with which a server asks another process of its
// own kind whether it is alive: `ingest health`, with the flags that the other
// was started with. Images without a shell have
// nothing else to ask with.
const healthCommand = "health"

// health asks for /healthz at the address that flags and environment set, as the
// asked program read them, and returns the exit code: 0 if it is well, 1
// otherwise, with the reason on w. Ingest is asked at its admin address, which
// never speaks TLS.
func health(role config.Role, args, environ []string, w io.Writer) int {
	name, addr, err := config.ListenAddr(role, args, environ)
	if err == nil {
		if err = askHealth(addr); err != nil {
			err = fmt.Errorf("%s %s: %w", name, addr, err)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(w, err)
		return 1
	}
	return 0
}

func askHealth(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // it listens on every address
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil) //nolint:gosec // the address is the operator's own setting
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answered status %d", response.StatusCode)
	}
	return nil
}
