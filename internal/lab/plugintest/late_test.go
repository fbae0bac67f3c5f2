package plugintest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// held is a plugin that holds a request back as long as the file "go-on" is
// missing, if its first contact has the member "held", and writes down how it
// was answered, whoever waits for that.
const held = `<?php
function held_file( $request, $name ) {
	$body = (array) $request->get_json_params();
	return isset( $body['contacts'][0]['held'] ) ? WP_CONTENT_DIR . '/' . $body['contacts'][0]['held'] . '-' . $name : '';
}
add_filter( 'rest_request_before_callbacks', function ( $response, $handler, $request ) {
	if ( held_file( $request, '' ) ) {
		touch( held_file( $request, 'taken' ) );
		while ( ! file_exists( held_file( $request, 'go-on' ) ) ) {
			usleep( 5000 );
			clearstatcache();
		}
	}
	return $response;
}, 10, 3 );
add_filter( 'rest_post_dispatch', function ( $response, $server, $request ) {
	if ( held_file( $request, '' ) ) {
		file_put_contents( held_file( $request, 'writing' ), wp_json_encode( $response->get_data() ) );
		rename( held_file( $request, 'writing' ), held_file( $request, 'answer' ) );
	}
	return $response;
}, 10, 3 );
`

func TestRequestThatGoesOnAfterItsClientLeftChangesNothing(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"held.php": held}})
	for i, test := range []struct {
		name     string
		numbered bool
		outcome  string // of the late request
		shown    string
	}{
		{"numbered", true, "failed", "Newer"},
		// A worker from before passes had numbers; and this test can tell.
		{"unnumbered", false, "updated", "Late"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := i + 1
			users(t, site, id, 1)
			late, newer := update(id, change{"first_name": "Late"}), update(id, change{"first_name": "Newer"})
			late["tags"], newer["tags"] = []string{"1"}, []string{"2"}
			late["held"] = test.name
			if test.numbered {
				began := time.Now().UnixMicro()
				late["as_of"], newer["as_of"] = began, began+1
			}
			file := func(name string) string {
				return filepath.Join(site.Dir(), "www", "wp-content", test.name+"-"+name)
			}
			ctx, leave := context.WithCancel(t.Context())
			user, password := site.Credentials()
			left := make(chan reply, 1)
			go func() { left <- requestUntil(ctx, site, user, password, contactsPath, late) }()
			require.Eventually(t, func() bool { return exists(file("taken")) }, 30*time.Second, 5*time.Millisecond)
			leave()
			require.ErrorIs(t, (<-left).err, context.Canceled)

			expect(t, site, "updated", newer)
			require.NoError(t, os.WriteFile(file("go-on"), nil, 0o600))
			require.Eventually(t, func() bool { return exists(file("answer")) }, 30*time.Second, 5*time.Millisecond)
			text, err := os.ReadFile(file("answer"))
			require.NoError(t, err)
			var answered struct{ Results []answer }
			require.NoError(t, json.Unmarshal(text, &answered))
			require.Len(t, answered.Results, 1, "%s", text)
			require.Equal(t, test.outcome, answered.Results[0].Outcome, "%s", text)
			if test.numbered {
				require.Equal(t, "superseded", answered.Results[0].Error.Code)
			}
			require.Equal(t, test.shown, meta(t, site, id, "first_name"))
			tag := newer["tags"]
			if !test.numbered {
				tag = late["tags"]
			}
			require.Equal(t, tag, meta(t, site, id, "pulsetech_tags"))
		})
	}
	requireClean(t, site)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The row that orders a contact's passes: kept with the contact, one for each
// user, seen by no hook.
func TestOrderIsKeptWithTheContact(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"misbehaving.php": misbehaving, "watch.php": `<?php
foreach ( array( 'added_user_meta', 'updated_user_meta' ) as $hook ) {
	add_action( $hook, function ( $meta_id, $user_id, $key ) {
		if ( 'spillway_as_of' === $key ) {
			update_option( 'order_seen', '1' );
		}
	}, 10, 3 );
}`}})
	users(t, site, 1, 4)
	of := func(n int, c change) change { c["as_of"] = n; return c }
	rows := func(id int) string {
		return site.PHP(`
global $wpdb;
echo implode( ',', array_map( function ( $mark ) { return preg_replace( '/ [\d.]+$/', '', $mark ); }, $wpdb->get_col(
	"SELECT o.meta_value FROM $wpdb->usermeta o JOIN $wpdb->usermeta c ON c.user_id = o.user_id WHERE c.meta_key = 'pulsetech_contact_id' AND c.meta_value = '` + strconv.Itoa(id) + `' AND o.meta_key = 'spillway_as_of'"
) ) );`)
	}
	send(t, site, of(1, update(1, change{"first_name": "A"})), of(1, update(2, change{"first_name": "A"})))
	require.Equal(t, "1 1", rows(1))

	// Taken back with what failed, and stored again with what a hook's rollback
	// took: the contacts before it, of which one is unchanged.
	got := send(t, site,
		of(2, update(1, change{"first_name": "B"})), of(2, update(2, change{"first_name": "A"})),
		of(2, update(3, change{"misbehave": "rollback throw"})), of(2, update(4, change{"misbehave": "throw"})),
		of(2, add(5, change{"first_name": "B"})), of(2, add(6, change{"misbehave": "throw"})),
	)
	for i, outcome := range []string{"updated", "unchanged", "failed", "failed", "created", "failed"} {
		require.Equal(t, outcome, got[i].Outcome, "%d: %+v", i+1, got[i])
	}
	for id, row := range []string{"", "1 2", "2 2", "", "", "5 2", ""} {
		require.Equal(t, row, rows(id), "contact %d", id)
	}
	require.Empty(t, site.PHP(`echo get_option( 'order_seen' );`))

	site.PHP(`
define( 'WP_UNINSTALL_PLUGIN', '1' );
require WP_PLUGIN_DIR . '/spillway-connector/uninstall.php';`)
	require.Empty(t, rows(1)+rows(2)+rows(5))
	require.Equal(t, "B", meta(t, site, 1, "first_name"))
	requireClean(t, site)
}
