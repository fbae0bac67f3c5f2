<?php
/**
 * Fields: which may be written, and how.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores a contact's fields on a user. Columns of the user record go through
 * wp_update_user() and its cleaning, as a profile form's do; every other key
 * becomes user meta, byte for byte.
 */
final class Spillway_Connector_Fields {

	/**
	 * The columns of the user record that a field may change, with their width.
	 */
	const RECORD = array(
		'user_email'    => 100,
		'display_name'  => 250,
		'user_url'      => 100,
		'user_nicename' => 50,
	);

	/**
	 * Keys that no field writes, in lower case. Roles have rules of their own,
	 * and the password is a member of the contact.
	 */
	const PROTECTED_KEYS = array(
		'id',
		'user_login',
		'user_pass',
		'user_registered',
		'user_activation_key',
		'user_status',
		'session_tokens',
		'role',
		'_application_passwords',
	);

	/**
	 * Picks the fields that are to be stored.
	 *
	 * @param array    $fields The request's fields.
	 * @param string[] $raw    Keys whose empty value counts.
	 * @return array Strings and lists of strings by key.
	 * @throws Spillway_Connector_Failure When a value is of another type.
	 */
	public static function accept( array $fields, array $raw ) {
		$accepted = array();
		foreach ( $fields as $key => $value ) {
			$key = (string) $key;
			if ( null === $value || self::is_protected( $key ) ) {
				continue;
			}
			$value = self::value( $value );
			if ( isset( self::RECORD[ $key ] ) && is_array( $value ) ) {
				$value = implode( ', ', $value );
			}
			$empty = '' === $value || array() === $value;
			if ( $empty && ( 'user_email' === $key || ! in_array( $key, $raw, true ) ) ) {
				continue;
			}
			$accepted[ $key ] = 'user_email' === $key ? trim( $value ) : $value;
		}
		return $accepted;
	}

	/**
	 * Whether no field may write a key. Keys of other characters than letters,
	 * digits, _ and - are refused altogether: MySQL's collations hold an
	 * accented "wp_cápabilities" for the real one.
	 *
	 * @param string $key The WordPress key.
	 * @return bool
	 */
	public static function is_protected( $key ) {
		$lower = strtolower( $key );
		return ! preg_match( '/^[A-Za-z0-9_-]{1,255}$/D', $key )
			|| in_array( $lower, self::PROTECTED_KEYS, true )
			|| preg_match( '/(capabilities|user_level)$/D', $lower )
			|| 0 === strpos( $lower, 'spillway_' )
			|| Spillway_Connector_Keys::is_one( $lower );
	}

	/**
	 * The note for a field that is not written because of its key.
	 *
	 * @param string $key The WordPress key.
	 * @return string
	 */
	public static function refused( $key ) {
		return 'field_refused:' . mb_substr( $key, 0, 255 );
	}

	/**
	 * Whether an address is another than the user's. Case is no difference, as
	 * for WordPress's own look-ups.
	 *
	 * @param int    $user_id The user.
	 * @param string $email   The address.
	 * @return bool
	 */
	public static function is_another_email( $user_id, $email ) {
		return strtolower( get_userdata( $user_id )->user_email ) !== strtolower( $email );
	}

	/**
	 * Turns a JSON value into a string or a list of strings.
	 *
	 * @param mixed $value The JSON value.
	 * @return string|string[]
	 * @throws Spillway_Connector_Failure When it is neither.
	 */
	private static function value( $value ) {
		if ( is_array( $value ) ) {
			$list = array();
			foreach ( $value as $key => $element ) {
				if ( ! is_int( $key ) || is_array( $element ) ) {
					throw Spillway_Connector_Failure::invalid_contact( 'fields' );
				}
				$list[] = self::value( $element );
			}
			return $list;
		}
		if ( is_bool( $value ) ) {
			return $value ? '1' : '0';
		}
		return (string) $value;
	}

	/**
	 * Stores fields on a user.
	 *
	 * @param int                            $user_id The user.
	 * @param array                          $fields  What accept() returned.
	 * @param Spillway_Connector_Fusion|null $fusion  WP Fusion, when it is active.
	 * @return string[] Notes for the answer.
	 * @throws Spillway_Connector_Failure When a field can't be stored.
	 */
	public static function store( $user_id, array $fields, $fusion ) {
		$notes = self::store_record( $user_id, array_intersect_key( $fields, self::RECORD ) );
		$meta  = array_diff_key( $fields, self::RECORD );
		if ( null !== $fusion && array() !== $fields ) {
			// The address is stored by now, and one that already stands so would
			// become user meta there.
			$left = $fusion->set_fields( $user_id, array_diff_key( $fields, array( 'user_email' => 0 ) ) );
			// WP Fusion cleans and unslashes what it stores; the second round
			// writes only what differs afterwards.
			self::store_record( $user_id, array_intersect_key( $left, self::RECORD ) );
			$meta = array_intersect_key( $meta, $left );
		}
		foreach ( $meta as $key => $value ) {
			$key = (string) $key;
			if ( update_user_meta( $user_id, $key, wp_slash( $value ) ) ) {
				continue;
			}
			// False also means that the value already stood so.
			if ( null === $fusion && get_user_meta( $user_id, $key, true ) !== sanitize_meta( $key, $value, 'user' ) ) {
				$notes[] = 'field_kept';
			}
		}
		return array_values( array_unique( $notes ) );
	}

