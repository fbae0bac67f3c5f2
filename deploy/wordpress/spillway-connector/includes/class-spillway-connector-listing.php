<?php
/**
 * What the site stores of contacts.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Lists users with their contact id, tags and last pass, so that Spillway can
 * compare them with the CRM. It asks the database in one query, never WordPress's
 * caches: they may lag behind, and a page of users would push others out.
 *
 * A page is bounded by users, not by users with a contact id: so it costs the
 * same wherever it begins, and the primary key finds its beginning.
 */
final class Spillway_Connector_Listing {

	const MAX_USERS    = 1000;
	const MAX_CONTACTS = 100;

	/**
	 * The users that follow a user id.
	 *
	 * @param int $after The user id.
	 * @param int $limit How many to look at.
	 * @return array The answer's body: "users", those of them that have a contact
	 *               id, and "next", after which to go on; null at the end.
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	public static function page( $after, $limit ) {
		global $wpdb;
		$rows = self::rows( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE ID > %d ORDER BY ID LIMIT %d", $after, $limit ) );
		$ids  = array_keys( $rows );
		return array(
			'users' => self::users( $rows ),
			'next'  => count( $ids ) < $limit ? null : end( $ids ),
		);
	}

	/**
	 * The users of contacts.
	 *
	 * @param string[] $contacts The contacts.
	 * @return array The answer's body, as page() returns it.
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	public static function of_contacts( array $contacts ) {
		global $wpdb;
		$places = implode( ', ', array_fill( 0, count( $contacts ), '%s' ) );
		$query  = "SELECT DISTINCT u.ID FROM {$wpdb->usermeta} c JOIN {$wpdb->users} u ON u.ID = c.user_id WHERE c.meta_key = %s AND c.meta_value IN ($places)";
		$rows   = self::rows( $wpdb->prepare( $query, array_merge( array( Spillway_Connector_Keys::contact_id() ), $contacts ) ) ); // phpcs:ignore WordPress.DB -- placeholders only.
		$users  = self::users( $rows );
		return array(
			// The database compares without case and trailing spaces.
			'users' => array_values(
				array_filter(
					$users,
					function ( $user ) use ( $contacts ) {
						return in_array( $user['contact_id'], $contacts, true );
					}
				)
			),
			'next'  => null,
		);
	}

	/**
	 * The meta of users that is asked for.
	 *
	 * @param string $ids A query for the users' ids as "ID".
	 * @return array[] By user id: the first value of each key.
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	private static function rows( $ids ) {
		global $wpdb;
		$keys  = array( Spillway_Connector_Keys::contact_id(), Spillway_Connector_Keys::tags(), Spillway_Connector_Order::MARK );
		$query = "SELECT u.ID, m.meta_key, m.meta_value FROM ($ids) u LEFT JOIN {$wpdb->usermeta} m ON m.user_id = u.ID AND m.meta_key IN (%s, %s, %s) ORDER BY u.ID, m.umeta_id";
		$rows  = $wpdb->get_results( $wpdb->prepare( $query, $keys ), ARRAY_N ); // phpcs:ignore WordPress.DB -- $ids is prepared, the others are table names.
		if ( ! is_array( $rows ) || '' !== $wpdb->last_error ) {
			throw Spillway_Connector_Failure::database();
		}
		$users = array();
		foreach ( $rows as $row ) {
			list( $id, $key, $value ) = $row;
			if ( ! isset( $users[ $id ] ) ) {
				$users[ $id ] = array();
			}
			if ( null !== $key && ! isset( $users[ $id ][ $key ] ) ) {
				$users[ $id ][ $key ] = (string) $value;
			}
		}
		return $users;
	}

	/**
	 * Users as the answer shows them; those without a contact id are left out.
	 *
	 * @param array[] $rows What rows() returned.
	 * @return array[]
	 */
	private static function users( array $rows ) {
		$users = array();
		foreach ( $rows as $id => $meta ) {
			$contact_id = isset( $meta[ Spillway_Connector_Keys::contact_id() ] ) ? $meta[ Spillway_Connector_Keys::contact_id() ] : '';
			if ( '' === $contact_id ) {
				continue;
			}
			$mark    = isset( $meta[ Spillway_Connector_Order::MARK ] ) ? $meta[ Spillway_Connector_Order::MARK ] : '';
			$last    = Spillway_Connector_Order::read( $mark, $contact_id );
			$users[] = array(
				'user_id'    => (int) $id,
				'contact_id' => $contact_id,
				'tags'       => self::tags( isset( $meta[ Spillway_Connector_Keys::tags() ] ) ? $meta[ Spillway_Connector_Keys::tags() ] : '' ),
				'as_of'      => (int) $last['as_of'],
				'stored_at'  => $last['stored_at'],
			);
		}
		return $users;
	}

	/**
	 * A list of tags as it stands in the database. Objects in it stay asleep.
	 *
	 * @param string $value The meta value.
	 * @return string[]
	 */
	private static function tags( $value ) {
		if ( ! is_serialized( $value ) ) {
			return array();
		}
		$tags = unserialize( trim( $value ), array( 'allowed_classes' => false ) ); // phpcs:ignore WordPress.PHP.DiscouragedPHPFunctions -- as maybe_unserialize() does, but without classes.
		if ( ! is_array( $tags ) ) {
			return array();
		}
		return array_values( array_unique( array_map( 'strval', array_filter( $tags, 'is_scalar' ) ) ) );
	}
}
