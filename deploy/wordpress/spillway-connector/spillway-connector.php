<?php
/**
 * Plugin Name:       Spillway Connector
 * Description:       Lets Spillway store CRM contacts on this site in batches, through REST routes of its own.
 * Version:           0.3.0
 * Requires at least: 5.6
 * Requires PHP:      7.4
 * Author:            The Spillway authors
 * License:           GPL-2.0-or-later
 * License URI:       https://www.gnu.org/licenses/gpl-2.0.html
 * Text Domain:       spillway-connector
 * Update URI:        false
 *
 * PROTOCOL.md in this folder states what the routes do.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

define( 'SPILLWAY_CONNECTOR_VERSION', '0.3.0' );
define( 'SPILLWAY_CONNECTOR_PROTOCOL', 2 );
define( 'SPILLWAY_CONNECTOR_FILE', __FILE__ );

/**
 * Loads a class of this plugin when it is first used. A page of the site that has
 * nothing to do with Spillway therefore reads this file only.
 *
 * @param string $class_name Name of the class that PHP looks for.
 */
function spillway_connector_autoload( $class_name ) {
	if ( 0 !== strpos( $class_name, 'Spillway_Connector_' ) ) {
		return;
	}
	$file = __DIR__ . '/includes/class-' . strtolower( str_replace( '_', '-', $class_name ) ) . '.php';
	if ( is_readable( $file ) ) {
		require $file;
	}
}
spl_autoload_register( 'spillway_connector_autoload' );

// Methods by their names: a class is loaded when its hook fires.
register_activation_hook( __FILE__, array( 'Spillway_Connector_Rights', 'activate' ) );
add_action( 'wp_initialize_site', array( 'Spillway_Connector_Rights', 'new_site' ), 900 );
add_action( 'admin_init', array( 'Spillway_Connector_Admin', 'start' ) );
add_action( 'admin_menu', array( 'Spillway_Connector_Admin', 'menu' ) );
add_filter( 'plugin_action_links_' . plugin_basename( __FILE__ ), array( 'Spillway_Connector_Admin', 'links' ) );
add_action( 'show_user_profile', array( 'Spillway_Connector_Admin', 'profile' ) );
add_action( 'edit_user_profile', array( 'Spillway_Connector_Admin', 'profile' ) );
add_filter( 'site_status_tests', array( 'Spillway_Connector_Health', 'add_test' ) );
add_filter( 'debug_information', array( 'Spillway_Connector_Health', 'add_section' ) );
add_filter( 'wp_privacy_personal_data_exporters', array( 'Spillway_Connector_Privacy', 'add_exporter' ) );
add_filter( 'wp_privacy_personal_data_erasers', array( 'Spillway_Connector_Privacy', 'add_eraser' ) );
if ( ! empty( $_SERVER['HTTP_X_SPILLWAY_AUTHORIZATION'] ) ) {
	add_filter( 'determine_current_user', array( 'Spillway_Connector_Entry', 'read_header' ), 15 ); // WordPress looks at 20.
}

/**
 * Makes the role if this version has not made it yet: an update runs no
 * activation hook.
 */
function spillway_connector_init() {
	if ( SPILLWAY_CONNECTOR_VERSION !== get_option( 'spillway_connector_version' ) ) {
		Spillway_Connector_Rights::install();
	}
}
add_action( 'init', 'spillway_connector_init' );

/**
 * Registers the REST routes.
 */
function spillway_connector_register_routes() {
	$rest = new Spillway_Connector_Rest();
	$rest->register();
	add_filter( 'rest_pre_serve_request', array( 'Spillway_Connector_Entry', 'forbid_caching' ), 10, 4 );
}
add_action( 'rest_api_init', 'spillway_connector_register_routes' );

/**
 * Notes tags that WP Fusion gives a user outside of Spillway's requests.
 *
 * @param string[] $tags    The tags.
 * @param int      $user_id The user.
 * @return string[] The tags.
 */
function spillway_connector_apply_tags( $tags, $user_id = 0 ) {
	Spillway_Connector_Site_Tags::note( (int) $user_id, (array) $tags, false );
	return $tags;
}
add_filter( 'wpf_apply_tags', 'spillway_connector_apply_tags', PHP_INT_MAX, 2 );

/**
 * Notes tags that WP Fusion takes from a user outside of Spillway's requests.
 *
 * @param string[] $tags    The tags.
 * @param int      $user_id The user.
 * @return string[] The tags.
 */
function spillway_connector_remove_tags( $tags, $user_id = 0 ) {
	Spillway_Connector_Site_Tags::note( (int) $user_id, (array) $tags, true );
	return $tags;
}
add_filter( 'wpf_remove_tags', 'spillway_connector_remove_tags', PHP_INT_MAX, 2 );

// WP Fusion's meta keys are known only while it is active.
foreach ( array( 'admin_init', 'rest_api_init', 'deactivate_plugin' ) as $spillway_connector_hook ) {
	add_action( $spillway_connector_hook, array( 'Spillway_Connector_Keys', 'remember' ), 0, 0 );
}

/**
 * Takes the application password of the request, under which the plugin
 * remembers which passwords it has compared.
 *
 * @param WP_Error $error    Not used.
 * @param WP_User  $user     Not used.
 * @param array    $item     Not used.
 * @param string   $password The application password, which is right.
 */
function spillway_connector_authenticated( $error, $user, $item, $password = '' ) {
	Spillway_Connector_Password::authenticated( (string) $password );
}
add_action( 'wp_authenticate_application_password_errors', 'spillway_connector_authenticated', 10, 4 );

/**
 * Remembers a login through WordPress's form.
 *
 * @param string  $user_login Login name, not used.
 * @param WP_User $user       The user who has logged in.
 */
function spillway_connector_wp_login( $user_login, $user = null ) {
	if ( $user instanceof WP_User ) {
		Spillway_Connector_Password::note_login( $user->ID );
	}
}
add_action( 'wp_login', 'spillway_connector_wp_login', 10, 2 );

/**
 * Remembers a login through another plugin, such as a link in a mail. Such
 * plugins set the cookie, but not all of them fire wp_login.
 *
 * @param string $cookie     The cookie, not used.
 * @param int    $expire     Not used.
 * @param int    $expiration Not used.
 * @param int    $user_id    The user who has logged in.
 */
function spillway_connector_logged_in_cookie( $cookie, $expire, $expiration, $user_id ) {
	Spillway_Connector_Password::note_login( (int) $user_id );
}
add_action( 'set_logged_in_cookie', 'spillway_connector_logged_in_cookie', 10, 4 );
