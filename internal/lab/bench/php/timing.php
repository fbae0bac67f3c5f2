<?php
/**
 * Must-use plugin of the benchmark's site: writes down how long each request
 * held a PHP worker, and, when asked, what it asked of the database.
 */

defined( 'ABSPATH' ) || exit;

if ( ! empty( $_SERVER['HTTP_X_BENCH_QUERIES'] ) && ! defined( 'SAVEQUERIES' ) ) {
	define( 'SAVEQUERIES', true );
}

// A worker that somebody else keeps busy.
if ( isset( $_GET['bench_sleep'] ) ) {
	usleep( 1000 * (int) $_GET['bench_sleep'] );
	exit;
}

add_filter(
	'rest_request_before_callbacks',
	function ( $response ) {
		global $wpdb;
		$GLOBALS['spillway_bench_before'] = count( (array) $wpdb->queries );
		return $response;
	}
);

register_shutdown_function(
	function () {
		global $wpdb;
		$uri  = isset( $_SERVER['REQUEST_URI'] ) ? (string) $_SERVER['REQUEST_URI'] : '';
		$kind = 'page';
		if ( false !== strpos( $uri, '/spillway/v1/' ) ) {
			$kind = 'spillway';
		} elseif ( false !== strpos( $uri, 'wpf_action=' ) ) {
			$kind = 'webhook';
		}
		$line = array(
			'kind'    => $kind,
			'began'   => $_SERVER['REQUEST_TIME_FLOAT'],
			'seconds' => microtime( true ) - $_SERVER['REQUEST_TIME_FLOAT'],
		);
		if ( 'spillway' === $kind ) {
			$body             = json_decode( (string) file_get_contents( 'php://input' ), true );
			$line['contacts'] = isset( $body['contacts'] ) ? count( $body['contacts'] ) : 0;
		}
		if ( defined( 'SAVEQUERIES' ) && SAVEQUERIES && isset( $GLOBALS['spillway_bench_before'] ) ) {
			$asked           = array_slice( (array) $wpdb->queries, $GLOBALS['spillway_bench_before'] );
			$line['queries'] = array();
			foreach ( $asked as $query ) {
				// The kind of statement, without what it holds.
				$text = preg_replace( array( "/'(?:[^'\\\\]|\\\\.|'')*'/s", '/\b\d+\b/', '/\s+/', '/\?(?:, ?\?)+/' ), array( '?', '?', ' ', '?…' ), $query[0] );
				$text = trim( substr( (string) $text, 0, 120 ) );
				if ( ! isset( $line['queries'][ $text ] ) ) {
					$line['queries'][ $text ] = array( 0, 0.0 );
				}
				++$line['queries'][ $text ][0];
				$line['queries'][ $text ][1] += $query[1];
			}
		}
		file_put_contents( dirname( untrailingslashit( ABSPATH ) ) . '/bench.jsonl', wp_json_encode( $line ) . "\n", FILE_APPEND | LOCK_EX );
	}
);
