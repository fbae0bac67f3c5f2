package plugintest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// rowHolder holds the rows of one user for as long as a request lasts, on a
// connection of its own; WordPress's own connection waits one second for a row.
const rowHolder = `<?php
add_action( 'rest_api_init', function () {
	global $wpdb;
	static $other = null;
	$user_id = (int) get_option( 'hold_rows_of' );
	if ( null !== $other || 0 === $user_id ) {
		return;
	}
	$other = new wpdb( DB_USER, DB_PASSWORD, DB_NAME, DB_HOST );
	$other->query( 'START TRANSACTION' );
	$other->get_results( "SELECT * FROM $wpdb->usermeta WHERE user_id = $user_id FOR UPDATE" );
	$wpdb->query( 'SET SESSION innodb_lock_wait_timeout = 1' );
} );
`

func TestLockedRowFailsItsContactAlone(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"row-holder.php": rowHolder}})
	// On a table as small as an empty site's, MariaDB looks for a user's field
	// among the fields of that name, and so at the locked row, too.
	users(t, site, 1, 60)
	site.PHP(`global $wpdb; $wpdb->query( "ANALYZE TABLE $wpdb->usermeta" );`)
	contacts := []change{update(1, change{"first_name": "New"}), update(3, change{"first_name": "New"}), update(5, change{"first_name": "New"})}
	held := strconv.FormatInt(site.UsersByContact("3")[0].ID, 10)
	site.PHP(`update_option( 'hold_rows_of', ` + held + ` );`)
	got := send(t, site, contacts...)
	require.Equal(t, "updated", got[0].Outcome, "%+v", got)
	require.Equal(t, "updated", got[2].Outcome, "%+v", got)
	require.Equal(t, "failed", got[1].Outcome, "%+v", got)
	require.Equal(t, "database", got[1].Error.Code)
	require.False(t, got[1].Error.Permanent)
	require.Empty(t, meta(t, site, 3, "first_name"))

	site.PHP(`delete_option( 'hold_rows_of' );`)
	expect(t, site, "updated", contacts[1])
}

func TestDeadlockWithAVisitorStoresEveryContact(t *testing.T) {
	t.Parallel()
	// The hook holds a row while another connection, which holds the next row,
	// waits for it: InnoDB ends one of the two.
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"deadlock.php": `<?php
add_action( 'updated_user_meta', function ( $meta_id, $user_id, $key, $value ) {
	global $wpdb;
	static $done = false;
	if ( $done || 'first_name' !== $key || 'Deadlock' !== $value || ! defined( 'REST_REQUEST' ) ) {
		return;
	}
	$done  = true;
	$other = mysqli_init();
	list( $host, $port, $socket ) = $wpdb->parse_db_host( DB_HOST );
	mysqli_real_connect( $other, 'localhost', DB_USER, DB_PASSWORD, DB_NAME, 0, $socket );
	$last = "SELECT umeta_id FROM $wpdb->usermeta WHERE user_id = $user_id AND meta_key = 'last_name'";
	$row  = $wpdb->get_var( $last );
	mysqli_query( $other, 'START TRANSACTION' );
	// The one with the most changes survives a deadlock.
	mysqli_query( $other, "UPDATE $wpdb->posts SET post_title = CONCAT( post_title, 'x' )" );
	mysqli_query( $other, "UPDATE $wpdb->options SET autoload = 'yes ' WHERE option_name LIKE 'widget%'" );
	mysqli_query( $other, "UPDATE $wpdb->usermeta SET meta_value = meta_value WHERE umeta_id = $row FOR UPDATE" );
	mysqli_query( $other, "SELECT * FROM $wpdb->usermeta WHERE umeta_id = $row FOR UPDATE" );
	mysqli_query( $other, "UPDATE $wpdb->usermeta SET meta_value = 'x' WHERE umeta_id = $meta_id", MYSQLI_ASYNC );
	usleep( 200000 );
	$wpdb->query( "UPDATE $wpdb->usermeta SET meta_value = 'y' WHERE umeta_id = $row" );
	$seen = $wpdb->last_error;
	mysqli_reap_async_query( $other );
	mysqli_query( $other, 'ROLLBACK' );
	update_option( 'deadlock_seen', $seen );
}, 10, 4 );
`}})
	users(t, site, 1, 4)
	contacts := []change{}
	for id := 1; id <= 4; id++ {
		contacts = append(contacts, update(id, change{"first_name": "New" + strconv.Itoa(id)}))
	}
	contacts[2]["fields"] = change{"first_name": "Deadlock"}
	for i, a := range send(t, site, contacts...) {
		require.Equal(t, "updated", a.Outcome, "%d: %+v", i, a)
	}
	require.Contains(t, site.PHP(`echo get_option( 'deadlock_seen' );`), "Deadlock")
	require.Equal(t, "New1", meta(t, site, 1, "first_name"))
	require.Equal(t, "New2", meta(t, site, 2, "first_name"))
	require.Equal(t, "Deadlock", meta(t, site, 3, "first_name"))
}

