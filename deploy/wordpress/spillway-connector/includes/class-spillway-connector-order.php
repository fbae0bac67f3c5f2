<?php
/**
 * The order of a contact's passes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Keeps out what arrives late: a request that Spillway has given up long ago
 * must not replace what a newer pass has stored meanwhile. Each user has a row
 * with the contact that was stored last, the number of its pass, and when that
 * was by the site's clock.
 *
 * Who holds the lock of a contact may compare and note: nobody else stores that
 * contact meanwhile.
 */
final class Spillway_Connector_Order {

	const MARK = 'spillway_as_of';

	/**
	 * Whether a newer pass of the contact is stored. After an hour nothing is
	 * late any more, and numbers from a clock that once ran ahead count no
	 * longer.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function is_superseded( Spillway_Connector_Contact $contact, $user_id ) {
		if ( $contact->as_of <= 0 ) {
			return false;
		}
		$mark = (string) get_user_meta( $user_id, self::MARK, true );
		return preg_match( '/^(.+) (\d+) (\d+)$/s', $mark, $parts )
			&& $parts[1] === $contact->id
			&& (float) $parts[2] > $contact->as_of
			&& abs( time() - (int) $parts[3] ) < HOUR_IN_SECONDS;
	}

	/**
	 * Notes the pass of a contact, in the transaction that stores it. Past the
	 * functions of WordPress: no hook is to see this row, and one that stands
	 * costs a single query.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	public static function note( Spillway_Connector_Contact $contact, $user_id ) {
		global $wpdb;
		if ( $contact->as_of <= 0 ) {
			return;
		}
		$mark = sprintf( '%s %.0f %d', $contact->id, $contact->as_of, time() );
		if ( '' === (string) get_user_meta( $user_id, self::MARK, true ) ) {
			$query = "INSERT INTO {$wpdb->usermeta} (meta_value, user_id, meta_key) VALUES (%s, %d, %s)";
		} else {
			$query = "UPDATE {$wpdb->usermeta} SET meta_value = %s WHERE user_id = %d AND meta_key = %s";
		}
		$wpdb->query( $wpdb->prepare( $query, $mark, $user_id, self::MARK ) ); // phpcs:ignore WordPress.DB -- one of the two above.
		$known = wp_cache_get( $user_id, 'user_meta' );
		if ( is_array( $known ) ) {
			$known[ self::MARK ] = array( $mark );
			wp_cache_set( $user_id, $known, 'user_meta' );
		}
	}
}
