package plugintest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// keysOf asks a site of a network which meta keys it uses.
func keysOf(t *testing.T, site *wptest.Site, path string) [2]string {
	t.Helper()
	user, password := site.Credentials()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site.URL()+path+"/wp-json/spillway/v1/status", nil)
	require.NoError(t, err)
	r.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	var status struct {
		ContactIDKey string `json:"contact_id_key"`
		TagsKey      string `json:"tags_key"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&status))
	return [2]string{status.ContactIDKey, status.TagsKey}
}

// atSite sends contacts to a site of a network.
func atSite(t *testing.T, site *wptest.Site, path string, contacts ...change) []answer {
	t.Helper()
	user, password := site.Credentials()
	done := make(chan reply, 1)
	done <- requestUntil(context.Background(), site, user, password, path+contactsPath, contacts...)
	return receive(t, done, len(contacts))
}

var (
	plainKeys  = [2]string{"pulsetech_contact_id", "pulsetech_tags"}
	secondKeys = [2]string{"wp_2_pulsetech_contact_id", "wp_2_pulsetech_tags"}
)

func TestKeysOfASingleSiteAreWPFusions(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	require.Equal(t, plainKeys, keysOf(t, site, ""))
}

func TestSitesOfANetworkDoNotMeetInOneContactID(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true})
	require.Equal(t, [2]string{"wp_pulsetech_contact_id", "wp_pulsetech_tags"}, keysOf(t, site, ""))
	require.Equal(t, secondKeys, keysOf(t, site, "/second"))

	// Two accounts of the CRM have a contact 123 each, of two persons.
	ann, bob := add(123, nil), add(123, nil)
	ann["email"], ann["tags"], ann["created_tag"] = "ann@example.com", []string{"1"}, "55"
	bob["email"], bob["tags"], bob["created_tag"] = "bob@example.com", []string{"2"}, "66"
	first, second := atSite(t, site, "", ann)[0], atSite(t, site, "/second", bob)[0]
	require.Equal(t, "created", first.Outcome, "%+v", first)
	require.Equal(t, "created", second.Outcome, "%+v", second)
	require.NotEqual(t, first.UserID, second.UserID)
	delete(ann, "email")
	delete(bob, "email")
	require.Equal(t, first.UserID, atSite(t, site, "", ann)[0].UserID)
	require.Equal(t, second.UserID, atSite(t, site, "/second", bob)[0].UserID)

	// One person in both accounts: what each site has to tell is its own.
	ann["contact_id"], ann["email"] = "7", "bob@example.com"
	ann["created_tag"] = ""
	both := atSite(t, site, "", ann)[0]
	require.Equal(t, second.UserID, both.UserID)
	require.Empty(t, both.Applied)
	bob["tags"] = []string{"2"}
	require.Equal(t, []string{"66"}, atSite(t, site, "/second", bob)[0].Applied)
	require.Equal(t, "1|2,66", site.PHP(`
$user = get_user_by( 'email', 'bob@example.com' )->ID;
echo implode( ',', get_user_meta( $user, 'wp_pulsetech_tags', true ) ), '|', implode( ',', get_user_meta( $user, 'wp_2_pulsetech_tags', true ) );`))
}

// stored has a user with a contact id on the network's second site, as earlier
// versions stored it.
const storedOnSecond = `
$id = wp_insert_user( array( 'user_login' => 'old', 'user_email' => 'old@example.com', 'user_pass' => 'x' ) );
add_user_to_blog( 2, $id, 'subscriber' );
update_user_meta( $id, 'pulsetech_contact_id', '123' );
echo $id;`

func TestNetworkThatHasContactsKeepsItsKeys(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true})
	id := site.PHP(storedOnSecond)
	require.Equal(t, plainKeys, keysOf(t, site, "/second"))
	got := atSite(t, site, "/second", tagged(123, "7"))[0]
	require.Equal(t, "updated", got.Outcome, "%+v", got)
	require.Equal(t, "7", site.PHP(`echo implode( ',', get_user_meta( `+id+`, 'pulsetech_tags', true ) );`))
	// The plugin removed and installed again: what it has stored tells.
	site.PHP(`delete_blog_option( 2, 'spillway_connector_keys' );`)
	require.Equal(t, plainKeys, keysOf(t, site, "/second"))
}

func TestWPFusionsKeysAreKeptAfterItIsSwitchedOff(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true, WPFusion: true, Plugins: map[string]string{"off.php": `<?php
add_filter( 'site_option_active_sitewide_plugins', function ( $plugins ) {
	if ( file_exists( WP_CONTENT_DIR . '/fusion-off' ) ) {
		unset( $plugins['wp-fusion-stub/wp-fusion-stub.php'] );
	}
	return $plugins;
} );`}})
	site.PHP(`update_blog_option( 2, 'wpf_stub_prefix_keys', 1 );`)
	require.Equal(t, plainKeys, keysOf(t, site, ""), "as WP Fusion has it on that site")
	require.Equal(t, secondKeys, keysOf(t, site, "/second"))
	require.Equal(t, "created", atSite(t, site, "/second", add(1, nil))[0].Outcome)

	site.PHP(`touch( WP_CONTENT_DIR . '/fusion-off' );`)
	require.Equal(t, plainKeys, keysOf(t, site, ""))
	require.Equal(t, secondKeys, keysOf(t, site, "/second"))
	require.Equal(t, "unchanged", atSite(t, site, "/second", add(1, nil))[0].Outcome)

	// Not remembered, but WP Fusion's settings are there.
	site.PHP(`
delete_blog_option( 2, 'spillway_connector_keys' );
update_blog_option( 2, 'wpf_options', array( 'crm' => 'pulsetech', 'multisite_prefix_keys' => true ) );
delete_option( 'spillway_connector_keys' );
update_option( 'wpf_options', array( 'crm' => 'pulsetech', 'multisite_prefix_keys' => '0' ) );`)
	require.Equal(t, plainKeys, keysOf(t, site, ""))
	require.Equal(t, secondKeys, keysOf(t, site, "/second"))
}

func TestNoFieldWritesTheKeysOfAnySite(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true})
	fields := change{"company": "kept"}
	for _, key := range []string{"pulsetech_contact_id", "pulsetech_tags", "wp_pulsetech_tags", "wp_2_pulsetech_contact_id", "WP_2_PulseTech_Tags"} {
		fields[key] = "666"
	}
	got := atSite(t, site, "", add(1, fields))[0]
	require.Equal(t, "created", got.Outcome, "%+v", got)
	found := site.PHP(`
global $wpdb;
echo implode( ' ', $wpdb->get_col( "SELECT meta_key FROM $wpdb->usermeta WHERE meta_value = '666'" ) );`)
	require.Empty(t, strings.TrimSpace(found))
}

func TestHookThatStaysOnAnotherSiteOfTheNetworkMovesNothingThere(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true, Plugins: map[string]string{"stays.php": `<?php
foreach ( array( 'user_register', 'profile_update' ) as $hook ) {
	add_action( $hook, function () {
		get_option( 'stays' ) && switch_to_blog( 2 );
	} );
}`}})
	users(t, site, 1, 1)
	site.PHP(`update_option( 'stays', 1 );`)
	created, updated := add(2, nil), update(1, change{"user_url": "https://example.com/"})
	created["tags"], updated["tags"] = []string{"7"}, []string{"8"}
	created["role"], updated["role"] = "customer", "customer"
	got := send(t, site, created, updated)
	require.Equal(t, "created", got[0].Outcome, "%+v", got)
	require.Equal(t, "updated", got[1].Outcome, "%+v", got)
	require.Equal(t, "customer customer", got[0].Role+" "+got[1].Role)
	require.Equal(t, []string{"7"}, meta(t, site, 2, "wp_pulsetech_tags"))
	require.Equal(t, []string{"8"}, meta(t, site, 1, "wp_pulsetech_tags"))
	require.Empty(t, site.PHP(`global $wpdb; echo implode( ' ', $wpdb->get_col( "SELECT meta_key FROM $wpdb->usermeta WHERE user_id > 3 AND meta_key LIKE 'wp\\_2\\_%'" ) );`))
	requireClean(t, site)
}
