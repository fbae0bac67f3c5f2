package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/redisconn"
)

// sitesRows measure what sites of one installation cost each other: a lone add of one
// while another has a burst, is away or is slow, and what sites cost on which nothing
// happens.
func sitesRows(ctx context.Context, s *stage) []Row {
	rows := s.neighbours(ctx)
	rows = append(rows, s.idleSites(ctx)...)
	return append(rows, s.manySites(ctx))
}

// neighbour is one site of an installation.
type neighbour struct {
	crm  *crm
	site *sandbox.Site
	file string
	key  string
}

// neighbourhood writes the file of a site on stand-ins.
func (s *stage) neighbourhood(folder, name string, contacts int, options sandbox.SiteOptions) *neighbour {
	n := &neighbour{
		crm: s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, contacts), file: filepath.Join(folder, name+".env"), key: "bench-key-of-" + name,
	}
	site, url := s.startSite(options)
	n.site = site
	user, password := site.Credentials()
	s.siteFile(n.file,
		"SPILLWAY_ACCESS_KEYS="+n.key, "SPILLWAY_CRM_URL="+n.crm.url, "SPILLWAY_CRM_TOKEN="+crmToken, "SPILLWAY_CRM_RATE=500",
		"SPILLWAY_SITE_URL="+url, "SPILLWAY_SITE_USER="+user, "SPILLWAY_SITE_APP_PASSWORD='"+password+"'",
		"SPILLWAY_RETURN_PASSWORD_FIELD="+passwordField, "SPILLWAY_CREATION_LIMIT=0")
	return n
}

