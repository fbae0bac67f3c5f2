package plugintest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// The capability of the plugin's own role, or all three of WordPress's that
// were asked for before there was a role.
func TestWhoMayUseTheRoutes(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	for i, test := range []struct {
		capabilities []string
		want         int
	}{
		{[]string{"edit_users", "promote_users"}, http.StatusForbidden},
		{[]string{"create_users", "promote_users"}, http.StatusForbidden},
		{[]string{"create_users", "edit_users"}, http.StatusForbidden},
		{[]string{"create_users", "edit_users", "promote_users"}, http.StatusOK},
		{[]string{"spillway_store_contacts"}, http.StatusOK},
	} {
		login := "user" + strconv.Itoa(i)
		id := site.CreateUser(sitetest.NewUser{Login: login, Email: login + "@example.com", Password: "x", Role: "subscriber"})
		password := site.PHP(`
$user = new WP_User( ` + strconv.FormatInt(id, 10) + ` );
foreach ( explode( ' ', '` + strings.Join(test.capabilities, " ") + `' ) as $cap ) {
	$user->add_cap( $cap );
}
$made = WP_Application_Passwords::create_new_application_password( $user->ID, array( 'name' => 'test' ) );
echo $made[0];`)
		got := request(site, login, password, contactsPath, add(10+i, nil))
		require.Equal(t, test.want, got.status, got.body)
		require.Equal(t, test.want == http.StatusOK, len(site.UsersByEmail(email(10+i))) == 1)

		status, body := call(t, site, http.MethodGet, statusPath, login, password, "")
		require.Equal(t, test.want, status)
		if len(test.capabilities) == 3 {
			require.Contains(t, body, `"rights":{"own":false,"beyond":["create_users","edit_users","promote_users"]}`)
		}
	}
}

func TestLostPasswordOpensNothingElse(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	user, password := site.Credentials()
	for path, body := range map[string]string{
		"/wp-json/wp/v2/users":    `{"username":"eve","email":"eve@example.com","password":"Eve-password-1","roles":["administrator"]}`,
		"/wp-json/wp/v2/users/1":  `{"password":"Eve-password-1"}`,
		"/wp-json/wp/v2/users/me": `{"roles":["administrator"]}`,
		"/wp-json/wp/v2/settings": `{"default_role":"administrator"}`,
	} {
		status, answer := call(t, site, http.MethodPost, path, user, password, body)
		require.Equal(t, http.StatusForbidden, status, "%s: %s", path, answer)
	}
	require.Equal(t, "1", site.PHP(`echo count( get_users( array( 'role' => 'administrator' ) ) );`))
	require.False(t, site.PasswordWorks("admin", "Eve-password-1"))
}

