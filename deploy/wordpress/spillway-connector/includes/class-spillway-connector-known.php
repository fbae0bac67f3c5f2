<?php
/**
 * What the site knows of field keys.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Says which keys the site uses, so that a person can find a misspelt one before
 * contacts are stored under it. It only informs: unknown keys are stored all the
 * same.
 */
final class Spillway_Connector_Known {

	const MAX_KEYS = 200;

	/**
	 * Looks keys up.
	 *
	 * @param string[] $keys WordPress keys.
	 * @return array Key to "record", "wp_fusion", "registered", "stored", "protected" or "unknown".
	 */
	public static function keys( array $keys ) {
		$mapped     = self::mapped_by_wp_fusion();
		$registered = get_registered_meta_keys( 'user' );
		$known      = array();
		foreach ( array_slice( $keys, 0, self::MAX_KEYS ) as $key ) {
			$known[ $key ] = self::about( $key, $mapped, $registered );
		}
		return $known;
	}

	/**
	 * Looks one key up.
	 *
	 * @param string $key        The key.
	 * @param array  $mapped     Keys that WP Fusion maps.
	 * @param array  $registered Registered user meta, by key.
	 * @return string
	 */
	private static function about( $key, array $mapped, array $registered ) {
		if ( isset( Spillway_Connector_Fields::RECORD[ $key ] ) || in_array( $key, array( 'user_login', 'user_pass', 'role' ), true ) ) {
			return 'record';
		}
		if ( Spillway_Connector_Protected::includes( $key ) ) {
			return 'protected';
		}
		if ( isset( $mapped[ $key ] ) ) {
			return 'wp_fusion';
		}
		if ( isset( $registered[ $key ] ) ) {
			return 'registered';
		}
		return self::is_stored( $key ) ? 'stored' : 'unknown';
	}

	/**
	 * Whether any user has the key.
	 *
	 * @param string $key The key.
	 * @return bool
	 */
	private static function is_stored( $key ) {
		global $wpdb;
		return null !== $wpdb->get_var( $wpdb->prepare( "SELECT 1 FROM {$wpdb->usermeta} WHERE meta_key = %s LIMIT 1", $key ) ); // phpcs:ignore WordPress.DB -- one look into an index; no function of WordPress asks over all users.
	}

	/**
	 * The keys that WP Fusion's own settings map to the CRM.
	 *
	 * @return array Keys as array keys.
	 */
	private static function mapped_by_wp_fusion() {
		if ( null === Spillway_Connector_Fusion::active() || ! function_exists( 'wpf_get_option' ) ) {
			return array();
		}
		$fields = wpf_get_option( 'contact_fields', array() );
		return array_filter(
			is_array( $fields ) ? $fields : array(),
			function ( $field ) {
				return is_array( $field ) && ! empty( $field['active'] ) && ! empty( $field['crm_field'] );
			}
		);
	}
}
