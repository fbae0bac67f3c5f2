package plugintest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

// comparedUsers makes users 1 to n with a contact id and three tags each, past
// WordPress's functions, which hash a password for each.
const comparedUsers = `
global $wpdb;
for ( $id = 1; $id <= %d; $id++ ) {
	$wpdb->insert( $wpdb->users, array( 'user_login' => "c$id", 'user_nicename' => "c$id", 'user_email' => "c$id@example.com", 'user_registered' => '2026-01-01 00:00:00', 'display_name' => "c$id" ) );
	$user = $wpdb->insert_id;
	foreach ( array( 'wp_capabilities' => 'a:1:{s:10:"subscriber";b:1;}', 'first_name' => 'Ann', 'pulsetech_contact_id' => $id,
		'pulsetech_tags' => serialize( array( (string) ( 1 + $id %% 20 ), (string) ( 21 + $id %% 20 ), (string) ( 41 + $id %% 20 ) ) ) ) as $key => $value ) {
		$wpdb->insert( $wpdb->usermeta, array( 'user_id' => $user, 'meta_key' => $key, 'meta_value' => $value ) );
	}
}`

// differences plants ten of each kind on the site, by contact.
const siteDifferences = `
require_once ABSPATH . 'wp-admin/includes/user.php';
foreach ( range( 1, 60 ) as $id ) {
	$user = get_user_by( 'email', "c$id@example.com" )->ID;
	$tags = get_user_meta( $user, 'pulsetech_tags', true );
	switch ( intdiv( $id - 1, 10 ) ) {
		case 0: update_user_meta( $user, 'pulsetech_tags', array_slice( $tags, 1 ) ); break;
		case 1: update_user_meta( $user, 'pulsetech_tags', array_merge( $tags, array( '60' === $tags[2] ? '59' : '60' ) ) ); break;
		case 2: update_user_meta( $user, 'pulsetech_tags', array( $tags[0], '999' ) ); break;
		case 3: wp_delete_user( $user ); break;
		case 5:
			$twin = wp_insert_user( array( 'user_login' => "twin$id", 'user_email' => "twin$id@example.com", 'user_pass' => 'x' ) );
			update_user_meta( $twin, 'pulsetech_contact_id', (string) $id );
			break;
	}
}`

func TestDifferencesOnWordPressAreFoundAndRepaired(t *testing.T) {
	t.Parallel()
	const users, each = 2000, 10
	wp := wptest.Start(t, wptest.Options{})
	crm := comparedCRM(t, users)
	wp.PHP(fmt.Sprintf(comparedUsers, users))
	user, password := wp.Credentials()
	client, err := site.New(site.Options{URL: wp.URL(), User: user, AppPassword: password})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	calls, err := pulse.New(pulse.Options{URL: crm.CRMURL, Tokens: pulse.Fixed("a-token")})
	require.NoError(t, err)
	server := redistest.Start(t)
	contacts := pending.New(server.Client(), pending.Options{})
	var options reconcile.Options
	compare := func() reconcile.Result {
		options = reconcile.Options{
			CRM: calls, Site: client, Contacts: contacts, Name: contact.DefaultSite, Now: reconcile.NewLock(server.Client(), contact.DefaultSite).Now,
			Journal: reconcile.NewJournal(), Progress: progress.New(io.Discard), Settle: time.Second,
		}
		result, err := reconcile.Run(t.Context(), options)
		require.NoError(t, err)
		return result
	}
	before := compare()
	require.Zero(t, before.Total(), "%+v", before.Examples)
	require.Equal(t, users, before.Users)

	wp.PHP(siteDifferences)
	for id := 1 + 4*each; id <= 5*each; id++ {
		crm.CRM.Delete(strconv.Itoa(id))
	}
	found := compare()
	for _, kind := range reconcile.Kinds {
		require.Equal(t, each, found.Differences[kind], kind)
	}
	workFor(t, server.URL(), crm.CRMURL, wp)
	repaired, err := reconcile.Mend(t.Context(), options, found, reconcile.Repair{CreateUsers: true, Outstanding: 100, Folder: t.TempDir()})
	require.NoError(t, err)
	require.Equal(t, 4*each, repaired.Queued)
	left := compare()
	require.Equal(t, each, left.Differences[reconcile.ContactGone])
	require.Equal(t, each, left.Differences[reconcile.TwoUsers])
	require.Equal(t, 2*each, left.Total(), "what passes repair is repaired: %+v", left.Examples)
	require.Equal(t, "1 21 41", wp.PHP(`echo implode( ' ', get_user_meta( get_user_by( 'email', 'c20@example.com' )->ID, 'pulsetech_tags', true ) );`))
	requireClean(t, wp)
}

// comparedCRM has the contacts of those users.
func comparedCRM(t *testing.T, n int) *sandbox.Running {
	t.Helper()
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "a-token", TagPageSize: 100}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	for id := 1; id <= n; id++ {
		stand.CRM.Put(strconv.Itoa(id), map[string]any{"email": fmt.Sprintf("c%d@example.com", id)}, []int{1 + id%20, 21 + id%20, 41 + id%20})
	}
	return stand
}

// workFor runs a worker for WordPress until the test ends.
func workFor(t *testing.T, redisURL, crmURL string, wp *wptest.Site) {
	t.Helper()
	user, password := wp.Credentials()
	settings, err := config.Load(config.Worker, nil, []string{
		"SPILLWAY_REDIS_URL=" + redisURL, "SPILLWAY_CRM_URL=" + crmURL, "SPILLWAY_CRM_TOKEN=a-token", "SPILLWAY_CRM_RATE=1000",
		"SPILLWAY_SITE_URL=" + wp.URL(), "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD=" + password, "SPILLWAY_WORKER_ADDR=127.0.0.1:0",
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- assembly.Worker(ctx, settings, zerolog.Nop()) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}
