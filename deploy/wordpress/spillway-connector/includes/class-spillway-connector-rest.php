<?php
/**
 * The REST routes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Registers the routes, keeps out who may not use them, and refuses bodies
 * that are none.
 */
final class Spillway_Connector_Rest {

	const ROUTES       = 'spillway/v1';
	const MAX_CONTACTS = 100;

	/**
	 * Registers the routes.
	 */
	public function register() {
		register_rest_route(
			self::ROUTES,
			'/contacts',
			array(
				array(
					'methods'             => 'POST',
					'callback'            => array( $this, 'contacts' ),
					'permission_callback' => array( $this, 'may_use' ),
				),
				array(
					'methods'             => 'GET',
					'callback'            => array( $this, 'listing' ),
					'permission_callback' => array( $this, 'may_use' ),
				),
			)
		);
		register_rest_route(
			self::ROUTES,
			'/observations',
			array(
				'methods'             => 'POST',
				'callback'            => array( $this, 'observations' ),
				'permission_callback' => array( $this, 'may_use' ),
			)
		);
		register_rest_route(
			self::ROUTES,
			'/status',
			array(
				'methods'             => 'GET',
				'callback'            => array( $this, 'status' ),
				'permission_callback' => array( $this, 'may_use' ),
			)
		);
		register_rest_route(
			self::ROUTES,
			'/connect',
			array(
				'methods'             => 'POST',
				'callback'            => array( 'Spillway_Connector_Connection', 'exchange' ),
				'permission_callback' => '__return_true', // The secret of a code opens it.
			)
		);
		add_filter( 'rest_request_before_callbacks', array( $this, 'refuse_broken_json' ), 10, 3 );
	}

	/**
	 * Whether the caller may use the routes.
	 *
	 * @return true|WP_Error
	 */
	public function may_use() {
		return Spillway_Connector_Rights::may_store() ? true : Spillway_Connector_Entry::refusal();
	}

	/**
	 * Answers a body that is no JSON in this plugin's words; WordPress refuses
	 * it before it asks whether the caller may use the route.
	 *
	 * @param mixed           $response What WordPress would answer so far.
	 * @param array           $handler  The route's handler.
	 * @param WP_REST_Request $request  The request.
	 * @return mixed
	 */
	public function refuse_broken_json( $response, $handler, $request ) {
		if ( is_wp_error( $response ) && '/' . self::ROUTES . '/connect' === $request->get_route() ) {
			return Spillway_Connector_Connection::refusal();
		}
		if ( ! is_wp_error( $response ) || ! in_array( $request->get_route(), array( '/' . self::ROUTES . '/contacts', '/' . self::ROUTES . '/observations' ), true ) ) {
			return $response;
		}
		$allowed = $this->may_use();
		if ( is_wp_error( $allowed ) ) {
			return $allowed;
		}
		return $this->bad_request( 'The body is no JSON.' );
	}

	/**
	 * POST /contacts: stores a batch of contacts.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return WP_REST_Response|WP_Error
	 */
	public function contacts( WP_REST_Request $request ) {
		// A batch that the caller no longer waits for still ends in one piece.
		ignore_user_abort( true );
		return $this->work_on(
			$request,
			function ( Spillway_Connector_Batch $batch ) {
				$results = $batch->run();
				Spillway_Connector_Visits::note( $results );
				return $results;
			}
		);
	}

	/**
	 * POST /observations: tells what storing a batch of contacts would do.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return WP_REST_Response|WP_Error
	 */
	public function observations( WP_REST_Request $request ) {
		return $this->work_on(
			$request,
			function ( Spillway_Connector_Batch $batch ) {
				return $batch->observe();
			}
		);
	}

	/**
	 * Reads a batch of contacts, and works on it.
	 *
	 * @param WP_REST_Request $request The request.
	 * @param callable        $work    Gets the batch, returns a result for each contact.
	 * @return WP_REST_Response|WP_Error
	 */
	private function work_on( WP_REST_Request $request, callable $work ) {
		$started = microtime( true );
		$body    = $request->get_json_params();
		if ( ! is_array( $body ) || ! isset( $body['contacts'] ) || ! $this->is_list( $body['contacts'] ) ) {
			return $this->bad_request( 'The body is no JSON object with a list "contacts".' );
		}
		if ( count( $body['contacts'] ) > self::MAX_CONTACTS ) {
			return $this->bad_request( 'The body holds more than ' . self::MAX_CONTACTS . ' contacts.' );
		}
		$contacts = array();
		foreach ( $body['contacts'] as $contact ) {
			$id = is_array( $contact ) && isset( $contact['contact_id'] ) ? $contact['contact_id'] : null;
			if ( is_int( $id ) ) {
				$id = (string) $id;
			}
			if ( ! is_string( $id ) || '' === $id || strlen( $id ) > 255 ) {
				return $this->bad_request( 'An element of "contacts" is no object with a "contact_id".' );
			}
			$contact['contact_id'] = $id;
			$contacts[]            = $contact;
		}
		$allowed = isset( $body['roles_allowed'] ) ? $body['roles_allowed'] : array();
		$default = isset( $body['default_role'] ) ? $body['default_role'] : '';
		$logins  = isset( $body['login_format'] ) ? $body['login_format'] : Spillway_Connector_Logins::FORMATS[0];
		if ( ! $this->is_list( $allowed ) || array_filter( $allowed, 'is_string' ) !== $allowed || ! is_string( $default ) ) {
			return $this->bad_request( '"roles_allowed" is no list of texts, or "default_role" is no text.' );
		}
		if ( ! in_array( $logins, Spillway_Connector_Logins::FORMATS, true ) ) {
			return $this->bad_request( '"login_format" is none of email, flname, fnamenum.' );
		}
		$results = $this->undisturbed(
			function () use ( $contacts, $allowed, $default, $logins, $started, $work ) {
				return $work( new Spillway_Connector_Batch( $contacts, new Spillway_Connector_Roles( $allowed, $default ), $logins, $started ) );
			}
		);
		return rest_ensure_response(
			array(
				'results'    => $results,
				'elapsed_ms' => (int) round( 1000 * ( microtime( true ) - $started ) ),
			)
		);
	}

