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

// healthTimeout is shorter than the time-outs that container engines usually set.
const healthTimeout = 3 * time.Second

// healthCommand is the argument that makes a server program check another
// process of its kind and end: `ingest health`, with the flags that the other
// process was started with. Images without a shell have no other way to check.
const healthCommand = "health"

// health requests /healthz at the address that flags and environment set, and
// returns the exit code: 0 if the program is well; otherwise 1, with the reason
// on w. Ingest answers at its admin address, which never uses TLS.
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
