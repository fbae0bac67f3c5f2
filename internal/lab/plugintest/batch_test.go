package plugintest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// mailing is a plugin that sends mails when users register and when they
// change, HTML ones as plugins do, and then throws once if it is told to.
const mailing = `<?php
function mailing_html() {
	return 'text/html';
}
function mailing( $user_id, $subject ) {
	add_filter( 'wp_mail_content_type', 'mailing_html' );
	wp_mail( get_userdata( $user_id )->user_email, $subject, '<b>Hello</b>', array( 'X-Test: 1' ) );
	remove_filter( 'wp_mail_content_type', 'mailing_html' );
}
add_action( 'user_register', function ( $user_id ) {
	mailing( $user_id, 'Please confirm' );
	if ( get_option( 'mailing_throws' ) ) {
		throw new RuntimeException( 'too many mails' );
	}
}, 20 );
add_action( 'updated_user_meta', function ( $meta_id, $user_id, $key ) {
	global $wpdb;
	if ( 'last_name' === $key ) {
		mailing( $user_id, 'You have changed' );
	}
	if ( 'last_name' === $key && get_option( 'mailing_rolls_back' ) && ! did_action( 'mailing_rolled_back' ) ) {
		do_action( 'mailing_rolled_back' );
		$wpdb->query( 'ROLLBACK' );
	}
}, 10, 3 );
// Another connection must see what the mail is about.
add_filter( 'pre_wp_mail', function ( $done, $mail ) {
	static $other = null;
	$other = $other ? $other : new wpdb( DB_USER, DB_PASSWORD, DB_NAME, DB_HOST );
	$known = $other->get_var( $other->prepare( "SELECT m.meta_value FROM wp_users u JOIN wp_usermeta m ON m.user_id = u.ID AND m.meta_key = 'last_name' WHERE user_email = %s", $mail['to'] ) );
	file_put_contents( WP_CONTENT_DIR . '/mails', "{$mail['subject']}: $known, " . apply_filters( 'wp_mail_content_type', 'text/plain' ) . ', ' . implode( '', (array) $mail['headers'] ) . "\n", FILE_APPEND );
	return $done;
}, 5, 2 );
`

func TestMailsOfOtherPluginsLeaveAfterTheCommitAndOnce(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"mailing.php": mailing}})
	mails := func() string {
		t.Helper()
		path := filepath.Join(site.Dir(), "www", "wp-content", "mails")
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return ""
		}
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		return string(content)
	}
	// Nobody hears of a creation without "notify".
	quiet := add(1, change{"last_name": "Lee"})
	expect(t, site, "created", quiet)
	require.Empty(t, mails())

	told := add(2, change{"last_name": "Lee"})
	told["notify"] = true
	site.PHP(`update_option( 'mailing_throws', 1 );`)
	expect(t, site, "failed", told)
	require.Empty(t, mails(), "nothing leaves of what is taken back")
	site.PHP(`delete_option( 'mailing_throws' );`)
	expect(t, site, "created", told)
	sent := strings.Split(mails(), "\n")
	require.Equal(t, "Please confirm: Lee, text/html, X-Test: 1", sent[0])
	require.Len(t, sent, 3, "the login details follow: %q", sent)

	// What is stored a second time is told once.
	site.PHP(`update_option( 'mailing_rolls_back', 1 );`)
	got := send(t, site, update(1, change{"last_name": "Roe"}), update(2, change{"last_name": "Roe"}))
	require.Equal(t, "updated", got[0].Outcome)
	require.Equal(t, "updated", got[1].Outcome)
	require.Equal(t, strings.Repeat("You have changed: Roe, text/html, X-Test: 1\n", 2), mails())
	requireClean(t, site)
}

// newPassword replaces WordPress's login-details mail, as some plugins do, by
// one with a password of its own.
const newPassword = `<?php
function wp_new_user_notification( $user_id, $deprecated = null, $notify = '' ) {
	wp_set_password( 'another one', $user_id );
	wp_mail( get_userdata( $user_id )->user_email, 'Your password', 'another one' );
}
`

