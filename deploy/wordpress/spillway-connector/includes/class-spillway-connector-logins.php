<?php
/**
 * Logins of new users.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Picks the login of a user that is to be created, and holds its lock, so that
 * two requests never give one login to two users.
 */
final class Spillway_Connector_Logins {

	const MAX = 60;

	/**
	 * The named locks.
	 *
	 * @var Spillway_Connector_Locks
	 */
	private $locks;

	/**
	 * Takes the batch's locks.
	 *
	 * @param Spillway_Connector_Locks $locks The named locks.
	 */
	public function __construct( Spillway_Connector_Locks $locks ) {
		$this->locks = $locks;
	}

	/**
	 * The login that is tried first: the contact's own, else its address. The
	 * batch locks it along with the contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string Empty when WordPress would accept none of it.
	 */
	public function first( Spillway_Connector_Contact $contact ) {
		if ( '' !== $contact->login ) {
			$login = sanitize_user( $contact->login, false );
			return mb_strlen( $login ) <= self::MAX && validate_username( $login ) ? $login : '';
		}
		return mb_substr( sanitize_user( $contact->email, true ), 0, self::MAX );
	}

	/**
	 * Picks a login that no user has. To be called outside a transaction, so
	 * that it sees what others have committed.
	 *
	 * @param Spillway_Connector_Contact $contact The contact, whose first() login is locked.
	 * @return string
	 * @throws Spillway_Connector_Failure When the contact's own is taken or invalid.
	 */
	public function pick( Spillway_Connector_Contact $contact ) {
		$first = $this->first( $contact );
		if ( '' === $first || ( '' !== $contact->login && $this->is_illegal( $first ) ) ) {
			throw Spillway_Connector_Failure::login_invalid();
		}
		// It is locked already, unless the site's own code has just made it.
		$locked = array() !== $this->locks->take( array( $this->locks->login( $first ) ) );
		if ( $locked && ! $this->is_taken( $first ) && ! $this->is_illegal( $first ) ) {
			return $first;
		}
		if ( '' !== $contact->login && $contact->own_login ) {
			throw Spillway_Connector_Failure::login_taken();
		}
		for ( $number = 1; $number < 1000; $number++ ) {
			// Counting is readable; after a few tries chance is quicker.
			$suffix = (string) ( $number <= 20 ? $number : wp_rand( 100, 99999999 ) );
			$login  = mb_substr( $first, 0, self::MAX - strlen( $suffix ) ) . $suffix;
			if ( array() !== $this->locks->take( array( $this->locks->login( $login ) ) ) && ! $this->is_taken( $login ) ) {
				return $login;
			}
		}
		throw Spillway_Connector_Failure::login_taken();
	}

	/**
	 * Whether the site keeps a login for itself.
	 *
	 * @param string $login The login.
	 * @return bool
	 */
	private function is_illegal( $login ) {
		/** This filter is documented in wp-includes/user.php */
		$illegal = (array) apply_filters( 'illegal_user_logins', array() ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own filter.
		return in_array( strtolower( $login ), array_map( 'strtolower', $illegal ), true );
	}

	/**
	 * Whether a user has a login. The database is asked, not the object cache.
	 *
	 * @param string $login The login.
	 * @return bool
	 */
	private function is_taken( $login ) {
		global $wpdb;
		return (bool) $wpdb->get_var( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE user_login = %s LIMIT 1", $login ) );
	}
}
