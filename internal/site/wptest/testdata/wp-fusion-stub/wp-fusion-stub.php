<?php
/**
 * Plugin Name: WP Fusion stub
 * Description: Stands in for WP Fusion in tests: stores fields and tags as it does, calls no CRM, and writes down what it was asked and which calls to the CRM WP Fusion would have made.
 * Version: 3.42.0
 *
 * Hooks, priorities, method names and rules for storing are those of WP Fusion
 * 3.42, as its public Lite edition shows them. Where WP Fusion asks a setting
 * before it calls the CRM, the stub counts the call: a site may have that
 * setting on.
 */

defined( 'ABSPATH' ) || exit;

define( 'WP_FUSION_VERSION', '3.42.0' );
defined( 'WPF_CONTACT_ID_META_KEY' ) || define( 'WPF_CONTACT_ID_META_KEY', 'pulsetech_contact_id' );
defined( 'WPF_TAGS_META_KEY' ) || define( 'WPF_TAGS_META_KEY', 'pulsetech_tags' );

require_once __DIR__ . '/class-wpf-user.php';

/** What wp_fusion() returns, as far as other plugins use it. */
final class WP_Fusion {
	/** @var WPF_User */
	public $user;

	/** @var object the CRM's slug and name */
	public $crm;

	public function __construct() {
		$this->crm  = (object) array(
			'slug' => 'pulsetech',
			'name' => 'PulseTechnologyCRM',
		);
		$this->user = new WPF_User();
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
