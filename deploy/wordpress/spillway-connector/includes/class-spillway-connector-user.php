<?php
/**
 * One user: created, updated, confirmed.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores one contact on one user. It knows nothing of transactions: the batch
 * begins and ends them around it, and takes back what failed.
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
	 * The user that create() has inserted, even if it failed afterwards.
	 *
	 * @var int
	 */
	private $inserted = 0;

	/**
	 * Makes the writer of one request.
	 *
	 * @param Spillway_Connector_Roles       $roles  The roles that may be given.
	 * @param Spillway_Connector_Fusion|null $fusion WP Fusion, when it is active.
	 */
	public function __construct( Spillway_Connector_Roles $roles, $fusion ) {
		$this->roles  = $roles;
		$this->fusion = $fusion;
	}

	/**
	 * Fails when no user can be made of a contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @throws Spillway_Connector_Failure When its address is missing or invalid.
	 */
	public function check_email( Spillway_Connector_Contact $contact ) {
		if ( '' === $contact->email ) {
			throw new Spillway_Connector_Failure( 'no_email', __( 'The contact has no e-mail address, and a user needs one.', 'spillway-connector' ) );
		}
		if ( ! is_email( $contact->email ) || strlen( $contact->email ) > 100 ) {
			throw Spillway_Connector_Failure::invalid_email();
		}
	}

	/**
	 * Creates the user of a contact.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $login   A login that no user has.
	 * @return array The contact's result.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	public function create( Spillway_Connector_Contact $contact, $login ) {
		list( $role, $note ) = $this->roles->decide( $contact->role );
		$role                = '' === $role ? $this->roles->fallback() : $role;
		$password            = '' === $contact->password ? Spillway_Connector_Password::generate() : $contact->password;
		$user_id             = $this->insert( $contact, $login, $password, $role );
		if ( is_multisite() ) {
			$this->join( $user_id, $role );
		}
		$notes = Spillway_Connector_Fields::store( $user_id, array_diff_key( $contact->fields, array( 'user_email' => 0 ) ), $this->fusion );
		if ( '' !== $contact->new_email() ) {
			$notes = array_merge( $notes, Spillway_Connector_Fields::store( $user_id, array( 'user_email' => $contact->new_email() ), null ) );
		}
		$this->store_tags( $contact, $user_id );
		if ( null !== $this->fusion ) {
			$meta = array(
				'user_email' => $contact->email,
				'user_login' => $login,
				'user_pass'  => $password,
				'role'       => $role,
				Spillway_Connector_Fusion::contact_id_key() => $contact->id,
			);
			$this->fusion->imported( $user_id, array_merge( $contact->fields, $meta ) );
		}
		return $this->result( $contact, $user_id, 'created', array_merge( '' === $note ? array() : array( $note ), $notes ) );
	}

	/**
	 * Forgets the user of the last create().
	 */
	public function forget() {
		$this->inserted = 0;
	}

	/**
	 * The user that create() has inserted since forget(), even if it failed
	 * afterwards.
	 *
	 * @return int Zero when there is none.
	 */
	public function inserted() {
		return $this->inserted;
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
			$confirmed = Spillway_Connector_Password::confirm( $user_id, $contact->request_id );
			return $this->result( $contact, $user_id, $confirmed ? 'updated' : 'unchanged', array() );
		}
		$before     = $this->state( $contact, $user_id );
		$outcome    = '';
		$notes      = array();
		$privileged = Spillway_Connector_Roles::is_privileged( $user_id );
		if ( 'add' === $contact->action ) {
			list( $outcome, $note ) = Spillway_Connector_Password::settle( $contact, $user_id, $privileged );
			$notes[]                = $note;
			if ( is_multisite() && ! is_user_member_of_blog( $user_id ) ) {
				$this->join( $user_id, $this->roles->fallback() );
			}
		}
		update_user_meta( $user_id, Spillway_Connector_Fusion::contact_id_key(), wp_slash( $contact->id ) );
		if ( 'update_tags' !== $contact->action ) {
			$notes[] = $this->store_role( $contact, $user_id, $privileged );
			$fields  = $contact->fields;
			if ( $privileged ) {
				unset( $fields['user_email'] );
			} else {
				Spillway_Connector_Password::set( $contact, $user_id );
			}
			$notes = array_merge( $notes, Spillway_Connector_Fields::store( $user_id, $fields, $this->fusion ) );
		}
		$this->store_tags( $contact, $user_id );
		if ( null !== $this->fusion ) {
			$this->fusion->updated( $user_id, 'update_tags' === $contact->action ? array() : $contact->fields );
		}
		if ( '' === $outcome ) {
			$outcome = $this->state( $contact, $user_id ) === $before ? 'unchanged' : 'updated';
		}
		return $this->result( $contact, $user_id, $outcome, $notes );
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
			array( Spillway_Connector_Fusion::contact_id_key(), Spillway_Connector_Fusion::tags_key(), Spillway_Connector_Password::MARK, Spillway_Connector_Order::MARK )
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
	 */
	private function result( Spillway_Connector_Contact $contact, $user_id, $outcome, array $notes ) {
		$user  = get_userdata( $user_id );
		$roles = $user ? array_values( $user->roles ) : array();
		return array(
			'contact_id' => $contact->id,
			'outcome'    => $outcome,
			'user_id'    => $user_id,
			'user_login' => $user ? $user->user_login : '',
			'role'       => isset( $roles[0] ) ? $roles[0] : '',
			'notes'      => array_values( array_unique( array_filter( $notes ) ) ),
		);
	}

	/**
	 * Inserts a user. The marks are the first rows of the user's meta: if some
	 * hook of another plugin commits in the middle and the rest fails, a
	 * repetition still knows the creation and finishes it.
	 *
	 * @param Spillway_Connector_Contact $contact  The contact.
	 * @param string                     $login    The login.
	 * @param string                     $password The password.
	 * @param string                     $role     Slug of the role.
	 * @return int The user.
	 * @throws Spillway_Connector_Failure When WordPress refuses.
	 */
	private function insert( Spillway_Connector_Contact $contact, $login, $password, $role ) {
		// WordPress makes the display name of these, as its own forms do.
		$names = array_filter( array_intersect_key( $contact->fields, array_flip( array( 'first_name', 'last_name', 'nickname', 'display_name' ) ) ), 'is_string' );
		$fresh = new Spillway_Connector_Fresh();
		$marks = function ( $meta, $user, $update ) use ( &$marks, $contact, $password, $fresh ) {
			if ( $update ) {
				return $meta;
			}
			remove_filter( 'insert_user_meta', $marks, PHP_INT_MAX );
			$this->inserted = (int) $user->ID;
			return $fresh->begin( $this->inserted, $this->first_meta( $contact, $user->user_pass ) + $meta );
		};
		add_filter( 'insert_user_meta', $marks, PHP_INT_MAX, 3 );
		try {
			$user_id = wp_insert_user(
				array(
					'user_login' => wp_slash( $login ),
					'user_email' => wp_slash( $contact->email ),
					'user_pass'  => Spillway_Connector_Password::as_typed( $password ),
					'role'       => $role,
				) + wp_slash( $names )
			);
		} finally {
			$fresh->end();
			remove_filter( 'insert_user_meta', $marks, PHP_INT_MAX );
		}
		if ( is_wp_error( $user_id ) ) {
			throw Spillway_Connector_Failure::from_wp_error( $user_id );
		}
		if ( ! $user_id || ! get_userdata( $user_id ) ) {
			throw Spillway_Connector_Failure::database();
		}
		return (int) $user_id;
	}

	/**
	 * The meta that a new user has before anything else: marks, and what would be
	 * written one by one afterwards, unless that is for WP Fusion to do.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $hash    The password as stored.
	 * @return array Slashed values by key.
	 */
	private function first_meta( Spillway_Connector_Contact $contact, $hash ) {
		$meta = array();
		if ( $contact->generated && '' !== $contact->request_id ) {
			$meta[ Spillway_Connector_Password::MARK ] = Spillway_Connector_Password::mark( $contact->id, $contact->request_id, $hash );
		}
		$meta[ Spillway_Connector_Fusion::contact_id_key() ] = $contact->id;
		if ( $contact->notify ) {
			$meta[ Spillway_Connector_Mail::MARK ] = '1';
		}
		if ( $contact->generated || '' === $contact->password ) {
			$meta['default_password_nag'] = '1';
		}
		if ( null === $this->fusion ) {
			$meta += array_diff_key( $contact->fields, Spillway_Connector_Fields::RECORD );
			$meta += null === $contact->tags || array() === $contact->tags ? array() : array( Spillway_Connector_Fusion::tags_key() => $contact->tags );
		}
		return wp_slash( $meta );
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
	 * @param Spillway_Connector_Contact $contact    The contact.
	 * @param int                        $user_id    The user.
	 * @param bool                       $privileged Whether the role is out of reach.
	 * @return string A note, empty for none.
	 */
	private function store_role( Spillway_Connector_Contact $contact, $user_id, $privileged ) {
		if ( '' === $contact->role ) {
			return '';
		}
		if ( $privileged ) {
			return 'role_kept';
		}
		list( $role, $note ) = $this->roles->decide( $contact->role );
		$user                = get_userdata( $user_id );
		if ( '' !== $role && ! in_array( $role, $user->roles, true ) ) {
			$user->set_role( $role );
		}
		return $note;
	}

	/**
	 * Stores a contact's tags: a list of strings, no row when there are none.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 */
	private function store_tags( Spillway_Connector_Contact $contact, $user_id ) {
		$key = Spillway_Connector_Fusion::tags_key();
		if ( null === $contact->tags || ( array() === $contact->tags && array() === get_user_meta( $user_id, $key, false ) ) ) {
			return;
		}
		if ( null !== $this->fusion ) {
			$this->fusion->set_tags( $user_id, $contact->tags );
		}
		if ( array() === $contact->tags ) {
			delete_user_meta( $user_id, $key );
		} elseif ( get_user_meta( $user_id, $key, true ) !== $contact->tags ) {
			update_user_meta( $user_id, $key, wp_slash( $contact->tags ) );
		}
	}
}
