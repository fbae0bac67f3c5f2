<?php
/**
 * Roles: which a contact may get.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Decides on roles: a registered one from the request's list, never one with
 * which a person could take the site over, whatever is asked.
 */
final class Spillway_Connector_Roles {

	/**
	 * Capabilities of an administrator. A role with one of them is never given.
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
	);

	/**
	 * Slugs of the roles that the request lets contacts have.
	 *
	 * @var string[]
	 */
	private $allowed;

	/**
	 * Slug of a new user's role when none is asked for, or none that may be.
	 *
	 * @var string
	 */
	private $default;

	/**
	 * Makes the rules of one request.
	 *
	 * @param string[] $allowed      Slugs of the roles that contacts may have.
	 * @param string   $default_slug Slug of a new user's role otherwise; empty: the site's.
	 */
	public function __construct( array $allowed, $default_slug ) {
		$this->allowed = $allowed;
		$this->default = $default_slug;
	}

	/**
	 * Looks at the role that a contact asks for.
	 *
	 * @param string $asked Slug or display title; empty: none.
	 * @return string[] The slug to give, empty for none, and a note, empty for none.
	 */
	public function decide( $asked ) {
		if ( '' === $asked ) {
			return array( '', '' );
		}
		$slug = $this->slug( $asked );
		if ( '' === $slug ) {
			return array( '', 'role_unknown' );
		}
		return $this->may_give( $slug ) ? array( $slug, '' ) : array( '', 'role_not_allowed' );
	}

	/**
	 * The role of a new user for whom decide() has none.
	 *
	 * @return string
	 */
	public function fallback() {
		if ( '' !== $this->default && $this->may_give( $this->default ) ) {
			return $this->default;
		}
		$site = (string) get_option( 'default_role' );
		return self::is_administrative( $site ) ? 'subscriber' : $site;
	}

	/**
	 * Whether a user's email, password and role are out of a contact's reach:
	 * the user has a capability with which the site could be taken over, or is
	 * the one that Spillway itself uses. Whoever may edit contacts in the CRM
	 * must not be able to become such a user.
	 *
	 * @param int $user_id The user.
	 * @return bool
	 */
	public static function is_privileged( $user_id ) {
		if ( get_current_user_id() === $user_id || user_can( $user_id, 'manage_options' ) || is_super_admin( $user_id ) ) {
			return true;
		}
		$user = get_userdata( $user_id );
		return $user && array() !== array_intersect( self::ADMINISTRATIVE, array_keys( array_filter( $user->allcaps ) ) );
	}

	/**
	 * Finds the registered role of a slug or a display title.
	 *
	 * @param string $asked Slug or title.
	 * @return string Empty when there is none.
	 */
	private function slug( $asked ) {
		$names = wp_roles()->get_names();
		if ( isset( $names[ $asked ] ) ) {
			return $asked;
		}
		foreach ( $names as $slug => $title ) {
			if ( in_array( strtolower( $asked ), array_map( 'strtolower', array( $slug, $title, translate_user_role( $title ) ) ), true ) ) {
				return (string) $slug;
			}
		}
		return '';
	}

	/**
	 * Whether a role is registered, on the request's list, and harmless.
	 *
	 * @param string $slug Slug of the role.
	 * @return bool
	 */
	private function may_give( $slug ) {
		return wp_roles()->is_role( $slug ) && in_array( $slug, $this->allowed, true ) && ! self::is_administrative( $slug );
	}

	/**
	 * Whether a role carries a capability of an administrator.
	 *
	 * @param string $slug Slug of the role.
	 * @return bool
	 */
	private static function is_administrative( $slug ) {
		$role = get_role( $slug );
		if ( 'administrator' === $slug ) {
			return true;
		}
		return null !== $role && array() !== array_intersect( self::ADMINISTRATIVE, array_keys( array_filter( $role->capabilities ) ) );
	}
}
