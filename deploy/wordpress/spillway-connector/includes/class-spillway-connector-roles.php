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
	 * WordPress's own roles. A new role takes the place of these and of those
	 * that the request lets contacts have; others are another plugin's, such as
	 * bbPress's bbp_participant, and stay.
	 */
	const OF_WORDPRESS = array( 'administrator', 'editor', 'author', 'contributor', 'subscriber' );

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
	 * Whether roles carry a capability of an administrator, by slug.
	 *
	 * @var bool[]
	 */
	private $administer = array();

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
		return $this->administers( $site ) ? 'subscriber' : $site;
	}

	/**
	 * Replaces a user's role, and leaves other plugins' roles alone. If the user
	 * has none of WordPress's roles and none of the list, it replaces the first
	 * role that WordPress's own screens offer; bbPress's roles are not among
	 * those.
	 *
	 * @param int    $user_id The user.
	 * @param string $slug    Slug of the role, from decide().
	 */
	public function give( $user_id, $slug ) {
		Spillway_Connector_Surroundings::go_home();
		$user = get_userdata( $user_id );
		if ( in_array( $slug, $user->roles, true ) ) {
			return;
		}
		$replaced = array_intersect( $user->roles, array_merge( self::OF_WORDPRESS, $this->allowed ) );
		if ( array() === $replaced ) {
			/** This filter is documented in wp-admin/includes/user.php */
			$offered  = (array) apply_filters( 'editable_roles', wp_roles()->roles ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own filter.
			$replaced = array_slice( array_intersect( $user->roles, array_keys( $offered ) ), 0, 1 );
		}
		// set_role() takes away what stands in $roles, and reads it anew. The new
		// role goes first: there WordPress looks for a user's role.
		$user->caps  = array( $slug => true ) + $user->caps;
		$user->roles = $replaced;
		$user->set_role( $slug );
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
		return wp_roles()->is_role( $slug ) && in_array( $slug, $this->allowed, true ) && ! $this->administers( $slug );
	}

	/**
	 * Whether a role carries a capability of an administrator.
	 *
	 * @param string $slug Slug of the role.
	 * @return bool
	 */
	private function administers( $slug ) {
		if ( ! isset( $this->administer[ $slug ] ) ) {
			$this->administer[ $slug ] = Spillway_Connector_Staff::administers( $slug );
		}
		return $this->administer[ $slug ];
	}
}
