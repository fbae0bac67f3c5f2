package plugintest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
	"spillway/internal/operate/connect"
	"spillway/internal/site"
)

// press presses a button of Tools » Spillway and returns what is then shown.
// fields are those of the form beside the nonce.
func press(site *wptest.Site, user, action, fields string) string {
	return asAdmin(site, `
wp_set_current_user( get_user_by( 'login', '`+user+`' )->ID );
$_SERVER['REQUEST_METHOD'] = 'POST';
$_POST = array( 'spillway_action' => '`+action+`', `+fields+` );
$_REQUEST = array( '_wpnonce' => wp_create_nonce( 'spillway-`+action+`' ) );
Spillway_Connector_Admin::page();`)
}

// codeIn takes the code out of the page.
func codeIn(t *testing.T, page string) connect.Code {
	t.Helper()
	_, after, found := strings.Cut(page, `<textarea id="spillway-connection-code"`)
	require.True(t, found, page)
	_, after, _ = strings.Cut(after, ">")
	shown, _, _ := strings.Cut(after, "</textarea>")
	code, err := connect.ParseCode(shown)
	require.NoError(t, err)
	return code
}

func exchange(t *testing.T, code connect.Code, dry bool) (site.Connection, error) {
	t.Helper()
	return site.Connect(t.Context(), site.Exchange{URL: code.Site, Secret: code.Secret, DryRun: dry})
}

func TestConnectMakesAUserThatCanDoNothingElse(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{Plugins: map[string]string{
		// WP Fusion makes a contact of a new user unless this filter returns null.
		"register.php": `<?php add_action( 'user_register', function ( $id ) {
	update_option( 'registered', wp_json_encode( apply_filters( 'wpf_user_register', array( 'user_login' => 'x' ), $id ) ) ); } );`,
	}})
	// Somebody's account has the name that Connect would take.
	wp.PHP(`get_user_by( 'login', 'spillway' )->set_role( 'editor' );`)
	page := press(wp, "admin", "connect", "")
	require.Equal(t, "null", wp.PHP(`echo get_option( 'registered' );`))
	given, err := exchange(t, codeIn(t, page), false)
	require.NoError(t, err)
	require.Equal(t, "spillway-2", given.User)
	require.NoError(t, status(t, wp, func(o *site.Options) { o.User, o.AppPassword = given.User, given.Password }))
	require.JSONEq(t, `[["spillway"],""]`, wp.PHP(`$user = get_user_by( 'login', 'spillway-2' ); echo wp_json_encode( array( $user->roles, $user->user_email ) );`))

	// A user with the role and a right of its own beside it is not used.
	wp.PHP(`
$id = wp_insert_user( array( 'user_login' => 'aide', 'user_pass' => 'x', 'role' => 'spillway' ) );
get_user_by( 'id', $id )->add_cap( 'manage_options' );
update_option( 'spillway_connector_user', $id );`)

	// The same user serves the next code.
	again, err := exchange(t, codeIn(t, press(wp, "admin", "connect", "")), false)
	require.NoError(t, err)
	require.Equal(t, given.User, again.User)
	require.NoError(t, status(t, wp, func(o *site.Options) { o.User, o.AppPassword = given.User, given.Password }))
	requireClean(t, wp)
}

func TestCodeIsShownOnceAndKeptAsADigest(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	code := codeIn(t, press(wp, "admin", "connect", ""))
	require.NotContains(t, asAdmin(wp, `Spillway_Connector_Admin::page();`), "spillway-connection-code")
	stored := wp.PHP(`global $wpdb; echo implode( ' ', $wpdb->get_col( "SELECT option_value FROM $wpdb->options" ) );`)
	require.NotContains(t, stored, code.Secret)
	require.Contains(t, stored, "digest")
	require.Contains(t, asAdmin(wp, `Spillway_Connector_Admin::page();`), "A connection code waits to be used")
}

func TestDisconnectRevokesWhatSpillwayGot(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	given, err := exchange(t, codeIn(t, press(wp, "admin", "connect", "")), false)
	require.NoError(t, err)
	with := func(o *site.Options) { o.User, o.AppPassword = given.User, given.Password }
	require.NoError(t, status(t, wp, with))
	unused := codeIn(t, press(wp, "admin", "connect", ""))

	require.Contains(t, press(wp, "admin", "disconnect", ""), "Disconnected")
	requireHindered(t, "wrong_password", status(t, wp, with))
	_, err = exchange(t, unused, false)
	require.ErrorIs(t, err, site.ErrCodeRefused)
	require.Contains(t, asAdmin(wp, `Spillway_Connector_Admin::page();`), "Spillway is not connected.")
	requireClean(t, wp)
}

