<?php
/**
 * One user: created, updated, confirmed.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores one contact on one user. It knows nothing of transactions: the ledger
 * begins and ends them around it, and rolls back after a failure.
 */
final class Spillway_Connector_User {

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
	 * WP Fusion, when it is active.
	 *
	 * @var Spillway_Connector_Fusion|null
	 */
	private $fusion;

	/**
	 * The contacts' tags.
	 *
	 * @var Spillway_Connector_Tags
	 */
	private $tags;

	/**
	 * Inserts new users.
	 *
	 * @var Spillway_Connector_Insertion
	 */
	private $insertion;

	/**
	 * Makes the writer of one request.
	 *
	 * @param Spillway_Connector_Roles       $roles     The roles that may be given.
	 * @param Spillway_Connector_Reach       $reach     What may be written on whom.
	 * @param Spillway_Connector_Tags        $tags      The contacts' tags.
	 * @param Spillway_Connector_Fusion|null $fusion    WP Fusion, when it is active.
	 * @param Spillway_Connector_Insertion   $insertion Inserts new users.
	 */
	public function __construct( Spillway_Connector_Roles $roles, Spillway_Connector_Reach $reach, Spillway_Connector_Tags $tags, $fusion, Spillway_Connector_Insertion $insertion ) {
		$this->roles     = $roles;
		$this->reach     = $reach;
		$this->tags      = $tags;
		$this->fusion    = $fusion;
		$this->insertion = $insertion;
	}

	/**
	 * Fails when no user can be made of a contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @throws Spillway_Connector_Failure When its address is missing or invalid.
	 */
	public function check_email( Spillway_Connector_Contact $contact ) {
		if ( '' === $contact->email ) {
			throw new Spillway_Connector_Failure( 'no_email', 'The contact has no e-mail address, and a user needs one.' );
		}
		if ( ! Spillway_Connector_Fields::is_email( $contact->email ) ) {
			throw Spillway_Connector_Failure::invalid_email();
		}
	}

	/**
	 * The contact as WP Fusion's integrations want its user to be created.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $login   The login that it would get.
	 * @return Spillway_Connector_Contact It is cancelled when nobody is to be created.
	 */
	public function imported_as( Spillway_Connector_Contact $contact, $login ) {
		if ( null === $this->fusion ) {
			return $contact;
		}
		list( $role ) = $this->roles->decide( $contact->role );

		$account = array(
			'user_email' => $contact->email,
			'user_login' => $login,
			'user_pass'  => $contact->password,
			'role'       => '' === $role ? $this->roles->fallback() : $role,
		);
		$wanted  = $this->fusion->import( $contact->fields, $account, $contact->id );
		$contact = clone $contact;
		if ( null === $wanted ) {
			$contact->cancelled = true;
			return $contact;
		}
		$contact->fields = $wanted['fields'];
		if ( $wanted['user_login'] !== $login ) {
			$contact->login     = $wanted['user_login'];
			$contact->own_login = false;
		}
		if ( $wanted['role'] !== $account['role'] ) {
			$contact->role = $wanted['role'];
		}
		return $contact;
	}

	/**
	 * Creates the user of a contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $login   A login that no user has.
	 * @param string                     $mark    The note of the contact's pass.
	 * @return array The contact's result.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	public function create( Spillway_Connector_Contact $contact, $login, $mark ) {
		$this->tags->begin( $contact->id );
		if ( '' !== $contact->created_tag && null === $contact->tags ) {
			$contact->tags = array();
		}
		list( $role, $note ) = $this->roles->decide( $contact->role );
		$role                = '' === $role ? $this->roles->fallback() : $role;
		$password            = '' === $contact->password ? Spillway_Connector_Password::generate() : $contact->password;
		$record              = Spillway_Connector_Insertion::record( $contact );
		$account             = array(
			'user_login' => $login,
			'role'       => $role,
		);

		$user_id = $this->insertion->insert( $contact, $mark, $record, $account, $password );
		if ( is_multisite() ) {
			$this->join( $user_id, $role );
		}
		// WordPress gives a nicename that is taken a number, once is enough.
		$notes = Spillway_Connector_Fields::store( $user_id, array_diff_key( $contact->fields, array( 'user_email' => 0 ), array_intersect_key( $record, array( 'user_nicename' => 0 ) ) ), $this->fusion );
		$this->tags->store( $contact, $user_id );
		if ( null !== $this->fusion ) {
			$meta = array(
				'user_email' => $record['user_email'],
				'user_login' => $login,
				'user_pass'  => $password,
				'role'       => $role,
			);

			$meta[ Spillway_Connector_Keys::contact_id() ] = $contact->id;
			$this->fusion->imported( $user_id, array_merge( $contact->fields, $meta ) );
			$this->fusion->succeeded( $user_id, $contact->action, $contact->id );
		}
		$this->tags->settle( $contact, $user_id );
		return $this->result( $contact, $user_id, 'created', array_merge( array( $note, Spillway_Connector_Logins::note( $contact, $login ) ), $contact->notes, $notes ) );
	}

	/**
	 * The result of a contact that needs no storing.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user, or zero.
	 * @return array|null Null when it is to be stored.
	 * @throws Spillway_Connector_Failure When a newer pass is stored.
	 */
	public function settled( Spillway_Connector_Contact $contact, $user_id ) {
		if ( 0 === $user_id ) {
			return 'add' === $contact->action ? null : $this->skipped( $contact, '' );
		}
		if ( Spillway_Connector_Order::is_superseded( $contact, $user_id ) ) {
			throw Spillway_Connector_Failure::superseded();
		}
		$other = $this->other_contact( $contact, $user_id );
		return '' === $other ? null : $this->skipped( $contact, $other );
	}

