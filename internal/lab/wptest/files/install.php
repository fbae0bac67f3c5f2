<?php
/**
 * Installs WordPress into an empty database server, as the template of all
 * test sites: php install.php WWW SOCKET NETWORK(0|1). Prints the users'
 * application passwords as JSON.
 */

list( , $www, $socket, $network ) = $argv;

$db = new mysqli( 'localhost', 'root', '', '', 0, $socket );
$db->query( 'CREATE DATABASE wordpress CHARACTER SET utf8mb4' );
$db->query( "CREATE USER wordpress@localhost IDENTIFIED BY ''" );
$db->query( 'GRANT ALL ON wordpress.* TO wordpress@localhost' );
$db->close();

define( 'WP_INSTALLING', true );
require $www . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

wp_install( 'Test site', 'admin', 'admin@example.com', false, '', wp_generate_password( 24, false ) );
update_option( 'permalink_structure', '/%postname%/' );

add_role( 'customer', 'Customer', array( 'read' => true ) );

$app_passwords = array();
// The user "spillway" gets its role when the connector has made that.
foreach ( array( 'spillway' => '', 'weak' => 'subscriber' ) as $login => $role ) {
	$id = wp_insert_user(
		array(
			'user_login' => $login,
			'user_email' => $login . '@example.com',
			'user_pass'  => wp_generate_password( 24, false ),
			'role'       => $role,
		)
	);

	list( $password ) = WP_Application_Passwords::create_new_application_password( $id, array( 'name' => 'Test' ) );

	$app_passwords[ $login ] = $password;
}

if ( $network ) {
	// The network's tables are named on $wpdb only while a network is active.
	foreach ( $wpdb->tables( 'ms_global' ) as $table => $prefixed ) {
		$wpdb->$table = $prefixed;
	}
	install_network();
	$made = populate_network( 1, '127.0.0.1', 'admin@example.com', 'Test network', '/', false );
	if ( is_wp_error( $made ) && 'no_wildcard_dns' !== $made->get_error_code() ) {
		fwrite( STDERR, 'populate_network: ' . $made->get_error_message() );
		exit( 1 );
	}
}

echo wp_json_encode( $app_passwords );
