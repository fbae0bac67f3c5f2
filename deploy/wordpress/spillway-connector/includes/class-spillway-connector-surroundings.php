<?php
/**
 * What hooks of other plugins find around them.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Plugins expect one user in a request, and do not undo what they change for that
 * user: the current user or site, the request's parameters, whether the request
 * counts as wp-admin's. This class undoes it, so that each contact of a batch
 * finds what the first one found.
 */
final class Spillway_Connector_Surroundings {

	/**
	 * The current user.
	 *
	 * @var int
	 */
	private $user;

	/**
	 * How many sites of a network were switched to.
	 *
	 * @var int
	 */
	private static $switched = 0;

	/**
	 * The request, by the names of its globals.
	 *
	 * @var array
	 */
	private $request = array();

	/**
	 * Takes note of what is around, and watches over it until leave().
	 */
	public function __construct() {
		$this->user     = get_current_user_id();
		self::$switched = self::count_switched();
		foreach ( array( '_GET', '_POST', '_REQUEST', '_COOKIE', '_SERVER' ) as $name ) {
			$this->request[ $name ] = $GLOBALS[ $name ];
		}
		add_action( 'wpf_user_imported', array( $this, 'show_admin' ), PHP_INT_MIN );
		add_action( 'wpf_user_imported', array( $this, 'hide_admin' ), PHP_INT_MAX );
	}

	/**
	 * Puts back what a contact's hooks have changed.
	 */
	public function restore() {
		if ( get_current_user_id() !== $this->user ) {
			wp_set_current_user( $this->user );
		}
		self::go_home();
		foreach ( $this->request as $name => $value ) {
			$GLOBALS[ $name ] = $value; // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- as the request had them.
		}
		$this->hide_admin();
	}

	/**
	 * Goes back to the site of the request if a hook has switched to another one
	 * and stayed there. Call it before anything that each site has of its own.
	 */
	public static function go_home() {
		while ( self::count_switched() > self::$switched && restore_current_blog() ) {
			continue;
		}
	}

	/**
	 * Puts all back as it was found.
	 */
	public function leave() {
		$this->restore();
		$this->show_admin();
		remove_action( 'wpf_user_imported', array( $this, 'show_admin' ), PHP_INT_MIN );
		remove_action( 'wpf_user_imported', array( $this, 'hide_admin' ), PHP_INT_MAX );
	}

	/**
	 * Lets the request be one to wp-admin, if a hook has said so: WP Fusion's
	 * part for Ultimate Member does when a user is imported.
	 */
	public function show_admin() {
		if ( isset( $GLOBALS['current_screen'] ) && $GLOBALS['current_screen'] === $this ) {
			unset( $GLOBALS['current_screen'] );
		}
	}

	/**
	 * Makes the request one to the site's front again. The constant cannot be
	 * undefined, but WordPress asks the screen first.
	 */
	public function hide_admin() {
		if ( is_admin() ) {
			$GLOBALS['current_screen'] = $this; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- taken away by leave().
		}
	}

	/**
	 * What is_admin() asks in place of a screen: this is none of wp-admin.
	 *
	 * @return bool
	 */
	public function in_admin() {
		return false;
	}

	/**
	 * How many sites of a network are switched to.
	 *
	 * @return int
	 */
	private static function count_switched() {
		return isset( $GLOBALS['_wp_switched_stack'] ) ? count( (array) $GLOBALS['_wp_switched_stack'] ) : 0;
	}
}
