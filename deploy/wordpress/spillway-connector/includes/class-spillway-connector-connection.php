<?php
/**
 * The account that Spillway uses.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A user with the role Spillway and nothing else, and its application
 * passwords: one is made for each exchange of a code, all are revoked by
 * disconnecting.
 */
final class Spillway_Connector_Connection {

	const OPTION = 'spillway_connector_user';
	const LOGIN  = 'spillway';

	/**
	 * POST /connect: exchanges the secret of a connection code. The answer to a
	 * secret that does not count is the same for every reason.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return WP_REST_Response|WP_Error
	 */
	public static function exchange( WP_REST_Request $request ) {
		$body = $request->get_json_params();
		$code = Spillway_Connector_Code::find( is_array( $body ) && isset( $body['secret'] ) ? $body['secret'] : null );
		if ( null === $code ) {
			return self::refusal();
		}
		if ( ! Spillway_Connector_Code::may_travel() ) {
			// Others may have read it on its way.
			Spillway_Connector_Code::discard();
			return self::refusal();
		}
		$why = $code['fusion'] ? Spillway_Connector_Handover::refusal() : '';
		if ( '' !== $why ) {
			return self::error( 'fusion_refused', $why );
		}
		$dry  = ! empty( $body['dry_run'] );
		$user = self::user();
		if ( null === $user || ! wp_is_application_passwords_available_for_user( $user ) ) {
			return self::error( 'passwords_off', 'Application passwords are switched off, or the user that Spillway is to use is gone.' );
		}
		$answer = array(
			'site'      => home_url(),
			'user'      => $user->user_login,
			'password'  => '',
			'wp_fusion' => $code['fusion'] ? Spillway_Connector_Handover::settings( $dry ) : null,
		);
		if ( $dry ) {
			return rest_ensure_response( $answer );
		}
		if ( ! Spillway_Connector_Code::discard() ) {
			return self::refusal(); // Another request was faster.
		}
		$made = WP_Application_Passwords::create_new_application_password( $user->ID, array( 'name' => 'Spillway ' . gmdate( 'Y-m-d H:i:s' ) . ' UTC ' . bin2hex( random_bytes( 3 ) ) ) );
		if ( is_wp_error( $made ) ) {
			return self::error( 'no_password', 'WordPress made no application password (' . sanitize_key( $made->get_error_code() ) . '). Make another code and try again.' );
		}
		$answer['password'] = WP_Application_Passwords::chunk_password( $made[0] );
		return rest_ensure_response( $answer );
	}

	/**
	 * The answer to anything that is not a valid code.
	 *
	 * @return WP_Error
	 */
	public static function refusal() {
		return new WP_Error( 'spillway_connect_refused', 'This is no valid connection code. A code counts for one hour and for one use, over HTTPS; make another under Tools » Spillway.', array( 'status' => 403 ) );
	}

	/**
	 * The user that Spillway uses.
	 *
	 * @return WP_User|null Null: there is none.
	 */
	public static function user() {
		$known = get_user_by( 'id', (int) get_option( self::OPTION ) );
		if ( $known && self::is_ours( $known ) ) {
			return $known;
		}
		foreach ( Spillway_Connector_Hindrances::users() as $user ) {
			if ( self::is_ours( $user ) ) {
				return $user;
			}
		}
		return null;
	}

	/**
	 * Returns that user, and makes it when there is none. It has no address, so
	 * nobody resets its password by mail, and WP Fusion makes no contact of it.
	 *
	 * @return WP_User|WP_Error
	 */
	public static function provide() {
		$user = self::user();
		if ( null === $user ) {
			$login  = self::LOGIN;
			$number = 1;
			while ( username_exists( $login ) ) {
				$login = self::LOGIN . '-' . ( ++$number );
			}
			add_filter( 'wpf_user_register', '__return_null', PHP_INT_MAX );
			$made = wp_insert_user(
				array(
					'user_login'   => $login,
					'user_pass'    => wp_generate_password( 64 ),
					'display_name' => 'Spillway',
					'role'         => Spillway_Connector_Rights::ROLE,
				)
			);
			remove_filter( 'wpf_user_register', '__return_null', PHP_INT_MAX );
			if ( is_wp_error( $made ) ) {
				return $made;
			}
			$user = get_user_by( 'id', $made );
		}
		update_option( self::OPTION, $user->ID, false );
		return $user;
	}

	/**
	 * Revokes the code and all application passwords of Spillway's user. The user
	 * stays, and so does everything that was stored.
	 */
	public static function disconnect() {
		Spillway_Connector_Code::discard();
		$user = self::user();
		if ( null !== $user ) {
			WP_Application_Passwords::delete_all_application_passwords( $user->ID );
		}
	}

	/**
	 * The application passwords of that user.
	 *
	 * @return array[]
	 */
	public static function passwords() {
		$user = self::user();
		return null === $user ? array() : WP_Application_Passwords::get_user_application_passwords( $user->ID );
	}

	/**
	 * Whether a user can do on this site what the connector allows and nothing
	 * else.
	 *
	 * @param WP_User $user The user.
	 * @return bool
	 */
	private static function is_ours( WP_User $user ) {
		return array( Spillway_Connector_Rights::ROLE ) === array_keys( array_filter( $user->caps ) ) && ! ( is_multisite() && is_super_admin( $user->ID ) );
	}

	/**
	 * What a caller with a valid code is told.
	 *
	 * @param string $code    The code, without its prefix.
	 * @param string $message What is wrong.
	 * @return WP_Error
	 */
	private static function error( $code, $message ) {
		return new WP_Error( 'spillway_' . $code, $message, array( 'status' => 409 ) );
	}
}
