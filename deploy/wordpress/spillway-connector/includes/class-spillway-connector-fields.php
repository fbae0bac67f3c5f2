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
 * becomes user meta. A value that can't be stored is left out with a note; the
 * site's stays, and so does everything else of the contact.
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
	 * Picks the fields that are to be stored, and cleans what becomes user meta.
	 *
	 * @param array    $fields The request's fields.
	 * @param string[] $raw    Keys whose empty value counts.
	 * @return array[] Strings and lists of strings by key, and notes.
	 * @throws Spillway_Connector_Failure When a value is of another type.
	 */
	public static function accept( array $fields, array $raw ) {
		$accepted = array();
		$notes    = array();
		$fusion   = null !== Spillway_Connector_Fusion::active();
		foreach ( $fields as $key => $value ) {
			$key = (string) $key;
			if ( null === $value || 'role' === $key ) {
				continue;
			}
			if ( Spillway_Connector_Protected::includes( $key ) ) {
				$notes[] = self::refused( $key );
				continue;
			}
			$value = self::value( $value );
			if ( is_array( $value ) && ( isset( self::RECORD[ $key ] ) || in_array( $key, Spillway_Connector_Profile::NAMES, true ) ) ) {
				// WordPress takes texts alone there, and dies of a list.
				$value = implode( ', ', $value );
			}
			$empty = '' === $value || array() === $value;
			if ( $empty && ( 'user_email' === $key || ! in_array( $key, $raw, true ) ) ) {
				continue;
			}
			if ( 'user_email' === $key ) {
				$value = self::is_email( trim( $value ) ) ? trim( $value ) : null;
			} elseif ( ! isset( self::RECORD[ $key ] ) ) {
				$value = $fusion ? Spillway_Connector_Values::clean_for_wp_fusion( $value ) : Spillway_Connector_Values::clean( $key, $value );
			}
			if ( null === $value ) {
				$notes[] = self::kept( $key );
				continue;
			}
			$accepted[ $key ] = $value;
		}
		return array( $accepted, $notes );
	}

	/**
	 * Whether a text is an address that WordPress takes.
	 *
	 * @param string $email The text.
	 * @return bool
	 */
	public static function is_email( $email ) {
		return is_email( $email ) && strlen( $email ) <= self::RECORD['user_email'];
	}

	/**
	 * The note for a value that is not stored.
	 *
	 * @param string $key The WordPress key.
	 * @return string
	 */
	public static function kept( $key ) {
		return 'user_email' === $key ? 'email_kept' : 'field_kept:' . $key;
	}

	/**
	 * The note for a field that is not written because of its key.
	 *
	 * @param string $key The WordPress key.
	 * @return string
	 */
	public static function refused( $key ) {
		return 'field_refused:' . $key;
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
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	public static function store( $user_id, array $fields, $fusion ) {
		if ( null !== $fusion ) {
			return self::store_with( $fusion, $user_id, $fields );
		}
		// The names come first: a change of the record fires profile_update, and
		// plugins that keep a copy of the profile take it then.
		$meta  = array_diff_key( $fields, self::RECORD );
		$names = array_intersect_key( $meta, array_flip( Spillway_Connector_Profile::NAMES ) );
		return array_merge(
			self::store_meta( $user_id, $names ),
			self::store_record( $user_id, array_intersect_key( $fields, self::RECORD ) ),
			self::store_meta( $user_id, array_diff_key( $meta, $names ) )
		);
	}

	/**
	 * Stores fields with WP Fusion, and keeps what WP Fusion made of them. Two
	 * kinds are stored without it: the address, which it would store as user meta
	 * if it is unchanged, and empty values, which it skips.
	 *
	 * @param Spillway_Connector_Fusion $fusion  WP Fusion.
	 * @param int                       $user_id The user.
	 * @param array                     $fields  The fields.
	 * @return string[] Notes for the answer.
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	private static function store_with( Spillway_Connector_Fusion $fusion, $user_id, array $fields ) {
		if ( array() === $fields ) {
			return array();
		}
		$ours   = array_intersect_key( $fields, array( 'user_email' => 0 ) );
		$theirs = array_diff_key( $fields, $ours );
		$notes  = array();
		$before = get_userdata( $user_id );
		foreach ( array_intersect_key( $theirs, self::RECORD ) as $column => $value ) {
			if ( is_string( $value ) && ! self::fits( $column, $value ) ) {
				unset( $theirs[ $column ] );
				$notes[] = self::kept( $column );
			}
		}
		$left = array();
		self::leaving_names(
			$user_id,
			function () use ( $fusion, $user_id, $theirs, &$left ) {
				$left = $fusion->set_fields( $user_id, $theirs );
			}
		);
		$empty = array_filter(
			$left,
			function ( $value ) {
				return '' === $value || array() === $value;
			}
		);
		$after = get_userdata( $user_id );
		foreach ( array_filter( array_diff_key( array_intersect_key( $left, self::RECORD ), $empty ), 'is_string' ) as $column => $value ) {
			// WP Fusion removes a backslash, and does not say what it could not store.
			$stands = in_array( $after->$column, array( self::cleaned( $column, wp_slash( $value ) ), self::cleaned( $column, $value ) ), true );
			if ( ! $stands && 'user_nicename' !== $column && $after->$column === $before->$column ) {
				$notes[] = self::kept( $column );
			}
		}
		$notes = array_merge( $notes, self::store_record( $user_id, $ours + array_intersect_key( $empty, self::RECORD ) ) );
		return array_merge( $notes, self::store_meta( $user_id, array_diff_key( $empty, self::RECORD ) ) );
	}

	/**
	 * Stores user meta.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    Values by key.
	 * @return string[] Notes for the answer.
	 */
	private static function store_meta( $user_id, array $meta ) {
		$notes = array();
		foreach ( $meta as $key => $value ) {
			$key = (string) $key;
			// False also means that the value already stood so.
			if ( ! update_user_meta( $user_id, $key, wp_slash( $value ) ) && get_user_meta( $user_id, $key, true ) !== sanitize_meta( $key, $value, 'user' ) ) {
				$notes[] = self::kept( $key );
			}
		}
		return $notes;
	}

	/**
	 * Stores the columns of the user record that differ: in one call, and if
	 * WordPress or a plugin refuses that, each in a call of its own.
	 *
	 * @param int   $user_id The user.
	 * @param array $columns New values by column.
	 * @return string[] Notes for the answer.
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	private static function store_record( $user_id, array $columns ) {
		$user                   = get_userdata( $user_id );
		list( $change, $notes ) = self::record_changes( $user_id, $columns );
		if ( array() !== $change && ! self::update_user( $user_id, $change ) && count( $change ) > 1 ) {
			foreach ( $change as $column => $value ) {
				self::update_user( $user_id, array( $column => $value ) );
			}
		}
		$stored = get_userdata( $user_id );
		foreach ( array_keys( $change ) as $column ) {
			// A nicename that is taken gets a number; anything else that still
			// stands as before was refused by the database or by a plugin.
			if ( 'user_nicename' !== $column && $stored->$column === $user->$column ) {
				$notes[] = self::kept( $column );
			}
		}
		return $notes;
	}

	/**
	 * The columns of the user record that differ and may be stored.
	 *
	 * @param int   $user_id The user.
	 * @param array $columns New values by column.
	 * @return array[] Values by column, and notes on those that can't be stored.
	 */
	public static function record_changes( $user_id, array $columns ) {
		$user   = get_userdata( $user_id );
		$change = array();
		$notes  = array();
		foreach ( $columns as $column => $value ) {
			if ( 'user_email' === $column ? ! self::is_another_email( $user_id, $value ) : in_array( $user->$column, array( $value, self::cleaned( $column, wp_slash( $value ) ) ), true ) ) {
				continue;
			}
			if ( 'user_email' === $column ? self::is_taken( $user_id, $value ) : ! self::fits( $column, $value ) ) {
				$notes[] = self::kept( $column );
				continue;
			}
			$change[ $column ] = $value;
		}
		return array( $change, $notes );
	}

	/**
	 * Updates columns of the user record.
	 *
	 * @param int   $user_id The user.
	 * @param array $change  New values by column.
	 * @return bool False when WordPress or a plugin refuses.
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	private static function update_user( $user_id, array $change ) {
		$result = null;
		self::leaving_names(
			$user_id,
			function () use ( $user_id, $change, &$result ) {
				$result = wp_update_user( wp_slash( array( 'ID' => $user_id ) + $change ) );
			}
		);
		if ( is_wp_error( $result ) && 'db_update_error' === $result->get_error_code() ) {
			throw Spillway_Connector_Failure::database();
		}
		return ! is_wp_error( $result );
	}

	/**
	 * Makes wp_update_user() leave a user's names alone. It would read them from
	 * user meta, clean them again and write them back: "A & B", as WP Fusion
	 * stored it, would become "A &amp; B".
	 *
	 * @param int      $user_id The user.
	 * @param callable $update  Calls it.
	 */
	private static function leaving_names( $user_id, callable $update ) {
		$keep = function ( $meta, $user, $updates ) use ( $user_id ) {
			if ( $updates && (int) $user->ID === $user_id ) {
				unset( $meta['nickname'], $meta['first_name'], $meta['last_name'], $meta['description'] );
			}
			return $meta;
		};
		add_filter( 'insert_user_meta', $keep, PHP_INT_MAX, 3 );
		try {
			$update();
		} finally {
			remove_filter( 'insert_user_meta', $keep, PHP_INT_MAX );
		}
	}

	/**
	 * A value as WordPress stores it in a column of the user record.
	 *
	 * @param string $column The column.
	 * @param string $value  The value, slashed.
	 * @return string
	 */
	public static function cleaned( $column, $value ) {
		if ( 'user_nicename' === $column ) {
			return sanitize_title( sanitize_user( wp_unslash( $value ), true ) );
		}
		return wp_unslash( sanitize_user_field( $column, $value, 0, 'db' ) );
	}

	/**
	 * Whether a column can hold a value, and something of it is left when it is
	 * cleaned. User meta holds any.
	 *
	 * @param string $column The column.
	 * @param string $value  The value.
	 * @return bool
	 */
	public static function fits( $column, $value ) {
		if ( ! isset( self::RECORD[ $column ] ) ) {
			return true;
		}
		$cleaned = self::cleaned( $column, wp_slash( $value ) );
		return mb_strlen( $cleaned ) <= self::RECORD[ $column ] && ( '' !== $cleaned || '' === $value ) && self::held( $column, $cleaned ) === $cleaned;
	}

	/**
	 * What a column of the user record can hold of a value. Tables of old sites
	 * know no emoji and not all Chinese characters, and WordPress refuses the whole
	 * record because of one.
	 *
	 * @param string $column The column.
	 * @param string $value  The value.
	 * @return string
	 */
	public static function held( $column, $value ) {
		global $wpdb;
		$held = $wpdb->strip_invalid_text_for_column( $wpdb->users, $column, $value );
		return is_string( $held ) ? $held : $value;
	}

	/**
	 * Whether another user has an address. It asks the database, since a shared
	 * object cache may be out of date.
	 *
	 * @param int    $user_id The user who is to get it.
	 * @param string $email   The address.
	 * @return bool
	 */
	public static function is_taken( $user_id, $email ) {
		global $wpdb;
		return (bool) $wpdb->get_var( $wpdb->prepare( "SELECT ID FROM {$wpdb->users} WHERE user_email = %s AND ID <> %d LIMIT 1", $email, $user_id ) );
	}
}
