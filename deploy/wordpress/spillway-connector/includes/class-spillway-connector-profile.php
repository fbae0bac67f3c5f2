<?php
/**
 * Changes of a user's profile.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Says that a profile has changed when nothing but a name has. WordPress's own
 * forms do, so plugins that keep a copy of the profile listen to profile_update
 * alone, and would show the old name for ever.
 */
final class Spillway_Connector_Profile {

	/**
	 * The parts of a profile that are user meta.
	 */
	const NAMES = array( 'first_name', 'last_name', 'nickname', 'description' );

	/**
	 * The user as it was.
	 *
	 * @var WP_User
	 */
	private $before;

	/**
	 * The names as they were.
	 *
	 * @var string[]
	 */
	private $names;

	/**
	 * Whether WordPress has said that the profile changed.
	 *
	 * @var bool
	 */
	private $told = false;

	/**
	 * Takes note of a profile.
	 *
	 * @param int $user_id The user.
	 */
	private function __construct( $user_id ) {
		$this->before = clone get_userdata( $user_id );
		$this->names  = self::names( $user_id );
	}

	/**
	 * Lets something change a user, and says so afterwards if that is to be said.
	 *
	 * @param int      $user_id The user.
	 * @param callable $change  Changes the user.
	 * @return mixed What it returns.
	 */
	public static function watch( $user_id, callable $change ) {
		$profile = new self( $user_id );
		$listen  = function ( $updated ) use ( $profile, $user_id ) {
			$profile->told = $profile->told || (int) $updated === $user_id;
		};
		add_action( 'profile_update', $listen, PHP_INT_MIN );
		try {
			$returned = $change();
		} finally {
			remove_action( 'profile_update', $listen, PHP_INT_MIN );
		}
		$names = self::names( $user_id );
		if ( ! $profile->told && $names !== $profile->names ) {
			do_action( 'profile_update', $user_id, $profile->before, $names + get_userdata( $user_id )->to_array() ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own.
		}
		return $returned;
	}

	/**
	 * A user's names.
	 *
	 * @param int $user_id The user.
	 * @return string[] By key.
	 */
	private static function names( $user_id ) {
		$names = array();
		foreach ( self::NAMES as $key ) {
			$names[ $key ] = get_user_meta( $user_id, $key, true );
		}
		return $names;
	}
}