	/**
	 * Stores the columns of the user record that differ, in one call.
	 *
	 * @param int   $user_id The user.
	 * @param array $columns New values by column.
	 * @return string[] Notes for the answer.
	 * @throws Spillway_Connector_Failure When a column can't be stored.
	 */
	private static function store_record( $user_id, array $columns ) {
		$user   = get_userdata( $user_id );
		$change = array();
		foreach ( $columns as $column => $value ) {
			if ( $user->$column === $value || $user->$column === self::cleaned( $user_id, $column, $value ) ) {
				continue;
			}
			if ( 'user_email' === $column ) {
				self::check_email( $user_id, $value );
			} elseif ( mb_strlen( $value ) > self::RECORD[ $column ] ) {
				/* translators: %s: column of the user record */
				throw new Spillway_Connector_Failure( 'field_too_long', sprintf( __( 'The field %s is longer than WordPress allows.', 'spillway-connector' ), $column ) );
			}
			$change[ $column ] = $value;
		}
		if ( array() === $change ) {
			return array();
		}
		self::update_user( $user_id, $change );
		$notes  = array();
		$stored = get_userdata( $user_id );
		foreach ( $change as $column => $value ) {
			// A nicename that is taken gets a number; anything else that still
			// stands as before was refused by the database or by a plugin.
			if ( 'user_nicename' === $column || $stored->$column !== $user->$column ) {
				continue;
			}
			if ( 'user_email' === $column ) {
				throw Spillway_Connector_Failure::invalid_email();
			}
			$notes[] = 'field_kept';
		}
		return $notes;
	}

	/**
	 * Calls wp_update_user() so that it leaves the user's names alone: it reads
	 * them from user meta and writes them back cleaned for HTML, which would
	 * turn a stored "A & B" into "A &amp; B".
	 *
	 * @param int   $user_id The user.
	 * @param array $change  New values by column.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	private static function update_user( $user_id, array $change ) {
		$keep = function ( $meta, $user, $update ) use ( &$keep, $user_id ) {
			if ( $update && (int) $user->ID === $user_id ) {
				remove_filter( 'insert_user_meta', $keep, PHP_INT_MAX );
				unset( $meta['nickname'], $meta['first_name'], $meta['last_name'], $meta['description'] );
			}
			return $meta;
		};
		add_filter( 'insert_user_meta', $keep, PHP_INT_MAX, 3 );
		try {
			$result = wp_update_user( wp_slash( array( 'ID' => $user_id ) + $change ) );
		} finally {
			remove_filter( 'insert_user_meta', $keep, PHP_INT_MAX );
		}
		if ( is_wp_error( $result ) ) {
			throw Spillway_Connector_Failure::from_wp_error( $result );
		}
	}

	/**
	 * A value as WordPress stores it in a column of the user record.
	 *
	 * @param int    $user_id The user.
	 * @param string $column  The column.
	 * @param string $value   The value.
	 * @return string
	 */
	private static function cleaned( $user_id, $column, $value ) {
		if ( 'user_nicename' === $column ) {
			return sanitize_title( sanitize_user( $value, true ) );
		}
		return wp_unslash( sanitize_user_field( $column, wp_slash( $value ), $user_id, 'db' ) );
	}

	/**
	 * Checks that an address is valid and nobody else's. The question goes to
	 * the database, since a shared object cache may be behind it.
	 *
	 * @param int    $user_id The user who is to get it.
	 * @param string $email   The address.
	 * @throws Spillway_Connector_Failure When it is not.
	 */
	private static function check_email( $user_id, $email ) {
		global $wpdb;
		if ( ! is_email( $email ) || strlen( $email ) > self::RECORD['user_email'] ) {
			throw Spillway_Connector_Failure::invalid_email();
		}
		if ( $wpdb->get_var( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE user_email = %s AND ID <> %d LIMIT 1", $email, $user_id ) ) ) {
			throw Spillway_Connector_Failure::email_taken();
		}
	}
}
