package plugintest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// creationHooks count how often WordPress counts its users, and read and write
// a new user's meta while WordPress inserts it.
const creationHooks = `<?php
add_filter( 'query', function ( $query ) {
	if ( defined( 'REST_REQUEST' ) && 0 === strpos( $query, 'SELECT COUNT(ID) as c FROM' ) ) {
		update_option( 'counted', 1 + (int) get_option( 'counted' ) );
	}
	return $query;
} );
add_filter( 'insert_user_meta', function ( $meta, $user, $update ) {
	if ( ! $update ) {
		update_user_meta( $user->ID, 'before_the_meta', 'kept' );
	}
	return $meta;
}, 10, 3 );
add_action( 'added_user_meta', function ( $mid, $user_id, $key, $value ) {
	if ( 'last_name' !== $key ) {
		return;
	}
	// Hooks read what was written so far, and may change it.
	update_user_meta( $user_id, 'seen', get_user_meta( $user_id, 'first_name', true ) . ' ' . get_user_meta( $user_id, 'last_name', true ) . ' ' . get_user_meta( $user_id, 'before_the_meta', true ) );
	if ( 'Changed' === $value ) {
		update_user_meta( $user_id, 'first_name', 'by a hook' );
		update_user_meta( $user_id, 'seen_again', get_user_meta( $user_id, 'first_name', true ) );
	}
}, 10, 4 );
add_action( 'user_register', function ( $user_id ) {
	update_user_meta( $user_id, 'roles_seen', implode( ',', get_userdata( $user_id )->roles ) );
} );
`

func TestHooksSeeANewUsersMetaAsItIsWritten(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"creation-hooks.php": creationHooks}})
	site.PHP(`update_option( 'counted', 0 );`)
	got := send(t, site,
		add(1, change{"first_name": "Ann", "last_name": "Lee"}),
		add(2, change{"first_name": "Bob", "last_name": "Changed"}),
		add(3, change{"first_name": "Cy", "last_name": `O\Neil "x"`}),
	)
	for _, a := range got {
		require.Equal(t, "created", a.Outcome, "%+v", a)
	}
	require.Equal(t, "Ann Lee kept", meta(t, site, 1, "seen"))
	require.Equal(t, "subscriber", meta(t, site, 1, "roles_seen"))
	require.Equal(t, "kept", meta(t, site, 1, "before_the_meta"))
	require.Equal(t, "by a hook", meta(t, site, 2, "seen_again"))
	require.Equal(t, `O\Neil "x"`, meta(t, site, 3, "last_name"))

	// One count for three users, and a right one.
	require.Equal(t, "1", site.PHP(`echo get_option( 'counted' );`))
	require.Equal(t, "same", site.PHP(`
global $wpdb;
echo get_user_count() === (int) $wpdb->get_var( "SELECT COUNT(*) FROM $wpdb->users" ) ? 'same' : 'another';`))
	// Nobody new, nothing to count.
	expect(t, site, "unchanged", add(1, change{"first_name": "Ann", "last_name": "Lee"}))
	require.Equal(t, "1", site.PHP(`echo get_option( 'counted' );`))
	requireClean(t, site)
}

