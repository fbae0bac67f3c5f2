<?php
/**
 * Keys that no field writes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Knows the keys under which WordPress and its plugins keep access and rights. No
 * field of a contact may write them.
 *
 * The database compares keys by its collation, which knows neither case nor
 * accents, nor wide, round or invisible letters: an accented "wp_cápabilities"
 * is the row of the real one. So what such letters may stand for is refused.
 */
final class Spillway_Connector_Protected {

	/**
	 * Parts of protected keys, in lower case. ^ and $ are the key's beginning and
	 * end.
	 */
	const PARTS = array(
		// The user record, and members of the contact with rules of their own.
		'^id$',
		'^user_login$',
		'^user_pass$',
		'^user_registered$',
		'^user_activation_key$',
		'^user_status$',
		'^role$',
		// Rights, sessions and the site a user belongs to.
		'capabilities$',
		'user_level$',
		'^session_tokens$',
		'application_passwords',
		'^_new_email$',
		'^primary_blog$',
		'^source_domain$',
		// This plugin's marks, the links to contacts and their tags.
		'^spillway_',
		'pulsetech_contact_id$',
		'pulsetech_tags$',
		// Second factors.
		'two_fa_',
		'two_fa$',
		'two_factor',
		'two-factor',
		'twofactor',
		'two_step',
		'second_factor',
		'2fa',
		'2step',
		'^mfa_',
		'_mfa_',
		'^otp_',
		'_otp',
		'hotp_',
		'^tfa_',
		'_tfa_',
		'totp',
		'u2f',
		'webauthn',
		'passkey',
		'authenticator',
		'authy',
		'backup_code',
		'recovery_code',
		'yubikey',
		'fido2',
		'^wfls',
		'^mo2f',
		'itsec',
		'^icwp',
		'secupress',
		'loginizer',
		'rsssl',
		'cerber',
		'^defender',
		'^wpdef',
		'rublon',
		// Accounts elsewhere that let a person in, and links that do.
		'openid',
		'oauth',
		'auth0',
		'saml',
		'social_login',
		'social_id',
		'linked_accounts',
		'^sso_',
		'_sso_',
		'ldap',
		'jwt',
		'^wpcom_user',
		'autologin',
		'auto_login',
		'magic_login',
		'magic_link',
		'passwordless',
		'wtlwp',
		'login_token',
		'login_key',
		'login_hash',
		'access_token',
		'refresh_token',
		'api_key',
		'api_secret',
		'consumer_key',
		'consumer_secret',
		'activation_key',
		'password_reset',
		'reset_pass',
		'secret_hash',
	);

	/**
	 * Letters with accents.
	 */
	const ACCENTED = '/^[\x{c0}-\x{24f}\x{1e00}-\x{1eff}]$/u';

	/**
	 * Letters with accents that may stand for more than the letter below: ü is a y
	 * in Northern Europe.
	 */
	const ALSO = array(
		'ß' => array( 's', 'ss' ),
		'ü' => array( 'u', 'y' ),
		'Ü' => array( 'u', 'y' ),
		'ű' => array( 'u', 'y' ),
		'Ű' => array( 'u', 'y' ),
	);

	/**
	 * What may stand for up to four characters, or for none: wide, round and small
	 * letters, ligatures, signs and numbers of any script, and what is invisible.
	 * Letters of other scripts stand for themselves, but for the forms of Arabic
	 * that are a mark with nothing under it, and for letters that modify others.
	 */
	const SIGN = '/^[\p{Latin}\p{Common}\p{Inherited}\p{C}\p{N}\p{P}\p{S}\p{Lm}\x{fb50}-\x{fdff}\x{fe70}-\x{feff}]$/u';

	/**
	 * Marks on letters of other scripts, such as Hebrew's points: they stand for
	 * nothing.
	 */
	const MARK = '/^\p{M}$/u';

	/**
	 * What includes() has found, by key.
	 *
	 * @var bool[]
	 */
	private static $known = array();

	/**
	 * Whether no field may write a key.
	 *
	 * @param string $key The WordPress key.
	 * @return bool
	 */
	public static function includes( $key ) {
		if ( ! isset( self::$known[ $key ] ) ) {
			self::$known[ $key ] = self::is_protected( $key );
		}
		return self::$known[ $key ];
	}

	/**
	 * Whether a key begins as those do under which plugins keep what is not for
	 * people's eyes: with _, or what may stand for it.
	 *
	 * @param string $key The WordPress key.
	 * @return bool
	 */
	public static function is_private( $key ) {
		$first = mb_substr( ltrim( $key ), 0, 1 );
		if ( strlen( $first ) < 2 ) {
			return '_' === $first;
		}
		return ! preg_match( '/^\p{L}$/u', $first ) || ( preg_match( self::SIGN, $first ) && ! preg_match( '/^\p{Latin}$/u', $first ) );
	}

