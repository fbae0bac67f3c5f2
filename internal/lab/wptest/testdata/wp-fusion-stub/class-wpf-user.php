<?php
/**
 * wp_fusion()->user: what it stores, and the handlers that would call the CRM.
 */

defined( 'ABSPATH' ) || exit;

class WPF_User {
	public function __construct() {
		add_action( 'user_register', array( $this, 'user_register' ), 20 );
		add_action( 'profile_update', array( $this, 'profile_update' ), 10, 3 );
		add_action( 'add_user_to_blog', array( $this, 'add_user_to_blog' ) );
		add_action( 'delete_user', array( $this, 'user_delete' ) );
		add_action( 'remove_user_from_blog', array( $this, 'user_delete' ) );
		add_action( 'password_reset', array( $this, 'password_reset' ), 10, 2 );
		add_action( 'wp_login', array( $this, 'login' ), 10, 2 );
		foreach ( array( 'set_user_role', 'add_user_role', 'remove_user_role' ) as $hook ) {
			add_action( $hook, array( $this, 'add_remove_user_role' ), 10, 2 );
		}
		add_action( 'updated_user_meta', array( $this, 'push_user_meta_single' ), 10, 4 );
		add_action( 'added_user_meta', array( $this, 'push_user_meta_single' ), 10, 4 );
		add_action( 'wpf_user_imported', array( $this, 'return_password' ), 10, 2 );
	}

	/**
	 * Stores fields as WP Fusion does: empty values are skipped, HTML is
	 * cleaned and then decoded, line breaks become spaces, a backslash is lost,
	 * and any role is given.
	 */
	public function set_user_meta( $user_id, $user_meta ) {
		wpf_stub_record( "set_user_meta $user_id " . implode( ',', array_keys( $user_meta ) ) );
		$user_meta = apply_filters( 'wpf_set_user_meta', $user_meta, $user_id );
		$user_meta = wpf_clean( $user_meta );

		remove_action( 'profile_update', array( $this, 'profile_update' ) );
		remove_action( 'updated_user_meta', array( $this, 'push_user_meta_single' ) );
		remove_action( 'added_user_meta', array( $this, 'push_user_meta_single' ) );

		foreach ( $user_meta as $key => $value ) {
			if ( empty( $value ) && null !== $value && '0' !== $value && ! $this->is_raw( $key ) ) {
				continue;
			}
			$this->store( get_userdata( $user_id ), $key, $value );
			do_action( 'wpf_user_meta_updated', $user_id, $key, $value );
		}

		// Whoever took these handlers off finds them back on.
		add_action( 'profile_update', array( $this, 'profile_update' ) );
		add_action( 'updated_user_meta', array( $this, 'push_user_meta_single' ), 10, 4 );
		add_action( 'added_user_meta', array( $this, 'push_user_meta_single' ), 10, 4 );
	}

	private function store( WP_User $user, $key, $value ) {
		$is_admin = user_can( $user->ID, 'manage_options' );
		switch ( $key ) {
			case 'user_registered':
				return;
			case 'user_pass':
				if ( ! $is_admin && '' !== (string) $value && ! wp_check_password( $value, $user->user_pass, $user->ID ) ) {
					wp_set_password( $value, $user->ID );
				}
				return;
			case 'user_email':
				if ( ! $is_admin && strtolower( $value ) !== strtolower( $user->user_email ) ) {
					wp_update_user( array( 'ID' => $user->ID, 'user_email' => $value ) );
				}
				return;
			case 'display_name':
			case 'user_nicename':
			case 'user_url':
				wp_update_user( array( 'ID' => $user->ID, $key => $value ) );
				return;
			case 'role':
				$this->store_role( $user, is_array( $value ) ? reset( $value ) : $value, $is_admin );
				return;
			case $user->cap_key:
				if ( ! $is_admin ) {
					$roles = is_array( $value ) ? $value : array_map( 'trim', explode( ',', $value ) );
					$roles = array_filter( $roles, array( wp_roles(), 'is_role' ) );
					if ( $roles ) {
						update_user_meta( $user->ID, $key, array_fill_keys( $roles, true ) );
					}
				}
				return;
			default:
				update_user_meta( $user->ID, $key, $value );
		}
	}

