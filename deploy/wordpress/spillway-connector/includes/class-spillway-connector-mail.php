<?php
/**
 * Mail: the login details of a new user, once, and nothing else.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Sends the login-details mail. The creation commits a mark with the user, and the
 * request that deletes the mark sends the mail. If a request is cut off between
 * the two, its repetition sends the mail; of two repetitions at once, one does.
 */
final class Spillway_Connector_Mail {

	const MARK = 'spillway_notify';

	/**
	 * Sends the login details if they have not been sent. Call it after the commit:
	 * a mail can't be taken back.
	 *
	 * @param int $user_id The user.
	 * @return string A note for the answer, empty for none.
	 */
	public static function send( $user_id ) {
		global $wpdb;
		if ( ! get_user_meta( $user_id, self::MARK, true ) || ! delete_user_meta( $user_id, self::MARK ) ) {
			return '';
		}
		// If some hook has begun a transaction, the mark is not gone yet.
		$wpdb->query( 'COMMIT' );
		$failed = false;
		$listen = function () use ( &$failed ) {
			$failed = true;
		};
		add_action( 'wp_mail_failed', $listen );
		try {
			wp_new_user_notification( $user_id, null, 'user' );
		} catch ( Throwable $thrown ) {
			$failed = true;
		}
		remove_action( 'wp_mail_failed', $listen );
		return $failed ? 'mail_failed' : '';
	}
}
