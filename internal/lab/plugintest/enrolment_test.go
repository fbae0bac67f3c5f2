package plugintest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// enrolments is a plugin that gives and takes tags as WP Fusion's integrations
// do when they enrol somebody, and pushes a field. A CRM that takes its time
// answers, and each call of it is written down.
const enrolments = `<?php
add_action( 'wpf_tags_modified', function ( $user_id, $tags ) {
	if ( in_array( '24', $tags, true ) ) {
		wp_fusion()->user->apply_tags( array( '99' ), $user_id );
		wp_fusion()->user->remove_tags( array( '5' ), $user_id );
		wp_fusion()->user->push_user_meta( $user_id, array( 'enrolled' => 'yes' ) );
	}
	if ( in_array( '25', $tags, true ) ) {
		// The group's leader, who is another contact.
		wp_fusion()->user->apply_tags( array( '77' ), wp_fusion()->user->get_user_id( '1' ) );
	}
}, 10, 2 );
add_action( 'set_user_role', function ( $user_id, $role ) {
	if ( 'customer' === $role ) {
		wp_fusion()->user->apply_tags( array( '98' ), $user_id );
	}
}, 10, 2 );
add_action( 'wpf_user_imported', function ( $user_id ) {
	wp_fusion()->user->apply_tags( array( '97' ), $user_id );
} );
add_filter( 'pre_http_request', function ( $response, $arguments, $url ) {
	file_put_contents( WP_CONTENT_DIR . '/calls', $arguments['method'] . " $url\n", FILE_APPEND );
	sleep( 2 );
	return array( 'response' => array( 'code' => 200 ), 'body' => '{"success":true}', 'headers' => array(), 'cookies' => array() );
}, 10, 3 );
`

func startEnrolling(t *testing.T) *wptest.Site {
	t.Helper()
	return wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"enrolments.php": enrolments}})
}

// crmCalls are the calls of the CRM that PHP has made.
func crmCalls(t *testing.T, site *wptest.Site) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(site.Dir(), "www/wp-content/calls"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return string(content)
}

// tagged is an update_tags of a contact.
func tagged(id int, tags ...string) change {
	contact := update(id, nil)
	contact["action"], contact["tags"] = "update_tags", append([]string{}, tags...)
	delete(contact, "fields")
	return contact
}

// told is the confirmation that the CRM knows of tags of contact 1.
func told(applied, removed []string) change {
	return change{"contact_id": "1", "action": "confirm", "applied_tags": applied, "removed_tags": removed}
}

// requireTags checks a contact's tags on the site, in any order. WP Fusion leaves
// gaps in its lists.
func requireTags(t *testing.T, site *wptest.Site, id int, tags ...string) {
	t.Helper()
	stored := site.PHP(fmt.Sprintf(`echo implode( ' ', (array) get_user_meta( get_user_by( 'email', '%s' )->ID, 'pulsetech_tags', true ) );`, email(id)))
	require.ElementsMatch(t, tags, strings.Fields(stored))
}

func TestTagsOfAnEnrolmentStayAndAreAnsweredUntilTheyAreConfirmed(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	expect(t, site, "updated", tagged(1, "5", "7"))
	first := expect(t, site, "updated", tagged(1, "5", "7", "24"))
	require.Equal(t, []string{"99"}, first.Applied)
	require.Equal(t, []string{"5"}, first.Removed)
	requireTags(t, site, 1, "7", "24", "99")

	// A pass that has read the CRM before it was told.
	again := expect(t, site, "unchanged", tagged(1, "5", "7", "24"))
	require.Equal(t, []string{"99"}, again.Applied)
	require.Equal(t, []string{"5"}, again.Removed)
	requireTags(t, site, 1, "7", "24", "99")

	// Confirmed one by one, and then the CRM's word counts.
	expect(t, site, "updated", told([]string{"99"}, nil))
	half := expect(t, site, "unchanged", tagged(1, "5", "7", "24", "99"))
	require.Empty(t, half.Applied)
	require.Equal(t, []string{"5"}, half.Removed)
	expect(t, site, "updated", told(nil, []string{"5"}))
	expect(t, site, "unchanged", told([]string{"99"}, []string{"5"}))
	last := expect(t, site, "updated", tagged(1, "7"))
	require.Empty(t, last.Applied)
	require.Empty(t, last.Removed)
	requireTags(t, site, 1, "7")
	require.Empty(t, crmCalls(t, site))
	requireClean(t, site)
}

