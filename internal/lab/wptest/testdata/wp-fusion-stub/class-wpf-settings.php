<?php
/**
 * wp_fusion()->settings: what the settings page stores, and how it is read.
 */

defined( 'ABSPATH' ) || exit;

/**
 * Reads the option wpf_options in the shapes of WP Fusion's versions. A test
 * that sets none finds a site that is not connected to a CRM.
 */
final class WPF_Settings {
	public function __construct() {
		add_filter( 'wpf_get_setting_staging_mode', array( $this, 'staging' ) );
	}

	/** An unticked box and an empty text are false, or the default. */
	public function get( $key, $default = false ) {
		$options = get_option( 'wpf_options', array() );
		$value   = $default;
		if ( ! empty( $options[ $key ] ) ) {
			$value = $options[ $key ];
		} elseif ( isset( $options[ $key ] ) && in_array( $options[ $key ], array( 0, '0' ), true ) ) {
			$value = false;
		} elseif ( isset( $options[ $key ] ) && is_array( $options[ $key ] ) && false === $default ) {
			$value = array();
		}
		// Until 3.40.33 a dropdown of CRM fields was stored as an array. Newer
		// versions unpack it here.
		if ( is_array( $value ) && isset( $value['crm_field'] ) && ! get_option( 'wpf_stub_packed' ) ) {
			$value = $value['crm_field'];
		}
		return apply_filters( 'wpf_get_setting_' . $key, $value );
	}

	/** A copy of a site is known by its address, which has a mark inside. */
	public function staging( $value ) {
		$of = str_replace( '_[wpf_siteurl]_', '', (string) $this->get( 'site_url', get_site_url() ) );
		return wp_parse_url( $of, PHP_URL_HOST ) !== wp_parse_url( get_site_url(), PHP_URL_HOST ) || $value;
	}
}

// The function came with 3.38.
if ( ! get_option( 'wpf_stub_packed' ) && ! function_exists( 'wpf_get_option' ) ) {
	function wpf_get_option( $key, $default = false ) {
		return wp_fusion()->settings->get( $key, $default );
	}
}
