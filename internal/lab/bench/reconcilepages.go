package bench

import (
	"context"
	"fmt"
	"time"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

const (
	comparedUsers = 2000
	// plantedOnSite is how many of them differ.
	plantedOnSite = 60
)

// reconcilePageRows compare a CRM with a real WordPress again and again, while a
// page of the site is asked for five times a second.
func reconcilePageRows(ctx context.Context, s *stage) []Row {
	rounds, lasting := pick(s, 6, 2), pick(s, 8*time.Second, 3*time.Second)
	stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency / 10, TagPageSize: comparedPage}, 0)
	wp := s.wordpress(stand.url, false, "")
	wp.addUsers(comparedUsers)
	for id := 1; id <= comparedUsers; id++ {
		stand.Put(idOf(id), map[string]any{"email": fmt.Sprintf("contact%d@example.com", id)}, tagsOf(id)[:2])
	}
	wp.PHP(fmt.Sprintf(`
global $wpdb;
$users = $wpdb->get_results( "SELECT user_id, meta_value FROM $wpdb->usermeta WHERE meta_key = 'pulsetech_contact_id'" );
foreach ( $users as $user ) {
	$id   = (int) $user->meta_value;
	$tags = array( (string) ( 1 + $id * 7 %% %[1]d ), (string) ( 1 + ( $id * 7 + 1 ) %% %[1]d ) );
	update_user_meta( $user->user_id, 'pulsetech_tags', $id <= %[2]d ? array_slice( $tags, 1 ) : $tags );
}`, comparedTags, plantedOnSite))
	server := redistest.Start(s, everySecond()...)
	c := &comparison{stage: s, crm: stand, target: wp.target(server.URL(), stand.url), folder: s.TempDir()}
	for range 20 { // PHP compiles the page once
		_, _ = wp.Get("/")
	}
	pages := s.probe(ctx, wp.URL()+"/")
	var idle, during []span
	var found compared
	runs := 0
	for range rounds {
		from := time.Now()
		s.rest(ctx, lasting)
		idle = append(idle, span{from, time.Now()})
		from = time.Now()
		for time.Since(from) < lasting {
			found = c.compare(ctx, "--grace", "1s")
			runs++
		}
		during = append(during, span{from, time.Now()})
	}
	s.rest(ctx, time.Second)
	calm, compared := pages.times(idle), pages.times(during)
	const of = "reconcile on WordPress, "
	ratio := func(q, bound float64, name string) Row {
		return Row{
			What: of + name + " of the page against idle", Value: quantile(compared, q) / quantile(calm, q), Sense: AtMost, Bound: bound,
			Note: fmt.Sprintf("%.0f ms against %.0f; %d comparisons one after the other, %d and %d pages", quantile(compared, q), quantile(calm, q), runs, len(compared), len(calm)),
		}
	}
	return []Row{
		{
			What: of + "differences found", Value: float64(found.Total()), Unit: "contacts", Sense: AtLeast, Bound: plantedOnSite,
			Note: fmt.Sprintf("%d users, %d planted; %.1f s a comparison, %d calls to the CRM", comparedUsers, plantedOnSite, found.took.Seconds(), found.Calls),
		},
		ratio(0.5, 1.2, "median"),
		ratio(0.95, 1.5, "95th percentile"),
	}
}