func TestTagsThatTheCRMShowsAreNotAnswered(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	expect(t, site, "updated", tagged(1, "5", "24"))
	// Told, but the confirmation was lost.
	shown := expect(t, site, "unchanged", tagged(1, "24", "99"))
	require.Empty(t, shown.Applied)
	require.Empty(t, shown.Removed)
	require.Nil(t, meta(t, site, 1, "spillway_tags"))
}

func TestTagsOfHooksBeforeAndAfterTheContactsOwn(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	changed := update(1, change{"first_name": "Ann"})
	changed["role"], changed["tags"] = "customer", []string{"7"}
	got := expect(t, site, "updated", changed)
	require.Equal(t, []string{"98"}, got.Applied, "a role's hook runs before the contact's tags are stored")
	requireTags(t, site, 1, "7", "98")

	creation := add(2, nil)
	creation["role"], creation["tags"], creation["created_tag"] = "customer", []string{"24"}, "55"
	created := expect(t, site, "created", creation)
	require.ElementsMatch(t, []string{"97", "98", "99", "55"}, created.Applied)
	requireTags(t, site, 2, "24", "97", "98", "99", "55")
	require.Empty(t, crmCalls(t, site))
	requireClean(t, site)
}

func TestTagsOfAnotherContactWaitForItsOwnPass(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 2)
	got := expect(t, site, "updated", tagged(2, "25"))
	require.Empty(t, got.Applied)
	requireTags(t, site, 1, "77")
	require.Equal(t, []string{"77"}, expect(t, site, "unchanged", tagged(1)).Applied)
	requireTags(t, site, 1, "77")
	require.Empty(t, crmCalls(t, site))
}

func TestContactThatFailsLeavesNoTagsToTell(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"enrolments.php": enrolments, "fails.php": `<?php
add_action( 'wpf_tags_modified', function ( $user_id, $tags ) {
	if ( in_array( '13', $tags, true ) ) {
		throw new RuntimeException( 'no' );
	}
}, 20, 2 );`}})
	users(t, site, 1, 2)
	got := send(t, site, tagged(1, "13", "24"), tagged(1, "7"))
	require.Equal(t, "failed", got[0].Outcome)
	require.Equal(t, "updated", got[1].Outcome)
	require.Empty(t, got[1].Applied)
	requireTags(t, site, 1, "7")
}

// The CRM takes 2 s for each of 150 calls that are not made.
func TestABatchOfEnrolmentsMakesNoCallToTheCRM(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 50)
	var contacts []change
	for id := 1; id <= 50; id++ {
		contacts = append(contacts, tagged(id, "5", "24"))
	}
	began := time.Now()
	for i, got := range send(t, site, contacts...) {
		require.Equal(t, "updated", got.Outcome, "%+v", got)
		require.Equal(t, []string{"99"}, got.Applied)
		require.Equal(t, []string{"5"}, got.Removed)
		require.Equal(t, contacts[i]["contact_id"], got.ContactID)
	}
	require.Less(t, time.Since(began), 90*time.Second, "the calls alone would take 300 s")
	require.Empty(t, crmCalls(t, site))
}

func TestWPFusionCallsTheCRMAgainAfterwards(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	site.PHP(`wp_fusion()->user->apply_tags( array( '3' ), get_user_by( 'email', '` + email(1) + `' )->ID );`)
	require.Contains(t, crmCalls(t, site), "/contacts/1/tag-apply", "the stub's queue is sent when the request ends")
	got := site.PHP(`
rest_get_server();
$client   = wp_fusion()->crm->crm;
$contacts = array( array( 'contact_id' => '1', 'action' => 'update_tags', 'tags' => array( '3', '24' ) ) );
` + dispatch + `
echo $answer['results'][0]['outcome'], ' ', $client === wp_fusion()->crm->crm ? 'its own' : 'another', ' ', has_filter( 'wpf_use_api_queue' ) || has_filter( 'wpf_user_update' ) ? 'muted' : 'as before';
echo ' ', doing_wpf_webhook() && WPF_DOING_WEBHOOK ? 'webhook' : 'no webhook';`)
	require.Equal(t, "updated its own as before webhook", got)
	require.Equal(t, 1, strings.Count(crmCalls(t, site), "\n"), "and nothing of the batch is sent then")
}
