<?php
/**
 * Why a contact could not be stored.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A failure of one contact: a code and a text for the answer. Neither ever
 * holds personal data, because both reach Spillway's log and dashboard.
 */
final class Spillway_Connector_Failure extends Exception {

	/**
	 * The code of the answer, such as "no_email".
	 *
	 * @var string
	 */
	private $reason;

	/**
	 * Whether a repetition is useless.
	 *
	 * @var bool
	 */
	private $permanent;

	/**
	 * Makes a failure.
	 *
	 * @param string $reason    The code of the answer.
	 * @param string $message   The text of the answer.
	 * @param bool   $permanent Whether a repetition is useless.
	 */
	public function __construct( $reason, $message, $permanent = true ) {
		parent::__construct( $message );
		$this->reason    = $reason;
		$this->permanent = $permanent;
	}

	/**
	 * The code of the answer.
	 *
	 * @return string
	 */
	public function reason() {
		return $this->reason;
	}

	/**
	 * The member "error" of the answer.
	 *
	 * @return array
	 */
	public function error() {
		return array(
			'code'      => $this->reason,
			'message'   => $this->getMessage(),
			'permanent' => $this->permanent,
		);
	}

	/**
	 * The database refused a statement, or lost a transaction.
	 *
	 * @return self
	 */
	public static function database() {
		return new self( 'database', 'The database did not store the contact; nothing of it was kept. Send it again.', false );
	}

	/**
	 * What was sent is older than what is stored.
	 *
	 * @return self
	 */
	public static function superseded() {
		return new self( 'superseded', 'A newer pass of the contact is stored already; nothing was changed.', false );
	}

	/**
	 * The site has changed the contact's tags itself, and the CRM was read before
	 * it knew.
	 *
	 * @return self
	 */
	public static function changed_here() {
		return new self( 'superseded', 'The site has just changed the contact\'s tags itself, and the CRM does not show it yet; nothing was changed. Read the CRM again.', false );
	}

	/**
	 * The address is no e-mail address.
	 *
	 * @return self
	 */
	public static function invalid_email() {
		return new self( 'invalid_email', 'The e-mail address is not valid.' );
	}

	/**
	 * The address belongs to another user.
	 *
	 * @return self
	 */
	public static function email_taken() {
		return new self( 'email_taken', 'The e-mail address belongs to another user.' );
	}

	/**
	 * The login belongs to another user.
	 *
	 * @return self
	 */
	public static function login_taken() {
		return new self( 'user_login_taken', 'The login name belongs to another user.' );
	}

	/**
	 * The login is none that WordPress accepts.
	 *
	 * @return self
	 */
	public static function login_invalid() {
		return new self( 'user_login_invalid', 'The login name is longer than 60 characters, or has characters that WordPress does not accept.' );
	}

	/**
	 * A member of the contact is not of the type that the protocol states.
	 *
	 * @param string $member Name of the member.
	 * @return self
	 */
	public static function invalid_contact( $member ) {
		return new self( 'invalid_contact', sprintf( 'The contact\'s "%s" is not of the expected type.', $member ) );
	}

	/**
	 * The database has no named locks. It concerns no contact in particular.
	 *
	 * @return self
	 */
	public static function no_locks() {
		return new self( 'no_locks', 'The database refuses named locks (GET_LOCK), so nothing can be stored. On Percona XtraDB Cluster they need another pxc_strict_mode, behind ProxySQL they need multiplexing off.', false );
	}

	/**
	 * A plugin has deleted the user while a contact was stored on it.
	 *
	 * @return self
	 */
	public static function deleted() {
		return new self( 'refused', 'A plugin deleted the user while it was stored; the contact was left out.' );
	}

	/**
	 * A plugin has ended the request, or wanted to.
	 *
	 * @param string $how What it did and where.
	 * @return self
	 */
	public static function ended( $how ) {
		return new self( 'refused', ucfirst( $how ) . '.' );
	}

	/**
	 * Turns an error of WordPress into one of ours. WordPress's own text may name
	 * the address or the login, and other plugins' texts may hold anything.
	 *
	 * @param WP_Error $error What a function of WordPress returned.
	 * @return self
	 */
	public static function from_wp_error( WP_Error $error ) {
		$code = (string) $error->get_error_code();
		switch ( $code ) {
			case 'existing_user_email':
				return self::email_taken();
			case 'existing_user_login':
				return self::login_taken();
			case 'empty_user_login':
			case 'user_login_too_long':
			case 'invalid_username':
				return self::login_invalid();
			case 'db_insert_error':
			case 'db_update_error':
				return self::database();
		}
		$code = substr( preg_replace( '/[^a-z0-9_-]/', '', strtolower( $code ) ), 0, 40 );
		return new self( 'refused', sprintf( 'WordPress refused the user with the error code "%s".', $code ) );
	}

	/**
	 * Names the place of an exception that some plugin let through. Its text is
	 * left out: it may hold anything.
	 *
	 * @param Throwable $thrown The exception or error.
	 * @return self
	 */
	public static function from_throwable( Throwable $thrown ) {
		if ( $thrown instanceof self ) {
			return $thrown;
		}
		$place = basename( $thrown->getFile() ) . ':' . $thrown->getLine();
		$text  = sprintf( 'A plugin or WordPress threw %1$s at %2$s.', get_class( $thrown ), $place );
		return new self( 'exception', $text, false );
	}
}
