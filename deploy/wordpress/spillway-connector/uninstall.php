<?php
/**
 * Removes the plugin's own marks, its options and its role. Users, their fields
 * and tags, and their contact ids stay: they belong to the site, and to WP
 * Fusion.
 *
 * @package Spillway_Connector
 */

defined( 'WP_UNINSTALL_PLUGIN' ) || exit;

require_once __DIR__ . '/includes/class-spillway-connector-rights.php';

/**
 * Removes what is stored for one site of a network, or for the only site.
 */
function spillway_connector_uninstall_site() {
	$user_id = (int) get_option( 'spillway_connector_user' );
	if ( 0 !== $user_id ) {
		WP_Application_Passwords::delete_all_application_passwords( $user_id );
	}
	Spillway_Connector_Rights::uninstall();
	delete_option( 'spillway_connector_user' );
	delete_option( 'spillway_connector_code' );
	delete_option( 'spillway_connector_last_batch' );
	delete_option( 'spillway_connector_keys' );
}

/**
 * Removes the marks on users a thousand rows at a time: on a large site one
 * statement would hold too many.
 */
function spillway_connector_uninstall_marks() {
	global $wpdb;
	// phpcs:disable WordPress.DB -- no function of WordPress finds keys by their beginning.
	do {
		$rows = $wpdb->get_results( "SELECT umeta_id, user_id FROM {$wpdb->usermeta} WHERE meta_key LIKE 'spillway\\_%' LIMIT 1000" );
		$ids  = implode( ',', array_map( 'intval', wp_list_pluck( $rows, 'umeta_id' ) ) );
		if ( '' === $ids || ! $wpdb->query( "DELETE FROM {$wpdb->usermeta} WHERE umeta_id IN ($ids)" ) ) {
			break;
		}
		foreach ( array_unique( wp_list_pluck( $rows, 'user_id' ) ) as $user_id ) {
			wp_cache_delete( (int) $user_id, 'user_meta' );
		}
	} while ( true );
	// phpcs:enable
}

Spillway_Connector_Rights::on_sites( true, 'spillway_connector_uninstall_site', 0 );
spillway_connector_uninstall_marks();
