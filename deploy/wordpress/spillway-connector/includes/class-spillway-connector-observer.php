<?php
/**
 * What storing a contact would do.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Answers for a contact what storing it would do, by the very rules by which it
 * is stored, and stores nothing. Each contact is looked at by itself: what an
 * earlier one of the same request would create is not there yet.
 */
final class Spillway_Connector_Observer {

	/**
	 * Who is who.
	 *
	 * @var Spillway_Connector_Directory
	 */
	private $directory;

	/**
	 * Decides on single users.
	 *
	 * @var Spillway_Connector_User
	 */
	private $user;

	/**
	 * The roles that may be given.
	 *
	 * @var Spillway_Connector_Roles
	 */
	private $roles;

	/**
	 * What may be written on whom.
	 *
	 * @var Spillway_Connector_Reach
	 */
	private $reach;

	/**
	 * The contacts' tags.
	 *
	 * @var Spillway_Connector_Tags
	 */
	private $tags;

	/**
	 * WP Fusion, when it is active.
	 *
	 * @var Spillway_Connector_Fusion|null
	 */
	private $fusion;

	/**
	 * Makes the observer of one request.
	 *
	 * @param Spillway_Connector_Directory   $directory Who is who.
	 * @param Spillway_Connector_User        $user      Decides on single users.
	 * @param Spillway_Connector_Roles       $roles     The roles that may be given.
	 * @param Spillway_Connector_Reach       $reach     What may be written on whom, also for $user.
	 * @param Spillway_Connector_Tags        $tags      The contacts' tags.
	 * @param Spillway_Connector_Fusion|null $fusion    WP Fusion, when it is active.
	 */
	public function __construct( Spillway_Connector_Directory $directory, Spillway_Connector_User $user, Spillway_Connector_Roles $roles, Spillway_Connector_Reach $reach, Spillway_Connector_Tags $tags, $fusion ) {
		$this->directory = $directory;
		$this->user      = $user;
		$this->roles     = $roles;
		$this->reach     = $reach;
		$this->tags      = $tags;
		$this->fusion    = $fusion;
	}

	/**
	 * Looks at a contact, who is in the directory.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param Spillway_Connector_Logins  $logins  The logins of new users.
	 * @return array The contact's answer.
	 * @throws Spillway_Connector_Failure When storing it would fail.
	 */
	public function look_at( Spillway_Connector_Contact $contact, Spillway_Connector_Logins $logins ) {
		if ( 'confirm' === $contact->action ) {
			throw new Spillway_Connector_Failure( 'unknown_action', 'The action is none of add, update, update_tags.' );
		}
		$user_id = $this->directory->find( $contact );
		$settled = $this->user->settled( $contact, $user_id );
		if ( null !== $settled ) {
			return self::with( $settled, array(), array(), '' );
		}
		return $user_id > 0 ? $this->update( $contact, $user_id ) : $this->create( $contact, $logins );
	}

	/**
	 * What storing a contact on an existing user would do.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return array The contact's answer.
	 */
	private function update( Spillway_Connector_Contact $contact, $user_id ) {
		$contact = $this->user->prepared( $contact, $user_id );
		$notes   = array();
		$outcome = '';
		$changes = Spillway_Connector_User::carried( $user_id ) !== $contact->id;
		if ( 'add' === $contact->action ) {
			list( $outcome, $notes[], $mark ) = Spillway_Connector_Password::settlement( $contact, $user_id );

			$changes = $changes || '' !== $mark || Spillway_Connector_User::joins( $contact, $user_id );
		}
		$notes[] = Spillway_Connector_User::relinked( $contact, $user_id );
		$keys    = array();
		$role    = '';
		if ( 'update_tags' !== $contact->action ) {
			list( $role, $notes[] ) = $this->reach->role( $contact, $user_id );
			if ( ! $contact->cancelled && Spillway_Connector_Password::would_be_new( $contact, $user_id ) && ! $this->reach->is_staff( $user_id ) ) {
				$keys[] = 'user_pass';
			}
			list( $fields, $kept )    = $this->reach->fields( $contact->fields, $user_id );
			list( $changing, $about ) = Spillway_Connector_Differences::of( $user_id, $fields, $this->fusion );

			$keys  = array_merge( $keys, $changing );
			$notes = array_merge( $notes, $contact->notes, $kept, $about );
		}
		$tags    = $this->tags->difference( $contact, $user_id );
		$changes = $changes || array() !== $keys || '' !== $role || null !== $tags;
		if ( '' === $outcome ) {
			$outcome = $changes ? 'updated' : 'unchanged';
		}
		$result = $this->user->result( $contact, $user_id, $outcome, $notes );
		if ( '' !== $role ) {
			$result['role'] = $role;
		}
		return self::with( $result, $keys, null === $tags ? array() : $tags, $role );
	}

	/**
	 * What creating a contact's user would do.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param Spillway_Connector_Logins  $logins  The logins of new users.
	 * @return array The contact's answer.
	 * @throws Spillway_Connector_Failure When it would fail.
	 */
	private function create( Spillway_Connector_Contact $contact, Spillway_Connector_Logins $logins ) {
		$this->user->check_email( $contact );
		$contact = $this->user->imported_as( $contact, $logins->first( $contact ) );
		if ( $contact->cancelled ) {
			return self::with( $this->user->skipped( $contact, '' ), array(), array(), '' );
		}
		$login = $logins->pick( $contact );
		if ( '' !== $contact->new_email() && Spillway_Connector_Fields::is_taken( 0, $contact->new_email() ) ) {
			throw Spillway_Connector_Failure::email_taken();
		}
		list( $role, $note ) = $this->roles->decide( $contact->role );

		$role   = '' === $role ? $this->roles->fallback() : $role;
		$unfit  = Spillway_Connector_Differences::unfit( $contact->fields );
		$notes  = array_merge( array( $note, Spillway_Connector_Logins::note( $contact, $login ) ), $contact->notes, array_values( $unfit ) );
		$result = $this->user->result( $contact, 0, 'created', $notes );

		$result['user_login'] = $login;
		$result['role']       = $role;

		$keys = array_keys( array_diff_key( $contact->fields, $unfit ) );
		$tags = array_values( Spillway_Connector_Tags::first( $contact ) );
		return self::with( $result, $keys, array( array() === $tags ? array() : $tags[0], array() ), $role );
	}

	/**
	 * An answer with what would change.
	 *
	 * @param array    $result The answer as storing gives it.
	 * @param string[] $keys   Keys of fields that would change.
	 * @param array[]  $tags   Tags that would be added and removed; empty for none.
	 * @param string   $role   Role that would be given, empty for none.
	 * @return array
	 */
	private static function with( array $result, array $keys, array $tags, $role ) {
		// Nothing is given to or taken from the user, so nothing is to be told.
		unset( $result['applied_tags'], $result['removed_tags'] );
		return $result + array(
			'keys'         => array_map( 'strval', $keys ),
			'tags_added'   => isset( $tags[0] ) ? $tags[0] : array(),
			'tags_removed' => isset( $tags[1] ) ? $tags[1] : array(),
			'role_given'   => $role,
		);
	}
}
