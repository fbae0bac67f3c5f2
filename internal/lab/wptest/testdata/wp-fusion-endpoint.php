<?php
/**
 * Must-use plugin of tests: stands in for the webhook endpoint of WP Fusion's
 * paid edition. What it answers is what that edition is publicly known to answer;
 * what it stores is as much as the tests look at.
 */

defined( 'ABSPATH' ) || exit;

final class Spillway_Test_Endpoint {
	const CRM    = '{{.CRM}}';
	const TOKEN  = '{{.Token}}';
	const KEY    = '{{.Key}}';
	const FIELDS = array(
		'user_email'      => 'email',
		'first_name'      => 'first_name',
		'last_name'       => 'last_name',
		'billing_company' => 'company',
		'billing_city'    => 'address_1.city',
		'billing_phone'   => 'phone',
	);

	/** @var resource */
	private static $turn;

	public static function handle() {
		if ( ! isset( $_REQUEST['wpf_action'] ) ) {
			return;
		}
		$action = strtolower( sanitize_text_field( wp_unslash( $_REQUEST['wpf_action'] ) ) );
		$key    = isset( $_REQUEST['access_key'] ) ? sanitize_text_field( wp_unslash( $_REQUEST['access_key'] ) ) : '';
		if ( self::KEY !== $key ) {
			wp_die( 'Invalid Access Key', 'Invalid Access Key', 403 );
		}
		if ( 'test' === $action ) {
			wp_send_json_success();
		}
		if ( ! in_array( $action, array( 'add', 'update', 'update_tags' ), true ) ) {
			return;
		}
		$id = isset( $_REQUEST['contact_id'] ) ? (int) $_REQUEST['contact_id'] : 0;
		self::record( "$action $id" );
		if ( 0 === $id ) {
			wp_die( '<h3>Abort</h3>Contact data not found or contact not eligible for update.', 'Abort', 200 );
		}
		$user = self::user_of( $id );
		if ( 0 === $user && 'add' !== $action ) {
			wp_die( 'No matching user found', 'Not Found', 200 );
		}
		self::lock( $id, $action );
		if ( 'add' === $action ) {
			self::add( $id, $user );
		}
		$shown = '';
		if ( 'update' === $action ) {
			$meta  = self::pull( $id, $user );
			$shown = 'Updated user meta:<pre>' . print_r( $meta, true ) . '</pre><br />';
			self::give_role( $user );
		}
		$tags = self::tags( $id, $user );
		delete_transient( "wpf_api_lock_$id" );
		wp_die( "<h3>Success</h3>{$shown}Updated tags:<pre>" . print_r( $tags, true ) . '</pre>', 'Success', 200 );
	}

	private static function add( $id, $user ) {
		$meta = 0 === $user ? self::contact( $id ) : self::pull( $id, $user );
		if ( 0 === $user && ! is_wp_error( $meta ) && empty( $meta['user_email'] ) ) {
			$meta = new WP_Error( 'error', 'No email provided for imported user' );
		}
		if ( 0 === $user && is_wp_error( $meta ) ) {
			// The lock stays.
			wp_die( "<h3>Error</h3>Import user failed for contact ID <strong>$id</strong>. Error: " . $meta->get_error_message() );
		}
		if ( 0 === $user ) {
			$user = (int) email_exists( $meta['user_email'] );
		}
		if ( 0 === $user ) {
			$role = isset( $_REQUEST['role'] ) ? sanitize_text_field( wp_unslash( $_REQUEST['role'] ) ) : '';
			$user = wp_insert_user(
				array(
					'user_login' => $meta['user_email'],
					'user_email' => $meta['user_email'],
					'user_pass'  => wp_generate_password( 12, false ),
					'role'       => wp_roles()->is_role( $role ) && 'administrator' !== $role ? $role : get_option( 'default_role' ),
				)
			);
			if ( ! is_wp_error( $user ) && ! empty( $_REQUEST['send_notification'] ) ) {
				wp_new_user_notification( $user, null, 'user' );
			}
			$user = is_wp_error( $user ) ? 0 : $user;
		} else {
			self::give_role( $user );
		}
		if ( $user > 0 ) {
			update_user_meta( $user, 'pulsetech_contact_id', (string) $id );
			self::store( $user, is_wp_error( $meta ) ? array() : $meta );
			self::tags( $id, $user );
		}
		delete_transient( "wpf_api_lock_$id" );
		$loaded = array();
		if ( $user > 0 ) {
			$record = get_userdata( $user );
			$loaded = array(
				'billing_company' => get_user_meta( $user, 'billing_company', true ),
				'user_id'         => $user,
				'user_registered' => $record->user_registered,
				'role'            => reset( $record->roles ),
			);
		}
		wp_die( "<h3>Success</h3>User imported with ID $user. <br /><br />Loaded tags:<pre>Array()</pre><br />Loaded meta:<pre>" . print_r( $loaded, true ) . '</pre>', 'Success', 200 );
	}

