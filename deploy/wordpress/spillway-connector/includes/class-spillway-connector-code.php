<?php
/**
 * The connection code.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A code that an administrator hands to Spillway once. It names this site and
 * holds a secret, of which the site keeps a digest alone. There is one code at
 * a time: a new one makes the former worthless.
 *
 * A code is valid for an hour and for one exchange, and only while the person
 * who made it may still manage the site.
 */
final class Spillway_Connector_Code {

	const OPTION  = 'spillway_connector_code';
	const SECONDS = HOUR_IN_SECONDS;
	const PREFIX  = 'spw1';

	/**
	 * Makes a code.
	 *
	 * @param int  $user_id The administrator who asks for it.
	 * @param bool $fusion  Whether WP Fusion's settings go with it.
	 * @return string The code, which is not to be had again.
	 */
	public static function make( $user_id, $fusion ) {
		$secret = bin2hex( random_bytes( 32 ) );
		delete_option( self::OPTION );
		add_option(
			self::OPTION,
			array(
				'digest'  => self::digest( $secret ),
				'expires' => time() + self::SECONDS,
				'by'      => (int) $user_id,
				'fusion'  => (bool) $fusion,
			),
			'',
			'no'
		);
		$content = wp_json_encode(
			array(
				'site'   => home_url(),
				'secret' => $secret,
			),
			JSON_UNESCAPED_SLASHES
		);
		// phpcs:ignore WordPress.PHP.DiscouragedPHPFunctions -- a text that survives a paste.
		$content = rtrim( strtr( base64_encode( $content ), '+/', '-_' ), '=' );
		return self::PREFIX . '.' . $content . '.' . substr( hash( 'sha256', $content ), 0, 8 );
	}

	/**
	 * Whether a secret is the current code's.
	 *
	 * @param mixed $secret What a caller sent.
	 * @return array|null The code's record, or null.
	 */
	public static function find( $secret ) {
		$code = get_option( self::OPTION );
		if ( ! is_string( $secret ) || ! is_array( $code ) || ! isset( $code['digest'], $code['expires'], $code['by'], $code['fusion'] ) ) {
			return null;
		}
		if ( ! hash_equals( $code['digest'], self::digest( $secret ) ) ) {
			return null;
		}
		if ( time() >= $code['expires'] || ! user_can( $code['by'], 'manage_options' ) ) {
			self::discard();
			return null;
		}
		return $code;
	}

	/**
	 * Uses the code up. If two requests try at once, one succeeds: the one whose
	 * query deleted the row.
	 *
	 * @return bool Whether it was still there.
	 */
	public static function discard() {
		return delete_option( self::OPTION );
	}

	/**
	 * When the current code expires.
	 *
	 * @return int Seconds since 1970; 0 without a code.
	 */
	public static function expires() {
		$code = get_option( self::OPTION );
		return is_array( $code ) && isset( $code['expires'] ) && time() < $code['expires'] ? (int) $code['expires'] : 0;
	}

	/**
	 * Whether a secret may travel in this request: over HTTPS, or on this
	 * machine.
	 *
	 * @return bool
	 */
	public static function may_travel() {
		if ( is_ssl() ) {
			return true;
		}
		// phpcs:ignore WordPress.Security.ValidatedSanitizedInput -- compared, nothing else.
		$from = isset( $_SERVER['REMOTE_ADDR'] ) ? (string) $_SERVER['REMOTE_ADDR'] : '';
		$host = (string) wp_parse_url( home_url(), PHP_URL_HOST );
		return self::is_loopback( $from ) && self::is_loopback( $host );
	}

	/**
	 * Whether a host is this machine.
	 *
	 * @param string $host A name or an address.
	 * @return bool
	 */
	private static function is_loopback( $host ) {
		return in_array( strtolower( $host ), array( 'localhost', '::1', '[::1]' ), true ) || 1 === preg_match( '/^127(\.\d{1,3}){3}$/', $host );
	}

	/**
	 * What the site keeps of a secret: 32 random bytes need no slow hash.
	 *
	 * @param string $secret The secret.
	 * @return string
	 */
	private static function digest( $secret ) {
		return hash( 'sha256', $secret );
	}
}
