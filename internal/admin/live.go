package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
)

const (
	eventsPath = "/events"
	// tickEvery is how often what is looked at is read.
	tickEvery = time.Second
	// tickTimeout bounds one reading.
	tickTimeout = 5 * time.Second
	// streamLife ends a stream; the browser comes back and proves its session.
	streamLife = 10 * time.Minute
	// heartbeat finds out that a browser has gone.
	heartbeat = 15 * time.Second
	// writeLimit bounds one write to a browser that takes nothing.
	writeLimit = 10 * time.Second
	// The most streams and different views of one process.
	maxStreams, maxViews = 200, 50
)

// fragment is a part of a page: the element's id and what belongs into it.
type fragment struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// reading renders what a page shows. tick counts from zero, so that parts that
// change slowly need not be read each time.
type reading func(ctx context.Context, tick int) ([]fragment, error)

// view is what one or more browsers look at.
type view struct {
	read    reading
	tick    int
	shown   map[string]string // HTML by id, as it was last sent
	order   []string          // of the ids
	streams map[chan fragment]struct{}
}

// live reads each view once, however many browsers look at it.
type live struct {
	mu      sync.Mutex
	views   map[string]*view
	streams int
	stopped bool
}

func newLive() *live { return &live{views: make(map[string]*view)} }

// join returns a stream of a view, which begins with all that it shows. It is
// closed when the process stops or the stream is not read. ok is false when
// there are too many.
func (l *live) join(name string, read reading) (stream chan fragment, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.views[name]
	if l.stopped || l.streams >= maxStreams || (v == nil && len(l.views) >= maxViews) {
		return nil, false
	}
	if v == nil {
		v = &view{read: read, shown: make(map[string]string), streams: make(map[chan fragment]struct{})}
		l.views[name] = v
	}
	stream = make(chan fragment, 64)
	for _, id := range v.order {
		stream <- fragment{id, v.shown[id]}
	}
	v.streams[stream] = struct{}{}
	l.streams++
	return stream, true
}

func (l *live) leave(name string, stream chan fragment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.views[name]; v != nil {
		l.drop(name, v, stream)
	}
}

func (l *live) drop(name string, v *view, stream chan fragment) {
	if _, there := v.streams[stream]; !there {
		return
	}
	delete(v.streams, stream)
	close(stream)
	l.streams--
	if len(v.streams) == 0 {
		delete(l.views, name)
	}
}

func (l *live) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for name, v := range l.views {
		for stream := range v.streams {
			l.drop(name, v, stream)
		}
	}
}

// due returns the views that somebody looks at.
func (l *live) due() map[string]*view {
	l.mu.Lock()
	defer l.mu.Unlock()
	views := make(map[string]*view, len(l.views))
	for name, v := range l.views {
		views[name] = v
	}
	return views
}

// send tells a view's browsers what changed.
func (l *live) send(name string, v *view, fragments []fragment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range fragments {
		if before, there := v.shown[f.ID]; there && before == f.HTML {
			continue
		} else if !there {
			v.order = append(v.order, f.ID)
		}
		v.shown[f.ID] = f.HTML
		for stream := range v.streams {
			select {
			case stream <- f:
			default: // it takes nothing; its browser comes back
				l.drop(name, v, stream)
			}
		}
	}
}

// Run keeps the pages that are looked at up to date until ctx ends or another
// dashboard takes this one's place, and then ends their streams.
func (d *Dashboard) Run(ctx context.Context) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			d.live.stop()
			return nil
		case <-d.retired:
			d.live.stop()
			return nil
		case <-ticker.C:
		}
		for name, v := range d.live.due() {
			readCtx, cancel := context.WithTimeout(ctx, tickTimeout)
			fragments, err := v.read(readCtx, v.tick)
			cancel()
			problem := ""
			if err != nil && ctx.Err() == nil {
				d.complaints.Warn().Err(err).Msg("a page could not be brought up to date")
				problem = "Redis does not answer: what you see is old."
			}
			v.tick++
			d.live.send(name, v, append(fragments, fragment{"live-problem", problem}))
		}
	}
}

// events streams what changes on a page.
func (d *Dashboard) events(c echo.Context) error {
	name, read, err := d.viewOf(c)
	if err != nil {
		return err
	}
	stream, ok := d.live.join(name, read)
	if !ok {
		c.Response().Header().Set(echo.HeaderRetryAfter, "30")
		return refuse(http.StatusServiceUnavailable, "too_many_streams", "too many pages are open; this one does not update itself")
	}
	defer d.live.leave(name, stream)
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	c.Response().WriteHeader(http.StatusOK)
	controller := http.NewResponseController(c.Response())
	// The server's limits are for short requests.
	_ = controller.SetReadDeadline(time.Time{})
	write := func(text string) error {
		_ = controller.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := c.Response().Write([]byte(text)); err != nil {
			return err
		}
		return controller.Flush()
	}
	if write("retry: 2000\n\n") != nil {
		return nil
	}
	end, beat := time.NewTimer(streamLife), time.NewTicker(heartbeat)
	defer end.Stop()
	defer beat.Stop()
	for {
		var err error
		select {
		case <-c.Request().Context().Done():
			return nil
		case <-end.C:
			return nil
		case <-beat.C:
			err = write(": still here\n\n")
		case f, open := <-stream:
			if !open {
				return nil
			}
			var text []byte
			if text, err = json.Marshal(f); err == nil {
				err = write("data: " + string(text) + "\n\n")
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the browser has gone
		}
	}
}

// viewOf reads which page the stream is for.
func (d *Dashboard) viewOf(c echo.Context) (string, reading, error) {
	switch page, argument, _ := strings.Cut(c.QueryParam("view"), ":"); page {
	case "now":
		chosen := rangeOf(argument)
		return "now:" + chosen.Name, func(ctx context.Context, tick int) ([]fragment, error) {
			return d.nowFragments(ctx, chosen, tick)
		}, nil
	case "contact":
		id, err := contact.ParseID(argument)
		if err != nil {
			return "", nil, refuse(http.StatusBadRequest, "invalid_contact_id", err.Error())
		}
		ref := contact.Ref{Site: d.Site, ID: id}
		return "contact:" + id, func(ctx context.Context, _ int) ([]fragment, error) {
			return d.contactFragments(ctx, ref)
		}, nil
	default:
		return "", nil, refuse(http.StatusBadRequest, "unknown_view", "view is one of now:RANGE, contact:ID")
	}
}

// fragments renders parts of a page, each a template that is named as the
// element it belongs into.
func (d *Dashboard) fragments(page string, data any, ids ...string) ([]fragment, error) {
	var fragments []fragment
	for id := range slices.Values(ids) {
		var text strings.Builder
		if err := d.pages[page].ExecuteTemplate(&text, id, data); err != nil {
			return nil, fmt.Errorf("rendering %s: %w", id, err)
		}
		fragments = append(fragments, fragment{id, text.String()})
	}
	return fragments, nil
}
