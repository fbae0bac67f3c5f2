<?php
/**
 * Hooks of other plugins that end the request.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Keeps a hook that redirects or dies from taking the other contacts along: its
 * contact fails alone. Where PHP leaves no choice, after exit or a fatal error,
 * the request is answered with the place where it ended.
 */
final class Spillway_Connector_Ends {

	/**
	 * The filters that WordPress asks for what wp_die() is to do.
	 */
	const HANDLERS = array( 'wp_die_handler', 'wp_die_ajax_handler', 'wp_die_json_handler', 'wp_die_jsonp_handler', 'wp_die_xmlrpc_handler', 'wp_die_xml_handler' );

	/**
	 * Output buffers that others had begun.
	 *
	 * @var int
	 */
	private $level;

	/**
	 * Begins to watch.
	 *
	 * @param int $level Output buffers that others had begun.
	 */
	public function __construct( $level ) {
		$this->level = $level;
		add_filter( 'wp_redirect', array( $this, 'redirect' ), PHP_INT_MAX );
		foreach ( self::HANDLERS as $handler ) {
			add_filter( $handler, array( $this, 'die' ), PHP_INT_MAX );
		}
		add_action( 'shutdown', array( $this, 'answer' ), PHP_INT_MIN );
	}

	/**
	 * Ends the watch.
	 */
	public function leave() {
		remove_filter( 'wp_redirect', array( $this, 'redirect' ), PHP_INT_MAX );
		foreach ( self::HANDLERS as $handler ) {
			remove_filter( $handler, array( $this, 'die' ), PHP_INT_MAX );
		}
		remove_action( 'shutdown', array( $this, 'answer' ), PHP_INT_MIN );
	}

	/**
	 * Whether PHP is about to end because of a fatal error.
	 *
	 * @return bool
	 */
	public static function is_dying() {
		$error = error_get_last();
		return null !== $error && ( $error['type'] & ( E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR ) ) > 0;
	}

	/**
	 * Fails the contact at hand in place of a redirect.
	 *
	 * @param string $location Where to.
	 * @return string
	 * @throws Spillway_Connector_Failure When a plugin redirects.
	 */
	public function redirect( $location ) {
		if ( ! $location ) {
			return $location;
		}
		throw Spillway_Connector_Failure::ended( $this->redirects( $location ) . $this->caller() );
	}

	/**
	 * Fails the contact at hand in place of the end of the request, which a
	 * database that is gone ends all the same.
	 *
	 * @param callable $handler What wp_die() is to do.
	 * @return callable
	 * @throws Spillway_Connector_Failure When a plugin called wp_die().
	 */
	public function die( $handler ) {
		if ( self::is_dying() ) {
			// WordPress has found the fatal error, and would print a page.
			return array( $this, 'answer' );
		}
		$classes = array_column( debug_backtrace( DEBUG_BACKTRACE_IGNORE_ARGS ), 'class' ); // phpcs:ignore WordPress.PHP.DevelopmentFunctions -- who dies matters.
		if ( in_array( 'wpdb', $classes, true ) || did_action( 'shutdown' ) ) {
			return $handler;
		}
		throw Spillway_Connector_Failure::ended( 'a plugin calls wp_die() while this user is stored' . $this->caller() );
	}

	/**
	 * Answers a request that has ended while its contacts were stored.
	 */
	public function answer() {
		global $wpdb;
		// What other plugins write at the end is not a contact's.
		$wpdb->query( 'ROLLBACK' );
		while ( ob_get_level() > $this->level && ob_end_clean() ) {
			continue;
		}
		if ( headers_sent() ) {
			return;
		}
		$text = $this->end();
		header_remove( 'Location' );
		status_header( 500 );
		header( 'Content-Type: application/json; charset=UTF-8' );
		echo wp_json_encode( Spillway_Connector_Failure::ended( $text )->error() );
	}

	/**
	 * What has ended the request, as far as PHP can tell.
	 *
	 * @return string
	 */
	private function end() {
		if ( self::is_dying() ) {
			$error = error_get_last();
			$known = preg_match( '/^(Allowed memory size|Maximum execution time) of \d+ \w+ (exhausted|exceeded)/', $error['message'], $parts ) ? " ($parts[0])" : '';
			return sprintf( 'PHP dies at %1$s%2$s while this user is stored', basename( $error['file'] ) . ':' . $error['line'], $known ) . $this->hook();
		}
		foreach ( headers_list() as $header ) {
			if ( 0 === stripos( $header, 'location:' ) ) {
				return $this->redirects( trim( substr( $header, 9 ) ) ) . $this->hook();
			}
		}
		return 'a plugin ends the request while this user is stored' . $this->hook();
	}

	/**
	 * Says that a plugin redirects. Path and query may hold anything.
	 *
	 * @param string $location Where to.
	 * @return string
	 */
	private function redirects( $location ) {
		$host = (string) wp_parse_url( $location, PHP_URL_HOST );
		return sprintf( 'a plugin redirects while this user is stored (to host %s)', '' === $host ? (string) wp_parse_url( home_url(), PHP_URL_HOST ) : $host );
	}

	/**
	 * The place in a plugin from which this was called.
	 *
	 * @return string
	 */
	private function caller() {
		foreach ( debug_backtrace( DEBUG_BACKTRACE_IGNORE_ARGS ) as $frame ) { // phpcs:ignore WordPress.PHP.DevelopmentFunctions -- the only way to know.
			$file = isset( $frame['file'] ) ? $frame['file'] : '';
			if ( '' !== $file && 0 !== strpos( $file, ABSPATH . WPINC ) && 0 !== strpos( $file, ABSPATH . 'wp-admin' ) && 0 !== strpos( $file, __DIR__ ) ) {
				return ', ' . basename( $file ) . ':' . $frame['line'];
			}
		}
		return '';
	}

	/**
	 * The hook that was running when the request ended, and the functions that
	 * may have ended it.
	 *
	 * @return string
	 */
	private function hook() {
		global $wp_current_filter, $wp_filter;
		$running = array_diff( (array) $wp_current_filter, array( 'shutdown' ) );
		$hook    = (string) end( $running );
		if ( ! isset( $wp_filter[ $hook ] ) ) {
			return '';
		}
		$priority = $wp_filter[ $hook ]->current_priority();
		$places   = array();
		foreach ( isset( $wp_filter[ $hook ]->callbacks[ $priority ] ) ? $wp_filter[ $hook ]->callbacks[ $priority ] : array() as $callback ) {
			$places[] = $this->place( $callback['function'] );
		}
		return sprintf( ', in the hook %1$s (%2$s)', $hook, implode( ', ', array_slice( array_filter( $places ), 0, 3 ) ) );
	}

	/**
	 * Where a function is.
	 *
	 * @param callable $callback The function.
	 * @return string Empty when it is WordPress's or PHP's own.
	 */
	private function place( $callback ) {
		try {
			$function = is_array( $callback ) ? new ReflectionMethod( $callback[0], $callback[1] ) : ( is_object( $callback ) && ! $callback instanceof Closure ? new ReflectionMethod( $callback, '__invoke' ) : new ReflectionFunction( $callback ) );
		} catch ( ReflectionException $thrown ) {
			return '';
		}
		$file = (string) $function->getFileName();
		return '' === $file || 0 === strpos( $file, ABSPATH . WPINC ) ? '' : basename( $file ) . ':' . $function->getStartLine();
	}
}
