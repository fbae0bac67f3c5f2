<?php
/**
 * Tags that the site itself has changed a moment ago.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Notes which tags WP Fusion gives and takes outside of Spillway's requests, for
 * example for a form or an order. WP Fusion tells the CRM when that page ends, so
 * for a moment the site knows more than the CRM. A pass that read the CRM before
 * would take the tag away again, and an enrolment with it. So for a minute such a
 * pass is refused and reads the CRM again.
 *
 * As soon as the CRM shows the change, the pass is stored. If the CRM shows
 * something else after the minute, a person or an error caused it, and the CRM is
 * right.
 */
final class Spillway_Connector_Site_Tags {

	const MARK    = 'spillway_site_tags';
	const SECONDS = MINUTE_IN_SECONDS;

	/**
	 * Takes note of tags that WP Fusion is about to give or take.
	 *
	 * @param int      $user_id The user.
	 * @param string[] $tags    The tags.
	 * @param bool     $removed Whether they are taken.
	 */
	public static function note( $user_id, array $tags, $removed ) {
		if ( Spillway_Connector_Fusion::is_muted() || ! get_userdata( $user_id ) ) {
			return;
		}
		$tags = array_map( 'strval', array_filter( $tags, 'is_scalar' ) );
		$has  = (array) get_user_meta( $user_id, Spillway_Connector_Keys::tags(), true );
		$tags = $removed ? array_intersect( $tags, $has ) : array_diff( $tags, $has );
		if ( array() === $tags ) {
			return;
		}
		$entry = array( time(), $removed );
		update_user_meta( $user_id, Spillway_Connector_Keys::own( self::MARK ), array_fill_keys( $tags, $entry ) + self::recent( $user_id ) );
	}

	/**
	 * Whether a contact's tags contradict what the site has changed a moment ago.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function contradict( Spillway_Connector_Contact $contact, $user_id ) {
		if ( null === $contact->tags ) {
			return false;
		}
		foreach ( self::recent( $user_id ) as $tag => $entry ) {
			if ( in_array( (string) $tag, $contact->tags, true ) === $entry[1] ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * The changes of the last minute.
	 *
	 * @param int $user_id The user.
	 * @return array[] Time and whether it was taken, by tag.
	 */
	private static function recent( $user_id ) {
		return array_filter(
			(array) get_user_meta( $user_id, Spillway_Connector_Keys::own( self::MARK ), true ),
			function ( $entry ) {
				return is_array( $entry ) && isset( $entry[0], $entry[1] ) && abs( time() - $entry[0] ) < self::SECONDS;
			}
		);
	}
}