func TestRoleComesWithAnUpdateAndGoesWithThePlugin(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]wptest.Options{"one site": {}, "network": {Multisite: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := wptest.Start(t, options)
			everySite := func(script string) string {
				return site.PHP(`
foreach ( is_multisite() ? get_sites( array( 'fields' => 'ids' ) ) : array( 1 ) as $id ) {
	is_multisite() && switch_to_blog( $id );
	` + script + `
	is_multisite() && restore_current_blog();
}`)
			}
			const role = `echo wp_json_encode( get_role( 'spillway' ) ? get_role( 'spillway' )->capabilities : null ), ' ';`
			const complete = `{"read":true,"spillway_store_contacts":true} `
			sites := 1
			if options.Multisite {
				sites = 3
				site.PHP(`wpmu_create_blog( parse_url( home_url(), PHP_URL_HOST ) . ':' . parse_url( home_url(), PHP_URL_PORT ), '/third/', 'Third', 1 );`)
			}
			require.Equal(t, strings.Repeat(complete, sites), everySite(role), "a site that is added gets the role, too")

			// An update runs no activation hook. Older versions had people make the role.
			everySite(`remove_role( 'spillway' ); delete_option( 'spillway_connector_version' );`)
			site.PHP(`add_role( 'spillway', 'Ours', array( 'read' => true, 'create_users' => true ) );`)
			site.Get("/hello-world/")
			require.Contains(t, site.PHP(role), `{"read":true,"create_users":true,"spillway_store_contacts":true}`)

			// A thousand rows go at a time.
			site.PHP(`
global $wpdb;
add_user_meta( 1, 'spillwayed', 'somebody else\'s' );
update_option( 'spillway_connector_last_batch', array( 'at' => 1 ), false );
get_role( 'subscriber' )->add_cap( 'spillway_store_contacts' );
for ( $i = 0; $i < 25; $i++ ) {
	$wpdb->query( "INSERT INTO $wpdb->usermeta (user_id, meta_key, meta_value) VALUES " . implode( ',', array_fill( 0, 100, "(1, 'spillway_mark', 'x')" ) ) );
}
define( 'WP_UNINSTALL_PLUGIN', 'spillway-connector/spillway-connector.php' );
require WP_PLUGIN_DIR . '/spillway-connector/uninstall.php';`)
			require.Equal(t, strings.Repeat("null ", sites), everySite(role))
			require.Equal(t, "0", site.PHP(`global $wpdb; echo $wpdb->get_var( "SELECT COUNT(*) FROM $wpdb->usermeta WHERE meta_key LIKE 'spillway\_%'" );`))
			require.Equal(t, strings.Repeat("0", sites), everySite(`echo $GLOBALS['wpdb']->get_var( "SELECT COUNT(*) FROM {$GLOBALS['wpdb']->options} WHERE option_name LIKE 'spillway%'" );`))
			require.Equal(t, "somebody else's", site.PHP(`echo get_user_meta( 1, 'spillwayed', true );`))
			require.Empty(t, site.PHP(`
$user = get_user_by( 'login', 'spillway' );
echo implode( ',', $user->roles ), implode( ',', array_keys( $user->caps ) ), user_can( $user, 'spillway_store_contacts' ), get_role( 'subscriber' )->has_cap( 'spillway_store_contacts' );`))
		})
	}
}

func TestBrokenBodyTellsAStrangerNothing(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	require.JSONEq(t, `[401, "spillway_no_credentials", 400, "spillway_bad_request"]`, site.PHP(`
$request = new WP_REST_Request( 'POST', '/spillway/v1/contacts' );
$request->set_header( 'Content-Type', 'application/json' );
$request->set_body( '{"contacts": [' );
wp_set_current_user( 0 );
$stranger = rest_do_request( $request );
wp_set_current_user( get_user_by( 'login', 'spillway' )->ID );
$known = rest_do_request( $request );
echo wp_json_encode( array( $stranger->get_status(), $stranger->get_data()['code'], $known->get_status(), $known->get_data()['code'] ) );`))
}

func TestUserOfSpillwayItselfKeepsEmailPasswordAndRole(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	own := site.PHP(`echo get_user_by( 'login', 'spillway' )->user_email;`)
	contact := add(1, change{"user_email": "taken-over@example.com", "first_name": "Ann"})
	contact["email"], contact["role"], contact["user_pass"] = own, "customer", "Taken-over-1"
	got := expect(t, site, "updated", contact)
	require.Equal(t, []string{"role_kept", "email_kept"}, got.Notes)
	user := site.UsersByContact("1")[0]
	require.Equal(t, own, user.Email)
	require.Equal(t, []string{"spillway"}, user.Roles)
	require.False(t, site.PasswordWorks("spillway", "Taken-over-1"))
	require.Equal(t, "Ann", user.Meta["first_name"])
}

func TestUnconfirmedUserWhoBecameAdministratorKeepsThePassword(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	creation := add(1, nil)
	creation["request_id"], creation["user_pass"], creation["generated_pass"] = "r1", "First-pass-1", true
	id := expect(t, site, "created", creation).UserID
	site.PHP(`get_userdata( ` + strconv.FormatInt(id, 10) + ` )->set_role( 'administrator' );`)
	creation["request_id"], creation["user_pass"] = "r2", "Second-pass-2"
	expect(t, site, "updated", creation)
	require.True(t, site.PasswordWorks(email(1), "First-pass-1"))
}