	private static function user_of( $id ) {
		$users = get_users(
			array(
				'meta_key'   => 'pulsetech_contact_id',
				'meta_value' => (string) $id,
				'fields'     => 'ID',
			)
		);
		return $users ? (int) $users[0] : 0;
	}

	/** Ignores what comes while a stronger or equal action is under way, or did not end. */
	private static function lock( $id, $action ) {
		$held  = get_transient( "wpf_api_lock_$id" );
		$order = array( 'update_tags' => 1, 'update' => 2, 'add' => 3 );
		if ( $held && $order[ $held ] >= $order[ $action ] ) {
			wp_die( "<strong>Doing it wrong:</strong> An <strong>$action</strong> webhook is already being processed for contact #$id. This duplicate request will be ignored.", 'Doing it wrong', 200 );
		}
		set_transient( "wpf_api_lock_$id", $action, MINUTE_IN_SECONDS );
	}

	private static function pull( $id, $user ) {
		$meta = self::contact( $id );
		if ( ! is_wp_error( $meta ) && array() === $meta ) {
			$meta = new WP_Error( 'error', 'No elligible user meta loaded.' );
		}
		if ( ! is_wp_error( $meta ) ) {
			self::store( $user, $meta );
		}
		return $meta;
	}

	private static function contact( $id ) {
		$record = self::read( "contacts/$id" );
		if ( is_wp_error( $record ) ) {
			return $record;
		}
		$meta = array();
		foreach ( self::FIELDS as $key => $field ) {
			if ( ! empty( $record[ $field ] ) ) {
				$meta[ $key ] = $record[ $field ];
			}
		}
		return $meta;
	}

	private static function store( $user, array $meta ) {
		if ( isset( $meta['user_email'] ) && get_userdata( $user )->user_email !== $meta['user_email'] ) {
			wp_update_user(
				array(
					'ID'         => $user,
					'user_email' => $meta['user_email'],
				)
			);
		}
		unset( $meta['user_email'] );
		foreach ( $meta as $key => $value ) {
			update_user_meta( $user, $key, $value );
		}
	}

	/** Stores no tags where an answer holds none, whatever the answer was. */
	private static function tags( $id, $user ) {
		$tags = array();
		$page = 1;
		do {
			$list = self::read( "contacts/$id/tags?page=$page" );
			if ( is_wp_error( $list ) ) {
				return $list;
			}
			foreach ( isset( $list['data'] ) ? $list['data'] : array() as $tag ) {
				$tags[] = (string) $tag['id'];
			}
			$last = isset( $list['meta']['last_page'] ) ? (int) $list['meta']['last_page'] : 1;
		} while ( $page++ < $last );
		update_user_meta( $user, 'pulsetech_tags', $tags );
		return $tags;
	}

	/** Takes only status 500 and a member "error" for a failure of the CRM. */
	private static function read( $path ) {
		$response = wp_remote_get(
			self::CRM . '/api/v1/' . $path,
			array(
				'timeout' => 15,
				'headers' => array( 'Authorization' => 'Bearer ' . self::TOKEN ),
			)
		);
		if ( is_wp_error( $response ) ) {
			return $response;
		}
		$body = json_decode( wp_remote_retrieve_body( $response ), true );
		if ( 500 === wp_remote_retrieve_response_code( $response ) || isset( $body['error'] ) ) {
			return new WP_Error( 'error', 'An error has occurred in the API server.' );
		}
		return is_array( $body ) ? $body : array();
	}

	private static function give_role( $user ) {
		$role = isset( $_REQUEST['role'] ) ? sanitize_text_field( wp_unslash( $_REQUEST['role'] ) ) : '';
		if ( '' !== $role && ! user_can( $user, 'manage_options' ) && wp_roles()->is_role( $role ) ) {
			get_userdata( $user )->set_role( $role );
		}
	}

	private static function record( $line ) {
		$dir        = dirname( untrailingslashit( ABSPATH ) );
		self::$turn = fopen( $dir . '/endpoint.lock', 'c' );
		if ( ! flock( self::$turn, LOCK_EX | LOCK_NB ) ) {
			file_put_contents( $dir . '/endpoint.txt', "overlap\n", FILE_APPEND | LOCK_EX );
		}
		file_put_contents( $dir . '/endpoint.txt', $line . "\n", FILE_APPEND | LOCK_EX );
	}
}

add_action( 'init', array( 'Spillway_Test_Endpoint', 'handle' ) );