func TestTablesWithoutTransactionsWork(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)
	site.PHP(`global $wpdb; $wpdb->query( "ALTER TABLE $wpdb->users ENGINE=MyISAM" ); $wpdb->query( "ALTER TABLE $wpdb->usermeta ENGINE=MyISAM" );`)
	users(t, site, 1, 2)
	contacts := []change{update(1, change{"a": "1"}), update(2, change{"misbehave": "throw"}), add(3, change{"a": "3"}), update(1, change{"a": "2"})}
	got := send(t, site, contacts...)
	require.Equal(t, "updated", got[0].Outcome, "%+v", got[0])
	require.Equal(t, "failed", got[1].Outcome)
	require.Equal(t, "created", got[2].Outcome, "%+v", got[2])
	require.Equal(t, "updated", got[3].Outcome, "%+v", got[3])
	require.Equal(t, "2", meta(t, site, 1, "a"))
	require.Equal(t, "3", meta(t, site, 3, "a"))
}

// sharedCache is an object cache that outlives the request, as Redis does: a
// file that every request loads and saves.
const sharedCache = `<?php
function spillway_test_cache( $change ) {
	$file = fopen( WP_CONTENT_DIR . '/shared-cache', 'c+' );
	flock( $file, LOCK_EX );
	$all = unserialize( (string) stream_get_contents( $file ) );
	$all = is_array( $all ) ? $all : array();
	$got = $change( $all );
	ftruncate( $file, 0 );
	rewind( $file );
	fwrite( $file, serialize( $all ) );
	fclose( $file );
	return $got;
}
function wp_cache_init() {}
function wp_cache_close() { return true; }
function wp_cache_key( $key, $group ) { return ( $group ? $group : 'default' ) . ':' . $key; }
function wp_cache_set( $key, $data, $group = '', $expire = 0 ) {
	return spillway_test_cache( function ( &$all ) use ( $key, $group, $data ) { $all[ wp_cache_key( $key, $group ) ] = $data; return true; } );
}
function wp_cache_get( $key, $group = '', $force = false, &$found = null ) {
	$got   = spillway_test_cache( function ( &$all ) use ( $key, $group ) { $k = wp_cache_key( $key, $group ); return array_key_exists( $k, $all ) ? array( $all[ $k ] ) : null; } );
	$found = null !== $got;
	return $found ? $got[0] : false;
}
function wp_cache_add( $key, $data, $group = '', $expire = 0 ) {
	wp_cache_get( $key, $group, false, $found );
	return $found ? false : wp_cache_set( $key, $data, $group );
}
function wp_cache_replace( $key, $data, $group = '', $expire = 0 ) {
	wp_cache_get( $key, $group, false, $found );
	return $found ? wp_cache_set( $key, $data, $group ) : false;
}
function wp_cache_delete( $key, $group = '' ) {
	return spillway_test_cache( function ( &$all ) use ( $key, $group ) { unset( $all[ wp_cache_key( $key, $group ) ] ); return true; } );
}
function wp_cache_flush() { return spillway_test_cache( function ( &$all ) { $all = array(); return true; } ); }
function wp_cache_incr( $key, $by = 1, $group = '' ) { $n = (int) wp_cache_get( $key, $group ) + $by; wp_cache_set( $key, $n, $group ); return $n; }
function wp_cache_decr( $key, $by = 1, $group = '' ) { return wp_cache_incr( $key, -$by, $group ); }
function wp_cache_add_global_groups( $groups ) {}
function wp_cache_add_non_persistent_groups( $groups ) {}
function wp_cache_switch_to_blog( $id ) {}
`

func TestSharedObjectCacheThatLagsIsNotBelieved(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)
	users(t, site, 1, 2)
	require.NoError(t, os.WriteFile(filepath.Join(site.Dir(), "www", "wp-content", "object-cache.php"), []byte(sharedCache), 0o644))
	// Restarted, so that no compiled file or answer from before is in use.
	site.StopPHP()
	site.StartPHP()
	expect(t, site, "updated", update(1, change{"first_name": "One"}))
	// Someone changes the database past WordPress; the cache holds "One".
	site.PHP(`global $wpdb; $wpdb->query( "UPDATE $wpdb->usermeta SET meta_value = 'Old' WHERE meta_key = 'first_name' AND meta_value = 'One'" );`)
	expect(t, site, "updated", update(1, change{"first_name": "One"}))
	require.Equal(t, "One", meta(t, site, 1, "first_name"))

	// What is taken back is in no cache.
	got := send(t, site, update(2, change{"aaa": "1", "misbehave": "throw"}), add(3, change{"misbehave": "throw"}))
	require.Equal(t, "failed", got[0].Outcome)
	require.Equal(t, "failed", got[1].Outcome)
	expect(t, site, "updated", update(2, change{"aaa": "1"}))
	expect(t, site, "created", add(3, change{"aaa": "1"}))
	require.Equal(t, "1", meta(t, site, 2, "aaa"))
	require.Equal(t, "1", meta(t, site, 3, "aaa"))
}

// brokenLookUp makes the query for contact ids fail.
const brokenLookUp = `<?php
add_filter( 'query', function ( $query ) {
	return false !== strpos( $query, 'AS contact_id' ) && get_option( 'break_look_up' ) ? 'SELECT no_such_column FROM no_such_table' : $query;
} );
`

func TestLookUpThatFailsCreatesNobody(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"broken-look-up.php": brokenLookUp}})
	users(t, site, 1, 1)
	contact := add(1, nil)
	contact["email"] = "changed@example.com"
	site.PHP(`update_option( 'break_look_up', '1' );`)
	got := expect(t, site, "failed", contact)
	require.Equal(t, "database", got.Error.Code)
	require.False(t, got.Error.Permanent)
	site.PHP(`delete_option( 'break_look_up' );`)
	expect(t, site, "unchanged", contact)
	require.Empty(t, site.UsersByEmail("changed@example.com"))
}
