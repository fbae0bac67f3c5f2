package plugintest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// checks counts how often passwords of contacts' users are compared.
const checks = `<?php
add_filter( 'check_password', function ( $right, $password, $hash, $user_id ) {
	if ( $user_id && 'spillway' !== get_userdata( $user_id )->user_login ) {
		update_option( 'checks', 1 + (int) get_option( 'checks' ) );
	}
	return $right;
}, 10, 4 );
`

func TestPasswordIsComparedWhenItOrTheUsersHasChanged(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"checks.php": checks}})
	users(t, site, 1, 1)
	pass := func(outcome string, contact change, password, compared string) {
		t.Helper()
		site.PHP(`update_option( 'checks', 0 );`)
		contact["user_pass"] = password
		expect(t, site, outcome, contact)
		require.Equal(t, compared, site.PHP(`wp_cache_flush(); echo get_option( 'checks' );`))
	}
	pass("unchanged", update(1, nil), "old-Pass-1", "1")
	pass("unchanged", update(1, nil), "old-Pass-1", "0")
	pass("unchanged", add(1, nil), "old-Pass-1", "0")
	pass("updated", update(1, nil), "new-Pass-2", "1")
	pass("unchanged", update(1, nil), "new-Pass-2", "0")
	require.True(t, site.PasswordWorks("user1", "new-Pass-2"))

	// The password in the CRM logs in, whoever has changed the site's.
	site.SetPassword(site.UsersByContact("1")[0].ID, "chosen-Pass-3")
	pass("updated", update(1, nil), "new-Pass-2", "1")
	require.True(t, site.PasswordWorks("user1", "new-Pass-2"))

	pass("created", add(2, nil), "given-Pass-4", "0")
	pass("unchanged", update(2, nil), "given-Pass-4", "0")
	require.NotContains(t, meta(t, site, 2, "spillway_pass_seen"), "given")

	got := expect(t, site, "unchanged", update(2, change{"spillway_pass_seen": "x"}))
	require.Equal(t, []string{"field_refused:spillway_pass_seen"}, got.Notes)
	requireClean(t, site)
}

func TestGeneratedPasswordIsHashedCheaplyUntilItsFirstLogin(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	const generated = "made-of-twenty-letter"
	made, chosen := add(1, nil), add(2, nil)
	made["user_pass"], made["generated_pass"], made["request_id"] = generated, true, "r1"
	chosen["user_pass"] = generated
	expect(t, site, "created", made)
	expect(t, site, "created", chosen)
	hash := func(id int) string {
		return site.PHP(`echo get_user_by( 'email', '` + email(id) + `' )->user_pass;`)
	}
	const cheap = "$wp$2y$04$"
	if site.PHP(`echo version_compare( get_bloginfo( 'version' ), '6.8', '<' ) ? 'old' : 'new';`) == "old" {
		// WordPress's hash had one cost then, which is low.
		require.Regexp(t, `^\$P\$B`, hash(1))
	} else {
		require.Contains(t, hash(1), cheap)
		require.Regexp(t, `^\$wp\$2y\$1`, hash(2), "a password that a person chose")
	}
	require.True(t, site.PasswordWorks(email(1), generated))
	require.True(t, site.Login(email(1), generated))
	require.NotContains(t, hash(1), cheap)
	require.True(t, site.PasswordWorks(email(1), generated))
	requireClean(t, site)
}
