package bench

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

//go:embed php
var php embed.FS

// phpWorkers is how many requests the site bears at once: what WP Fusion was
// measured with.
const phpWorkers = 6

// siteFields is what Spillway and the baseline both store of a contact.
const siteFields = "user_email=email,first_name=first_name,last_name=last_name,billing_company=company,billing_city=address_1.city,billing_phone=phone"

// wordpress is a real site that writes down what each request costs it.
type wordpress struct {
	*wptest.Site
	s *stage
}

// wordpress starts a site; dir is its WordPress's tree, empty for the machine's.
func (s *stage) wordpress(crmURL string, fusion bool, dir string) *wordpress {
	baseline := strings.NewReplacer("{{.CRM}}", crmURL, "{{.Token}}", crmToken).Replace(s.php("baseline.php"))
	return s.wordpressOf(wptest.Options{
		WPFusion: fusion, WordPressDir: dir, Plugins: map[string]string{"bench-baseline.php": baseline},
	})
}

// wordpressOf starts a site with further plugins.
func (s *stage) wordpressOf(options wptest.Options) *wordpress {
	options.PHPWorkers, options.Real = phpWorkers, true
	options.Plugins["bench-timing.php"] = s.php("timing.php")
	return &wordpress{Site: wptest.Start(s, options), s: s}
}

func (s *stage) php(name string) string {
	text, err := php.ReadFile("php/" + name)
	require.NoError(s, err)
	return string(text)
}

// target is a worker's target on this site.
func (w *wordpress) target(redisURL, crmURL string) target {
	user, password := w.Credentials()
	return target{redisURL: redisURL, crmURL: crmURL, siteURL: w.URL(), user: user, appPassword: password}
}

// addUsers gives the site a user for each of the CRM's contacts 1 to n, with
// one password, which is hashed once.
func (w *wordpress) addUsers(n int) {
	w.PHP(fmt.Sprintf(`
global $wpdb, $wp_hasher;
require_once ABSPATH . WPINC . '/class-phpass.php';
$hash      = wp_hash_password( 'unused' );
$wp_hasher = new class( $hash ) extends PasswordHash {
	private $made;
	public function __construct( $made ) { parent::__construct( 8, true ); $this->made = $made; }
	public function HashPassword( $password ) { return $this->made; }
};
$wpdb->query( 'START TRANSACTION' );
for ( $id = 1; $id <= %d; $id++ ) {
	$email = 'contact' . $id . '@example.' . ( 0 === $id %% 5 ? 'org' : 'com' );
	$user  = wp_insert_user( array( 'user_login' => $email, 'user_email' => $email, 'user_pass' => 'unused', 'role' => 'subscriber' ) );
	if ( is_wp_error( $user ) ) {
		throw new Exception( $user->get_error_message() );
	}
	update_user_meta( $user, 'pulsetech_contact_id', (string) $id );
}
$wpdb->query( 'COMMIT' );`, n))
}

// edit changes contacts first to first+count-1 in the CRM, as a bulk edit does.
func (c *crm) edit(first, count, round int) {
	for id := first; id < first+count; id++ {
		fields, ok := c.Contact(idOf(id))
		if !ok {
			continue
		}
		fields["company"] = fmt.Sprintf("Company %d of edit %d", id, round)
		c.Put(idOf(id), fields, []int{1 + round, 50 + id%7})
	}
}

// wrong counts the contacts whose user is missing or does not show the CRM's
// company and tags.
func (w *wordpress) wrong(c *crm, first, count int) int {
	var stored map[string][]string
	require.NoError(w.s, json.Unmarshal([]byte(w.PHP(`
global $wpdb;
$rows = $wpdb->get_results( "SELECT i.meta_value AS id, c.meta_value AS company, t.meta_value AS tags FROM $wpdb->usermeta i
	JOIN $wpdb->usermeta c ON c.user_id = i.user_id AND c.meta_key = 'billing_company'
	JOIN $wpdb->usermeta t ON t.user_id = i.user_id AND t.meta_key = 'pulsetech_tags'
	WHERE i.meta_key = 'pulsetech_contact_id'" );
$users = array( '0' => array() );
foreach ( $rows as $row ) {
	$users[ $row->id ] = array( $row->company, implode( ',', (array) unserialize( $row->tags ) ) );
}
echo wp_json_encode( (object) $users );`)), &stored))
	wrong := 0
	for id := first; id < first+count; id++ {
		fields, _ := c.Contact(idOf(id))
		var tags []string
		for _, tag := range c.Tags(idOf(id)) {
			tags = append(tags, idOf(tag))
		}
		company, _ := fields["company"].(string)
		if !slices.Equal(stored[idOf(id)], []string{company, strings.Join(tags, ",")}) {
			wrong++
		}
	}
	return wrong
}

// request is one that the site has answered.
type request struct {
	Kind     string                `json:"kind"`
	Began    float64               `json:"began"`
	Seconds  float64               `json:"seconds"`
	Contacts int                   `json:"contacts"`
	Queries  map[string][2]float64 `json:"queries"`
}

// requests returns those of a kind that began in a span of time.
func (w *wordpress) requests(kind string, from, to time.Time) []request {
	text, err := os.ReadFile(filepath.Join(w.Dir(), "bench.jsonl"))
	if !os.IsNotExist(err) {
		require.NoError(w.s, err)
	}
	var found []request
	for line := range strings.Lines(string(text)) {
		var r request
		if json.Unmarshal([]byte(line), &r) != nil {
			continue // written while it was read
		}
		if began := time.UnixMicro(int64(r.Began * 1e6)); r.Kind == kind && !began.Before(from) && began.Before(to) {
			found = append(found, r)
		}
	}
	return found
}

// workerSeconds is how long PHP workers were held by requests.
func workerSeconds(requests []request) float64 {
	total := 0.0
	for _, r := range requests {
		total += r.Seconds
	}
	return total
}

// prober asks for a page five times a second, whether the last one was
// answered or not, as visitors do.
type prober struct {
	mu    sync.Mutex
	pages []page
}

type page struct {
	at   time.Time
	took float64 // ms
}

const probeEvery = 200 * time.Millisecond

// probe asks for a page until the measurement ends.
func (s *stage) probe(ctx context.Context, url string) *prober {
	p := &prober{}
	ctx, cancel := context.WithCancel(ctx)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var visitors sync.WaitGroup
	visitors.Go(func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				visitors.Go(func() { p.visit(ctx, client, url) })
			}
		}
	})
	s.Cleanup(func() {
		cancel()
		visitors.Wait()
	})
	return p
}

func (p *prober) visit(ctx context.Context, client *http.Client, url string) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	response, err := client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pages = append(p.pages, page{began, milliseconds(time.Since(began))})
}

// span is a time of a run.
type span struct{ from, to time.Time }

// times are how long the pages took that were asked for in some spans, sorted.
func (p *prober) times(spans []span) []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var times []float64
	for _, page := range p.pages {
		for _, span := range spans {
			if !page.at.Before(span.from) && page.at.Before(span.to) {
				times = append(times, page.took)
			}
		}
	}
	slices.Sort(times)
	return times
}
