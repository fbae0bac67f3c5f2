package plugintest

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// asAdmin runs a script as an administrator on a page of wp-admin.
func asAdmin(site *wptest.Site, script string) string {
	return site.PHP(`
define( 'WP_ADMIN', true );
require_once ABSPATH . 'wp-admin/includes/admin.php';
wp_set_current_user( 1 );
` + script)
}

// What wp-admin shows: Tools » Spillway, Site Health, the list of plugins.
func TestAdministratorSeesWhetherSpillwayComes(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"security.php": `<?php
add_filter( 'wp_is_application_passwords_available', function ( $available ) { return $available && ! get_option( 'security' ); } );`}})
	const page = `
global $submenu;
do_action( 'admin_menu', '' );
echo isset( $submenu['tools.php'] ) && in_array( 'spillway', array_column( $submenu['tools.php'], 2 ), true ) ? 'in the menu ' : 'not in the menu ';
ob_start();
do_action( get_plugin_page_hookname( 'spillway', 'tools.php' ) );
echo wp_strip_all_tags( ob_get_clean() );`
	const health = `
$test = apply_filters( 'site_status_tests', array( 'direct' => array(), 'async' => array() ) )['direct']['spillway_connector'];
$result = call_user_func( $test['test'] );
$info = apply_filters( 'debug_information', array() )['spillway-connector']['fields'];
echo $result['status'], ': ', $result['label'], '; ', wp_strip_all_tags( $result['description'] ), '; ', $info['last_batch']['value'], '; ', $info['users']['value'], $info['locks']['value'], $info['transactions']['value'];`

	shown := asAdmin(site, page)
	require.Contains(t, shown, "in the menu Spillway")
	require.Contains(t, shown, "Nothing that this site can see.")
	require.Contains(t, shown, "Spillway has not stored any contact yet.")

	failing := add(2, nil)
	failing["email"] = ""
	got := send(t, site, add(1, nil), failing)
	require.Equal(t, "created", got[0].Outcome)
	require.Equal(t, "failed", got[1].Outcome)
	require.Contains(t, asAdmin(site, page), "with 2 contacts; 1 failed, 0 were put off.")
	told := asAdmin(site, health)
	require.Contains(t, told, "good: Spillway can store contacts on this site")
	require.Contains(t, told, "with 2 contacts; 1 failed")
	require.Contains(t, told, "; 1YesYes")

	site.PHP(`
update_option( 'security', 1 );
get_user_by( 'login', 'spillway' )->set_role( 'subscriber' );
$GLOBALS['wpdb']->query( 'ALTER TABLE ' . $GLOBALS['wpdb']->usermeta . ' ENGINE=MyISAM' );`)
	for _, told := range []string{asAdmin(site, page), asAdmin(site, health)} {
		require.Contains(t, told, "Application passwords are switched off.")
		require.Contains(t, told, "No user has the role Spillway.")
		require.Contains(t, told, "are not InnoDB")
	}
	require.Contains(t, asAdmin(site, health), "recommended: Something on this site hinders Spillway")

	require.Contains(t, asAdmin(site, `echo implode( apply_filters( 'plugin_action_links_spillway-connector/spillway-connector.php', array() ) );`), "tools.php?page=spillway")
	// Nobody else sees the page.
	require.Empty(t, site.PHP(`wp_set_current_user( get_user_by( 'login', 'weak' )->ID ); Spillway_Connector_Admin::page();`))
	requireClean(t, site)
}

func TestProfileShowsWhichContactAUserIs(t *testing.T) {
	t.Parallel()
	for name, fusion := range map[string]bool{"alone": false, "beside WP Fusion": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := wptest.Start(t, wptest.Options{WPFusion: fusion})
			contact := add(7, nil)
			contact["tags"] = []string{"55", "<b>66</b>"}
			id := strconv.FormatInt(expect(t, site, "created", contact).UserID, 10)
			shown := asAdmin(site, `do_action( 'edit_user_profile', get_userdata( `+id+` ) );`)
			if fusion {
				require.NotContains(t, shown, "Contact id", "WP Fusion shows the same")
				return
			}
			require.Contains(t, shown, "<td>7</td>")
			require.Contains(t, shown, "<td>55, &lt;b&gt;66&lt;/b&gt;</td>")
			require.Empty(t, site.PHP(`wp_set_current_user( `+id+` ); do_action( 'show_user_profile', wp_get_current_user() );`))
		})
	}
}

func TestPersonalDataAreExportedAndErased(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	contact := add(7, nil)
	contact["tags"], contact["as_of"] = []string{"55"}, 5
	expect(t, site, "created", contact)
	export := func(email string) string {
		return asAdmin(site, `
$exporter = apply_filters( 'wp_privacy_personal_data_exporters', array() )['spillway-connector'];
echo wp_json_encode( call_user_func( $exporter['callback'], '`+email+`', 1 ) );`)
	}
	erase := func(email string) string {
		return asAdmin(site, `
$eraser = apply_filters( 'wp_privacy_personal_data_erasers', array() )['spillway-connector'];
$result = call_user_func( $eraser['callback'], '`+email+`', 1 );
echo wp_json_encode( array( $result['items_removed'], $result['items_retained'], count( $result['messages'] ), $result['done'] ) );`)
	}
	exported := export(email(7))
	require.Contains(t, exported, `{"name":"Contact id","value":"7"}`)
	require.Contains(t, exported, `{"name":"Tags","value":"55"}`)
	require.JSONEq(t, `{"data":[],"done":true}`, export("nobody@example.com"))

	require.JSONEq(t, `[true, true, 1, true]`, erase(email(7)))
	require.JSONEq(t, `[false, false, 0, true]`, erase("nobody@example.com"))
	user := site.UsersByEmail(email(7))[0]
	require.NotContains(t, user.Meta, "pulsetech_contact_id")
	require.Contains(t, user.Meta, "pulsetech_tags", "they say what the user has access to")
	require.Equal(t, "0", site.PHP(`global $wpdb; echo $wpdb->get_var( "SELECT COUNT(*) FROM $wpdb->usermeta WHERE meta_key LIKE 'spillway\_%'" );`))
	requireClean(t, site)
}
