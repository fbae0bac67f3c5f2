<?php
/**
 * Who is who: contacts, addresses and users.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Finds the users of a list of contacts with a few queries, and keeps up with what
 * the batch changes. It asks the database, never the object cache. Load it while
 * holding the contacts' locks: then nobody else can create their users.
 */
final class Spillway_Connector_Directory {

	/**
	 * Users by contact id: their addresses in lower case by user id.
	 *
	 * @var array
	 */
	private $by_contact = array();

	/**
	 * User ids by address in lower case.
	 *
	 * @var int[]
	 */
	private $by_email = array();

	/**
	 * What the site's own code threw when it was asked for the user, by contact id.
	 *
	 * @var Throwable[]
	 */
	private $thrown = array();

	/**
	 * Looks the contacts up and primes WordPress's caches with their users.
	 *
	 * WordPress has an index on addresses and none on meta values: a contact id
	 * is looked for among all contact ids of the site, 0.1 s with 50,000 users.
	 * So the users with the addresses come first, and only contacts whose id is
	 * not theirs are looked for by id.
	 *
	 * If the site's own code names a user through WP Fusion's filter, that user
	 * comes first.
	 *
	 * @param Spillway_Connector_Contact[]   $contacts The contacts.
	 * @param Spillway_Connector_Fusion|null $fusion   WP Fusion, when it is active.
	 * @throws Spillway_Connector_Failure When a query failed.
	 */
	public function load( array $contacts, $fusion ) {
		$this->by_contact = array();
		$this->by_email   = array();
		$this->thrown     = array();
		$this->load_emails( array_filter( wp_list_pluck( $contacts, 'email' ) ) );
		$claimed = null === $fusion ? array() : $this->claimed( $contacts, $fusion );
		$this->prime( array_merge( array_values( $this->by_email ), array_values( $claimed ) ) );
		foreach ( $claimed as $contact_id => $user_id ) {
			$user = get_userdata( $user_id );
			if ( $user ) {
				$this->by_contact[ $contact_id ] = array( $user_id => strtolower( $user->user_email ) );
			}
		}
		$ids = array();
		foreach ( $contacts as $contact ) {
			$email   = strtolower( $contact->email );
			$user_id = isset( $this->by_email[ $email ] ) ? $this->by_email[ $email ] : 0;
			if ( isset( $this->by_contact[ $contact->id ] ) && isset( $claimed[ $contact->id ] ) ) {
				continue;
			}
			if ( $user_id > 0 && Spillway_Connector_User::carried( $user_id ) === $contact->id ) {
				$this->by_contact[ $contact->id ][ $user_id ] = $email;
			} else {
				$ids[] = $contact->id;
			}
		}
		$this->load_contact_ids( array_values( array_diff( array_unique( $ids ), array_map( 'strval', array_keys( $this->by_contact ) ) ) ) );
	}

	/**
	 * The user of a contact: by contact id, else by address. Of several with
	 * the contact id it is the one with the address, else the oldest.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return int Zero without one.
	 * @throws Throwable When the site's own code threw as it was asked.
	 */
	public function find( Spillway_Connector_Contact $contact ) {
		if ( isset( $this->thrown[ $contact->id ] ) ) {
			throw $this->thrown[ $contact->id ];
		}
		$email = strtolower( $contact->email );
		if ( ! empty( $this->by_contact[ $contact->id ] ) ) {
			$users = $this->by_contact[ $contact->id ];
			$same  = '' === $email ? false : array_search( $email, $users, true );
			return (int) ( false === $same ? min( array_keys( $users ) ) : $same );
		}
		return '' !== $email && isset( $this->by_email[ $email ] ) ? $this->by_email[ $email ] : 0;
	}

	/**
	 * Reads a user again that the batch has changed, or tried to.
	 *
	 * @param int $user_id The user.
	 */
	public function follow( $user_id ) {
		foreach ( array_keys( $this->by_contact ) as $contact_id ) {
			unset( $this->by_contact[ $contact_id ][ $user_id ] );
		}
		$this->by_email = array_diff( $this->by_email, array( $user_id ) );
		$user           = get_userdata( $user_id );
		if ( ! $user ) {
			return;
		}
		$email      = strtolower( $user->user_email );
		$contact_id = Spillway_Connector_User::carried( $user_id );
		if ( '' !== $contact_id ) {
			$this->by_contact[ $contact_id ][ $user_id ] = $email;
		}
		$this->by_email[ $email ] = $user_id;
	}