// metaHooks note which rows of meta are reported, and have a say before rows are
// written once an option says so.
const metaHooks = `<?php
add_action( 'added_user_meta', function ( $mid, $user_id, $key, $value ) {
	global $reported;
	$reported[ $user_id ][ $key ] = array( $mid, $value );
}, 10, 4 );
add_action( 'user_register', function ( $user_id ) {
	global $reported, $wpdb;
	$wrong = array();
	foreach ( $wpdb->get_results( $wpdb->prepare( "SELECT umeta_id, meta_key, meta_value FROM $wpdb->usermeta WHERE user_id = %d", $user_id ) ) as $row ) {
		$told = isset( $reported[ $user_id ][ $row->meta_key ] ) ? $reported[ $user_id ][ $row->meta_key ] : array( 0, null );
		if ( (int) $row->umeta_id !== $told[0] || (string) maybe_serialize( $told[1] ) !== $row->meta_value ) {
			$wrong[] = $row->meta_key;
		}
	}
	update_option( 'reported', count( $reported[ $user_id ] ) . ' ' . implode( ',', $wrong ) );
} );
add_filter( 'query', function ( $query ) {
	global $inserts;
	$inserts += preg_match( '/^INSERT INTO .*usermeta/', $query );
	return $query;
} );
add_filter( 'rest_post_dispatch', function ( $response ) {
	global $inserts;
	update_option( 'inserts', (int) $inserts );
	return $response;
} );
if ( get_option( 'have_a_say' ) ) {
	// From WordPress 6.4 on a new user's meta is added, not updated.
	foreach ( array( 'update_user_metadata', 'add_user_metadata' ) as $filter ) {
		add_filter( $filter, function ( $check, $user_id, $key ) {
			return 'company' === $key ? false : $check;
		}, 10, 3 );
	}
	add_action( 'add_user_meta', function ( $user_id, $key ) {
		update_option( 'last_asked', $key );
	}, 10, 2 );
}
`

func TestANewUsersMetaIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"meta-hooks.php": metaHooks}})
	fields := change{"first_name": `Ann "O\Neil"`, "company": "A & B", "list": []string{"x", "y"}, "long": strings.Repeat("é", 30_000)}
	tagged := func(id int, fields change) change {
		c := add(id, fields)
		c["tags"] = []string{"7", "12"}
		return c
	}
	number := func(option string) int {
		t.Helper()
		n, err := strconv.Atoi(strings.Fields(site.PHP(`echo get_option( '` + option + `' );`))[0])
		require.NoError(t, err)
		return n
	}
	check := func(id int, company, long any) {
		t.Helper()
		require.Equal(t, `Ann "O\Neil"`, meta(t, site, id, "first_name"))
		require.Equal(t, company, meta(t, site, id, "company"))
		require.Equal(t, []string{"x", "y"}, meta(t, site, id, "list"))
		require.Equal(t, long, meta(t, site, id, "long"))
	}

	// The capabilities, the level and the mark of the pass come later.
	expect(t, site, "created", tagged(1, fields))
	require.LessOrEqual(t, number("inserts"), 4)
	require.Greater(t, number("reported"), 15)
	require.Empty(t, strings.TrimLeft(site.PHP(`echo get_option( 'reported' );`), "0123456789 "), "reported otherwise than written")
	check(1, "A & B", fields["long"])
	expect(t, site, "unchanged", tagged(1, fields))

	// What a database might refuse as too large, and keys that it takes for one.
	expect(t, site, "created", tagged(2, change{"first_name": "Bo", "company": strings.Repeat("x", 70_000)}))
	require.Greater(t, number("inserts"), 15)
	require.Len(t, meta(t, site, 2, "company"), 70_000)
	expect(t, site, "created", add(3, change{"first_name": "Cy", "FIRST_NAME": "Cyrus"}))
	require.Equal(t, "1", site.PHP(`
global $wpdb;
$user = get_user_by( 'email', '`+email(3)+`' );
echo $wpdb->get_var( $wpdb->prepare( "SELECT COUNT(*) FROM $wpdb->usermeta WHERE user_id = %d AND meta_key = 'first_name'", $user->ID ) );`))

	// Plugins that have a say before a row is written have it for each row.
	site.PHP(`update_option( 'have_a_say', 1 );`)
	got := send(t, site, tagged(4, fields))[0]
	require.Equal(t, "created", got.Outcome, "%+v", got)
	require.Contains(t, got.Notes, "field_kept:company")
	require.Greater(t, number("inserts"), 15)
	require.NotEmpty(t, site.PHP(`echo get_option( 'last_asked' );`))
	check(4, nil, fields["long"])
	requireClean(t, site)
}
