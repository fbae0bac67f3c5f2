<?php
/**
 * The right to use the plugin's routes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * One capability, in a role of its own. WordPress's functions that store users
 * check no capability, so the role needs no other: its application password opens
 * the plugin's routes and nothing else on the site.
 *
 * Each site of a network has its own role. Activation and an update make it:
 * an update runs no activation hook, so the option with the version tells.
 */
final class Spillway_Connector_Rights {

	const ROLE       = 'spillway';
	const CAPABILITY = 'spillway_store_contacts';
	const VERSION    = 'spillway_connector_version';

	/**
	 * How many sites of a network an activation looks after at once. The others
	 * get their role with their first request.
	 */
	const MOST_SITES = 500;

	/**
	 * Capabilities that together did before there was a role.
	 */
	const FORMERLY = array( 'create_users', 'edit_users', 'promote_users' );

	/**
	 * Whether the current user may use the routes.
	 *
	 * @return bool
	 */
	public static function may_store() {
		return current_user_can( self::CAPABILITY )
			|| self::FORMERLY === array_values( array_filter( self::FORMERLY, 'current_user_can' ) );
	}

	/**
	 * What the current user can do on this site beyond storing contacts and
	 * reading: what a thief of the application password could do.
	 *
	 * @return string[] Capabilities.
	 */
	public static function beyond() {
		$user = wp_get_current_user();
		$can  = array_keys( array_filter( $user->allcaps ) );
		if ( is_multisite() && is_super_admin( $user->ID ) ) {
			$can[] = 'manage_network';
		}
		return array_values( array_diff( $can, $user->roles, array( 'read', 'level_0', self::CAPABILITY ) ) );
	}

	/**
	 * Makes the role on the sites that the plugin is activated for.
	 *
	 * @param bool $network_wide Whether these are all sites of the network.
	 */
	public static function activate( $network_wide ) {
		self::on_sites( $network_wide, array( __CLASS__, 'install' ) );
	}

	/**
	 * Makes the role on a site that was added to the network.
	 *
	 * @param WP_Site $site The new site.
	 */
	public static function new_site( $site ) {
		if ( array_key_exists( plugin_basename( SPILLWAY_CONNECTOR_FILE ), (array) get_site_option( 'active_sitewide_plugins', array() ) ) ) {
			switch_to_blog( (int) $site->blog_id );
			self::install();
			restore_current_blog();
		}
	}

	/**
	 * Makes the role on this site, and notes for which version. A role of that
	 * name which people have made themselves gets the capability, and keeps what
	 * else it has.
	 */
	public static function install() {
		$role = get_role( self::ROLE );
		if ( null === $role ) {
			add_role(
				self::ROLE,
				'Spillway',
				array(
					'read'           => true,
					self::CAPABILITY => true,
				)
			);
		} elseif ( ! $role->has_cap( self::CAPABILITY ) ) {
			$role->add_cap( self::CAPABILITY );
		}
		update_option( self::VERSION, SPILLWAY_CONNECTOR_VERSION );
	}

	/**
	 * Removes role and capability, from users too. Otherwise they would have the
	 * role again as soon as any plugin made one of that name. Users who had no
	 * other role are left without any.
	 */
	public static function uninstall() {
		$holders = get_users(
			array(
				'role'   => self::ROLE,
				'fields' => 'ID',
			)
		);
		foreach ( $holders as $user_id ) {
			( new WP_User( $user_id ) )->remove_role( self::ROLE );
		}
		remove_role( self::ROLE );
		foreach ( array_keys( wp_roles()->role_objects ) as $slug ) {
			wp_roles()->remove_cap( $slug, self::CAPABILITY );
		}
		delete_option( self::VERSION );
	}

	/**
	 * Runs something on this site, or on the sites of the network.
	 *
	 * @param bool     $all  Whether on all sites of a network.
	 * @param callable $work What to run.
	 * @param int      $most On how many sites at most; zero: on all.
	 */
	public static function on_sites( $all, $work, $most = self::MOST_SITES ) {
		if ( ! $all || ! is_multisite() ) {
			call_user_func( $work );
			return;
		}
		$sites = get_sites(
			array(
				'fields' => 'ids',
				'number' => $most,
			)
		);
		foreach ( $sites as $site_id ) {
			switch_to_blog( $site_id );
			call_user_func( $work );
			restore_current_blog();
		}
	}
}
