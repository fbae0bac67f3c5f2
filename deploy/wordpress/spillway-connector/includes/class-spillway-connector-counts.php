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

	const COUNT  = 'wp_maybe_update_user_counts';
	const FILTER = 'enable_live_network_counts';

	/**
	 * Whether WordPress wanted to count meanwhile.
	 *
	 * @var bool
	 */
	private $wanted = false;

	/**
	 * Delays the counting. WordPress asks this filter each time, so the handlers
	 * that count can stay in place.
	 */
	public function mute() {
		add_filter( self::FILTER, array( $this, 'not_now' ), PHP_INT_MAX, 2 );
	}

	/**
	 * Says no to the counting of users, and notes that it was wanted.
	 *
	 * @param bool   $enabled Whether WordPress would count.
	 * @param string $what    What it would count.
	 * @return bool
	 */
	public function not_now( $enabled, $what = '' ) {
		if ( 'users' !== $what ) {
			return $enabled;
		}
		$this->wanted = $this->wanted || $enabled;
		return false;
	}

	/**
	 * Lets WordPress count again, and counts now if WordPress wanted to meanwhile.
	 */
	public function unmute() {
		remove_filter( self::FILTER, array( $this, 'not_now' ), PHP_INT_MAX );
		if ( $this->wanted && function_exists( self::COUNT ) ) {
			call_user_func( self::COUNT );
		}
	}
}
