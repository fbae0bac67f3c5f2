<?php
/**
 * Runs PHP inside the site for the test: php checks.php WWW SOCKET. WordPress
 * is loaded once; every script that arrives on the socket runs in a fork with
 * a database connection and caches of its own, and is answered with
 * {"output": base64, "error": "…"}.
 */

$server = stream_socket_server( 'unix://' . $argv[2] . '.new' );

require $argv[1] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

// A connection that two processes share would be closed by the first to end.
$wpdb->close();
// The kernel reaps the forks.
pcntl_signal( SIGCHLD, SIG_IGN );
// The name appears when WordPress is loaded.
rename( $argv[2] . '.new', $argv[2] );

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
