<?php
/**
 * Personal data that the plugin keeps of a user.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Exports and erases them through WordPress's own tools. Fields of the contact
 * are fields of the user, which WordPress and other plugins look after.
 */
final class Spillway_Connector_Privacy {

	/**
	 * What begins the keys of the plugin's own marks on users.
	 */
	const MARKS = 'spillway_';

	/**
	 * Adds the exporter.
	 *
	 * @param array $exporters The site's.
	 * @return array
	 */
	public static function add_exporter( $exporters ) {
		$exporters['spillway-connector'] = array(
			'exporter_friendly_name' => 'Spillway Connector',
			'callback'               => array( __CLASS__, 'export' ),
		);
		return $exporters;
	}

	/**
	 * Adds the eraser.
	 *
	 * @param array $erasers The site's.
	 * @return array
	 */
	public static function add_eraser( $erasers ) {
		$erasers['spillway-connector'] = array(
			'eraser_friendly_name' => 'Spillway Connector',
			'callback'             => array( __CLASS__, 'erase' ),
		);
		return $erasers;
	}

	/**
	 * Exports what is known of the user with an address.
	 *
	 * @param string $email The address.
	 * @return array
	 */
	public static function export( $email ) {
		$user = get_user_by( 'email', $email );
		$data = array();
		foreach ( $user ? self::known( $user->ID ) : array() as $line ) {
			$data[] = array(
				'name'  => $line[0],
				'value' => $line[1],
			);
		}
		$item = array(
			'group_id'    => 'spillway-connector',
			'group_label' => __( 'Contact in the CRM', 'spillway-connector' ),
			'item_id'     => 'spillway-connector-' . ( $user ? $user->ID : 0 ),
			'data'        => $data,
		);
		return array(
			'data' => array() === $data ? array() : array( $item ),
			'done' => true,
		);
	}

	/**
	 * Erases the marks, and which contact the user is. The tags stay, since they
	 * say what the user has access to. Where WP Fusion is active, the contact is
	 * its own to forget.
	 *
	 * @param string $email The address.
	 * @return array
	 */
	public static function erase( $email ) {
		$user     = get_user_by( 'email', $email );
		$removed  = 0;
		$retained = false;
		foreach ( $user ? array_keys( (array) get_user_meta( $user->ID ) ) : array() as $key ) {
			$own = 0 === strpos( $key, self::MARKS );
			$id  = Spillway_Connector_Keys::contact_id() === $key;
			if ( $own || ( $id && '' === Spillway_Connector_Fusion::version() ) ) {
				$removed += delete_user_meta( $user->ID, wp_slash( $key ) ) ? 1 : 0;
			} else {
				$retained = $retained || $id || Spillway_Connector_Keys::tags() === $key;
			}
		}
		$told = __( 'Spillway: the user\'s tags are kept, since they say what the user has access to; they go with the user. Delete the contact in the CRM, too: its next change there comes here again.', 'spillway-connector' );
		return array(
			'items_removed'  => $removed > 0,
			'items_retained' => $retained,
			'messages'       => $retained || $removed > 0 ? array( $told ) : array(),
			'done'           => true,
		);
	}

	/**
	 * What the plugin knows of a user.
	 *
	 * @param int $user_id The user.
	 * @return string[][] Translated label and value.
	 */
	public static function known( $user_id ) {
		$known   = array();
		$contact = get_user_meta( $user_id, Spillway_Connector_Keys::contact_id(), true );
		if ( is_scalar( $contact ) && '' !== (string) $contact ) {
			$known[] = array( __( 'Contact id', 'spillway-connector' ), (string) $contact );
		}
		$tags = get_user_meta( $user_id, Spillway_Connector_Keys::tags(), true );
		if ( is_array( $tags ) && array() !== $tags ) {
			$known[] = array( __( 'Tags', 'spillway-connector' ), implode( ', ', array_filter( $tags, 'is_scalar' ) ) );
		}
		// The contact, the number of the pass, and the time.
		$stored = explode( ' ', (string) get_user_meta( $user_id, 'spillway_as_of', true ) );
		$time   = (int) end( $stored );
		if ( $time > 0 ) {
			$known[] = array( __( 'Last stored', 'spillway-connector' ), Spillway_Connector_Visits::date( $time ) );
		}
		return $known;
	}
}
