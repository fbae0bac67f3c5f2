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
	 * Whether users are staff, by id, for the contact that is being stored.
	 *
	 * @var bool[]
	 */
	private $staff = array();

	/**
	 * Makes the writer of one request.
	 *
	 * @param Spillway_Connector_Roles       $roles     The roles that may be given.
	 * @param Spillway_Connector_Tags        $tags      The contacts' tags.
	 * @param Spillway_Connector_Fusion|null $fusion    WP Fusion, when it is active.
	 * @param Spillway_Connector_Insertion   $insertion Inserts new users.
	 */
	public function __construct( Spillway_Connector_Roles $roles, Spillway_Connector_Tags $tags, $fusion, Spillway_Connector_Insertion $insertion ) {
		$this->roles     = $roles;
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
		$user_id             = $this->insertion->insert( $contact, $mark, $record, array( 'user_login' => $login, 'role' => $role ), $password );
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
				Spillway_Connector_Keys::contact_id() => $contact->id,
			);
			$this->fusion->imported( $user_id, array_merge( $contact->fields, $meta ) );
			$this->fusion->succeeded( $user_id, $contact->action, $contact->id );
		}
		$this->tags->settle( $contact, $user_id );
		return $this->result( $contact, $user_id, 'created', array_merge( array( $note, Spillway_Connector_Logins::note( $contact, $login ) ), $contact->notes, $notes ) );
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
	public function other_contact( Spillway_Connector_Contact $contact, $user_id ) {
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
		if ( null !== $this->fusion && Spillway_Connector_Site_Tags::contradict( $contact, $user_id ) ) {
			throw Spillway_Connector_Failure::changed_here();
		}
		$this->tags->begin( $contact->id );
		$this->staff = array();
		$contact     = $this->as_wp_fusion_wants( $contact, $user_id );
		$linked      = self::carried( $user_id ) === $contact->id;
		$before      = $this->state( $contact, $user_id );
		$outcome     = '';
		$notes       = array();
		if ( 'add' === $contact->action ) {
			list( $outcome, $note ) = Spillway_Connector_Password::settle( $contact, $user_id );
			$notes[]                = $note;
			if ( is_multisite() && ! is_user_member_of_blog( $user_id ) ) {
				$this->join( $user_id, $this->roles->fallback() );
			}
		}
		if ( ! in_array( self::carried( $user_id ), array( '', $contact->id ), true ) ) {
			$notes[] = 'relinked';
		}
		update_user_meta( $user_id, Spillway_Connector_Keys::contact_id(), wp_slash( $contact->id ) );
		if ( 'update_tags' !== $contact->action ) {
			$notes[] = $this->store_role( $contact, $user_id );
			if ( ! $contact->cancelled && Spillway_Connector_Password::is_new( $contact, $user_id ) && ! $this->is_staff( $user_id ) ) {
				Spillway_Connector_Password::set( $contact, $user_id );
			}
			list( $fields, $kept ) = $this->within_reach( $contact->fields, $user_id );

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
	 * The contact with the fields that WP Fusion's integrations make of its own.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return Spillway_Connector_Contact
	 */
	private function as_wp_fusion_wants( Spillway_Connector_Contact $contact, $user_id ) {
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
	private function result( Spillway_Connector_Contact $contact, $user_id, $outcome, array $notes ) {
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
		$joined = add_user_to_blog( get_current_blog_id(), $user_id, $role );
		if ( is_wp_error( $joined ) ) {
			throw Spillway_Connector_Failure::from_wp_error( $joined );
		}
	}

	/**
	 * Gives an existing user the role that a contact asks for.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @return string A note, empty for none.
	 */
	private function store_role( Spillway_Connector_Contact $contact, $user_id ) {
		list( $role, $note ) = $this->roles->decide( $contact->role );
		if ( '' === $contact->role || in_array( $role, get_userdata( $user_id )->roles, true ) ) {
			return '';
		}
		if ( $this->is_staff( $user_id ) ) {
			return 'role_kept';
		}
		if ( '' !== $role ) {
			$this->roles->give( $user_id, $role );
		}
		return $note;
	}

	/**
	 * Leaves out what no contact may write on a member of staff: the address, and
	 * keys that begin with _, which plugins use for internal data.
	 *
	 * @param array $fields  The contact's fields.
	 * @param int   $user_id The user.
	 * @return array[] The fields that are left, and notes.
	 */
	private function within_reach( array $fields, $user_id ) {
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

	/**
	 * Whether a user is staff, asked once for each contact and only when it
	 * counts.
	 *
	 * @param int $user_id The user.
	 * @return bool
	 */
	private function is_staff( $user_id ) {
		if ( ! isset( $this->staff[ $user_id ] ) ) {
			$this->staff[ $user_id ] = Spillway_Connector_Staff::includes( $user_id );
		}
		return $this->staff[ $user_id ];
	}

	/**
	 * The contact id that a user carries.
	 *
	 * @param int $user_id The user.
	 * @return string Empty for none.
	 */
	private static function carried( $user_id ) {
		return (string) get_user_meta( $user_id, Spillway_Connector_Keys::contact_id(), true );
	}
}
