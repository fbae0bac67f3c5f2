<?php
/**
 * Values: what of them may be stored.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Cleans values as WordPress does. Anybody who fills in a form of the CRM chooses
 * them, and themes and plugins print user meta as it is. So scripts, event handlers
 * and javascript: addresses are removed. HTML that posts may have stays, and so do
 * line breaks, backslashes, quotes and &.
 */
final class Spillway_Connector_Values {

	/**
	 * Keys that WordPress cleans itself when a profile is saved, through filters
	 * of their own.
	 */
	const OF_PROFILES = array( 'first_name', 'last_name', 'nickname', 'description' );

	/**
	 * How often a text may have been encoded for HTML.
	 */
	const MAX_DECODINGS = 8;

	/**
	 * Cleans a value.
	 *
	 * @param string          $key   The WordPress key.
	 * @param string|string[] $value The value.
	 * @return string|string[]|null Null when nothing of it may be stored.
	 */
	public static function clean( $key, $value ) {
		return self::each(
			$value,
			function ( $text ) use ( $key ) {
				if ( in_array( $key, self::OF_PROFILES, true ) ) {
					return wp_unslash( sanitize_user_field( $key, wp_slash( $text ), 0, 'db' ) );
				}
				return false === strpos( $text, '<' ) ? wp_kses_no_null( $text, array( 'slash_zero' => 'keep' ) ) : wp_kses( $text, 'post' );
			}
		);
	}

	/**
	 * Cleans a value for WP Fusion, which cleans it again: it decodes entities
	 * afterwards, and what was text would become a script.
	 *
	 * @param string|string[] $value The value.
	 * @return string|string[]|null Null when nothing of it may be stored.
	 */
	public static function clean_for_wp_fusion( $value ) {
		return self::each(
			$value,
			function ( $text ) {
				if ( false === strpbrk( $text, '<>' ) ) {
					return $text;
				}
				$decodings = 0;
				$decoded   = html_entity_decode( $text, ENT_QUOTES | ENT_HTML5, 'UTF-8' );
				while ( $decoded !== $text ) {
					if ( self::MAX_DECODINGS === $decodings++ ) {
						return '';
					}
					$text    = $decoded;
					$decoded = html_entity_decode( $text, ENT_QUOTES | ENT_HTML5, 'UTF-8' );
				}
				// What is left of a tag without an end must not become one.
				$text = preg_replace( '/&lt;(?=[a-z\/!?])/i', '', wp_kses( $text, 'post' ) );
				return false === strpbrk( $text, '<>' ) ? htmlspecialchars_decode( $text, ENT_QUOTES ) : $text;
			}
		);
	}

	/**
	 * Cleans each text of a value.
	 *
	 * @param string|string[] $value The value.
	 * @param callable        $clean Cleans a text.
	 * @return string|string[]|null Null when one of them has nothing left.
	 */
	private static function each( $value, callable $clean ) {
		$cleaned = array();
		foreach ( (array) $value as $text ) {
			$left = self::is_script( $text ) ? '' : $clean( $text );
			if ( '' === $left && '' !== trim( $text ) ) {
				return null;
			}
			$cleaned[] = $left;
		}
		return is_array( $value ) ? $cleaned : $cleaned[0];
	}

	/**
	 * Whether a text is an address that a browser runs, as a link with it would.
	 *
	 * @param string $text The text.
	 * @return bool
	 */
	private static function is_script( $text ) {
		// Browsers read a number without its semicolon, PHP does not.
		$closed  = preg_replace( '/&#(\d++|x[0-9a-f]++)(?!;)/i', '&#$1;', $text );
		$address = preg_replace( '/[\x00-\x20\x7f]+/', '', html_entity_decode( $closed, ENT_QUOTES | ENT_HTML5, 'UTF-8' ) );
		return 1 === preg_match( '~^(?:(?:java|vb|live)script:|data:[a-z]+/[a-z0-9.+-]*(?:html|xml|svg|script))~i', $address );
	}
}
