<?php
/**
 * WP Fusion's settings, for Spillway.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Reads WP Fusion's settings through its own getter. So constants, filters and
 * the formats of older versions count as they do for WP Fusion. `spillway connect`
 * decides what the settings mean for Spillway. Nothing is changed here.
 */
final class Spillway_Connector_Handover {

	const CRM = 'pulsetech';

	const SECRETS = array( 'access_key', 'pulsetech_client_id', 'pulsetech_secret', 'pulsetech_token', 'pulsetech_refresh_token' );

	const SETTINGS = array(
		'pulsetech_url',
		'contact_fields',
		'return_password',
		'return_password_field',
		'send_welcome_email',
		'username_format',
		'multisite_prefix_keys',
		'create_users',
		'assign_tags',
		'user_roles',
		'deletion_tags',
		'push',
		'push_all_meta',
		'login_sync',
		'login_meta_sync',
		'enable_cron',
		'auto_login',
		'auto_login_thrivecart',
		'enable_logging',
		'logging_http_api',
	);

	/**
	 * Whether WP Fusion is here to be read.
	 *
	 * @return bool
	 */
	public static function is_possible() {
		return function_exists( 'wp_fusion' ) && isset( wp_fusion()->settings ) && is_callable( array( wp_fusion()->settings, 'get' ) );
	}

	/**
	 * Why the settings are not for Spillway.
	 *
	 * @return string In English, since Spillway shows it; empty: they are.
	 */
	public static function refusal() {
		if ( ! self::is_possible() ) {
			return 'WP Fusion is not active on this site.';
		}
		if ( self::get( 'staging_mode' ) ) {
			return 'WP Fusion is in staging mode: this is a copy of a site. Connect the site itself, or make a code without WP Fusion\'s settings.';
		}
		if ( ! self::get( 'connection_configured' ) ) {
			return 'WP Fusion is not connected to a CRM.';
		}
		$crm = self::get( 'crm' );
		if ( self::CRM !== $crm ) {
			return 'WP Fusion is connected to ' . ( is_string( $crm ) ? sanitize_key( $crm ) : 'no CRM' ) . '; Spillway knows PulseTechnologyCRM (' . self::CRM . ') alone.';
		}
		return '';
	}

	/**
	 * The settings.
	 *
	 * @param bool $masked Whether an asterisk stands for each character of a
	 *                     secret.
	 * @return array
	 */
	public static function settings( $masked ) {
		$settings = array();
		foreach ( self::SETTINGS as $key ) {
			$settings[ $key ] = self::get( $key );
		}
		$secrets = array();
		foreach ( self::SECRETS as $key ) {
			$value           = self::get( $key );
			$value           = is_scalar( $value ) && false !== $value ? trim( (string) $value ) : '';
			$secrets[ $key ] = $masked ? str_repeat( '*', strlen( $value ) ) : $value;
		}
		return array(
			'version'        => Spillway_Connector_Fusion::version(),
			'contact_id_key' => Spillway_Connector_Keys::contact_id(),
			'tags_key'       => Spillway_Connector_Keys::tags(),
			'import_roles'   => self::import_roles(),
			'waiting'        => self::waiting(),
			'settings'       => $settings,
			'secrets'        => $secrets,
		);
	}

	/**
	 * One setting, as WP Fusion gets it: its function came with 3.38.
	 *
	 * @param string $key The setting.
	 * @return mixed
	 */
	private static function get( $key ) {
		return function_exists( 'wpf_get_option' ) ? wpf_get_option( $key ) : wp_fusion()->settings->get( $key );
	}

	/**
	 * The roles that were given in imports: a hint which ones are in use.
	 *
	 * @return string[]
	 */
	private static function import_roles() {
		$roles = array();
		foreach ( (array) get_option( 'wpf_import_groups', array() ) as $group ) {
			$group = (array) $group;
			if ( isset( $group['role'] ) && is_string( $group['role'] ) && wp_roles()->is_role( $group['role'] ) ) {
				$roles[] = $group['role'];
			}
		}
		return array_values( array_unique( $roles ) );
	}

	/**
	 * How many batches of webhooks and other work WP Fusion has yet to do.
	 *
	 * @return int
	 */
	private static function waiting() {
		global $wpdb;
		// phpcs:ignore WordPress.DB -- no function of WordPress finds options by their beginning.
		return (int) $wpdb->get_var( "SELECT COUNT(*) FROM {$wpdb->options} WHERE option_name LIKE 'wpf\\_background\\_process\\_%' AND option_name NOT LIKE '%lock%'" );
	}
}
