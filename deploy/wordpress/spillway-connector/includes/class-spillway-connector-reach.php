<?php
/**
 * What may be written on whom.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Decides what of a contact reaches an existing user: staff keeps the role, the
 * address, and the keys that plugins use for internal data.
 */
final class Spillway_Connector_Reach {

	/**
	 * The roles that may be given.
	 *
	 * @var Spillway_Connector_Roles
	 */
	private $roles;

	/**
	 * Whether users are staff, by id, for the contact at hand.
	 *
	 * @var bool[]
	 */
	private $staff = array();

	/**
	 * Makes the rules of one request.
	 *
	 * @param Spillway_Connector_Roles $roles The roles that may be given.
	 */
	public function __construct( Spillway_Connector_Roles $roles ) {
		$this->roles = $roles;
	}

	/**
	 * Begins with another contact: the last one may have changed who is staff.
	 */
	public function begin() {
		$this->staff = array();
	}

	/**
	 * Whether a user is staff, asked once for each contact and only when it
	 * counts.
	 *
	 * @param int $user_id The user.
	 * @return bool
	 */
	public function is_staff( $user_id ) {
		if ( ! isset( $this->staff[ $user_id ] ) ) {
			$this->staff[ $user_id ] = Spillway_Connector_Staff::includes( $user_id );
		}
		return $this->staff[ $user_id ];
	}

	/**
	 * The role that a contact gives an existing user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @return string[] Slug of the role, empty when the user's stays, and a note,
	 *                  empty for none.
	 */
	public function role( Spillway_Connector_Contact $contact, $user_id ) {
		list( $role, $note ) = $this->roles->decide( $contact->role );
		if ( '' === $contact->role || in_array( $role, get_userdata( $user_id )->roles, true ) ) {
			return array( '', '' );
		}
		return $this->is_staff( $user_id ) ? array( '', 'role_kept' ) : array( $role, $note );
	}

	/**
	 * Leaves out what no contact may write on a member of staff: the address, and
	 * keys that begin with _, which plugins use for internal data.
	 *
	 * @param array $fields  The contact's fields.
	 * @param int   $user_id The user.
	 * @return array[] The fields that are left, and notes.
	 */
	public function fields( array $fields, $user_id ) {
		$notes = array();
		foreach ( array_map( 'strval', array_keys( $fields ) ) as $key ) {
			if ( 'user_email' === $key ) {
				if ( Spillway_Connector_Fields::is_another_email( $user_id, $fields[ $key ] ) && $this->is_staff( $user_id ) ) {
					unset( $fields[ $key ] );
					$notes[] = 'email_kept';
				}
			} elseif ( Spillway_Connector_Protected::is_private( $key ) && $this->is_staff( $user_id ) ) {
				unset( $fields[ $key ] );
				$notes[] = Spillway_Connector_Fields::refused( $key );
			}
		}
		return array( $fields, $notes );
	}
}