	private function store_role( WP_User $user, $role, $is_admin ) {
		if ( $is_admin || ! $role ) {
			return;
		}
		$slug = array_search( $role, wp_roles()->get_names(), true );
		$role = false === $slug ? $role : $slug;
		if ( wp_roles()->is_role( $role ) && ! in_array( $role, $user->roles, true ) ) {
			remove_action( 'set_user_role', array( $this, 'add_remove_user_role' ), 10 );
			wp_update_user( array( 'ID' => $user->ID, 'role' => $role ) );
		}
	}

	/** Stores all of a user's tags and says what has changed. */
	public function set_tags( $tags, $user_id ) {
		$tags = array_map( 'sanitize_text_field', array_values( array_filter( (array) $tags ) ) );
		$tags = array_map( 'htmlspecialchars_decode', $tags );
		wpf_stub_record( "set_tags $user_id " . implode( ',', $tags ) );

		// A user without tags has one empty tag here, as in WP Fusion.
		$old = (array) get_user_meta( $user_id, WPF_TAGS_META_KEY, true );
		if ( $tags && $tags == $old ) {
			if ( ! doing_action( 'wpf_tags_modified' ) ) {
				do_action( 'wpf_tags_modified', $user_id, $old );
			}
			return;
		}
		if ( $tags ) {
			update_user_meta( $user_id, WPF_TAGS_META_KEY, $tags );
		} else {
			delete_user_meta( $user_id, WPF_TAGS_META_KEY );
		}
		$applied = array_diff( $tags, $old );
		if ( $applied ) {
			do_action( 'wpf_tags_applied', $user_id, $applied );
		}
		$removed = array_diff( $old, $tags );
		if ( $removed ) {
			do_action( 'wpf_tags_removed', $user_id, $removed );
		}
		do_action( 'wpf_tags_modified', $user_id, $tags );
	}

	/** Gives a user tags: in the CRM, or its queue, and on the site. */
	public function apply_tags( $tags, $user_id = false ) {
		$tags = array_filter( array_map( 'sanitize_text_field', (array) $tags ) );
		do_action( 'wpf_apply_tags_start', $user_id, $tags );
		$tags       = apply_filters( 'wpf_apply_tags', $tags, $user_id );
		$contact_id = $this->get_contact_id( $user_id ) ?: $this->get_contact_id( $user_id, true );
		if ( ! $contact_id ) {
			return false;
		}
		$has = $this->get_tags( $user_id );
		if ( apply_filters( 'wpf_prevent_reapply_tags', true ) ) {
			$tags = array_diff( $tags, $has );
		}
		if ( ! $tags ) {
			return true;
		}
		$result = wp_fusion()->crm->apply_tags( array_values( $tags ), $contact_id );
		if ( is_wp_error( $result ) ) {
			return $result;
		}
		$has = array_values( array_unique( array_merge( $has, $tags ) ) );
		update_user_meta( $user_id, WPF_TAGS_META_KEY, $has );
		do_action( 'wpf_tags_applied', $user_id, $tags );
		do_action( 'wpf_tags_modified', $user_id, $has );
		return true;
	}

	/** Takes tags from a user: in the CRM, or its queue, and on the site. */
	public function remove_tags( $tags, $user_id = false ) {
		$tags = array_filter( array_map( 'sanitize_text_field', (array) $tags ) );
		do_action( 'wpf_remove_tags_start', $user_id, $tags );
		$tags       = apply_filters( 'wpf_remove_tags', $tags, $user_id );
		$contact_id = $this->get_contact_id( $user_id );
		$has        = $this->get_tags( $user_id );
		$tags       = array_intersect( $tags, $has );
		if ( ! $contact_id ) {
			return false;
		}
		if ( ! $tags ) {
			return true;
		}
		$result = wp_fusion()->crm->remove_tags( array_values( $tags ), $contact_id );
		if ( is_wp_error( $result ) ) {
			return $result;
		}
		$has = array_unique( array_diff( $has, $tags ) );
		update_user_meta( $user_id, WPF_TAGS_META_KEY, $has );
		do_action( 'wpf_tags_removed', $user_id, $tags );
		do_action( 'wpf_tags_modified', $user_id, $has );
		return true;
	}

