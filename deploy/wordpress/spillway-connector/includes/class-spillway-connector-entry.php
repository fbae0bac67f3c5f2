<?php
/**
 * How Spillway gets in.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Lets WordPress see the application password where a web server drops the
 * Authorization header or uses it itself, says why a caller is refused, and keeps
 * the routes' answers out of caches.
 *
 * Whether a password opens anything is WordPress's decision alone.
 */
final class Spillway_Connector_Entry {

	const UNCACHED = 'no-store, private, max-age=0';

	/**
	 * Takes user and password from the second header. Spillway sends the same in
	 * both, unless the first one is the web server's.
	 *
	 * @param int|false $user_id The user so far; not changed here.
	 * @return int|false
	 */
	public static function read_header( $user_id ) {
		if ( empty( $_SERVER['HTTP_X_SPILLWAY_AUTHORIZATION'] ) || ! self::is_own_route() ) {
			return $user_id;
		}
		// phpcs:ignore WordPress.Security.ValidatedSanitizedInput -- a password is taken as it is.
		$parts = explode( ' ', $_SERVER['HTTP_X_SPILLWAY_AUTHORIZATION'], 2 );
		if ( 2 === count( $parts ) && 'basic' === strtolower( $parts[0] ) ) {
			// phpcs:ignore WordPress.PHP.DiscouragedPHPFunctions -- the header's coding.
			$pair = explode( ':', (string) base64_decode( $parts[1], true ), 2 );
			if ( 2 === count( $pair ) ) {
				$_SERVER['PHP_AUTH_USER'] = $pair[0];
				$_SERVER['PHP_AUTH_PW']   = $pair[1];
			}
		}
		return $user_id;
	}

	/**
	 * Why the current caller may not use the routes.
	 *
	 * @return WP_Error
	 */
	public static function refusal() {
		if ( is_user_logged_in() ) {
			return self::error( 403, 'no_right', 'The user lacks the capability ' . Spillway_Connector_Rights::CAPABILITY . '; give it the role Spillway.' );
		}
		if ( ! self::header_arrived() ) {
			return self::error( 401, 'no_credentials', 'No Authorization header arrived.' );
		}
		if ( ! is_ssl() && 'local' !== wp_get_environment_type() ) {
			return self::error( 401, 'no_tls', 'WordPress does not see HTTPS, without which it takes no application password.' );
		}
		if ( ! wp_is_application_passwords_available() ) {
			return self::error( 401, 'passwords_off', 'Application passwords are switched off.' );
		}
		$status = isset( $GLOBALS['wp_rest_application_password_status'] ) ? $GLOBALS['wp_rest_application_password_status'] : null;
		$code   = is_wp_error( $status ) ? (string) $status->get_error_code() : '';
		switch ( $code ) {
			case 'invalid_username':
			case 'invalid_email':
				return self::error( 401, 'unknown_user', 'No user has that name.' );
			case 'application_passwords_disabled_for_user':
				return self::error( 401, 'passwords_off', 'Application passwords are switched off for that user.' );
			case 'incorrect_password':
			case '':
				return self::error( 401, 'wrong_password', 'It is no application password of that user.' );
			default:
				return self::error( 401, 'refused', 'A plugin refused the application password (' . sanitize_key( $code ) . ').' );
		}
	}

	/**
	 * Tells caches in front of the site to keep no answer of the routes, nor a
	 * refusal, which would last longer than its cause. Depending on its version,
	 * WordPress sends its own headers about that later.
	 *
	 * @param bool             $served  Whether the answer is sent; not changed here.
	 * @param WP_HTTP_Response $result  Not used.
	 * @param WP_REST_Request  $request The request.
	 * @param WP_REST_Server   $server  The server.
	 * @return bool
	 */
	public static function forbid_caching( $served, $result, $request, $server ) {
		if ( 0 === strpos( $request->get_route(), '/' . Spillway_Connector_Rest::ROUTES ) ) {
			$server->send_header( 'Cache-Control', self::UNCACHED );
			add_filter( 'nocache_headers', array( __CLASS__, 'uncached' ) );
		}
		return $served;
	}

	/**
	 * WordPress's headers for an answer that is not to be kept.
	 *
	 * @param string[] $headers The headers.
	 * @return string[]
	 */
	public static function uncached( $headers ) {
		$headers['Cache-Control'] = self::UNCACHED;
		return $headers;
	}

	/**
	 * Whether anything that could hold a user and a password has arrived.
	 *
	 * @return bool
	 */
	private static function header_arrived() {
		foreach ( array( 'PHP_AUTH_USER', 'HTTP_AUTHORIZATION', 'REDIRECT_HTTP_AUTHORIZATION', 'HTTP_X_SPILLWAY_AUTHORIZATION' ) as $name ) {
			if ( ! empty( $_SERVER[ $name ] ) ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * Whether the request is for one of the plugin's routes. WordPress has not
	 * looked at its address yet.
	 *
	 * @return bool
	 */
	private static function is_own_route() {
		// phpcs:disable WordPress.Security -- compared, nothing else.
		if ( isset( $_POST['rest_route'] ) ) { // Counts before the address.
			$path = $_POST['rest_route'];
		} elseif ( isset( $_GET['rest_route'] ) ) {
			$path = $_GET['rest_route'];
		} else {
			$path = isset( $_SERVER['REQUEST_URI'] ) ? strtok( $_SERVER['REQUEST_URI'], '?' ) : '';
		}
		// phpcs:enable
		return is_string( $path ) && 1 === preg_match( '~/' . Spillway_Connector_Rest::ROUTES . '/[a-z]+/?$~', $path );
	}

	/**
	 * A refusal.
	 *
	 * @param int    $status  The HTTP status.
	 * @param string $code    The code, without its prefix.
	 * @param string $message What is wrong.
	 * @return WP_Error
	 */
	private static function error( $status, $code, $message ) {
		return new WP_Error( 'spillway_' . $code, $message, array( 'status' => $status ) );
	}
}
