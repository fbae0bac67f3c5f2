<?php
/**
 * Gives a copy of the template its address and its plugins:
 * php prepare.php WWW SOCKET HOST:PORT PLUGIN...
 */

list( , $www, $socket, $host ) = $argv;

// With plain SQL: at another address than its own a network does not load.
$db = new mysqli( 'localhost', 'wordpress', '', 'wordpress', 0, $socket );
$db->query( "UPDATE wp_options SET option_value = 'http://$host' WHERE option_name IN ('siteurl', 'home')" );
if ( $db->query( "SHOW TABLES LIKE 'wp_blogs'" )->num_rows ) {
	$db->query( "UPDATE wp_blogs SET domain = '$host'" );
	$db->query( "UPDATE wp_site SET domain = '$host'" );
	$db->query( "UPDATE wp_sitemeta SET meta_value = 'http://$host/' WHERE meta_key = 'siteurl'" );
	$db->query( "UPDATE wp_2_options SET option_value = 'http://$host/second' WHERE option_name IN ('siteurl', 'home')" );
}
$db->close();

require $www . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php'; // WordPress 6.8 has loaded it already

foreach ( array_slice( $argv, 4 ) as $plugin ) {
	// All sites of a network.
	$activated = activate_plugin( $plugin, '', is_multisite() );
	if ( is_wp_error( $activated ) ) {
		fwrite( STDERR, "activating $plugin: " . $activated->get_error_message() . "\n" );
		exit( 1 );
	}
}

$spillway = get_user_by( 'login', 'spillway' )->ID;
if ( is_multisite() ) {
	foreach ( array( 1, 2 ) as $blog ) {
		add_user_to_blog( $blog, $spillway, 'spillway' );
	}
} else {
	( new WP_User( $spillway ) )->set_role( 'spillway' );
}
