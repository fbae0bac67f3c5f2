<?php
/**
 * Passwords: given ones, generated ones, and whether the CRM has them.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Keeps the mark of a user whose generated password the CRM has not stored yet.
 * It names the creation, so that its repetition is answered as the creation
 * it was; it holds a digest of the stored hash, which tells whether the
 * password was changed since.
 */
final class Spillway_Connector_Password {

	const MARK = 'spillway_unconfirmed';

	/**
	 * For a user whose password is the contact's own: a digest of the password
	 * and of its stored hash, keyed with the application password of Spillway's
	 * request. The site holds only a hash of that key. So somebody who has the
	 * site's database and files cannot guess a password from the digest any
	 * faster than from the hash itself.
	 */
	const SEEN = 'spillway_pass_seen';

	/**
	 * The cost of the first hash of a generated password, which has 70 bits and
	 * more: there is nothing to guess. WordPress hashes it anew, at full cost,
	 * when the user logs in first.
	 */
	const FIRST_COST = 4;

	/**
	 * The application password of the request, empty when there is none.
	 *
	 * @var string
	 */
	private static $application_password = '';

	/**
	 * Takes the application password that WordPress has found to be right.
	 *
	 * @param string $password The application password.
	 */
	public static function authenticated( $password ) {
		self::$application_password = $password;
	}

	/**
	 * Hashes generated passwords cheaply while something is done.
	 *
	 * @param Spillway_Connector_Contact $contact The contact whose password is hashed.
	 * @param callable                   $work    What is done.
	 * @return mixed What it returns.
	 */
	public static function hashing( Spillway_Connector_Contact $contact, callable $work ) {
		$made  = '' === $contact->password || ( $contact->generated && strlen( $contact->password ) >= 12 );
		$cheap = function ( $options, $algorithm = '' ) use ( $made ) {
			return $made && PASSWORD_BCRYPT === $algorithm ? array( 'cost' => self::FIRST_COST ) + (array) $options : $options;
		};
		add_filter( 'wp_hash_password_options', $cheap, PHP_INT_MAX, 2 );
		try {
			return $work();
		} finally {
			remove_filter( 'wp_hash_password_options', $cheap, PHP_INT_MAX );
		}
	}

	/**
	 * The mark of a creation.
	 *
	 * @param string $contact_id The contact it was made for.
	 * @param string $request_id Names the creation.
	 * @param string $hash       The password as stored.
	 * @return array
	 */
	public static function mark( $contact_id, $request_id, $hash ) {
		return array(
			'contact_id' => $contact_id,
			'request_id' => $request_id,
			'digest'     => hash( 'sha256', $hash ),
			'logged_in'  => false,
		);
	}

	/**
	 * Twelve random letters and digits.
	 *
	 * @return string
	 */
	public static function generate() {
		return wp_generate_password( 12, false );
	}

	/**
	 * A password as WordPress hashes it. Its login form and its profile form
	 * both hand a password over with slashes, so a password with a quote or a
	 * backslash logs in only when it was hashed with them.
	 *
	 * @param string $password The password as a person types it.
	 * @return string
	 */
	public static function as_typed( $password ) {
		return wp_slash( $password );
	}

	/**
	 * Whether WordPress lets anybody log in with a password. Its form takes the
	 * spaces around it away, and instead of hashing more than 4096 bytes it stores
	 * what fits no password.
	 *
	 * @param string $password The password as a person types it.
	 * @return bool
	 */
	public static function logs_in( $password ) {
		return '' !== trim( $password ) && strlen( self::as_typed( $password ) ) <= 4096;
	}

	/**
	 * Remembers that an unconfirmed user has logged in: from then on the
	 * password is the person's own and must not be replaced.
	 *
	 * @param int $user_id The user.
	 */
	public static function note_login( $user_id ) {
		$mark = self::find( $user_id );
		if ( null !== $mark && empty( $mark['logged_in'] ) ) {
			$mark['logged_in'] = true;
			update_user_meta( $user_id, self::MARK, wp_slash( $mark ) );
		}
	}

	/**
	 * Clears the mark of a creation whose password the CRM has stored.
	 *
	 * @param int    $user_id    The user.
	 * @param string $request_id Names the creation.
	 * @return bool Whether there was such a mark.
	 */
	public static function confirm( $user_id, $request_id ) {
		$mark = self::find( $user_id );
		if ( null === $mark || $request_id !== $mark['request_id'] ) {
			return false;
		}
		return delete_user_meta( $user_id, self::MARK );
	}

	/**
	 * What an "add" means for a user whose password is unconfirmed.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return string[] The outcome, empty when the user has no mark, a note, empty
	 *                  for none, and what becomes of the mark: empty, "forget", or
	 *                  "renew" with the password.
	 */
	public static function settlement( Spillway_Connector_Contact $contact, $user_id ) {
		$mark = self::find( $user_id );
		if ( null === $mark ) {
			return array( '', '', '' );
		}
		$hash    = get_userdata( $user_id )->user_pass;
		$changed = hash( 'sha256', $hash ) !== $mark['digest'] && ! self::works( $contact->password, $user_id );
		if ( $contact->request_id === $mark['request_id'] && ! $changed ) {
			return array( 'created', '', '' );
		}
		if ( ! $changed && isset( $mark['contact_id'] ) && $contact->id !== $mark['contact_id'] ) {
			// Another contact with the same address. The password is on its way
			// to the one it was made for, and must go on logging in.
			return array( 'updated', '', '' );
		}
		if ( $changed || ! empty( $mark['logged_in'] ) || Spillway_Connector_Staff::includes( $user_id ) ) {
			return array( 'updated', $changed ? 'password_changed' : '', 'forget' );
		}
		return array( 'created', '', 'renew' );
	}

