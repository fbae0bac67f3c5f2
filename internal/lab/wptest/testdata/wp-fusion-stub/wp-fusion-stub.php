<?php
/**
 * Plugin Name: WP Fusion stub
 * Description: Stands in for WP Fusion in tests: stores fields and tags as it does, and writes down what it was asked and which calls to the CRM the handlers of its user object would have made. The calls of its CRM client are made, to a host that does not exist.
 * Version: 3.42.0
 *
 * Hooks, priorities, method names and rules for storing are those of WP Fusion
 * 3.42, as its public Lite edition shows them. Where WP Fusion asks a setting
 * before it calls the CRM, the stub counts the call: a site may have that
 * setting on.
 */

defined( 'ABSPATH' ) || exit;

define( 'WP_FUSION_VERSION', '3.42.0' );

// The setting that keeps the sites of a network apart.
$wpf_stub_prefix = get_option( 'wpf_stub_prefix_keys' ) ? $wpdb->get_blog_prefix() : '';
define( 'WPF_CONTACT_ID_META_KEY', $wpf_stub_prefix . 'pulsetech_contact_id' );
define( 'WPF_TAGS_META_KEY', $wpf_stub_prefix . 'pulsetech_tags' );

require_once __DIR__ . '/class-wpf-user.php';
require_once __DIR__ . '/class-wpf-crm.php';
require_once __DIR__ . '/class-wpf-settings.php';

/** Whether the request is one of WP Fusion's webhooks; this version knows the old name of the constant alone. */
function doing_wpf_webhook() {
	return defined( 'DOING_WPF_WEBHOOK' ) && true === DOING_WPF_WEBHOOK;
}

/** What wp_fusion() returns, as far as other plugins use it. */
final class WP_Fusion {
	/** @var WPF_User */
	public $user;

	/** @var WPF_CRM_Base */
	public $crm;

	/** @var WPF_Settings */
	public $settings;

	public function __construct() {
		$this->settings = new WPF_Settings();
		$this->crm      = new WPF_CRM_Base();
		$this->user     = new WPF_User();
	}
}

/** Writes one line of the record: a kind, then what happened. */
function wpf_stub_record( $line ) {
	file_put_contents( WPTEST_WP_FUSION, $line . "\n", FILE_APPEND | LOCK_EX );
}

function wp_fusion() {
	static $instance = null;
	if ( null === $instance ) {
		$instance = new WP_Fusion();
	}
	return $instance;
}
wp_fusion();

// The actions that memberships and courses hang on.
foreach ( array( 'wpf_tags_applied', 'wpf_tags_removed', 'wpf_tags_modified', 'wpf_user_imported', 'wpf_user_updated' ) as $action ) {
	add_action(
		$action,
		function ( $user_id, $what = array() ) use ( $action ) {
			$names = array();
			foreach ( (array) $what as $key => $value ) {
				$names[] = is_string( $key ) ? $key : $value;
			}
			wpf_stub_record( trim( "action $action $user_id " . implode( ',', $names ) ) );
		},
		1,
		2
	);
}