	/**
	 * For a user found by the address: the other contact that the user belongs
	 * to, if this contact may therefore not have the user. An "update" takes a
	 * user over only when the CRM says that the other contact is gone, and an
	 * "add" never takes over staff.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @return string The other contact's id, empty when nothing is in the way.
	 */
	private function other_contact( Spillway_Connector_Contact $contact, $user_id ) {
		$carried = self::carried( $user_id );
		if ( 'confirm' === $contact->action || in_array( $carried, array( '', $contact->id, $contact->replaces ), true ) ) {
			return '';
		}
		return 'add' === $contact->action && ! Spillway_Connector_Staff::includes( $user_id ) ? '' : $carried;
	}

	/**
	 * Stores a contact on its user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @return array The contact's result.
	 * @throws Spillway_Connector_Failure When something can't be stored.
	 */
	public function store( Spillway_Connector_Contact $contact, $user_id ) {
		if ( 'confirm' === $contact->action ) {
			$password = Spillway_Connector_Password::confirm( $user_id, $contact->request_id );
			$tags     = Spillway_Connector_Tags::confirm( $contact, $user_id );
			return $this->result( $contact, $user_id, $password || $tags ? 'updated' : 'unchanged', array() );
		}
		$this->tags->begin( $contact->id );
		$contact = $this->prepared( $contact, $user_id );
		$linked  = self::carried( $user_id ) === $contact->id;
		$before  = $this->state( $contact, $user_id );
		$outcome = '';
		$notes   = array();
		if ( 'add' === $contact->action ) {
			list( $outcome, $note ) = Spillway_Connector_Password::settle( $contact, $user_id );
			$notes[]                = $note;
			if ( self::joins( $contact, $user_id ) ) {
				$this->join( $user_id, $this->roles->fallback() );
			}
		}
		$notes[] = self::relinked( $contact, $user_id );
		update_user_meta( $user_id, Spillway_Connector_Keys::contact_id(), wp_slash( $contact->id ) );
		if ( 'update_tags' !== $contact->action ) {
			list( $role, $note ) = $this->reach->role( $contact, $user_id );
			$notes[]             = $note;
			if ( '' !== $role ) {
				$this->roles->give( $user_id, $role );
			}
			if ( ! $contact->cancelled && Spillway_Connector_Password::is_new( $contact, $user_id ) && ! $this->reach->is_staff( $user_id ) ) {
				Spillway_Connector_Password::set( $contact, $user_id );
			}
			list( $fields, $kept ) = $this->reach->fields( $contact->fields, $user_id );

			$notes = array_merge( $notes, $contact->notes, $kept, Spillway_Connector_Fields::store( $user_id, $fields, $this->fusion ) );
		}
		// WP Fusion says so between fields and tags, and at the end for a user
		// whom it has found by the address.
		if ( $linked ) {
			$this->say_updated( $contact, $user_id );
		}
		$this->tags->store( $contact, $user_id );
		if ( ! $linked ) {
			$this->say_updated( $contact, $user_id );
		}
		if ( null !== $this->fusion ) {
			$this->fusion->succeeded( $user_id, $contact->action, $contact->id );
		}
		$this->tags->settle( $contact, $user_id );
		if ( '' === $outcome ) {
			$outcome = $this->state( $contact, $user_id ) === $before ? 'unchanged' : 'updated';
		}
		return $this->result( $contact, $user_id, $outcome, $notes );
	}

