<?php
/**
 * The keys of user meta that the plugin shares with WP Fusion.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Names the meta keys of contact id and tags: those of WP Fusion while it is
 * active, and the same ones after it was switched off. They are remembered in
 * an option of each site.
 *
 * User meta belongs to a whole network, and so does a key without a prefix. A
 * site of a network that has neither WP Fusion nor stored contacts therefore
 * gets WP Fusion's keys with the site's prefix: two sites with an account of the
 * CRM each must not meet in one contact id.
 */
final class Spillway_Connector_Keys {

	const OPTION     = 'spillway_connector_keys';
	const CONTACT_ID = 'pulsetech_contact_id';
	const TAGS       = 'pulsetech_tags';

	/**
	 * The meta key of the contact id.
	 *
	 * @return string
	 */
	public static function contact_id() {
		return self::all()['contact_id'];
	}

	/**
	 * The meta key of the tags.
	 *
	 * @return string
	 */
	public static function tags() {
		return self::all()['tags'];
	}

	/**
	 * A key of the plugin's own for what belongs to one site of a network: one
	 * other than the main site may have a CRM of its own.
	 *
	 * @param string $key The key.
	 * @return string
	 */
	public static function own( $key ) {
		return is_multisite() && ! is_main_site() ? $key . '_' . get_current_blog_id() : $key;
	}

	/**
	 * Remembers WP Fusion's keys, for the time when it is switched off.
	 */
	public static function remember() {
		$now = self::of_wp_fusion();
		if ( null !== $now && get_option( self::OPTION ) !== $now ) {
			update_option( self::OPTION, $now );
		}
	}

	/**
	 * Both keys of the current site.
	 *
	 * @return string[] By "contact_id" and "tags".
	 */
	private static function all() {
		$now = self::of_wp_fusion();
		if ( null !== $now ) {
			return $now;
		}
		$remembered = get_option( self::OPTION );
		if ( is_array( $remembered ) && isset( $remembered['contact_id'], $remembered['tags'] ) ) {
			return $remembered;
		}
		$keys = self::with_prefix( self::needs_prefix() );
		update_option( self::OPTION, $keys );
		return $keys;
	}

	/**
	 * The keys that WP Fusion has defined for the current site. Its constants
	 * are those of the site on which the request began.
	 *
	 * @return string[]|null Null when it is not active.
	 */
	private static function of_wp_fusion() {
		if ( ! defined( 'WPF_CONTACT_ID_META_KEY' ) || ! defined( 'WPF_TAGS_META_KEY' ) || ( is_multisite() && ms_is_switched() ) ) {
			return null;
		}
		return array(
			'contact_id' => (string) WPF_CONTACT_ID_META_KEY,
			'tags'       => (string) WPF_TAGS_META_KEY,
		);
	}

	/**
	 * WP Fusion's keys for this CRM.
	 *
	 * @param bool $prefixed Whether with the site's prefix.
	 * @return string[]
	 */
	private static function with_prefix( $prefixed ) {
		global $wpdb;
		$prefix = $prefixed ? $wpdb->get_blog_prefix() : '';
		return array(
			'contact_id' => $prefix . self::CONTACT_ID,
			'tags'       => $prefix . self::TAGS,
		);
	}

	/**
	 * Whether the site's keys have a prefix when nothing is remembered: what WP
	 * Fusion's settings say if it was here, else what is stored already, else
	 * yes on a network.
	 *
	 * @return bool
	 */
	private static function needs_prefix() {
		if ( defined( 'WPF_MULTISITE_PREFIX_KEYS' ) ) {
			return (bool) WPF_MULTISITE_PREFIX_KEYS;
		}
		$settings = get_option( 'wpf_options' );
		if ( is_array( $settings ) && isset( $settings['crm'] ) && 'pulsetech' === $settings['crm'] ) {
			return ! empty( $settings['multisite_prefix_keys'] );
		}
		if ( ! is_multisite() ) {
			return false;
		}
		return self::has_contacts( self::with_prefix( true )['contact_id'] ) || ! self::has_contacts( self::CONTACT_ID );
	}

	/**
	 * Whether a member of the current site has a contact id under a key.
	 *
	 * @param string $key The key.
	 * @return bool
	 */
	private static function has_contacts( $key ) {
		global $wpdb;
		$query = "SELECT 1 FROM {$wpdb->usermeta} m JOIN {$wpdb->usermeta} c ON c.user_id = m.user_id AND c.meta_key = %s WHERE m.meta_key = %s LIMIT 1";
		return null !== $wpdb->get_var( $wpdb->prepare( $query, $wpdb->get_blog_prefix() . 'capabilities', $key ) ); // phpcs:ignore WordPress.DB -- once for a site, and prepared here.
	}
}
