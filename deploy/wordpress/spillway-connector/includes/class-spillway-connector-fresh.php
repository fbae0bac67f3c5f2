<?php
/**
 * The meta of a user who is being inserted.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Writes the meta of a user who is being inserted in one query. WordPress takes
 * up to three for each of some twenty rows.
 *
 * Hooks see what they always see, with one difference: all rows exist when the
 * first is reported. If a plugin filters rows before they are written, WordPress
 * writes them one by one.
 */
final class Spillway_Connector_Fresh {

	/**
	 * The most bytes that are written in one query. WordPress writes anything
	 * larger row by row: a database closes the connection when a query is too
	 * large, and the transaction is lost with it.
	 */
	const MAX_BYTES = 65536;

	/**
	 * Writes meta of a user who was just inserted.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    What is to be written, slashed, by key.
	 * @return array What is left for WordPress to write: all or nothing.
	 */
	public static function write( $user_id, array $meta ) {
		global $wpdb;
		$rows = self::rows( $user_id, $meta );
		if ( array() === $rows ) {
			return $meta;
		}
		$values = array();
		foreach ( $rows as $key => $value ) {
			array_push( $values, $user_id, $key, maybe_serialize( $value ) );
		}
		$places = implode( ', ', array_fill( 0, count( $rows ), '(%d, %s, %s)' ) );
		$count  = $wpdb->query( $wpdb->prepare( "INSERT INTO {$wpdb->usermeta} (user_id, meta_key, meta_value) VALUES $places", $values ) ); // phpcs:ignore WordPress.DB -- $places holds placeholders.
		wp_cache_delete( $user_id, 'user_meta' );
		if ( count( $rows ) !== $count ) {
			return $meta;
		}
		if ( has_action( 'added_user_meta' ) ) {
			self::report( $user_id, $rows );
		}
		return array();
	}

	/**
	 * Reads meta as update_user_meta() would.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    Slashed values by key.
	 * @return array Values by key; empty when WordPress is to write them.
	 */
	private static function rows( $user_id, array $meta ) {
		if ( has_filter( 'update_user_metadata' ) || has_filter( 'add_user_metadata' ) || has_action( 'add_user_meta' ) ) {
			return array();
		}
		$rows  = array();
		$bytes = 0;
		// MySQL holds keys for the same that differ in case alone.
		$taken = array_change_key_case( get_user_meta( $user_id ) );
		foreach ( $meta as $key => $value ) {
			$key    = wp_unslash( (string) $key );
			$value  = sanitize_meta( $key, wp_unslash( $value ), 'user', get_object_subtype( 'user', $user_id ) );
			$bytes += strlen( $key ) + strlen( (string) maybe_serialize( $value ) );
			if ( '' === $key || null === $value || isset( $taken[ strtolower( $key ) ] ) || $bytes > self::MAX_BYTES ) {
				return array();
			}
			$rows[ $key ] = $value;
		}
		return $rows;
	}

	/**
	 * Tells the hooks of other plugins of rows that were written.
	 *
	 * @param int   $user_id The user.
	 * @param array $rows    Values by key.
	 */
	private static function report( $user_id, array $rows ) {
		global $wpdb;
		$found = $wpdb->get_results( $wpdb->prepare( "SELECT umeta_id, meta_key FROM {$wpdb->usermeta} WHERE user_id = %d ORDER BY umeta_id", $user_id ) ); // phpcs:ignore WordPress.DB -- they are cached, but for their ids.
		foreach ( $found as $row ) {
			if ( array_key_exists( $row->meta_key, $rows ) ) {
				do_action( 'added_user_meta', (int) $row->umeta_id, $user_id, $row->meta_key, $rows[ $row->meta_key ] ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own.
			}
		}
	}
}