	/** The user of a contact. */
	public function get_user_id( $contact_id ) {
		global $wpdb;
		do_action( 'wpf_get_user_id_start', $contact_id );
		$user_id = apply_filters( 'wpf_get_user_id', false, $contact_id );
		if ( false !== $user_id ) {
			return $user_id;
		}
		$user_id = $wpdb->get_var( $wpdb->prepare( "SELECT user_id FROM $wpdb->usermeta WHERE meta_key = %s AND meta_value = %s ORDER BY user_id", WPF_CONTACT_ID_META_KEY, $contact_id ) );
		return null === $user_id ? false : $user_id;
	}

	public function get_tags( $user_id = false, $force_update = false ) {
		if ( $force_update ) {
			wpf_stub_record( "crm get_tags $user_id" );
		}
		return array_filter( (array) get_user_meta( $user_id, WPF_TAGS_META_KEY, true ) );
	}

	public function get_contact_id( $user_id = false, $force_update = false ) {
		if ( ! $force_update ) {
			return get_user_meta( $user_id, WPF_CONTACT_ID_META_KEY, true );
		}
		wpf_stub_record( "crm get_contact_id $user_id" );
		$found = wp_fusion()->crm->get_contact_id( get_userdata( $user_id )->user_email );
		return is_wp_error( $found ) ? false : $found;
	}

	// From here on: handlers that would call the CRM.

	public function user_register( $user_id ) {
		wpf_stub_record( "crm user_register $user_id" );
	}

	public function profile_update( $user_id ) {
		wpf_stub_record( "crm profile_update $user_id" );
	}

	public function add_user_to_blog( $user_id ) {
		wpf_stub_record( "crm add_user_to_blog $user_id" );
	}

	public function user_delete( $user_id ) {
		wpf_stub_record( "crm user_delete $user_id" );
	}

	public function password_reset( $user, $new_pass ) {
		wpf_stub_record( "crm password_reset {$user->ID}" );
	}

	public function login( $user_login, $user = false ) {
		wpf_stub_record( 'crm login ' . ( $user ? $user->ID : 0 ) );
	}

	public function add_remove_user_role( $user_id, $role ) {
		wpf_stub_record( "crm add_remove_user_role $user_id $role" );
	}

	public function push_user_meta_single( $meta_id, $user_id, $meta_key, $value ) {
		wpf_stub_record( "crm push_user_meta_single $user_id $meta_key" );
	}

	public function return_password( $user_id, $user_meta ) {
		wpf_stub_record( "crm return_password $user_id" );
	}

	/** Sends fields to the CRM, for the integrations of other plugins. */
	public function push_user_meta( $user_id, $user_meta = array() ) {
		do_action( 'wpf_push_user_meta_start', $user_id, $user_meta );
		$user_meta  = apply_filters( 'wpf_user_update', $user_meta, $user_id );
		$contact_id = $this->get_contact_id( $user_id );
		if ( ! $user_meta || ! $contact_id ) {
			return false;
		}
		wpf_stub_record( "crm push_user_meta $user_id " . implode( ',', array_keys( $user_meta ) ) );
		return wp_fusion()->crm->update_contact( $contact_id, $user_meta, false );
	}

	/** Fields of type raw may be emptied; tests name them in an option. */
	private function is_raw( $key ) {
		return in_array( $key, (array) get_option( 'wpf_stub_raw_fields', array() ), true );
	}
}

/** Cleans a value that was loaded from the CRM. */
function wpf_clean( $value ) {
	if ( is_array( $value ) ) {
		return array_map( 'wpf_clean', $value );
	}
	if ( is_bool( $value ) || ! is_scalar( $value ) ) {
		return $value;
	}
	if ( false === strpbrk( (string) $value, '<>' ) ) {
		return sanitize_text_field( str_ireplace( '%40', '@', (string) $value ) );
	}
	return htmlspecialchars_decode( wp_kses( $value, wp_kses_allowed_html( 'post' ) ) );
}
