<?php
/**
 * Site Health.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A test under Tools » Site Health, and a section under its tab Info.
 */
final class Spillway_Connector_Health {

	/**
	 * Adds the test.
	 *
	 * @param array $tests WordPress's tests.
	 * @return array
	 */
	public static function add_test( $tests ) {
		$tests['direct']['spillway_connector'] = array(
			'label' => __( 'Spillway', 'spillway-connector' ),
			'test'  => array( __CLASS__, 'test' ),
		);
		return $tests;
	}

	/**
	 * The test's result.
	 *
	 * @return array
	 */
	public static function test() {
		$found = Spillway_Connector_Hindrances::found();
		$list  = '<p>' . esc_html( Spillway_Connector_Visits::tell() ) . '</p>';
		foreach ( $found as $hindrance ) {
			$list .= '<p>' . esc_html( $hindrance ) . '</p>';
		}
		return array(
			'label'       => array() === $found ? __( 'Spillway can store contacts on this site', 'spillway-connector' ) : __( 'Something on this site hinders Spillway', 'spillway-connector' ),
			'status'      => array() === $found ? 'good' : 'recommended',
			'badge'       => array(
				'label' => __( 'Spillway', 'spillway-connector' ),
				'color' => 'blue',
			),
			'description' => $list,
			'actions'     => sprintf( '<p><a href="%s">%s</a></p>', esc_url( Spillway_Connector_Admin::url() ), esc_html__( 'Tools » Spillway', 'spillway-connector' ) ),
			'test'        => 'spillway_connector',
		);
	}

	/**
	 * Adds the section.
	 *
	 * @param array $info WordPress's sections.
	 * @return array
	 */
	public static function add_section( $info ) {
		$fields = array();
		foreach ( self::facts() as $name => $fact ) {
			$fields[ $name ] = array(
				'label' => $fact[0],
				'value' => $fact[1],
			);
		}
		$info['spillway-connector'] = array(
			'label'  => __( 'Spillway Connector', 'spillway-connector' ),
			'fields' => $fields,
		);
		return $info;
	}

	/**
	 * What the section and the page under Tools show.
	 *
	 * @return string[][] Translated label and value, by name.
	 */
	public static function facts() {
		$yes = __( 'Yes', 'spillway-connector' );
		$no  = __( 'No', 'spillway-connector' );
		return array(
			'version'      => array( __( 'Version', 'spillway-connector' ), SPILLWAY_CONNECTOR_VERSION ),
			'protocol'     => array( __( 'Protocol', 'spillway-connector' ), (string) SPILLWAY_CONNECTOR_PROTOCOL ),
			'last_batch'   => array( __( 'Last batch', 'spillway-connector' ), Spillway_Connector_Visits::tell() ),
			'users'        => array( __( 'Users with the role Spillway', 'spillway-connector' ), (string) count( Spillway_Connector_Hindrances::users() ) ),
			'routes'       => array( __( 'Address of the routes', 'spillway-connector' ), rest_url( Spillway_Connector_Rest::ROUTES ) ),
			'passwords'    => array( __( 'Application passwords available', 'spillway-connector' ), wp_is_application_passwords_available() ? $yes : $no ),
			'locks'        => array( __( 'Named locks of the database', 'spillway-connector' ), Spillway_Connector_Hindrances::has_locks() ? $yes : $no ),
			'transactions' => array( __( 'Tables of users are InnoDB', 'spillway-connector' ), Spillway_Connector_Hindrances::has_transactions() ? $yes : $no ),
			'contact_id'   => array( __( 'Meta key of contact ids', 'spillway-connector' ), Spillway_Connector_Keys::contact_id() ),
			'tags'         => array( __( 'Meta key of tags', 'spillway-connector' ), Spillway_Connector_Keys::tags() ),
		);
	}
}