	/**
	 * Settles an "add" of a user whose password is unconfirmed.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return string[] The outcome, empty when the user has no mark, and a note, empty for none.
	 */
	public static function settle( Spillway_Connector_Contact $contact, $user_id ) {
		list( $outcome, $note, $mark ) = self::settlement( $contact, $user_id );
		if ( 'forget' === $mark ) {
			delete_user_meta( $user_id, self::MARK );
		} elseif ( 'renew' === $mark ) {
			self::renew( $contact, $user_id );
		}
		return array( $outcome, $note );
	}

	/**
	 * Gives an unconfirmed user another password, since the first was lost.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	private static function renew( Spillway_Connector_Contact $contact, $user_id ) {
		$password = '' === $contact->password ? self::generate() : $contact->password;
		self::hashing(
			$contact,
			function () use ( $password, $user_id ) {
				wp_set_password( self::as_typed( $password ), $user_id );
			}
		);
		if ( $contact->generated && '' !== $contact->request_id ) {
			$mark = self::mark( $contact->id, $contact->request_id, get_userdata( $user_id )->user_pass );
			update_user_meta( $user_id, self::MARK, wp_slash( $mark ) );
		} else {
			delete_user_meta( $user_id, self::MARK );
		}
	}

	/**
	 * Whether the password of an unconfirmed user is another one than was made
	 * for it: some plugin's login mail sets one of its own.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function is_replaced( Spillway_Connector_Contact $contact, $user_id ) {
		$mark = self::find( $user_id );
		return null !== $mark && hash( 'sha256', get_userdata( $user_id )->user_pass ) !== $mark['digest'] && ! self::works( $contact->password, $user_id );
	}

	/**
	 * Whether the contact's own password is another than an existing user's. The
	 * two are compared only when either has changed since they were last: that
	 * takes 50 ms and more since WordPress 6.8.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function is_new( Spillway_Connector_Contact $contact, $user_id ) {
		if ( ! self::is_unseen( $contact, $user_id ) ) {
			return false;
		}
		if ( ! self::works( $contact->password, $user_id ) ) {
			return true;
		}
		self::see( $contact, $user_id );
		return false;
	}

	/**
	 * Whether storing a contact would set its own password; nothing is remembered.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function would_be_new( Spillway_Connector_Contact $contact, $user_id ) {
		return self::is_unseen( $contact, $user_id ) && ! self::works( $contact->password, $user_id );
	}

	/**
	 * Whether the contact's own password is to be compared with the user's.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	private static function is_unseen( Spillway_Connector_Contact $contact, $user_id ) {
		if ( $contact->generated || '' === $contact->password ) {
			return false;
		}
		$seen = self::seen( $contact, get_userdata( $user_id )->user_pass );
		return array() === $seen || ! hash_equals( $seen[ self::SEEN ], (string) get_user_meta( $user_id, self::SEEN, true ) );
	}

	/**
	 * What a user remembers whose password is the contact's own.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $hash    The password as stored.
	 * @return string[] A digest by its key, empty when there can be none.
	 */
	public static function seen( Spillway_Connector_Contact $contact, $hash ) {
		if ( '' === self::$application_password || $contact->generated || '' === $contact->password ) {
			return array();
		}
		return array( self::SEEN => hash_hmac( 'sha256', $hash . "\n" . $contact->password, self::$application_password ) );
	}

	/**
	 * Lets a user remember that the password is the contact's own.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	private static function see( Spillway_Connector_Contact $contact, $user_id ) {
		foreach ( self::seen( $contact, get_userdata( $user_id )->user_pass ) as $key => $digest ) {
			update_user_meta( $user_id, $key, $digest );
		}
	}

	/**
	 * Sets a user's password to the contact's own.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	public static function set( Spillway_Connector_Contact $contact, $user_id ) {
		wp_set_password( self::as_typed( $contact->password ), $user_id );
		self::see( $contact, $user_id );
	}

	/**
	 * Whether a password is the user's.
	 *
	 * @param string $password The password as a person types it.
	 * @param int    $user_id  The user.
	 * @return bool
	 */
	private static function works( $password, $user_id ) {
		return '' !== $password && wp_check_password( self::as_typed( $password ), get_userdata( $user_id )->user_pass, $user_id );
	}

	/**
	 * Whether the CRM has not confirmed the user's generated password yet.
	 *
	 * @param int $user_id The user.
	 * @return bool
	 */
	public static function is_unconfirmed( $user_id ) {
		return null !== self::find( $user_id );
	}

	/**
	 * The user's mark.
	 *
	 * @param int $user_id The user.
	 * @return array|null Null without one.
	 */
	private static function find( $user_id ) {
		$mark = get_user_meta( $user_id, self::MARK, true );
		return is_array( $mark ) && isset( $mark['request_id'], $mark['digest'] ) ? $mark : null;
	}
}