	/**
	 * Deletes what the lost transaction of a creation has left behind: rows of
	 * meta that a new connection wrote for a user whom the old one took along.
	 *
	 * @param int $user_id The user, or zero.
	 */
	public static function remove_orphans( $user_id ) {
		global $wpdb;
		if ( $user_id > 0 && null === $wpdb->get_var( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE ID = %d", $user_id ) ) && '' === $wpdb->last_error ) {
			$wpdb->delete( $wpdb->usermeta, array( 'user_id' => $user_id ) );
		}
	}

	/**
	 * Drops what WordPress's caches hold of a user. The second delete of
	 * user_meta is for WordPress before 6.2, whose clean_user_cache() keeps it.
	 *
	 * @param int $user_id The user.
	 */
	public static function clean( $user_id ) {
		clean_user_cache( $user_id );
		wp_cache_delete( $user_id, 'users' );
		wp_cache_delete( $user_id, 'user_meta' );
	}

	/**
	 * The users that the site's own code names.
	 *
	 * @param Spillway_Connector_Contact[] $contacts The contacts.
	 * @param Spillway_Connector_Fusion    $fusion   WP Fusion.
	 * @return int[] By contact id.
	 */
	private function claimed( array $contacts, Spillway_Connector_Fusion $fusion ) {
		$claimed = array();
		foreach ( array_unique( wp_list_pluck( $contacts, 'id' ) ) as $id ) {
			try {
				$claimed[ $id ] = $fusion->claimed( $id );
			} catch ( Throwable $thrown ) {
				$this->thrown[ $id ] = $thrown;
			}
		}
		return array_filter( $claimed );
	}

	/**
	 * Finds the users with addresses; the oldest of those with one.
	 *
	 * @param string[] $emails The addresses.
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	private function load_emails( array $emails ) {
		global $wpdb;
		if ( array() === $emails ) {
			return;
		}
		$rows = $wpdb->get_results( $wpdb->prepare( "SELECT ID, user_email FROM {$wpdb->users} WHERE user_email IN (" . $this->places( $emails ) . ') ORDER BY ID DESC', $emails ) ); // phpcs:ignore WordPress.DB.PreparedSQL, WordPress.DB.PreparedSQLPlaceholders -- placeholders only.
		foreach ( $this->checked( $rows ) as $row ) {
			$this->by_email[ strtolower( $row->user_email ) ] = (int) $row->ID;
		}
	}

	/**
	 * Finds the users with contact ids.
	 *
	 * @param string[] $ids The contact ids.
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	private function load_contact_ids( array $ids ) {
		global $wpdb;
		if ( array() === $ids ) {
			return;
		}
		$rows  = $wpdb->get_results(
			$wpdb->prepare(
				"SELECT m.meta_value AS contact_id, u.ID AS user_id, u.user_email FROM {$wpdb->usermeta} m JOIN {$wpdb->users} u ON u.ID = m.user_id WHERE m.meta_key = %s AND m.meta_value IN (" . $this->places( $ids ) . ')', // phpcs:ignore WordPress.DB.PreparedSQL, WordPress.DB.PreparedSQLPlaceholders -- placeholders only.
				array_merge( array( Spillway_Connector_Keys::contact_id() ), $ids )
			)
		);
		$found = array();
		foreach ( $this->checked( $rows ) as $row ) {
			$found[] = (int) $row->user_id;
			$this->by_contact[ $row->contact_id ][ (int) $row->user_id ] = strtolower( $row->user_email );
		}
		$this->prime( array_diff( $found, $this->by_email ) );
	}

	/**
	 * Loads users and their meta into WordPress's caches at once.
	 *
	 * @param int[] $users The users.
	 */
	private function prime( array $users ) {
		$users = array_unique( $users );
		if ( array() === $users ) {
			return;
		}
		foreach ( $users as $user_id ) {
			// A shared cache may lag behind the database, and what was read before
			// these contacts were locked is too old. What already stands so is
			// decided by what is read here.
			if ( wp_using_ext_object_cache() || false !== wp_cache_get( $user_id, 'users' ) || false !== wp_cache_get( $user_id, 'user_meta' ) ) {
				self::clean( $user_id );
			}
		}
		cache_users( $users );
		update_meta_cache( 'user', $users );
	}

	/**
	 * The rows of a query. One that failed must not pass for one that found
	 * nobody: a second user would be created.
	 *
	 * @param array|null $rows What wpdb returned.
	 * @return array
	 * @throws Spillway_Connector_Failure When the query failed.
	 */
	private function checked( $rows ) {
		global $wpdb;
		if ( ! is_array( $rows ) || '' !== $wpdb->last_error ) {
			throw Spillway_Connector_Failure::database();
		}
		return $rows;
	}

	/**
	 * Placeholders for a list of texts.
	 *
	 * @param string[] $values The texts.
	 * @return string
	 */
	private function places( array $values ) {
		return implode( ', ', array_fill( 0, count( $values ), '%s' ) );
	}
}
