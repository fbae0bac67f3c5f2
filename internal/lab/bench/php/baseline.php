<?php
/**
 * Must-use plugin of the benchmark's site: does with a webhook, inside its
 * request, what a plugin without a queue does. It reads the contact, reads its
 * tags, and stores both, with WordPress's own functions and nothing more: no
 * log, no lock, no settings of its own to load. A real plugin does more.
 */

defined( 'ABSPATH' ) || exit;

const SPILLWAY_BENCH_CRM    = '{{.CRM}}';
const SPILLWAY_BENCH_TOKEN  = '{{.Token}}';
const SPILLWAY_BENCH_FIELDS = array(
	'first_name'      => 'first_name',
	'last_name'       => 'last_name',
	'billing_company' => 'company',
	'billing_city'    => 'address_1.city',
	'billing_phone'   => 'phone',
);

function spillway_bench_read( $path ) {
	$response = wp_remote_get(
		SPILLWAY_BENCH_CRM . '/api/v1/' . $path,
		array(
			'timeout' => 30,
			'headers' => array( 'Authorization' => 'Bearer ' . SPILLWAY_BENCH_TOKEN ),
		)
	);
	if ( is_wp_error( $response ) || 200 !== wp_remote_retrieve_response_code( $response ) ) {
		spillway_bench_answer( 502, is_wp_error( $response ) ? $response->get_error_message() : 'the CRM failed' );
	}
	return json_decode( wp_remote_retrieve_body( $response ), true );
}

function spillway_bench_answer( $status, $text ) {
	status_header( $status );
	header( 'Content-Length: ' . strlen( $text ) );
	echo $text;
	exit;
}

add_action(
	'init',
	function () {
		if ( ! isset( $_GET['wpf_action'], $_GET['contact_id'] ) ) {
			return;
		}
		$id    = (string) (int) $_GET['contact_id'];
		$users = get_users(
			array(
				'meta_key'   => 'pulsetech_contact_id',
				'meta_value' => $id,
				'fields'     => array( 'ID' ),
			)
		);
		$user  = $users ? (int) $users[0]->ID : 0;
		if ( 0 === $user && 'add' !== $_GET['wpf_action'] ) {
			spillway_bench_answer( 200, 'Success' );
		}
		$contact = spillway_bench_read( "contacts/$id" );
		if ( 0 === $user ) {
			$user = (int) email_exists( $contact['email'] );
		}
		if ( 0 === $user ) {
			$user = wp_insert_user(
				array(
					'user_login' => $contact['email'],
					'user_email' => $contact['email'],
					'user_pass'  => wp_generate_password( 12, false ),
				)
			);
			if ( is_wp_error( $user ) ) {
				spillway_bench_answer( 500, $user->get_error_message() );
			}
		} elseif ( get_userdata( $user )->user_email !== $contact['email'] ) {
			wp_update_user(
				array(
					'ID'         => $user,
					'user_email' => $contact['email'],
				)
			);
		}
		update_user_meta( $user, 'pulsetech_contact_id', $id );
		foreach ( SPILLWAY_BENCH_FIELDS as $key => $field ) {
			if ( isset( $contact[ $field ] ) && '' !== $contact[ $field ] ) {
				update_user_meta( $user, $key, $contact[ $field ] );
			}
		}
		$tags = array();
		$page = 1;
		do {
			$list = spillway_bench_read( "contacts/$id/tags?page=$page" );
			foreach ( $list['data'] as $tag ) {
				$tags[] = (string) $tag['id'];
			}
			$last = isset( $list['meta']['last_page'] ) ? (int) $list['meta']['last_page'] : 1;
		} while ( $page++ < $last );
		update_user_meta( $user, 'pulsetech_tags', $tags );
		spillway_bench_answer( 200, 'Success' );
	},
	50
);
