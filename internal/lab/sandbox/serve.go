package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Options describe a CRM and a site that [Serve] is to run.
type Options struct {
	CRM  CRMOptions
	Site SiteOptions
	// CRMAddr and SiteAddr are where they listen; empty: 127.0.0.1 and a free port.
	CRMAddr, SiteAddr string
}

// Running is a CRM and a site that answer.
type Running struct {
	CRM             *CRM
	Site            *Site
	CRMURL, SiteURL string // without a slash at the end

	servers []*http.Server
	ended   chan error // one of each server
}

// Serve starts a CRM and a site and returns once both listen. Close ends them.
func Serve(options Options) (*Running, error) {
	r := &Running{CRM: NewCRM(options.CRM), Site: NewSite(options.Site), ended: make(chan error, 2)}
	crm, err := listen("CRM", options.CRMAddr)
	if err != nil {
		return nil, err
	}
	site, err := listen("site", options.SiteAddr)
	if err != nil {
		_ = crm.Close()
		return nil, err
	}
	r.CRMURL, r.SiteURL = address(crm), address(site)
	r.Site.SetURL(r.SiteURL)
	r.serve(crm, r.CRM)
	r.serve(site, r.Site)
	return r, nil
}

func listen(what, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox's %s: %w", what, err)
	}
	return listener, nil
}

// address is where a listener is reached from this machine.
func address(listener net.Listener) string {
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "http://" + listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func (r *Running) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	r.servers = append(r.servers, server)
	go func() { r.ended <- server.Serve(listener) }()
}

// Close ends both, and waits until ctx ends for calls under way; then it cuts
// them off.
func (r *Running) Close(ctx context.Context) error {
	r.CRM.Close()
	r.Site.Close()
	var failures []error
	for _, server := range r.servers {
		if err := server.Shutdown(ctx); err != nil {
			failures = append(failures, fmt.Errorf("ending the sandbox: %w", err), server.Close())
		}
	}
	for range r.servers {
		if err := <-r.ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			failures = append(failures, fmt.Errorf("serving the sandbox: %w", err))
		}
	}
	r.servers = nil
	return errors.Join(failures...)
}
