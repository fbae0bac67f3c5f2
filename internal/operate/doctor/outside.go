package doctor

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// clock is another clock than this machine's.
type clock struct {
	of      string
	ahead   time.Duration // of this machine's
	unsure  time.Duration
	matters time.Duration // from where on it is worth a warning
}

// noteClock takes the clock from an answer's Date, which has whole seconds.
func (e *examination) noteClock(of string, seen *answered) {
	if seen.date.IsZero() {
		return
	}
	middle := seen.sent.Add(seen.took / 2)
	// Half a second: a Date is cut off, not rounded.
	ahead := seen.date.Add(500 * time.Millisecond).Sub(middle)
	e.clocks = append(e.clocks, clock{of, ahead, 500*time.Millisecond + seen.took/2, 30 * time.Second})
}

// clock compares this machine's clock with those of the others.
func (e *examination) clock(ctx context.Context) {
	const check = "clocks"
	if e.rdb != nil {
		began := time.Now()
		if now, err := e.rdb.Time(ctx).Result(); err == nil {
			took := time.Since(began)
			// The queue's leases of 30 s go by the workers' clocks.
			e.clocks = append(e.clocks, clock{"Redis", now.Sub(began.Add(took / 2)), took / 2, 2 * time.Second})
		}
	}
	if len(e.clocks) == 0 {
		e.skip(check, "nothing answered with its time")
		return
	}
	var agree, differ []string
	worst := time.Duration(0)
	for _, c := range e.clocks {
		if c.ahead.Abs()-c.unsure <= c.matters {
			agree = append(agree, c.of)
			continue
		}
		direction := "ahead of"
		if c.ahead < 0 {
			direction = "behind"
		}
		differ = append(differ, c.of+"'s is "+c.ahead.Abs().Round(time.Second).String()+" "+direction+" this machine's")
		if c.of == "Redis" {
			worst = c.ahead.Abs()
		}
	}
	const remedy = "run NTP (timedatectl set-ntp true) on both machines; a certificate or a lease is judged by the clock of its reader"
	switch text := strings.Join(differ, "; "); {
	case worst > 10*time.Second:
		e.fail(check, remedy, "%s: the queue's leases of 30 s go by the machines' clocks", text)
	case len(differ) > 0:
		e.warn(check, remedy, "%s", text)
	default:
		e.ok(check, "this machine's agrees with that of: %s", strings.Join(agree, ", "))
	}
}

// webhooks asks the public address for wpf_action=test with each access key.
// The keys go in a header: in the address they would stand in a proxy's log.
func (e *examination) webhooks(ctx context.Context) {
	const check = "webhooks"
	address := e.settings.PublicURL
	switch {
	case address == "":
		e.skip(check, "the public address is not known: set SPILLWAY_PUBLIC_URL, or use --public-url")
		return
	case len(e.settings.AccessKeys) == 0:
		e.skip(check, "SPILLWAY_ACCESS_KEYS is missing")
		return
	}
	for i, key := range e.settings.AccessKeys {
		seen := e.newAnswered()
		header := http.Header{"X-Access-Key": {key}, "Accept": {"application/json"}}
		status, body, err := read(ctx, seen.client(), address+"/?wpf_action=test", header)
		var answer struct {
			Success bool `json:"success"`
			Error   struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		isJSON := json.Unmarshal(body, &answer) == nil
		switch {
		case err != nil:
			e.fail(check, "check that ingest runs, and that the name, the firewall and the proxy in front lead there", "%s does not answer", address)
			return
		case status == http.StatusOK && answer.Success:
			if i == 0 {
				e.certificate("webhooks certificate", seen.expiry)
			}
		case answer.Error.Code == "invalid_access_key":
			e.fail(check, "give ingest and this command the same SPILLWAY_ACCESS_KEYS; check that the proxy passes the header X-Access-Key on",
				"%s is Spillway, and refuses access key %d of %d", address, i+1, len(e.settings.AccessKeys))
			return
		case status >= 300 && status < 400:
			e.fail(check, "use the final address: the CRM's webhooks may not follow redirects", "%s redirects (status %d)", address, status)
			return
		case isJSON && answer.Error.Code != "":
			e.fail(check, "see ingest's log", "%s answers with status %d, %s", address, status, answer.Error.Code)
			return
		default:
			e.fail(check, "check that the name and the proxy lead to SPILLWAY_INGEST_ADDR; perhaps the site itself answers",
				"%s answers with status %d, and not as Spillway does", address, status)
			return
		}
	}
	e.ok(check, "%s answers wpf_action=test with each access key (%d)", address, len(e.settings.AccessKeys))
}
