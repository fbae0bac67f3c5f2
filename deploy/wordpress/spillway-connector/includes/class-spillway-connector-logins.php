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
	 * What logins are made of where the contact has none, as WP Fusion's setting
	 * names it: the address, first and last name, or first name and a number.
	 */
	const FORMATS = array( 'email', 'flname', 'fnamenum' );

	/**
	 * The named locks; null when a login is looked for and not to be given.
	 *
	 * @var Spillway_Connector_Locks|null
	 */
	private $locks;

	/**
	 * One of FORMATS.
	 *
	 * @var string
	 */
	private $format;

	/**
	 * Takes the batch's locks.
	 *
	 * @param Spillway_Connector_Locks|null $locks  The named locks; null when nobody is to be created.
	 * @param string                        $format One of FORMATS; anything else is the first.
	 */
	public function __construct( $locks, $format ) {
		$this->locks  = $locks;
		$this->format = $format;
	}

	/**
	 * The login that is tried first: the contact's own, else one of its names or
	 * its address. The batch locks it along with the contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string Empty when WordPress would accept none of it.
	 */
	public function first( Spillway_Connector_Contact $contact ) {
		$own = $this->own( $contact );
		if ( '' !== $own ) {
			return $own;
		}
		$named = '';
		if ( 'flname' === $this->format ) {
			$named = $this->clean( $contact->field( 'first_name' ) . $contact->field( 'last_name' ) );
		} elseif ( 'fnamenum' === $this->format && '' !== $this->clean( $contact->field( 'first_name' ) ) ) {
			// The same number when the request is repeated.
			$named = $this->clean( $contact->field( 'first_name' ) . ( 1 + abs( crc32( $contact->id ) ) % 99999 ) );
		}
		return '' === $named ? $this->clean( $contact->email ) : $named;
	}

	/**
	 * Picks a login that no user has. Call it outside a transaction, so that it
	 * sees what others have committed.
	 *
	 * @param Spillway_Connector_Contact $contact The contact, whose first() login is locked.
	 * @return string
	 * @throws Spillway_Connector_Failure When the contact's own is taken.
	 */
	public function pick( Spillway_Connector_Contact $contact ) {
		$first = $this->first( $contact );
		if ( '' === $first ) {
			throw Spillway_Connector_Failure::login_invalid();
		}
		// It is locked already, unless the site's own code has just made it.
		if ( $this->hold( $first ) && ! $this->is_taken( $first ) && ! $this->is_illegal( $first ) ) {
			return $first;
		}
		if ( $contact->own_login && $first === $this->own( $contact ) ) {
			throw Spillway_Connector_Failure::login_taken();
		}
		for ( $number = 1; $number < 1000; $number++ ) {
			// Counting is readable; after a few tries chance is quicker.
			$suffix = (string) ( $number <= 20 ? $number : wp_rand( 100, 99999999 ) );
			$login  = mb_substr( $first, 0, self::MAX - strlen( $suffix ) ) . $suffix;
			if ( $this->hold( $login ) && ! $this->is_taken( $login ) ) {
				return $login;
			}
		}
		throw Spillway_Connector_Failure::login_taken();
	}

	/**
	 * Takes the lock of a login if it is free.
	 *
	 * @param string $login The login.
	 * @return bool Whether nobody else has it.
	 */
	private function hold( $login ) {
		return null === $this->locks || array() !== $this->locks->take( array( $this->locks->login( $login ) ) );
	}

	/**
	 * A note when a new user's login is not as the contact has it.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $login   The login.
	 * @return string Empty for none.
	 */
	public static function note( Spillway_Connector_Contact $contact, $login ) {
		return ! $contact->own_login || in_array( $contact->login, array( '', $login ), true ) ? '' : 'login_changed';
	}

	/**
	 * The contact's own login as WordPress takes it.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string Empty when there is none, nothing is left of it, or the site
	 *                keeps it for itself.
	 */
	private function own( Spillway_Connector_Contact $contact ) {
		$login = $this->clean( $contact->login );
		return '' !== $login && validate_username( $login ) && ! $this->is_illegal( $login ) ? $login : '';
	}

	/**
	 * A login as WordPress makes one of any text.
	 *
	 * @param string $text The text.
	 * @return string
	 */
	private function clean( $text ) {
		return trim( mb_substr( sanitize_user( $text, true ), 0, self::MAX ) );
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
	 * Whether a user has a login, or has it as the address: who types that means
	 * the user with the address. The database is asked, not the object cache.
	 *
	 * @param string $login The login.
	 * @return bool
	 */
	private function is_taken( $login ) {
		global $wpdb;
		return (bool) $wpdb->get_var( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE user_login = %s OR user_email = %s LIMIT 1", $login, $login ) );
	}
}
