<?php
/**
 * What storing fields would change.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Compares a contact's fields with what stands on its user, by the rules by which
 * they are stored, and stores nothing. It asks no filter that integrations of WP
 * Fusion use to store (wpf_set_user_meta).
 */
final class Spillway_Connector_Differences {

	/**
	 * The fields that storing would change.
	 *
	 * @param int                            $user_id The user.
	 * @param array                          $fields  The fields that reach the user.
	 * @param Spillway_Connector_Fusion|null $fusion  WP Fusion, when it is active.
	 * @return array[] Their keys, and notes: on values that can't be stored, and why
	 *                 some differ that WP Fusion has stored.
	 */
	public static function of( $user_id, array $fields, $fusion ) {
		if ( null !== $fusion ) {
			$fields = $fusion->stored_as( $fields );
		}
		list( $change, $notes ) = Spillway_Connector_Fields::record_changes( $user_id, array_intersect_key( $fields, Spillway_Connector_Fields::RECORD ) );

		$keys = array_keys( $change );
		foreach ( array_diff_key( $fields, Spillway_Connector_Fields::RECORD ) as $key => $value ) {
			$key   = (string) $key;
			$value = sanitize_meta( $key, $value, 'user', get_object_subtype( 'user', $user_id ) );
			$value = is_scalar( $value ) ? (string) $value : $value;
			$has   = get_user_meta( $user_id, $key, false );
			if ( array( $value ) !== $has ) {
				$keys[]  = $key;
				$notes[] = self::reason( $key, array() === $has ? '' : $has[0], $value );
			}
		}
		return array( $keys, $notes );
	}

	/**
	 * The notes on fields that a new user would not get.
	 *
	 * @param array $fields The fields.
	 * @return string[] By key.
	 */
	public static function unfit( array $fields ) {
		$notes = array();
		foreach ( array_diff_key( array_intersect_key( $fields, Spillway_Connector_Fields::RECORD ), array( 'user_email' => 0 ) ) as $column => $value ) {
			if ( is_string( $value ) && ! Spillway_Connector_Fields::fits( $column, $value ) ) {
				$notes[ $column ] = Spillway_Connector_Fields::kept( $column );
			}
		}
		return $notes;
	}

	/**
	 * Why a value may differ that WP Fusion has stored, although nobody has changed
	 * it in the CRM.
	 *
	 * @param string $key   The key.
	 * @param mixed  $has   What stands on the user.
	 * @param mixed  $value What would be stored.
	 * @return string A note, empty for none.
	 */
	private static function reason( $key, $has, $value ) {
		if ( '0' === $value && is_scalar( $has ) && ! in_array( (string) $has, array( '', '0' ), true ) ) {
			return 'unticked:' . $key;
		}
		if ( is_array( $has ) || is_array( $value ) ) {
			return self::elements( $has ) === self::elements( $value ) ? 'list:' . $key : '';
		}
		return is_string( $has ) && is_string( $value ) && self::plain( $has ) === self::plain( $value ) ? 'cleaned:' . $key : '';
	}

	/**
	 * The elements of a list, or of a text with commas.
	 *
	 * @param mixed $value A text or a list.
	 * @return string[]
	 */
	private static function elements( $value ) {
		return array_map( 'trim', explode( ',', implode( ',', array_filter( (array) $value, 'is_scalar' ) ) ) );
	}

	/**
	 * A text as WP Fusion leaves it: without line breaks, backslashes and tags.
	 *
	 * @param string $text The text.
	 * @return string
	 */
	private static function plain( $text ) {
		return sanitize_text_field( wp_unslash( htmlspecialchars_decode( $text, ENT_QUOTES ) ) );
	}
}