func TestNobodyElseConnects(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	for _, action := range []string{"connect", "disconnect"} {
		require.Empty(t, press(wp, "weak", action, ""), "a subscriber")
		require.Equal(t, "died", asAdmin(wp, `
add_filter( 'wp_die_handler', function () { return function () { throw new Exception( 'died' ); }; } );
$_POST = array( 'spillway_action' => '`+action+`' );
$_REQUEST = array( '_wpnonce' => wp_create_nonce( 'something else' ) );
ob_start();
try { Spillway_Connector_Admin::page(); } catch ( Exception $e ) { ob_end_clean(); echo $e->getMessage(); }`), "no nonce")
	}
	code := codeIn(t, press(wp, "admin", "connect", ""))
	wp.PHP(`get_user_by( 'login', 'admin' )->set_role( 'subscriber' );`)
	_, err := exchange(t, code, true)
	require.ErrorIs(t, err, site.ErrCodeRefused, "who made it may not manage the site any more")
	wp.PHP(`get_user_by( 'login', 'admin' )->set_role( 'administrator' );`)
	_, err = exchange(t, code, true)
	require.ErrorIs(t, err, site.ErrCodeRefused, "it does not come back")
}

// Debian's nginx speaks plain HTTP here: what comes from elsewhere has no TLS.
func TestCodeDoesNotTravelInPlainText(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{NginxServer: behind(`fastcgi_param REMOTE_ADDR $http_x_from;`)})
	code := codeIn(t, press(wp, "admin", "connect", ""))
	_, err := exchange(t, code, true)
	require.ErrorIs(t, err, site.ErrCodeRefused)
	require.Equal(t, "gone", wp.PHP(`echo get_option( 'spillway_connector_code' ) ? 'there' : 'gone';`), "others may have read it")

	require.Contains(t, asAdmin(wp, `$_SERVER['REMOTE_ADDR'] = '192.0.2.7'; Spillway_Connector_Admin::page();`), "WordPress does not see HTTPS")
	require.NotContains(t, press(wp, "admin", "connect", "); $_SERVER['REMOTE_ADDR'] = '192.0.2.7'; array("), "spillway-connection-code")
	requireClean(t, wp)
}

const fusionSettings = `
update_option( 'wpf_options', array(
	'crm' => 'pulsetech', 'connection_configured' => true, 'access_key' => 'abcd1234', 'license_key' => 'a-license',
	'pulsetech_url' => 'https://app.acme.thepulsespot.com/', 'pulsetech_token' => 'a-token', 'pulsetech_client_id' => 'an-id',
	'pulsetech_secret' => 'a-secret', 'pulsetech_refresh_token' => 'a-refresh-token',
	'return_password' => '1', 'return_password_field' => array( 'crm_field' => 'wp_password' ), 'send_welcome_email' => 1, 'username_format' => 'flname',
	'site_url' => substr_replace( get_site_url(), '_[wpf_siteurl]_', 12, 0 ),
	'contact_fields' => array(
		'user_email' => array( 'active' => true, 'type' => 'text', 'crm_field' => 'email' ),
		'first_name' => array( 'active' => '1', 'type' => 'text', 'crm_field' => 'first_name' ),
		'last_name'  => array( 'type' => 'text', 'crm_field' => 'last_name' ),
		'nickname'   => array( 'active' => true, 'type' => 'text', 'crm_field' => false ),
		'user_id'    => array( 'active' => true, 'type' => 'int', 'crm_field' => 'wp_id', 'pseudo' => '1' ),
	),
) );
update_option( 'wpf_import_groups', array( 1700000000 => array( 'params' => new stdClass(), 'role' => 'customer' ), 1700000001 => array( 'role' => 'nobody' ) ) );`