	/**
	 * GET /contacts: lists what the site stores of contacts.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return WP_REST_Response|WP_Error
	 */
	public function listing( WP_REST_Request $request ) {
		$asked = $request->get_query_params();
		$after = isset( $asked['after'] ) ? $asked['after'] : '0';
		$limit = isset( $asked['limit'] ) ? $asked['limit'] : (string) Spillway_Connector_Listing::MAX_USERS;
		$ids   = isset( $asked['contact_ids'] ) ? $asked['contact_ids'] : null;
		if ( ! $this->is_number( $after ) || ! $this->is_number( $limit ) || (int) $limit < 1 || (int) $limit > Spillway_Connector_Listing::MAX_USERS ) {
			return $this->bad_request( '"after" is no user id, or "limit" is none of 1 to ' . Spillway_Connector_Listing::MAX_USERS . '.' );
		}
		$contacts = is_string( $ids ) ? explode( ',', $ids ) : array();
		if ( null !== $ids && ( array() === $contacts || count( $contacts ) > Spillway_Connector_Listing::MAX_CONTACTS || in_array( '', $contacts, true ) ) ) {
			return $this->bad_request( '"contact_ids" is no list of 1 to ' . Spillway_Connector_Listing::MAX_CONTACTS . ' contacts with commas between them.' );
		}
		return $this->undisturbed(
			function () use ( $after, $limit, $contacts ) {
				try {
					$body = array() === $contacts ? Spillway_Connector_Listing::page( (int) $after, (int) $limit ) : Spillway_Connector_Listing::of_contacts( $contacts );
				} catch ( Spillway_Connector_Failure $failure ) {
					return new WP_Error( 'spillway_database', 'The database did not answer. Ask again.', array( 'status' => 503 ) );
				}
				return rest_ensure_response( $body );
			}
		);
	}

	/**
	 * GET /status: tells what this site is and, of the keys in ?fields=, whether
	 * it knows them.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return WP_REST_Response
	 */
	public function status( WP_REST_Request $request ) {
		$asked = is_string( $request['fields'] ) ? $request['fields'] : '';
		$keys  = array_filter( array_map( 'trim', explode( ',', $asked ) ), 'strlen' );
		return rest_ensure_response(
			array(
				'plugin'         => SPILLWAY_CONNECTOR_VERSION,
				'protocol'       => SPILLWAY_CONNECTOR_PROTOCOL,
				'wordpress'      => get_bloginfo( 'version' ),
				'php'            => PHP_VERSION,
				'wp_fusion'      => Spillway_Connector_Fusion::version(),
				'roles'          => (object) wp_roles()->get_names(),
				'default_role'   => (string) get_option( 'default_role' ),
				'multisite'      => is_multisite(),
				'contact_id_key' => Spillway_Connector_Keys::contact_id(),
				'tags_key'       => Spillway_Connector_Keys::tags(),
				'limits'         => array(
					'contacts' => self::MAX_CONTACTS,
					'seconds'  => Spillway_Connector_Batch::SECONDS,
				),
				'fields'         => (object) Spillway_Connector_Known::keys( $keys ),
				'rights'         => array(
					'own'    => current_user_can( Spillway_Connector_Rights::CAPABILITY ),
					'beyond' => Spillway_Connector_Rights::beyond(),
				),
				'locks'          => Spillway_Connector_Hindrances::has_locks(),
				'transactions'   => Spillway_Connector_Hindrances::has_transactions(),
			)
		);
	}

	/**
	 * Works while nothing that others print can reach the answer.
	 *
	 * @param callable $work The work.
	 * @return mixed What it returns.
	 */
	private function undisturbed( callable $work ) {
		global $wpdb;
		$level = ob_get_level();
		ob_start();
		$showed     = $wpdb->hide_errors();
		$suppressed = $wpdb->suppress_errors( true );
		try {
			return $work();
		} finally {
			$wpdb->suppress_errors( $suppressed );
			$wpdb->show_errors( $showed );
			while ( ob_get_level() > $level && ob_end_clean() ) {
				continue;
			}
		}
	}

	/**
	 * The answer to a body that is refused as a whole.
	 *
	 * @param string $message What is wrong with it.
	 * @return WP_Error
	 */
	private function bad_request( $message ) {
		return new WP_Error( 'spillway_bad_request', $message, array( 'status' => 400 ) );
	}

	/**
	 * Whether a parameter is a whole number from zero on.
	 *
	 * @param mixed $value The parameter.
	 * @return bool
	 */
	private function is_number( $value ) {
		return is_string( $value ) && 1 === preg_match( '/^\d{1,18}$/D', $value );
	}

	/**
	 * Whether a value is a JSON list.
	 *
	 * @param mixed $value The value.
	 * @return bool
	 */
	private function is_list( $value ) {
		return is_array( $value ) && array_values( $value ) === $value;
	}
}
