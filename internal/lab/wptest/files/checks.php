<?php
/**
 * Makes a copied database this site's own, activates its plugins, and then runs
 * PHP inside the site for the test:
 * php checks.php WWW SOCKET DATABASE-SOCKET HOST:PORT PLUGIN... WordPress is
 * loaded once; every script that arrives on the socket runs in a fork with
 * a database connection and caches of its own, and is answered with
 * {"output": base64, "error": "…"}.
 */

list( , $www, $socket, $database, $host ) = $argv;
$plugins = array_slice( $argv, 5 );

// With plain SQL: at another address than its own a network does not load, and
// what is active is loaded with the rest, as at each request.
$db = new mysqli( 'localhost', 'wordpress', '', 'wordpress', 0, $database );
$db->query( "UPDATE wp_options SET option_value = 'http://$host' WHERE option_name IN ('siteurl', 'home')" );
if ( $db->query( "SHOW TABLES LIKE 'wp_blogs'" )->num_rows ) {
	$active = $db->real_escape_string( serialize( array_fill_keys( $plugins, time() ) ) );
	$db->query( "UPDATE wp_blogs SET domain = '$host'" );
	$db->query( "UPDATE wp_site SET domain = '$host'" );
	$db->query( "UPDATE wp_sitemeta SET meta_value = 'http://$host/' WHERE meta_key = 'siteurl'" );
	$db->query( "UPDATE wp_2_options SET option_value = 'http://$host/second' WHERE option_name IN ('siteurl', 'home')" );
	$db->query( "DELETE FROM wp_sitemeta WHERE meta_key = 'active_sitewide_plugins'" );
	$db->query( "INSERT INTO wp_sitemeta (site_id, meta_key, meta_value) VALUES (1, 'active_sitewide_plugins', '$active')" );
} else {
	$active = $db->real_escape_string( serialize( $plugins ) );
	$db->query( "REPLACE INTO wp_options (option_name, option_value, autoload) VALUES ('active_plugins', '$active', 'yes')" );
}
$db->close();

$server = stream_socket_server( "unix://$socket.new" );

require $www . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

foreach ( $plugins as $plugin ) {
	do_action( "activate_$plugin", is_multisite() );
}
$spillway = get_user_by( 'login', 'spillway' )->ID;
if ( is_multisite() ) {
	foreach ( array( 1, 2 ) as $blog ) {
		add_user_to_blog( $blog, $spillway, 'spillway' );
	}
} else {
	( new WP_User( $spillway ) )->set_role( 'spillway' );
}

// A connection that two processes share would be closed by the first to end.
$wpdb->close();
// The kernel reaps the forks.
pcntl_signal( SIGCHLD, SIG_IGN );
// The name appears when WordPress is loaded.
rename( "$socket.new", $socket );

function wptest_run( $script ) {
	eval( $script );
}

while ( true ) {
	$connection = @stream_socket_accept( $server, -1 );
	if ( ! $connection ) {
		continue;
	}
	if ( pcntl_fork() !== 0 ) {
		fclose( $connection );
		continue;
	}
	fclose( $server );

	$output = '';
	$error  = '';
	register_shutdown_function(
		function () use ( $connection, &$output, &$error ) {
			while ( ob_get_level() > 0 ) {
				ob_end_flush();
			}
			$last = error_get_last();
			if ( '' === $error && $last && in_array( $last['type'], array( E_ERROR, E_PARSE, E_CORE_ERROR, E_COMPILE_ERROR, E_USER_ERROR ), true ) ) {
				$error = $last['message'];
			}
			fwrite( $connection, json_encode( array( 'output' => base64_encode( $output ), 'error' => $error ), JSON_INVALID_UTF8_SUBSTITUTE ) );
			fclose( $connection );
			// PHP would free all of WordPress, and the kernel copy each page for that.
			posix_kill( posix_getpid(), SIGKILL );
		}
	);
	ob_start(
		function ( $chunk ) use ( &$output ) {
			$output .= $chunk;
			return '';
		}
	);

	$script = stream_get_contents( $connection );
	$wpdb->db_connect();
	wp_cache_flush();
	$wp_roles = new WP_Roles();
	try {
		wptest_run( $script );
	} catch ( Throwable $e ) {
		$error = get_class( $e ) . ': ' . $e->getMessage() . ' on line ' . $e->getLine();
	}
	exit;
}
