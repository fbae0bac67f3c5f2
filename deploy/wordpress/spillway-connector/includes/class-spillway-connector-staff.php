<?php
/**
 * Staff: who can do more than a member.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Tells staff from members. A person who may edit contacts in the CRM must not
 * take over an account that can do more than a member, nor turn an account into
 * one. What WordPress lets a user do decides, with the filters of all plugins:
 * WooCommerce lets shop managers edit users through a filter only.
 *
 * Members of forums, shops and courses count as members: they read, buy, and write
 * things of their own.
 */
final class Spillway_Connector_Staff {

	/**
	 * Capabilities that let a person take over a site, a shop or its users. A role
	 * with one of them is never given.
	 */
	const ADMINISTRATIVE = array(
		'manage_options',
		'edit_users',
		'create_users',
		'promote_users',
		'delete_users',
		'remove_users',
		'unfiltered_html',
		'unfiltered_upload',
		'edit_files',
		'update_core',
		'activate_plugins',
		'edit_plugins',
		'install_plugins',
		'update_plugins',
		'upload_plugins',
		'delete_plugins',
		'switch_themes',
		'edit_themes',
		'install_themes',
		'update_themes',
		'upload_themes',
		'delete_themes',
		'manage_network',
		'manage_sites',
		'manage_network_users',
		'manage_network_options',
		'manage_network_plugins',
		'manage_network_themes',
		'manage_woocommerce',
		'edit_roles',
		'create_roles',
		'ure_edit_roles',
		'ure_create_roles',
		'spillway_store_contacts',
	);

	/**
	 * Further capabilities of staff, which plugins may give through a filter that
	 * looks at the name of the capability.
	 */
	const OF_STAFF = array( 'edit_posts', 'edit_others_posts', 'list_users', 'upload_files', 'moderate_comments', 'edit_shop_orders', 'group_leader' );

	/**
	 * The names of what goes beyond a member, whichever plugin they are of:
	 * "edit_courses", "manage-bookings", "delete_others_topics", "level_1", also
	 * with the plugin's name before the verb: "gravityforms_edit_forms",
	 * "loco_admin". Names that begin like "view_" or "access_" speak of what a
	 * person may see.
	 */
	const BEYOND_A_MEMBER = '/^(?!(?:access|download|get|read|see|view)[_\W])(?:.+[_\W])?(?:activate|admin|approve|create|customize|delete|edit|export|import|install|manage|moderate|others|promote|publish|remove|unfiltered|update)(?:[_\W]|$)|^(?:list|switch|upload)(?:[_\W]|$)|^level_(?:[1-9]|10)$|^(?:gform_full_access|group_leader|keep_gate|spillway_store_contacts)$/i';

	/**
	 * What looks like that, and is a member's own: the topics and replies of
	 * bbPress, the tickets of a help desk, and whatever is named so.
	 */
	const A_MEMBERS_OWN = '/^(edit|publish)_(topics|replies)$|^create_ticket$|_own(_|$)/';

	/**
	 * Whether a user is staff somewhere: on this site, or on any other of its
	 * network. So is the user whom Spillway itself uses.
	 *
	 * @param int $user_id The user.
	 * @return bool
	 */
	public static function includes( $user_id ) {
		if ( get_current_user_id() === $user_id || is_super_admin( $user_id ) ) {
			return true;
		}
		$user = get_userdata( $user_id );
		if ( ! $user || self::is_staff( $user ) ) {
			return (bool) $user;
		}
		if ( ! is_multisite() ) {
			return false;
		}
		foreach ( array_keys( get_blogs_of_user( $user_id, true ) ) as $site ) {
			if ( get_current_blog_id() === (int) $site ) {
				continue;
			}
			switch_to_blog( $site );
			$there = self::is_staff( new WP_User( $user_id ) );
			restore_current_blog();
			if ( $there ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * Whether a role carries a capability of an administrator. The question is
	 * asked for a person who has that role and nothing else.
	 *
	 * @param string $slug Slug of a registered role.
	 * @return bool
	 */
	public static function administers( $slug ) {
		if ( 'administrator' === $slug || 'spillway' === $slug ) {
			return true;
		}
		$nobody           = new WP_User();
		$nobody->ID       = PHP_INT_MAX;
		$nobody->data->ID = PHP_INT_MAX;
		$nobody->caps     = array( $slug => true );
		$nobody->get_role_caps();
		return array() !== array_intersect( self::ADMINISTRATIVE, self::granted( $nobody ) ) || self::can_any( $nobody, self::ADMINISTRATIVE );
	}

	/**
	 * Whether a user can do more than a member on the current site.
	 *
	 * @param WP_User $user The user, as of that site.
	 * @return bool
	 */
	private static function is_staff( WP_User $user ) {
		$beyond = preg_grep( self::A_MEMBERS_OWN, preg_grep( self::BEYOND_A_MEMBER, self::granted( $user ) ), PREG_GREP_INVERT );
		return array() !== $beyond || self::can_any( $user, array_merge( self::ADMINISTRATIVE, self::OF_STAFF ) );
	}

	/**
	 * The names of what a user has, with what filters add to any question.
	 * Straight to the filter: on a network map_meta_cap() denies much of it to
	 * everybody but those who run the network.
	 *
	 * @param WP_User $user The user.
	 * @return string[]
	 */
	private static function granted( WP_User $user ) {
		/** This filter is documented in wp-includes/class-wp-user.php */
		$granted = apply_filters( 'user_has_cap', $user->allcaps, array( 'edit_users' ), array( 'edit_users', $user->ID ), $user ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own filter.
		return array_map( 'strval', array_keys( array_filter( (array) $granted ) ) );
	}

	/**
	 * Whether a user can do any of a list of things.
	 *
	 * @param WP_User  $user         The user.
	 * @param string[] $capabilities The things.
	 * @return bool
	 */
	private static function can_any( WP_User $user, array $capabilities ) {
		foreach ( $capabilities as $capability ) {
			if ( user_can( $user, $capability ) ) {
				return true;
			}
		}
		return false;
	}
}
