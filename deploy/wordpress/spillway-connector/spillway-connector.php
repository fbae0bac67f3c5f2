<?php
/**
 * Plugin Name:       Spillway Connector
 * Description:       Lets Spillway store CRM contacts on this site in batches, through two REST routes.
 * Version:           0.3.0
 * Requires at least: 5.6
 * Requires PHP:      7.4
 * Author:            The Spillway authors
 * License:           GPL-2.0-or-later
 * License URI:       https://www.gnu.org/licenses/gpl-2.0.html
 * Text Domain:       spillway-connector
 *
 * PROTOCOL.md in this folder states what the routes do.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

define( 'SPILLWAY_CONNECTOR_VERSION', '0.3.0' );
define( 'SPILLWAY_CONNECTOR_PROTOCOL', 2 );

/**
 * Loads a class of this plugin when it is first used, so that a page of the
 * site which has nothing to do with Spillway reads no file of it but this one.
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

/**
 * Registers the REST routes.
 */
function spillway_connector_register_routes() {
	$rest = new Spillway_Connector_Rest();
	$rest->register();
}
add_action( 'rest_api_init', 'spillway_connector_register_routes' );

/**
 * Takes note of tags that WP Fusion gives a user outside of Spillway's requests.
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
 * Takes note of tags that WP Fusion takes from a user outside of Spillway's
 * requests.
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
 * Remembers a login that another plugin made, such as a link in a mail: those
 * set the cookie and do not all fire wp_login.
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
