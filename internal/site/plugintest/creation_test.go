package plugintest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/site/wptest"
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
	// What was written so far is to be read, and may be changed.
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
