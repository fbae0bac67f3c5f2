<?php
/**
 * wp_fusion()->crm: the queue before the CRM's client, and the client.
 */

defined( 'ABSPATH' ) || exit;

/**
 * Hands calls to the client: at once, or when the request ends. The queue
 * merges the tags of a contact.
 */
final class WPF_CRM_Base {
	/** @var WPF_PulseTech */
	public $crm;

	private $queued = array();

	public function __construct() {
		$this->crm = new WPF_PulseTech();
		add_action( 'shutdown', array( $this, 'shutdown' ), -1 );
	}

	public function __get( $name ) {
		if ( property_exists( $this->crm, $name ) ) {
			return $this->crm->$name;
		}
		return 'supports' === $name ? array() : false;
	}

	public function __call( $method, $arguments ) {
		$arguments = apply_filters( "wpf_api_{$method}_args", $arguments );
		if ( ! method_exists( $this->crm, $method ) ) {
			return new WP_Error( 'invalid_crm', 'Invalid method.' );
		}
		$queue = ! ( defined( 'WPF_DISABLE_QUEUE' ) && WPF_DISABLE_QUEUE ) && get_option( 'wpf_stub_queue', true );
		$queue = apply_filters( 'wpf_use_api_queue', $queue, $method, $arguments );
		if ( ! $queue || ! in_array( $method, array( 'apply_tags', 'remove_tags', 'update_contact' ), true ) ) {
			return $this->request( $method, $arguments );
		}
		$contact_id = 'update_contact' === $method ? $arguments[0] : $arguments[1];
		if ( 'update_contact' !== $method ) {
			$other = 'apply_tags' === $method ? 'remove_tags' : 'apply_tags';
			if ( isset( $this->queued[ $other ][ $contact_id ] ) ) {
				$this->queued[ $other ][ $contact_id ][0] = array_diff( $this->queued[ $other ][ $contact_id ][0], $arguments[0] );
			}
			if ( isset( $this->queued[ $method ][ $contact_id ] ) ) {
				$arguments[0] = array_values( array_unique( array_merge( $this->queued[ $method ][ $contact_id ][0], $arguments[0] ) ) );
			}
		}
		$this->queued[ $method ][ $contact_id ] = $arguments;
		return true;
	}

	public function supports( $feature ) {
		return in_array( $feature, $this->crm->supports, true );
	}

	public function shutdown() {
		foreach ( $this->queued as $method => $contacts ) {
			foreach ( $contacts as $arguments ) {
				if ( $arguments[0] && $arguments[1] ) {
					$this->request( $method, $arguments );
				}
			}
		}
		$this->queued = array();
	}

	private function request( $method, $arguments ) {
		return call_user_func_array( array( $this->crm, $method ), $arguments );
	}
}

/** Calls the CRM over HTTP, as the integration of this CRM does. */
final class WPF_PulseTech {
	public $slug     = 'pulsetech';
	public $name     = 'PulseTechnologyCRM';
	public $supports = array();
	public $params   = array();

	public function apply_tags( $tags, $contact_id ) {
		return $this->call( 'POST', "contacts/$contact_id/tag-apply", array( 'tag_id' => $tags ) );
	}

	public function remove_tags( $tags, $contact_id ) {
		return $this->call( 'POST', "contacts/$contact_id/untag", array( 'tag_id' => $tags ) );
	}

	public function update_contact( $contact_id, $data ) {
		return $this->call( 'PUT', "contacts/$contact_id", $data );
	}

	public function get_contact_id( $email ) {
		return $this->call( 'POST', 'contact/find/', array( 'email' => $email ) );
	}

	public function load_contact( $contact_id ) {
		return $this->call( 'GET', "contacts/$contact_id", array() );
	}

	public function get_tags( $contact_id ) {
		return $this->call( 'GET', "contacts/$contact_id/tags", array() );
	}

	private function call( $method, $path, $body ) {
		$response = wp_remote_request(
			'https://crm.example.com/api/v1/' . $path,
			array(
				'method'     => $method,
				'body'       => $body,
				'timeout'    => 15,
				'user-agent' => 'WP Fusion; ' . home_url(),
			)
		);
		return is_wp_error( $response ) ? $response : true;
	}
}