	/**
	 * Works out whether no field may write a key.
	 *
	 * @param string $key The WordPress key.
	 * @return bool
	 */
	private static function is_protected( $key ) {
		// WordPress takes backslashes out of keys, the database what is invisible.
		if ( '' === trim( $key ) || preg_match( '/[\x00-\x1f\x7f\x5c]/', $key ) || ! mb_check_encoding( $key, 'UTF-8' ) || mb_strlen( $key ) > 255 ) {
			return true;
		}
		$key   = strtolower( trim( $key ) );
		$parts = self::PARTS;
		foreach ( array( Spillway_Connector_Keys::contact_id(), Spillway_Connector_Keys::tags() ) as $ours ) {
			$parts[] = '^' . strtolower( $ours ) . '$';
		}
		if ( ! preg_match( '/[^\x20-\x7e]/', $key ) ) {
			return 1 === preg_match( '/' . implode( '|', $parts ) . '/D', $key );
		}
		$letters = preg_split( '//u', $key, -1, PREG_SPLIT_NO_EMPTY );
		foreach ( $parts as $part ) {
			$begins = '^' === $part[0];
			$ends   = '$' === substr( $part, -1 );
			if ( self::may_have( $letters, trim( $part, '^$' ), $begins, $ends ) ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * Whether letters may stand for a text that has a part.
	 *
	 * @param string[] $letters The letters.
	 * @param string   $part    The part.
	 * @param bool     $first   Whether the text begins with it.
	 * @param bool     $last    Whether the text ends with it.
	 * @return bool
	 */
	private static function may_have( array $letters, $part, $first, $last ) {
		$length = strlen( $part );
		// How much of the part may stand before the next letter.
		$seen = array( 0 => true );
		foreach ( $letters as $letter ) {
			$next = $first ? array() : array( 0 => true );
			foreach ( array_keys( $seen ) as $at ) {
				foreach ( self::meanings( $letter, substr( $part, $at ) ) as $meaning ) {
					// No letter stands for all of a part.
					if ( strlen( $meaning ) < $length ) {
						$next[ $at + strlen( $meaning ) ] = true;
					}
				}
			}
			if ( ! $last && isset( $next[ $length ] ) ) {
				return true;
			}
			$seen = $next;
		}
		return isset( $seen[ $length ] );
	}

	/**
	 * What a letter may stand for at the beginning of a text.
	 *
	 * @param string $letter The letter.
	 * @param string $text   The text.
	 * @return string[] Beginnings of the text.
	 */
	private static function meanings( $letter, $text ) {
		$plain = array( $letter );
		if ( preg_match( self::ACCENTED, $letter ) ) {
			$plain = isset( self::ALSO[ $letter ] ) ? self::ALSO[ $letter ] : array( self::without_accent( $letter ) );
		} elseif ( preg_match( self::MARK, $letter ) && ! preg_match( self::SIGN, $letter ) ) {
			return array( '' );
		}
		if ( '' === $plain[0] || ( strlen( $plain[0] ) > 1 && preg_match( self::SIGN, $letter ) && ! preg_match( self::ACCENTED, $letter ) ) ) {
			$plain = array_map(
				function ( $length ) use ( $text ) {
					return substr( $text, 0, $length );
				},
				range( 0, min( 4, strlen( $text ) ) )
			);
		}
		return array_filter(
			$plain,
			function ( $meaning ) use ( $text ) {
				return '' === $meaning || 0 === strpos( $text, $meaning );
			}
		);
	}

	/**
	 * The plain letter or two of a letter with an accent.
	 *
	 * @param string $letter The letter.
	 * @return string Empty when it is not known.
	 */
	private static function without_accent( $letter ) {
		// The entity's name tells, such as &eacute;. WordPress's own function
		// knows more letters, and writes some the German way where that is the
		// site's language.
		if ( preg_match( '/^&([a-z]{1,2})(?:acute|grave|circ|uml|tilde|ring|cedil|caron|breve|macr|ogon|dot|strok|slash|dblac|lig);$/i', htmlentities( $letter, ENT_QUOTES | ENT_HTML5, 'UTF-8' ), $name ) ) {
			return strtolower( $name[1] );
		}
		$plain = strtolower( remove_accents( $letter ) );
		return preg_match( '/^[a-z]{1,2}$/D', $plain ) ? $plain : '';
	}
}
