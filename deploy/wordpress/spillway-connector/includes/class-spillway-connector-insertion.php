<?php
/**
 * The insertion of a new user.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Inserts users in such a way that a repetition recognises a creation that was cut
 * short, and finishes it.
 */
final class Spillway_Connector_Insertion {

	/**
	 * Whether WP Fusion writes fields and tags, so that they are not among a new
	 * user's first rows.
	 *
	 * @var bool
	 */
	private $has_fusion;

	/**
	 * The user that was inserted last, even if the insertion failed afterwards.
	 *
	 * @var int
	 */
	private $inserted = 0;

	/**
	 * Makes the inserter of one request.
	 *
	 * @param bool $has_fusion Whether WP Fusion is active.
	 */
	public function __construct( $has_fusion ) {
		$this->has_fusion = $has_fusion;
	}

	/**
	 * Inserts a user. Marks are the first rows of the user's meta. If a hook of
	 * another plugin commits in the middle and the rest fails, a repetition finds
	 * the marks and finishes the creation.
	 *
	 * @param Spillway_Connector_Contact $contact  The contact.
	 * @param string                     $mark     The note of the contact's pass.
	 * @param string[]                   $record   What record() returned.
	 * @param string[]                   $account  Login and role.
	 * @param string                     $password The password.
	 * @return int The user.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	public function insert( Spillway_Connector_Contact $contact, $mark, array $record, array $account, $password ) {
		$first = function ( $meta, $user, $update ) use ( &$first, $contact, $mark ) {
			if ( $update ) {
				return $meta;
			}
			remove_filter( 'insert_user_meta', $first, PHP_INT_MAX );
			if ( ! $user->ID ) {
				// The connection was lost after the insertion, and the user with it.
				throw Spillway_Connector_Failure::database();
			}
			$this->inserted = (int) $user->ID;
			Spillway_Connector_Order::note( $this->inserted, $mark, true );
			return Spillway_Connector_Fresh::write( $this->inserted, $this->first_meta( $contact, $user, $meta ) );
		};
		add_filter( 'insert_user_meta', $first, PHP_INT_MAX, 3 );
		try {
			$user_id = Spillway_Connector_Password::hashing(
				$contact,
				function () use ( $account, $record, $password ) {
					return wp_insert_user( wp_slash( $account + $record ) + array( 'user_pass' => Spillway_Connector_Password::as_typed( $password ) ) );
				}
			);
		} finally {
			remove_filter( 'insert_user_meta', $first, PHP_INT_MAX );
		}
		if ( is_wp_error( $user_id ) ) {
			throw Spillway_Connector_Failure::from_wp_error( $user_id );
		}
		if ( ! $user_id ) {
			throw Spillway_Connector_Failure::database();
		}
		if ( ! get_userdata( $user_id ) ) {
			throw Spillway_Connector_Failure::deleted();
		}
		return (int) $user_id;
	}

	/**
	 * The user that was inserted since forget(), even if the insertion failed
	 * afterwards.
	 *
	 * @return int Zero when there is none.
	 */
	public function inserted() {
		return $this->inserted;
	}

	/**
	 * Forgets the user that was inserted last.
	 */
	public function forget() {
		$this->inserted = 0;
	}

	/**
	 * Gives a user whom a lost transaction has created the marks that were lost,
	 * so that storing the contact on it goes on with the creation.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 */
	public function complete( Spillway_Connector_Contact $contact, $user_id ) {
		foreach ( $this->marks( $contact, get_userdata( $user_id )->user_pass ) as $key => $value ) {
			if ( ! metadata_exists( 'user', $user_id, $key ) ) {
				update_user_meta( $user_id, $key, wp_slash( $value ) );
			}
		}
	}

	/**
	 * What a new user's record holds from the beginning. What is too long is
	 * left to the fields' own rules.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string[] Values by column, and the names of which WordPress makes
	 *                  the display name, as its own forms do.
	 */
	public static function record( Spillway_Connector_Contact $contact ) {
		$record = array( 'user_email' => '' === $contact->new_email() ? $contact->email : $contact->new_email() );
		foreach ( array( 'first_name', 'last_name', 'nickname' ) as $key ) {
			$record[ $key ] = Spillway_Connector_Fields::held( 'display_name', $contact->field( $key ) );
		}
		foreach ( array( 'display_name', 'user_url', 'user_nicename' ) as $key ) {
			if ( '' !== $contact->field( $key ) && Spillway_Connector_Fields::fits( $key, $contact->field( $key ) ) ) {
				$record[ $key ] = $contact->field( $key );
			}
		}
		return array_filter( $record, 'strlen' );
	}

	/**
	 * The meta that WordPress writes for a new user: marks first, then its own,
	 * then what would be written one by one afterwards, unless that is for WP
	 * Fusion to do.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param WP_User                    $user    The user as inserted.
	 * @param array                      $meta    WordPress's own, slashed, by key.
	 * @return array Slashed values by key.
	 */
	private function first_meta( Spillway_Connector_Contact $contact, $user, array $meta ) {
		$more = array();
		if ( ! $this->has_fusion ) {
			$more  = array_diff_key( $contact->fields, Spillway_Connector_Fields::RECORD );
			$more += Spillway_Connector_Tags::first( $contact );
		}
		$marks = $this->marks( $contact, $user->user_pass );
		// WordPress adds each key without asking whether there is one, and MySQL
		// holds keys for the same that differ in case alone.
		$taken = array_change_key_case( $marks + $meta + get_user_meta( $user->ID ) );
		foreach ( array_keys( $more ) as $key ) {
			if ( isset( $taken[ strtolower( $key ) ] ) ) {
				unset( $more[ $key ] );
			}
			$taken[ strtolower( $key ) ] = true;
		}
		return wp_slash( $marks ) + $meta + wp_slash( $more );
	}

	/**
	 * The marks of a new user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $hash    The password as stored.
	 * @return array Values by key.
	 */
	private function marks( Spillway_Connector_Contact $contact, $hash ) {
		$marks = array();
		if ( $contact->generated && '' !== $contact->request_id ) {
			$marks[ Spillway_Connector_Password::MARK ] = Spillway_Connector_Password::mark( $contact->id, $contact->request_id, $hash );
		}
		$marks[ Spillway_Connector_Keys::contact_id() ] = $contact->id;
		if ( $contact->notify ) {
			$marks[ Spillway_Connector_Mail::MARK ] = '1';
		}
		if ( $contact->generated || '' === $contact->password ) {
			$marks['default_password_nag'] = '1';
		}
		return $marks + Spillway_Connector_Password::seen( $contact, $hash ) + Spillway_Connector_Tags::first_mark( $contact );
	}
}
