package plugintest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// ending is a plugin that ends the request when a user with a certain first
// name registers or is updated.
const ending = `<?php
function ending( $user_id ) {
	switch ( get_user_meta( $user_id, 'ending', true ) ) {
		case 'redirect':
			wp_redirect( 'https://elsewhere.example.com/welcome?who=' . $user_id );
			exit;
		case 'die':
			wp_die( 'Registration is closed.' );
		case 'location':
			header( 'Location: https://elsewhere.example.com/welcome' );
			exit;
		case 'exit':
			exit;
		case 'json':
			wp_send_json( array( 'ok' => true ) );
		case 'memory':
			str_repeat( 'x', PHP_INT_MAX >> 20 );
			break;
		case 'delete':
			require_once ABSPATH . 'wp-admin/includes/user.php';
			wp_delete_user( $user_id );
			break;
	}
}
add_action( 'user_register', 'ending', 99 );
add_action( 'updated_user_meta', function ( $meta_id, $user_id, $key ) {
	if ( 'motto' === $key ) {
		ending( $user_id );
	}
}, 10, 3 );
add_action( 'shutdown', function () {
	update_option( 'shut_down', 'yes' );
} );
`

func TestHookThatRedirectsDiesOrDeletesFailsItsContactAlone(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"ending.php": ending}})
	for i, c := range []struct{ what, message string }{
		{"redirect", "A plugin redirects while this user is stored (to host elsewhere.example.com), ending.php:5."},
		{"die", "A plugin calls wp_die() while this user is stored, ending.php:8."},
		{"delete", "A plugin deleted the user while it was stored; the contact was left out."},
	} {
		t.Run(c.what, func(t *testing.T) {
			base := 100 * (i + 1)
			users(t, site, base, 3)
			changed := update(base+1, change{"ending": c.what, "motto": "New"})
			site.PHP(`update_user_meta( get_user_by( 'email', '` + email(base+1) + `' )->ID, 'motto', 'Old' );`)
			got := send(t, site,
				update(base, change{"first_name": "New"}), changed, update(base+2, change{"first_name": "New"}),
				add(base+3, change{"first_name": "New"}), add(base+4, change{"ending": c.what}), add(base+5, change{"first_name": "New"}),
			)
			for j, a := range got {
				if j != 1 && j != 4 {
					require.Contains(t, []string{"updated", "created"}, a.Outcome, "%d: %+v", j, a)
					require.Equal(t, "New", meta(t, site, base+j, "first_name"))
					continue
				}
				require.Equal(t, "failed", a.Outcome, "%d: %+v", j, a)
				require.Equal(t, "refused", a.Error.Code)
				require.True(t, a.Error.Permanent)
				require.Equal(t, c.message, a.Error.Message)
			}
			require.Equal(t, "Old", meta(t, site, base+1, "motto"), "nothing of it is stored")
			require.Empty(t, site.UsersByEmail(email(base+4)))
		})
	}
	requireClean(t, site)
}

func TestRequestThatAHookEndsNamesThePlace(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"ending.php": ending}})
	for i, c := range []struct{ what, message string }{
		{"location", "A plugin redirects while this user is stored (to host elsewhere.example.com), in the hook user_register (ending.php:2)."},
		{"exit", "A plugin ends the request while this user is stored, in the hook user_register (ending.php:2)."},
		{"json", "A plugin ends the request while this user is stored, in the hook user_register (ending.php:2)."},
		{"memory", "PHP dies at ending.php:17 (Allowed memory size of "},
	} {
		t.Run(c.what, func(t *testing.T) {
			base := 100 * (i + 1)
			site.PHP(`delete_option( 'shut_down' );`)
			got := <-sendLater(site, add(base, nil), add(base+1, change{"ending": c.what}), add(base+2, nil))
			require.NoError(t, got.err)
			require.Equal(t, http.StatusInternalServerError, got.status, got.body)
			require.Contains(t, got.body, c.message)
			require.Len(t, site.UsersByEmail(email(base)), 1)
			require.Empty(t, site.UsersByEmail(email(base+1)))
			require.Equal(t, "yes", site.PHP(`echo get_option( 'shut_down' );`), "what others write at the end is kept")
		})
	}
}

func TestHookThatThrowsBeforeAnythingIsStoredFailsItsContactAlone(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"rights.php": `<?php
add_filter( 'user_has_cap', function ( $all, $asked, $arguments, $user ) {
	if ( 'c2@example.com' === $user->user_email ) {
		throw new RuntimeException( 'no' );
	}
	return $all;
}, 10, 4 );`}})
	users(t, site, 1, 3)
	other := add(12, change{"first_name": "New"})
	other["email"] = email(2)
	got := send(t, site, update(1, change{"first_name": "New"}), other, update(3, change{"first_name": "New"}))
	require.Equal(t, "updated", got[0].Outcome, "%+v", got[0])
	require.Equal(t, "exception", got[1].Error.Code, "%+v", got[1])
	require.Equal(t, "updated", got[2].Outcome, "%+v", got[2])
}

// lookups is a plugin whose filters end the request, or throw, while a contact is
// read or its user is looked for.
const lookups = `<?php
function lookups( $value, $text ) {
	if ( false !== strpos( $text, 'die' ) ) {
		wp_die( 'Not with this text.' );
	}
	if ( false !== strpos( $text, 'redirect' ) ) {
		wp_redirect( 'https://elsewhere.example.com/' );
		exit;
	}
	if ( false !== strpos( $text, 'throw' ) ) {
		throw new RuntimeException( 'no' );
	}
	return $value;
}
add_filter( 'validate_username', 'lookups', 10, 2 );
add_filter( 'pre_user_description', function ( $text ) {
	return lookups( $text, $text );
} );
add_filter( 'wpf_get_user_id', 'lookups', 10, 2 );
`

func TestFilterThatEndsOrThrowsInALookUpFailsItsContactAlone(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]wptest.Options{"Alone": {}, "BesideWPFusion": {WPFusion: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options.Plugins = map[string]string{"lookups.php": lookups}
			site := wptest.Start(t, options)
			users(t, site, 1, 2)
			for i, c := range []struct{ what, code string }{{"die", "refused"}, {"redirect", "refused"}, {"throw", "exception"}} {
				bad := add(10+i, change{"first_name": "New"})
				bad["user_login"] = "ann" + c.what
				if options.WPFusion {
					bad["user_login"], bad["contact_id"] = "ann", c.what
				}
				got := send(t, site, update(1, change{"round": c.what}), bad, update(2, change{"round": c.what}))
				require.Equal(t, "updated", got[0].Outcome, "%+v", got)
				require.Equal(t, c.code, got[1].Error.Code, "%+v", got)
				require.Equal(t, "updated", got[2].Outcome, "%+v", got)
				require.Empty(t, site.UsersByEmail(email(10+i)))
				if options.WPFusion {
					continue // It cleans the field itself.
				}
				got = send(t, site, update(1, change{"description": "about " + c.what}), update(2, change{"description": "about " + c.what + "s"}), add(20+i, nil))
				require.Equal(t, c.code, got[0].Error.Code, "%+v", got)
				require.Equal(t, c.code, got[1].Error.Code, "%+v", got)
				require.Equal(t, "created", got[2].Outcome, "%+v", got)
			}
			requireClean(t, site)
		})
	}
}