func TestWPFusionsSettingsAreHandedOver(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]string{"today's shapes": "", "before 3.38": `update_option( 'wpf_stub_packed', 1 );`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wp := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{
				"override.php": `<?php add_filter( 'wpf_get_setting_username_format', function () { return 'fnamenum'; } );`,
			}})
			wp.PHP(fusionSettings + old)
			before := wp.PHP(`echo md5( serialize( get_option( 'wpf_options' ) ) );`)
			given, err := exchange(t, codeIn(t, press(wp, "admin", "connect", "")), false)
			require.NoError(t, err)
			require.Nil(t, given.Fusion, "the box is not ticked")

			code := codeIn(t, press(wp, "admin", "connect", `'spillway_fusion' => '1'`))
			masked, err := exchange(t, code, true)
			require.NoError(t, err)
			require.Equal(t, map[string]string{
				"access_key": "********", "pulsetech_client_id": "*****", "pulsetech_secret": "********",
				"pulsetech_token": "*******", "pulsetech_refresh_token": "***************",
			}, masked.Fusion.Secrets)
			given, err = exchange(t, code, false)
			require.NoError(t, err)
			require.Equal(t, "abcd1234", given.Fusion.Secrets["access_key"])
			require.NotContains(t, given.Fusion.Secrets, "license_key")
			require.NotContains(t, given.Fusion.Settings, "license_key")
			require.Equal(t, "fnamenum", given.Fusion.Settings["username_format"], "filters count")
			require.Equal(t, []string{"customer"}, given.Fusion.ImportRoles)
			require.Equal(t, "3.42.0", given.Fusion.Version)
			require.Equal(t, "pulsetech_contact_id", given.Fusion.ContactIDKey)
			require.Equal(t, before, wp.PHP(`echo md5( serialize( get_option( 'wpf_options' ) ) );`), "nothing is changed")

			text := connect.NewPlan(given, connect.Options{Site: code.Site, Given: func(string) bool { return false }}).Text(false)
			for _, line := range []string{
				"SPILLWAY_ACCESS_KEYS=abcd1234", "SPILLWAY_CRM_URL=https://app.acme.thepulsespot.com", "SPILLWAY_CRM_TOKEN=a-token",
				"SPILLWAY_FIELDS=user_email=email,first_name=first_name", "SPILLWAY_RETURN_PASSWORD_FIELD=wp_password",
				"SPILLWAY_RETURN_FIELDS=user_id=wp_id", "SPILLWAY_NOTIFY=always", "SPILLWAY_LOGIN=fnamenum",
			} {
				require.Contains(t, text, "\n"+line+"\n")
			}
			requireClean(t, wp)
		})
	}
}

func TestSettingsOfACopyAndOfAnotherCRMAreNotHandedOver(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{WPFusion: true})
	set := func(key, value string) string {
		return `$options = get_option( 'wpf_options' ); $options['` + key + `'] = ` + value + `; update_option( 'wpf_options', $options );`
	}
	for _, c := range []struct{ change, says string }{
		{set("site_url", `'https://live_[wpf_siteurl]_.example.com'`), "staging mode"},
		{set("staging_mode", "true"), "staging mode"},
		{set("crm", "'activecampaign'"), "activecampaign"},
		{set("connection_configured", "false"), "not connected to a CRM"},
	} {
		wp.PHP(fusionSettings)
		code := codeIn(t, press(wp, "admin", "connect", `'spillway_fusion' => '1'`))
		wp.PHP(c.change) // The box cannot be ticked any more, but the code was made.
		passwords := wp.PHP(`echo count( Spillway_Connector_Connection::passwords() );`)
		_, err := exchange(t, code, false)
		require.ErrorContains(t, err, c.says)
		require.NotErrorIs(t, err, site.ErrCodeRefused)
		require.Equal(t, passwords, wp.PHP(`echo count( Spillway_Connector_Connection::passwords() );`), "nothing is made")
		require.Contains(t, asAdmin(wp, `Spillway_Connector_Admin::page();`), c.says)

		bare := codeIn(t, press(wp, "admin", "connect", `'spillway_fusion' => '1'`))
		given, err := exchange(t, bare, true)
		require.NoError(t, err)
		require.Nil(t, given.Fusion)
	}
	requireClean(t, wp)
}

func TestSitesOfANetworkConnectByThemselves(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{Multisite: true})
	var passwords []site.Connection
	for _, blog := range []string{"1", "2"} {
		page := asAdmin(wp, `
switch_to_blog( `+blog+` );
wp_set_current_user( 1 );
$_POST = array( 'spillway_action' => 'connect' );
$_REQUEST = array( '_wpnonce' => wp_create_nonce( 'spillway-connect' ) );
Spillway_Connector_Admin::page();
restore_current_blog();`)
		code := codeIn(t, page)
		require.Equal(t, blog == "2", strings.HasSuffix(code.Site, "/second"), code.Site)
		given, err := exchange(t, code, false)
		require.NoError(t, err)
		require.NoError(t, status(t, wp, func(o *site.Options) { o.URL, o.User, o.AppPassword = code.Site, given.User, given.Password }))
		passwords = append(passwords, given)
	}
	require.NotEqual(t, passwords[0].Password, passwords[1].Password)
	requireClean(t, wp)
}

func TestUninstallingRevokesTheConnection(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	_, err := exchange(t, codeIn(t, press(wp, "admin", "connect", "")), false)
	require.NoError(t, err)
	press(wp, "admin", "connect", "")
	require.Equal(t, "0 0", wp.PHP(`
$user = Spillway_Connector_Connection::user()->ID;
define( 'WP_UNINSTALL_PLUGIN', 'spillway-connector/spillway-connector.php' );
require WP_PLUGIN_DIR . '/spillway-connector/uninstall.php';
echo count( WP_Application_Passwords::get_user_application_passwords( $user ) ), ' ', (int) (bool) get_option( 'spillway_connector_code' );`))
}
