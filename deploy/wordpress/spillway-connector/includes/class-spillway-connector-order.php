<?php
/**
 * The order of a contact's passes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Refuses requests that arrive late. A request that Spillway gave up long ago must
 * not replace what a newer pass has stored meanwhile. Each user has a row with the
 * contact that was stored last, the number of its pass, and the time by the site's
 * clock.
 *
 * A request that holds a contact's lock may compare and write this note: nobody
 * else stores that contact meanwhile.
 *
 * A transaction writes the note first, and no two notes are alike. So the note
 * also shows whether a transaction that something else ended was committed.
 */
final class Spillway_Connector_Order {

	const MARK = 'spillway_as_of';

	/**
	 * Whether a newer pass of the contact is stored. A note counts for an hour.
	 * So numbers from a clock that once ran ahead do no lasting harm.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function is_superseded( Spillway_Connector_Contact $contact, $user_id ) {
		if ( $contact->as_of <= 0 ) {
			return false;
		}
		$last = self::read( (string) get_user_meta( $user_id, self::MARK, true ), $contact->id );
		return $last['as_of'] > $contact->as_of && abs( time() - $last['stored_at'] ) < HOUR_IN_SECONDS;
	}

	/**
	 * Reads the note of a contact's pass.
	 *
	 * @param string $mark       What stands on the user.
	 * @param string $contact_id The contact; a note of another one does not count.
	 * @return array The pass's number by "as_of", and when it was stored, in
	 *               seconds since 1970, by "stored_at"; zeros without a note.
	 */
	public static function read( $mark, $contact_id ) {
		$known = preg_match( '/^(.+) (\d+) (\d+)(?:\.\d+)?$/s', $mark, $parts ) && $parts[1] === $contact_id;
		return array(
			'as_of'     => $known ? (float) $parts[2] : 0.0,
			'stored_at' => $known ? (int) $parts[3] : 0,
		);
	}

	/**
	 * The note of a contact's pass.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string Empty when the pass has no number.
	 */
	public static function mark( Spillway_Connector_Contact $contact ) {
		return $contact->as_of > 0 ? sprintf( '%s %.0F %.6F', $contact->id, $contact->as_of, microtime( true ) ) : '';
	}

	/**
	 * Notes the pass of a contact, in the transaction that stores it. It writes
	 * without WordPress's functions, so that no hook sees this row, and changing
	 * it costs a single query.
	 *
	 * @param int    $user_id The contact's user.
	 * @param string $mark    What mark() returned.
	 * @param bool   $is_new  Whether the user has no note.
	 */
	public static function note( $user_id, $mark, $is_new = false ) {
		global $wpdb;
		if ( '' === $mark ) {
			return;
		}
		$row = array(
			'user_id'  => $user_id,
			'meta_key' => self::MARK, // phpcs:ignore WordPress.DB.SlowDBQuery -- with the user, which has an index.
		);
		if ( $is_new || 0 === $wpdb->update( $wpdb->usermeta, array( 'meta_value' => $mark ), $row ) ) { // phpcs:ignore WordPress.DB.SlowDBQuery -- likewise.
			$wpdb->insert( $wpdb->usermeta, $row + array( 'meta_value' => $mark ) ); // phpcs:ignore WordPress.DB.SlowDBQuery -- an insert.
		}
		$known = wp_cache_get( $user_id, 'user_meta' );
		if ( is_array( $known ) ) {
			$known[ self::MARK ] = array( $mark );
			wp_cache_set( $user_id, $known, 'user_meta' );
		}
	}

	/**
	 * Whether the database, not a cache, holds a note.
	 *
	 * @param int    $user_id The contact's user.
	 * @param string $mark    What mark() returned.
	 * @return bool
	 */
	public static function is_noted( $user_id, $mark ) {
		global $wpdb;
		return '' !== $mark && (bool) $wpdb->get_var(
			$wpdb->prepare( "SELECT m.umeta_id FROM {$wpdb->usermeta} m JOIN {$wpdb->users} u ON u.ID = m.user_id WHERE m.user_id = %d AND m.meta_key = %s AND m.meta_value = %s LIMIT 1", $user_id, self::MARK, $mark )
		);
	}
}
