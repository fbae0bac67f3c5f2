<?php
/**
 * WordPress's count of users.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Counts a site's users once for a whole batch. From 6.0 on WordPress counts
 * them anew after each registration, which reads the table of users, and writes
 * the count to a row of options that every other registration has to wait for
 * until this one is committed.
 */
final class Spillway_Connector_Counts {

	const HOOK = 'wp_maybe_update_user_counts';

	/**
	 * The hook's priority while it is taken off; false when it is not.
	 *
	 * @var int|false
	 */
	private $priority = false;

	/**
	 * Whether a user was created meanwhile.
	 *
	 * @var bool
	 */
	private $created = false;

	/**
	 * Takes the count off.
	 */
	public function mute() {
		$this->priority = has_action( 'user_register', self::HOOK );
		if ( false !== $this->priority ) {
			remove_action( 'user_register', self::HOOK, $this->priority );
			add_action( 'user_register', array( $this, 'note' ), $this->priority, 0 );
		}
	}

	/**
	 * Notes that a user was created.
	 */
	public function note() {
		$this->created = true;
	}

	/**
	 * Puts the count back, and counts if there is something new to count.
	 */
	public function unmute() {
		if ( false === $this->priority ) {
			return;
		}
		remove_action( 'user_register', array( $this, 'note' ), $this->priority );
		add_action( 'user_register', self::HOOK, $this->priority, 0 );
		$this->priority = false;
		if ( $this->created ) {
			call_user_func( self::HOOK );
		}
	}
}