func TestPrivateTextsOfPasswordsLogInThroughTheForm(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	const password = `it's "a" \ backslash`
	contact := add(1, nil)
	contact["user_pass"] = password
	expect(t, site, "created", contact)
	require.True(t, site.Login(email(1), password))
	expect(t, site, "unchanged", contact)
	contact["user_pass"] = password + `\`
	expect(t, site, "updated", contact)
	require.True(t, site.Login(email(1), password+`\`))
	require.False(t, site.Login(email(1), password))
}

func TestFieldThatNamesCapabilitiesWithAnAccentIsNotWritten(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	users(t, site, 1, 1)
	fields := change{}
	// The database's collation holds each of them for a protected key.
	for _, key := range []string{"wp_cápabilities", "WP_CAPABILITIES", "wp_capabilities ", "ẃp_capabilities", "wp_user_levél", "séssion_tokens", "pulsetech_contact_id", "Pulsetech_Tags"} {
		fields[key] = "a:1:{s:13:\"administrator\";b:1;}"
	}
	expect(t, site, "unchanged", update(1, fields))
	require.Equal(t, []string{"subscriber"}, site.UsersByContact("1")[0].Roles)
}

func TestNetworkOfSites(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true})
	user, password := site.Credentials()
	const second = "/second" + contactsPath
	sendSecond := func(contact change) answer {
		got := request(site, user, password, second, contact)
		require.NoError(t, got.err)
		require.Len(t, got.answers, 1, got.body)
		return got.answers[0]
	}
	rolesOn := func(blog int, id int64) []string {
		var roles []string
		require.NoError(t, json.Unmarshal([]byte(site.PHP(`
switch_to_blog( `+strconv.Itoa(blog)+` );
echo wp_json_encode( array_values( get_userdata( `+strconv.FormatInt(id, 10)+` )->roles ) );`)), &roles))
		return roles
	}

	first := add(1, change{"first_name": "Ann"})
	first["role"] = "customer"
	id := expect(t, site, "created", first).UserID
	require.Equal(t, []string{"customer"}, rolesOn(1, id))
	require.Empty(t, rolesOn(2, id))

	// An update finds the user of the network by the address, since each site has
	// contact ids of its own, and joins nothing.
	found := update(1, change{"first_name": "Ann"})
	require.Equal(t, "skipped", sendSecond(found).Outcome)
	found["email"] = email(1)
	require.Equal(t, "updated", sendSecond(found).Outcome)
	require.Equal(t, "unchanged", sendSecond(found).Outcome)
	require.Empty(t, rolesOn(2, id))
	// An add joins, with the role asked for, and leaves the other site alone.
	join := add(1, change{"first_name": "Ann"})
	join["role"] = "subscriber"
	got := sendSecond(join)
	require.Equal(t, "updated", got.Outcome, "%+v", got)
	require.Equal(t, id, got.UserID)
	require.Equal(t, []string{"subscriber"}, rolesOn(2, id))
	require.Equal(t, []string{"customer"}, rolesOn(1, id))
	require.Equal(t, "unchanged", sendSecond(join).Outcome)

	// A user who is created on the second site belongs to it alone.
	other := sendSecond(add(2, nil))
	require.Equal(t, "created", other.Outcome, "%+v", other)
	require.Empty(t, rolesOn(1, other.UserID))
	require.Equal(t, []string{"subscriber"}, rolesOn(2, other.UserID))

	// A super admin joins, too, but keeps email and password.
	admin := site.PHP(`$id = get_user_by( 'login', get_super_admins()[0] )->ID; echo get_userdata( $id )->user_email;`)
	contact := add(3, change{"user_email": "taken-over@example.com"})
	contact["email"], contact["user_pass"] = admin, "Taken-over-1"
	got = sendSecond(contact)
	require.Equal(t, "updated", got.Outcome, "%+v", got)
	require.Len(t, site.UsersByEmail(admin), 1)
	require.False(t, site.PasswordWorks(got.UserLogin, "Taken-over-1"))
	requireClean(t, site)
}
