<?php
/**
 * What stands in for WP Fusion's client of the CRM while the plugin writes.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Answers the calls that WP Fusion and its integrations make to the CRM, and sends
 * none of them. It reports changed tags, which Spillway brings to the CRM within
 * the CRM's limits. WP Fusion continues as if the call had succeeded: it stores
 * the tags on the user and fires the actions that follow.
 *
 * It drops fields: the site would only send what the CRM has just said. Any other
 * call gets an error of WP Fusion's kind.
 *
 * WP Fusion asks with property_exists() and method_exists() what its client can
 * do, so this one has the real one's properties and methods of its own.
 */
final class Spillway_Connector_Silent_CRM extends stdClass {

	/**
	 * Told of tags that the CRM is to be told of: contact id, tags, and whether
	 * they are removed.
	 *
	 * @var callable
	 */
	private $tell;

	/**
	 * Stands in for a client.
	 *
	 * @param object   $client WP Fusion's client of the CRM.
	 * @param callable $tell   Told of tags.
	 */
	public function __construct( $client, callable $tell ) {
		foreach ( get_object_vars( $client ) as $name => $value ) {
			$this->$name = $value;
		}
		$this->tell = $tell;
	}

	/**
	 * Gives a contact tags.
	 *
	 * @param string[] $tags       The tags.
	 * @param string   $contact_id The contact.
	 * @return true
	 */
	public function apply_tags( $tags, $contact_id ) {
		call_user_func( $this->tell, (string) $contact_id, (array) $tags, false );
		return true;
	}

	/**
	 * Takes tags from a contact.
	 *
	 * @param string[] $tags       The tags.
	 * @param string   $contact_id The contact.
	 * @return true
	 */
	public function remove_tags( $tags, $contact_id ) {
		call_user_func( $this->tell, (string) $contact_id, (array) $tags, true );
		return true;
	}

	/**
	 * Changes fields of a contact.
	 *
	 * @return true
	 */
	public function update_contact() {
		return true;
	}

	/**
	 * Adds a contact.
	 *
	 * @return WP_Error
	 */
	public function add_contact() {
		return $this->refuse();
	}

	/**
	 * Looks a contact up by its address.
	 *
	 * @return WP_Error
	 */
	public function get_contact_id() {
		return $this->refuse();
	}

	/**
	 * Reads a contact's tags.
	 *
	 * @return WP_Error
	 */
	public function get_tags() {
		return $this->refuse();
	}

	/**
	 * Reads a contact's fields.
	 *
	 * @return WP_Error
	 */
	public function load_contact() {
		return $this->refuse();
	}

	/**
	 * Reads the contacts of a tag.
	 *
	 * @return WP_Error
	 */
	public function load_contacts() {
		return $this->refuse();
	}

	/**
	 * Reads the CRM's tags.
	 *
	 * @return WP_Error
	 */
	public function sync_tags() {
		return $this->refuse();
	}

	/**
	 * Any other method of the client.
	 *
	 * @param string $name      Name of the method.
	 * @param array  $arguments Not used.
	 * @return WP_Error
	 */
	public function __call( $name, $arguments ) {
		return $this->refuse();
	}

	/**
	 * The answer to calls that are not made.
	 *
	 * @return WP_Error
	 */
	private function refuse() {
		return new WP_Error( 'spillway', 'The CRM is not called while Spillway stores contacts.' );
	}
}
