package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// The limits of a server that answers small requests of few clients.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 75 * time.Second
	headerBytes   = 16 << 10
	stopTimeout   = 10 * time.Second
)

// Serve answers requests to addr with h until ctx ends, then takes no more,
// gives those under way ten seconds, and returns nil. The error is that of an
// address that cannot be listened on, or of a server that stopped by itself.
func Serve(ctx context.Context, addr string, h http.Handler, log zerolog.Logger) error {
	listener, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	return ServeListener(ctx, listener, h, log)
}

// Listen listens on addr; its error says on which.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", addr, withoutAddress(err))
	}
	return listener, nil
}

// ServeListener is [Serve] on a listener, which it closes.
func ServeListener(ctx context.Context, listener net.Listener, h http.Handler, log zerolog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          stdlog.New(errorLog{log}, "", 0),
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	log.Debug().Stringer("address", listener.Addr()).Msg("listening")

	select {
	case err := <-stopped:
		return fmt.Errorf("serving %s: %w", listener.Addr(), withoutAddress(err))
	case <-ctx.Done():
	}
	// ctx has ended; those under way get time of their own.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		log.Warn().Stringer("address", listener.Addr()).Msg("requests still under way are cut off")
		_ = server.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", listener.Addr(), withoutAddress(err))
	}
	return nil
}

// withoutAddress takes off net's wrapping, which repeats it.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// errorLog receives what net/http has to say. Of a panic it keeps neither the
// value nor the stack's arguments, which may hold what was being handled.
type errorLog struct{ log zerolog.Logger }

func (l errorLog) Write(line []byte) (int, error) {
	first, _, _ := bytes.Cut(line, []byte("\n"))
	if bytes.HasPrefix(first, []byte("http: panic serving")) {
		l.log.Error().Msg("a request handler panicked")
	} else {
		l.log.Debug().Bytes("error", first).Msg("connection failed")
	}
	return len(line), nil
}
