<?php
/**
 * WP Fusion, when the site has it.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores through WP Fusion's own functions, since memberships and course
 * enrolments hang on the actions that they fire, and keeps WP Fusion from
 * calling the CRM about what the CRM has just said.
 */
final class Spillway_Connector_Fusion {

	/**
	 * The hooks on which WP Fusion's user object calls the CRM, or takes note
	 * of something to tell it later.
	 */
	const HOOKS = array(
		'user_register',
		'profile_update',
		'added_user_meta',
		'updated_user_meta',
		'set_user_role',
		'add_user_role',
		'remove_user_role',
		'password_reset',
		'add_user_to_blog',
		'wp_pre_insert_user_data',
		'wpf_user_imported',
	);

	/**
	 * WP Fusion's user object.
	 *
	 * @var object
	 */
	private $user;

	/**
	 * The hooks as they were before mute().
	 *
	 * @var WP_Hook[]
	 */
	private $saved = array();

	/**
	 * Binds WP Fusion's user object.
	 *
	 * @param object $user The user object.
	 */
	private function __construct( $user ) {
		$this->user = $user;
	}

	/**
	 * WP Fusion, ready to be used.
	 *
	 * @return self|null Null when the site has none.
	 */
	public static function active() {
		if ( ! function_exists( 'wp_fusion' ) ) {
			return null;
		}
		$fusion = wp_fusion();
		$user   = is_object( $fusion ) && isset( $fusion->user ) ? $fusion->user : null;
		return is_object( $user ) && method_exists( $user, 'set_user_meta' ) && method_exists( $user, 'set_tags' ) ? new self( $user ) : null;
	}

	/**
	 * WP Fusion's version.
	 *
	 * @return string Empty when it is not active.
	 */
	public static function version() {
		if ( null === self::active() ) {
			return '';
		}
		return defined( 'WP_FUSION_VERSION' ) ? (string) WP_FUSION_VERSION : 'unknown';
	}

	/**
	 * The meta key of the contact id.
	 *
	 * @return string
	 */
	public static function contact_id_key() {
		return defined( 'WPF_CONTACT_ID_META_KEY' ) ? (string) WPF_CONTACT_ID_META_KEY : 'pulsetech_contact_id';
	}

	/**
	 * The meta key of the tags.
	 *
	 * @return string
	 */
	public static function tags_key() {
		return defined( 'WPF_TAGS_META_KEY' ) ? (string) WPF_TAGS_META_KEY : 'pulsetech_tags';
	}

	/**
	 * Takes WP Fusion's handlers off until unmute(). The request counts as one
	 * of WP Fusion's webhooks from here on, for the integrations that ask.
	 */
	public function mute() {
		global $wp_filter;
		if ( ! defined( 'WPF_DOING_WEBHOOK' ) ) {
			define( 'WPF_DOING_WEBHOOK', true ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own constant.
		}
		foreach ( self::HOOKS as $hook ) {
			if ( isset( $wp_filter[ $hook ] ) ) {
				$this->saved[ $hook ] = $wp_filter[ $hook ];
				$wp_filter[ $hook ]   = clone $wp_filter[ $hook ]; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- put back by unmute().
			}
		}
		$this->remove_handlers();
	}

	/**
	 * Puts the hooks back as mute() found them.
	 */
	public function unmute() {
		global $wp_filter;
		$this->remove_handlers();
		foreach ( $this->saved as $hook => $saved ) {
			$wp_filter[ $hook ] = $saved; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- the very object that mute() set aside.
		}
		$this->saved = array();
	}

	/**
	 * Stores fields with WP Fusion.
	 *
	 * @param int   $user_id The user.
	 * @param array $fields  Values by key, neither password nor role among them.
	 * @return array The fields that no integration has taken over or converted.
	 */
	public function set_fields( $user_id, array $fields ) {
		$left = $fields;
		$see  = function ( $meta ) use ( &$left, $fields ) {
			if ( is_array( $meta ) ) {
				foreach ( $fields as $key => $value ) {
					if ( ! array_key_exists( $key, $meta ) || $meta[ $key ] !== $value ) {
						unset( $left[ $key ] );
					}
				}
			}
			return $meta;
		};
		add_filter( 'wpf_set_user_meta', $see, PHP_INT_MAX );
		try {
			$this->user->set_user_meta( $user_id, $fields );
		} finally {
			remove_filter( 'wpf_set_user_meta', $see, PHP_INT_MAX );
			// The function puts its own handlers on again when it ends.
			$this->remove_handlers();
		}
		return $left;
	}

	/**
	 * Stores tags with WP Fusion.
	 *
	 * @param int      $user_id The user.
	 * @param string[] $tags    The tags.
	 */
	public function set_tags( $user_id, array $tags ) {
		$this->user->set_tags( $tags, $user_id );
	}

	/**
	 * Says that a user was created.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    Fields, login, password and role of the user.
	 */
	public function imported( $user_id, array $meta ) {
		do_action( 'wpf_user_imported', $user_id, $meta ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own action.
	}

	/**
	 * Says that a user was updated.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    The fields.
	 */
	public function updated( $user_id, array $meta ) {
		do_action( 'wpf_user_updated', $user_id, $meta ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own action.
	}

	/**
	 * Removes every method of WP Fusion's user object from the hooks.
	 */
	private function remove_handlers() {
		global $wp_filter;
		foreach ( self::HOOKS as $hook ) {
			if ( ! isset( $wp_filter[ $hook ] ) ) {
				continue;
			}
			foreach ( $wp_filter[ $hook ]->callbacks as $priority => $callbacks ) {
				foreach ( $callbacks as $callback ) {
					$function = $callback['function'];
					if ( is_array( $function ) && isset( $function[0] ) && $function[0] === $this->user ) {
						remove_filter( $hook, $function, $priority );
					}
				}
			}
		}
	}
}
