<?php
/**
 * Adds the second site to a network that install.php made: php network.php WWW.
 */

require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/admin.php';

// They were made before the network, which keeps this in a table of its own.
update_network_option( get_main_network_id(), WP_Application_Passwords::OPTION_KEY_IN_USE, true );
$second = wpmu_create_blog( '127.0.0.1', '/second/', 'Second site', 1 );
if ( is_wp_error( $second ) ) {
	fwrite( STDERR, 'wpmu_create_blog: ' . $second->get_error_message() );
	exit( 1 );
}

switch_to_blog( $second );
add_role( 'customer', 'Customer', array( 'read' => true ) );
restore_current_blog();