func (s *stage) siteFile(path string, lines ...string) {
	require.NoError(s, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// burstOf is how many webhooks the busy site gets.
const burstOf = 50_000

// neighbours measure a lone add of one of four sites. What it takes on the idle
// installation is measured first, so drift of the machine is in the differences.
func (s *stage) neighbours(ctx context.Context) []Row {
	rounds, burst := pick(s, 50, 15), pick(s, burstOf, 10_000)
	const waiting = 500
	server := redistest.Start(s, everySecond()...)
	folder := s.TempDir()
	lone := s.neighbourhood(folder, "lone", 5*rounds, sandbox.SiteOptions{})
	busy := s.neighbourhood(folder, "busy", burst, sandbox.SiteOptions{})
	away := s.neighbourhood(folder, "away", waiting, sandbox.SiteOptions{})
	slow := s.neighbourhood(folder, "slow", waiting, sandbox.SiteOptions{StartCost: 20 * time.Second})
	change := map[string]string{"SPILLWAY_SITES": folder}
	_, webhooks, admin := s.ingest(ctx, server.URL(), with(change, "SPILLWAY_ACCESS_KEYS", ""))
	s.worker(ctx, target{redisURL: server.URL()}, with(change, "SPILLWAY_CRM_TOKEN", "", "SPILLWAY_CREATION_LIMIT", ""))

	id := 0
	add := func() float64 {
		var took []float64
		for range rounds {
			id++
			var answer struct{ Status, Outcome string }
			took = append(took, s.timed(func() {
				s.call(ctx, http.MethodGet, "http://"+webhooks+"/?wpf_action=add&wait=30&access_key="+lone.key+"&contact_id="+idOf(id), nil, nil, &answer)
			}))
			require.Equal(s, "synced created", answer.Status+" "+answer.Outcome)
		}
		return median(took)
	}
	fill := func(of *neighbour, count int) {
		result, err := sandbox.Burst(ctx, sandbox.BurstOptions{URL: "http://" + webhooks + "/", Key: of.key, Webhooks: count})
		require.NoError(s, err)
		require.Equal(s, count, result.Accepted, result.Problem)
	}
	row := func(what string, idle float64, note string) Row {
		took := add()
		return Row{
			What: "a lone add of one site while another " + what + ": longer than on the idle installation", Value: took - idle, Unit: "ms", Sense: AtMost, Bound: 2000,
			Note: fmt.Sprintf("%.0f ms, idle %.0f ms, medians of %d%s", took, idle, rounds, note),
		}
	}
	state := func(name string) (found siteState) {
		var list struct{ Sites []siteState }
		s.call(ctx, http.MethodGet, "http://"+admin+"/api/v1/sites", nil, nil, &list)
		for _, site := range list.Sites {
			if site.Name == name {
				found = site
			}
		}
		return found
	}

	add() // what a site of which nothing is known takes longer
	idle := add()
	require.NoError(s, away.site.GoDown())
	fill(away, waiting)
	s.eventually(ctx, 2*time.Minute, 20*time.Millisecond, "the breaker opens", func() bool { return state("away").State == "away" })
	rows := []Row{row("is away, its breaker open", idle, fmt.Sprintf("; %d of its contacts waited", waiting))}
	require.NoError(s, os.Remove(away.file))

	fill(slow, waiting)
	s.eventually(ctx, time.Minute, 20*time.Millisecond, "the slow site has passes under way", func() bool { return state("slow").Active > 0 })
	rows = append(rows, row("answers in 20 s", idle, fmt.Sprintf("; %d of its contacts waited", waiting)))
	require.NoError(s, os.Remove(slow.file))

	fill(busy, burst)
	one := row(fmt.Sprintf("has a burst of %d webhooks", burst), idle, "")
	left := state("busy").Pending
	require.Positive(s, left, "the burst was over before the lone adds were")
	one.Note += fmt.Sprintf("; %d contacts of the burst still waited at the end", left)
	return append(rows, one)
}

// siteState is what the admin API says of a site.
type siteState struct {
	Name, State     string
	Pending, Active int64
}

// with adds settings to some.
func with(settings map[string]string, pairs ...string) map[string]string {
	all := make(map[string]string)
	for name, value := range settings {
		all[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// quietSites writes the files of sites that nobody calls.
func (s *stage) quietSites(n int) (folder string) {
	folder = s.TempDir()
	for i := range n {
		name := fmt.Sprintf("site-%d", i+1)
		s.siteFile(filepath.Join(folder, name+".env"),
			"SPILLWAY_ACCESS_KEYS=bench-key-of-"+name, "SPILLWAY_CRM_URL=https://app."+name+".thepulsespot.example", "SPILLWAY_CRM_TOKEN="+crmToken,
			"SPILLWAY_SITE_URL=https://"+name+".example", "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=abcd")
	}
	return folder
}

// idleSites measure a worker that serves a hundred sites on which nothing happens.
func (s *stage) idleSites(ctx context.Context) []Row {
	const idle = 100
	span := pick(s, 30*time.Second, 10*time.Second)
	server := redistest.Start(s, everySecond()...)
	folder := s.quietSites(idle)
	p := s.worker(ctx, target{redisURL: server.URL()}, map[string]string{"SPILLWAY_SITES": folder, "SPILLWAY_CRM_TOKEN": "", "SPILLWAY_CREATION_LIMIT": ""})
	_, rdb := s.contacts(server.Addr)
	commands := func() float64 {
		info, err := redisconn.ReadInfo(ctx, rdb, "stats")
		require.NoError(s, err)
		return info.Number("total_commands_processed")
	}
	s.rest(ctx, 5*time.Second) // what the start takes
	began, before, used := time.Now(), commands(), cpu(p.pid())
	s.rest(ctx, span)
	took := time.Since(began).Seconds()
	rate, share := (commands()-before)/took, (cpu(p.pid())-used).Seconds()/took*100
	return []Row{
		{What: fmt.Sprintf("Redis commands a second of a worker with %d idle sites", idle), Value: rate, Unit: "/s", Sense: AtMost, Bound: 1000, Note: "those of scripts included"},
		{What: "processor time of that worker", Value: share, Unit: "% of a core", Sense: AtMost, Bound: 5, Note: fmt.Sprintf("over %.0f s; %.0f MB of memory", took, memoryOf(p.pid(), "VmRSS"))},
	}
}

// manySites measures how soon the programs serve a thousand sites.
func (s *stage) manySites(ctx context.Context) Row {
	const many = 1000
	server := redistest.Start(s, everySecond()...)
	folder := s.quietSites(many)
	// Each answers once it serves its sites.
	ingest := s.timed(func() {
		s.ingest(ctx, server.URL(), map[string]string{"SPILLWAY_SITES": folder, "SPILLWAY_ACCESS_KEYS": ""})
	}) / 1000
	worker := s.timed(func() {
		s.worker(ctx, target{redisURL: server.URL()}, map[string]string{"SPILLWAY_SITES": folder, "SPILLWAY_CRM_TOKEN": "", "SPILLWAY_CREATION_LIMIT": ""})
	}) / 1000
	return Row{
		What: fmt.Sprintf("%d sites: until ingest and a worker answer, the slower of them", many), Value: max(ingest, worker), Unit: "s", Sense: AtMost, Bound: 5,
		Note: fmt.Sprintf("ingest %.1f s, then the worker %.1f s", ingest, worker),
	}
}