func TestLoginMailThatSetsAnotherPasswordIsNoticed(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"new-password.php": newPassword}})
	require.Equal(t, []string{"password_changed"}, expect(t, site, "created", notified()).Notes)
	require.True(t, site.PasswordWorks(email(1), "another one"))
	require.Equal(t, []string{"password_changed"}, expect(t, site, "updated", notified()).Notes)
}

// singleUser is a plugin made for one user in a request: when one is imported
// it says that the request is one to wp-admin, logs the user in, and forgets to
// put things back.
const singleUser = `<?php
add_action( 'wpf_user_imported', function ( $user_id ) {
	define( 'WP_ADMIN', true );
	update_user_meta( $user_id, 'seen_at_import', is_admin() ? 'admin' : 'front' );
	wp_set_current_user( $user_id );
	$_POST['user_id'] = $user_id;
} );
add_action( 'user_register', function ( $user_id ) {
	update_user_meta( $user_id, 'seen', ( is_admin() ? 'admin' : 'front' ) . ' ' . wp_get_current_user()->user_login . ' ' . count( $_POST ) );
} );
add_filter( 'rest_post_dispatch', function ( $response ) {
	update_option( 'seen_after', wp_get_current_user()->user_login . ' ' . (int) isset( $GLOBALS['current_screen'] ) );
	return $response;
} );
`

func TestEachContactFindsWhatTheFirstOneFound(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"single-user.php": singleUser}})
	for i, a := range send(t, site, add(1, nil), add(2, nil), add(3, nil)) {
		require.Equal(t, "created", a.Outcome, "%d: %+v", i, a)
		require.Equal(t, "front spillway 0", meta(t, site, i+1, "seen"))
		require.Equal(t, "admin", meta(t, site, i+1, "seen_at_import"))
	}
	require.Equal(t, "spillway 0", site.PHP(`echo get_option( 'seen_after' );`))
}

// cachedCache is an object cache of a class, as Redis's is; the functions of the
// file that outlives the request are its store.
func cachedCache() string {
	head, functions, _ := strings.Cut(sharedCache, "function wp_cache_init() {}\n")
	methods := strings.ReplaceAll(functions, "function wp_cache_", "public function ")
	methods = strings.NewReplacer("wp_cache_key(", "$this->key(", "wp_cache_set(", "$this->set(", "wp_cache_get(", "$this->get(").Replace(methods)
	wrappers := ""
	for _, name := range []string{"set", "add", "replace", "delete", "flush", "incr", "decr", "close", "add_global_groups", "add_non_persistent_groups", "switch_to_blog"} {
		wrappers += "function wp_cache_" + name + "( ...$a ) { return $GLOBALS['wp_object_cache']->" + name + "( ...$a ); }\n"
	}
	return head + "class WP_Object_Cache {\n" + methods + "}\nfunction wp_cache_init() { $GLOBALS['wp_object_cache'] = new WP_Object_Cache(); }\n" + wrappers +
		"function wp_cache_get( $key, $group = '', $force = false, &$found = null ) { return $GLOBALS['wp_object_cache']->get( $key, $group, $force, $found ); }\n"
}

// rememberer is a plugin that keeps things of users in options and in a group of
// its own of the object cache, and then throws if it is told to.
const rememberer = `<?php
add_action( 'user_register', function ( $user_id ) {
	global $wpdb;
	update_option( 'registered', 1 + (int) get_option( 'registered' ) );
	wp_cache_set( 'last', $wpdb->get_var( 'SELECT MAX(ID) FROM wp_users' ), 'rememberer' );
	if ( 0 === strpos( get_userdata( $user_id )->user_email, 'bad' ) ) {
		throw new RuntimeException( 'no' );
	}
}, 20 );
`

