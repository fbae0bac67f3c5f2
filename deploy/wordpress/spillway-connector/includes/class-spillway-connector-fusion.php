<?php
/**
 * WP Fusion, when the site has it.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores through WP Fusion's own functions, since memberships and course
 * enrolments hang on the actions that they fire, asks the filters that its own
 * webhooks ask, and keeps WP Fusion from calling the CRM.
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
	 * WP Fusion's own client of the CRM while another one stands in for it.
	 *
	 * @var object|null
	 */
	private $client = null;

	/**
	 * Told of tags that hooks give and take.
	 *
	 * @var callable
	 */
	private $tell = '__return_null';

	/**
	 * The hooks as they were before mute().
	 *
	 * @var WP_Hook[]
	 */
	private $saved = array();

	/**
	 * Whether WP Fusion is muted in this request.
	 *
	 * @var bool
	 */
	private static $muted = false;

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
	 * Whether WP Fusion is muted in this request.
	 *
	 * @return bool
	 */
	public static function is_muted() {
		return self::$muted;
	}

	/**
	 * Says who is told of tags that hooks give and take while WP Fusion is muted.
	 *
	 * @param callable $tell Gets contact id, tags, and whether they are removed.
	 */
	public function tell( callable $tell ) {
		$this->tell = $tell;
	}

	/**
	 * Keeps WP Fusion from calling the CRM until unmute(). Its handlers are off,
	 * and so is the queue that it sends when the request ends; another client
	 * stands in for its own. From here on integrations see the request as one of
	 * WP Fusion's webhooks, by a constant whose name changed with WP Fusion
	 * 3.46.2.
	 */
	public function mute() {
		global $wp_filter;
		foreach ( array( 'DOING_WPF_WEBHOOK', 'WPF_DOING_WEBHOOK', 'WPF_DISABLE_QUEUE' ) as $constant ) {
			if ( ! defined( $constant ) ) {
				define( $constant, true ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own constants.
			}
		}
		self::$muted = true;
		foreach ( self::HOOKS as $hook ) {
			if ( isset( $wp_filter[ $hook ] ) ) {
				$this->saved[ $hook ] = $wp_filter[ $hook ];
				$wp_filter[ $hook ]   = clone $wp_filter[ $hook ]; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- put back by unmute().
			}
		}
		$this->remove_handlers();
		add_filter( 'wpf_use_api_queue', '__return_false', PHP_INT_MAX );
		add_filter( 'wpf_user_update', '__return_empty_array', PHP_INT_MAX );
		$crm = $this->crm();
		if ( null !== $crm ) {
			$this->client = $crm->crm;
			$crm->crm     = new Spillway_Connector_Silent_CRM( $this->client, $this->tell );
		}
	}

	/**
	 * Puts everything back as mute() found it.
	 */
	public function unmute() {
		global $wp_filter;
		if ( null !== $this->client ) {
			$this->crm()->crm = $this->client;
			$this->client     = null;
		}
		remove_filter( 'wpf_user_update', '__return_empty_array', PHP_INT_MAX );
		remove_filter( 'wpf_use_api_queue', '__return_false', PHP_INT_MAX );
		$this->remove_handlers();
		foreach ( $this->saved as $hook => $saved ) {
			$wp_filter[ $hook ] = $saved; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- the very object that mute() set aside.
		}
		$this->saved = array();
		self::$muted = false;
	}

	/**
	 * WP Fusion's object that makes the calls, or queues them.
	 *
	 * @return object|null Null when it has none with a client that can be
	 *                     exchanged.
	 */
	private function crm() {
		$fusion = wp_fusion();
		return isset( $fusion->crm->crm ) && is_object( $fusion->crm->crm ) ? $fusion->crm : null;
	}

	/**
	 * The user that the site's own code knows for a contact, which may be another
	 * one than the user meta names.
	 *
	 * @param string $contact_id The contact.
	 * @return int Zero when it has no opinion.
	 */
	public function claimed( $contact_id ) {
		if ( ! has_filter( 'wpf_get_user_id' ) ) {
			return 0;
		}
		do_action( 'wpf_get_user_id_start', $contact_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own action.
		return (int) apply_filters( 'wpf_get_user_id', false, $contact_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own filter.
	}

	/**
	 * The user of any contact.
	 *
	 * @param string $contact_id The contact.
	 * @return int Zero without one.
	 */
	public function user_of( $contact_id ) {
		return (int) $this->user->get_user_id( $contact_id );
	}

	/**
	 * Fields of an existing user as WP Fusion's integrations want them: they
	 * convert values to what their plugins store, and drop those plugins' caches.
	 *
	 * @param int   $user_id The user.
	 * @param array $fields  Values by key.
	 * @return array|null Null when no field is to be stored.
	 */
	public function pulled_fields( $user_id, array $fields ) {
		do_action( 'wpf_pre_pull_user_meta', $user_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own action.
		return $this->accepted( apply_filters( 'wpf_pulled_user_meta', $fields, $user_id ), $fields ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own filter.
	}

	/**
	 * Fields of a new user, as WP Fusion's integrations want them. They may change
	 * the login and the role, too. They cannot change the address, by which
	 * Spillway has looked for users, or the password, which Spillway returns.
	 *
	 * @param array  $fields     Values by key.
	 * @param array  $account    Login, address, password and role of the user.
	 * @param string $contact_id The contact.
	 * @return array|null Fields, login and role by "fields", "user_login" and
	 *                    "role"; null when nobody is to be created.
	 */
	public function import( array $fields, array $account, $contact_id ) {
		$meta = array_filter( $account, 'strlen' ) + array( Spillway_Connector_Keys::contact_id() => $contact_id ) + $fields;
		$meta = apply_filters( 'wpf_import_user', $meta, $contact_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own filter.
		if ( null === $meta ) {
			return null;
		}
		$meta = (array) $meta;
		foreach ( array( 'user_login', 'role' ) as $member ) {
			if ( isset( $meta[ $member ] ) && is_string( $meta[ $member ] ) && '' !== $meta[ $member ] ) {
				$account[ $member ] = $meta[ $member ];
			}
		}
		return array(
			'fields'     => $this->accepted( $meta, $fields ),
			'user_login' => $account['user_login'],
			'role'       => $account['role'],
		);
	}

	/**
	 * A contact's tags as the site's own code wants them.
	 *
	 * @param string[] $tags       The tags.
	 * @param int      $user_id    Its user.
	 * @param string   $contact_id The contact.
	 * @return string[]
	 */
	public function loaded_tags( array $tags, $user_id, $contact_id ) {
		$tags = apply_filters( 'wpf_loaded_tags', $tags, $user_id, $contact_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own filter.
		return array_map( 'strval', array_filter( (array) $tags, 'is_scalar' ) );
	}

	/**
	 * Those fields that a filter has returned and that may be written.
	 *
	 * @param mixed $meta   What the filter returned.
	 * @param array $fields The fields before.
	 * @return array|null Null when the filter returned it.
	 */
	private function accepted( $meta, array $fields ) {
		if ( null === $meta ) {
			return null;
		}
		$accepted = array();
		foreach ( (array) $meta as $key => $value ) {
			// The address was looked for and locked before the filter ran.
			if ( 'user_email' === $key ) {
				$value = isset( $fields[ $key ] ) ? $fields[ $key ] : null;
			}
			if ( null !== $value && ! Spillway_Connector_Protected::includes( (string) $key ) ) {
				$accepted[ $key ] = $value;
			}
		}
		return $accepted;
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
	 * Fields as set_fields() leaves them, if no integration takes them over: cleaned,
	 * without a backslash. Empty ones are stored past WP Fusion.
	 *
	 * @param array $fields Values by key.
	 * @return array Those that would be stored.
	 */
	public function stored_as( array $fields ) {
		$stored = array();
		foreach ( $fields as $key => $value ) {
			$passes_by = 'user_email' === $key || '' === $value || array() === $value;
			if ( ! $passes_by ) {
				$value = wp_unslash( function_exists( 'wpf_clean' ) ? wpf_clean( $value ) : $value );
			}
			$is_skipped = ! $passes_by && empty( $value ) && '0' !== $value;
			if ( ! $is_skipped && ! ( function_exists( 'wpf_is_pseudo_field' ) && wpf_is_pseudo_field( $key ) ) ) {
				$stored[ $key ] = $value;
			}
		}
		return $stored;
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
	 * Says that a contact is stored, as WP Fusion does when a webhook is done.
	 *
	 * @param int    $user_id    The user.
	 * @param string $action     What was asked for.
	 * @param string $contact_id The contact.
	 */
	public function succeeded( $user_id, $action, $contact_id ) {
		do_action( 'wpf_api_success', $user_id, $action, $contact_id ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WP Fusion's own action.
	}

	/**
	 * Says that a user's fields were updated.
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