	/**
	 * Begins with a contact of an existing user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return Spillway_Connector_Contact With the fields that WP Fusion's
	 *                                    integrations make of its own.
	 * @throws Spillway_Connector_Failure When the site has just changed its tags.
	 */
	public function prepared( Spillway_Connector_Contact $contact, $user_id ) {
		if ( null !== $this->fusion && Spillway_Connector_Site_Tags::contradict( $contact, $user_id ) ) {
			throw Spillway_Connector_Failure::changed_here();
		}
		$this->reach->begin();
		if ( null !== $this->fusion && 'update_tags' !== $contact->action ) {
			$fields             = $this->fusion->pulled_fields( $user_id, $contact->fields );
			$contact            = clone $contact;
			$contact->fields    = (array) $fields;
			$contact->cancelled = null === $fields;
		}
		return $contact;
	}

	/**
	 * Lets WP Fusion's integrations know of fields that were stored.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	private function say_updated( Spillway_Connector_Contact $contact, $user_id ) {
		if ( null !== $this->fusion && 'update_tags' !== $contact->action && ! $contact->cancelled ) {
			$this->fusion->updated( $user_id, $contact->fields );
		}
	}

	/**
	 * A digest of all that storing a contact can change on its user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @return string
	 */
	public function state( Spillway_Connector_Contact $contact, $user_id ) {
		$user = get_userdata( $user_id );
		if ( ! $user ) {
			return '';
		}
		$state = array( $user->user_email, $user->user_pass, $user->display_name, $user->user_url, $user->user_nicename, array_values( $user->roles ) );
		$keys  = array_merge(
			array_map( 'strval', array_keys( array_diff_key( $contact->fields, Spillway_Connector_Fields::RECORD ) ) ),
			array( Spillway_Connector_Keys::contact_id(), Spillway_Connector_Keys::tags(), Spillway_Connector_Password::MARK )
		);
		foreach ( $keys as $key ) {
			$state[] = get_user_meta( $user_id, $key, false );
		}
		return md5( maybe_serialize( $state ) );
	}

	/**
	 * The answer for a contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @param string                     $outcome What was done.
	 * @param string[]                   $notes   Notes; empty ones are left out.
	 * @return array
	 * @throws Spillway_Connector_Failure When a plugin has deleted the user.
	 */
	public function result( Spillway_Connector_Contact $contact, $user_id, $outcome, array $notes ) {
		Spillway_Connector_Surroundings::go_home();
		$user = get_userdata( $user_id );
		if ( ! $user && $user_id > 0 ) {
			throw Spillway_Connector_Failure::deleted();
		}
		$roles = $user ? array_values( $user->roles ) : array();
		return array(
			'contact_id' => $contact->id,
			'outcome'    => $outcome,
			'user_id'    => $user_id,
			'user_login' => $user ? $user->user_login : '',
			'role'       => isset( $roles[0] ) ? $roles[0] : '',
			'notes'      => array_values( array_unique( array_filter( $notes ) ) ),
		) + Spillway_Connector_Tags::untold( $contact, $user_id );
	}

	/**
	 * The answer for a contact that has no user.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $other   The contact that has the user in its place, empty for none.
	 * @return array
	 */
	public function skipped( Spillway_Connector_Contact $contact, $other ) {
		$result = $this->result( $contact, 0, 'skipped', array( '' === $other ? '' : 'other_contact' ) );
		return '' === $other ? $result : $result + array( 'other_contact' => $other );
	}

	/**
	 * Makes a user a member of the current site of a multisite.
	 *
	 * @param int    $user_id The user.
	 * @param string $role    Slug of the role.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	private function join( $user_id, $role ) {
		Spillway_Connector_Surroundings::go_home();
		$joined = add_user_to_blog( get_current_blog_id(), $user_id, $role );
		if ( is_wp_error( $joined ) ) {
			throw Spillway_Connector_Failure::from_wp_error( $joined );
		}
	}

	/**
	 * Whether a contact makes its user a member of the current site of a network.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return bool
	 */
	public static function joins( Spillway_Connector_Contact $contact, $user_id ) {
		return 'add' === $contact->action && is_multisite() && ! is_user_member_of_blog( $user_id );
	}

	/**
	 * A note when a user belonged to another contact so far.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return string Empty for none.
	 */
	public static function relinked( Spillway_Connector_Contact $contact, $user_id ) {
		return in_array( self::carried( $user_id ), array( '', $contact->id ), true ) ? '' : 'relinked';
	}

	/**
	 * The contact id that a user carries.
	 *
	 * @param int $user_id The user.
	 * @return string Empty for none.
	 */
	public static function carried( $user_id ) {
		$id = get_user_meta( $user_id, Spillway_Connector_Keys::contact_id(), true );
		return is_scalar( $id ) ? (string) $id : '';
	}
}