func TestRollbackTakesBackWhatHooksPutIntoASharedCache(t *testing.T) {
	t.Parallel()
	for name, cache := range map[string]string{"Functions": sharedCache, "Class": cachedCache()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"rememberer.php": rememberer, "show.php": `<?php
add_filter( 'rest_index', function ( $response ) {
	global $wpdb;
	$response->data = array( 'cached' => get_option( 'registered' ), 'last' => wp_cache_get( 'last', 'rememberer' ) );
	return $response;
} );`}})
			site.PHP(`update_option( 'registered', '0' );`)
			require.NoError(t, os.WriteFile(filepath.Join(site.Dir(), "www", "wp-content", "object-cache.php"), []byte(cache), 0o644))
			site.StopPHP()
			site.StartPHP()
			expect(t, site, "created", add(1, nil))
			bad := []change{add(2, nil), add(3, nil)}
			bad[0]["email"], bad[1]["email"] = "bad2@example.com", "bad3@example.com"
			for _, a := range send(t, site, bad...) {
				require.Equal(t, "failed", a.Outcome, "%+v", a)
			}
			_, body := site.Get("/wp-json/")
			var shown struct{ Cached, Last any }
			require.NoError(t, json.Unmarshal([]byte(body), &shown))
			require.Equal(t, "1", shown.Cached)
			require.Equal(t, false, shown.Last)
			require.Equal(t, "1", site.PHP(`global $wpdb; echo $wpdb->get_var( "SELECT option_value FROM wp_options WHERE option_name = 'registered'" );`))
			requireClean(t, site)
		})
	}
}

// noLocks makes the database refuse named locks, as some clusters do.
const noLocks = `<?php
add_filter( 'query', function ( $query ) {
	return false !== strpos( $query, 'GET_LOCK' ) && get_option( 'refuse_locks' ) ? 'SELECT no_such_lock()' : $query;
} );
`

func TestDatabaseThatRefusesNamedLocksIsNamed(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"no-locks.php": noLocks}})
	users(t, site, 1, 1)
	site.PHP(`update_option( 'refuse_locks', '1' );`)
	for _, a := range send(t, site, update(1, change{"first_name": "New"}), add(2, nil)) {
		require.Equal(t, "failed", a.Outcome)
		require.Equal(t, "no_locks", a.Error.Code)
		require.False(t, a.Error.Permanent)
		require.Contains(t, a.Error.Message, "GET_LOCK")
	}
	require.Empty(t, site.UsersByEmail(email(2)))
}

// profileHooks count how often a profile is said to be changed.
const profileHooks = `<?php
add_action( 'profile_update', function ( $user_id ) {
	update_user_meta( $user_id, 'profile_updates', 1 + (int) get_user_meta( $user_id, 'profile_updates', true ) );
	update_user_meta( $user_id, 'profile_copy', get_user_meta( $user_id, 'first_name', true ) . ' ' . get_userdata( $user_id )->user_email );
} );
`

func TestCreationChangesNoProfileAfterwards(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"profile-hooks.php": profileHooks}})
	creation := add(1, change{"user_email": "C1@example.com", "display_name": "Ann", "user_url": "https://a.example.com", "user_nicename": "ann-lee"})
	expect(t, site, "created", creation)
	require.Nil(t, meta(t, site, 1, "profile_updates"))
	user := site.UsersByContact("1")[0]
	require.Equal(t, "C1@example.com", user.Email)
	require.Equal(t, "Ann", user.DisplayName)
	require.Equal(t, "https://a.example.com", user.URL)
	require.Equal(t, "ann-lee", user.Nicename)
}

func TestChangeOfANameIsAChangeOfTheProfile(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"profile-hooks.php": profileHooks}})
	users(t, site, 1, 1)
	expect(t, site, "updated", update(1, change{"first_name": "New", "company": "A"}))
	require.Equal(t, "1", meta(t, site, 1, "profile_updates"))
	expect(t, site, "unchanged", update(1, change{"first_name": "New", "company": "A"}))
	expect(t, site, "updated", update(1, change{"first_name": "New", "company": "B"}))
	require.Equal(t, "1", meta(t, site, 1, "profile_updates"), "no part of the profile has changed")
	expect(t, site, "updated", update(1, change{"first_name": "Newer", "display_name": "Newer"}))
	require.Equal(t, "2", meta(t, site, 1, "profile_updates"), "WordPress has said so itself")
	expect(t, site, "updated", update(1, change{"first_name": "Newest", "user_email": "new@example.com"}))
	require.Equal(t, "3", meta(t, site, 1, "profile_updates"))
	require.Equal(t, "Newest new@example.com", meta(t, site, 1, "profile_copy"), "a plugin that keeps a copy takes all of it")
	requireClean(t, site)
}
