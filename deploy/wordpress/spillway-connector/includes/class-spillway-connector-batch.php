<?php
/**
 * One request's contacts.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores the contacts of a request, one after the other, within the time that a
 * request may work.
 *
 * A contact is stored under the locks of its id, its address and, if a user may
 * have to be created, its login. Contacts whose locks are free come first; then
 * the others wait their turn, while this request holds no locks.
 *
 * Existing users share a transaction of half a second, each behind a savepoint;
 * a creation has a transaction of its own. A result counts once its transaction
 * is committed. When something else ended the transaction, the contacts in it
 * are compared with the database, and those that are not there are stored
 * again, each in a transaction of its own.
 */
final class Spillway_Connector_Batch {

	const SECONDS      = 10;
	const COMMIT_AFTER = 0.5;

	/**
	 * The contacts, by their place in the request. Those that could not be read
	 * are missing here and have a result already.
	 *
	 * @var Spillway_Connector_Contact[]
	 */
	private $contacts = array();

	/**
	 * The results, by the contact's place in the request.
	 *
	 * @var array[]
	 */
	private $results = array();

	/**
	 * Contact ids by their place in the request.
	 *
	 * @var string[]
	 */
	private $ids = array();

	/**
	 * When the request has worked long enough.
	 *
	 * @var float
	 */
	private $deadline;

	/**
	 * The contacts of the open transaction: user id and state by place.
	 *
	 * @var array[]
	 */
	private $open = array();

	/**
	 * Whether every contact has a transaction of its own from now on.
	 *
	 * @var bool
	 */
	private $alone = false;

	/**
	 * Places of contacts that were stored a second time.
	 *
	 * @var bool[]
	 */
	private $repeated = array();

	/**
	 * The named locks.
	 *
	 * @var Spillway_Connector_Locks
	 */
	private $locks;

	/**
	 * The current transaction.
	 *
	 * @var Spillway_Connector_Transaction
	 */
	private $transaction;

	/**
	 * Who is who.
	 *
	 * @var Spillway_Connector_Directory
	 */
	private $directory;

	/**
	 * The logins of new users.
	 *
	 * @var Spillway_Connector_Logins
	 */
	private $logins;

	/**
	 * Writes single users.
	 *
	 * @var Spillway_Connector_User
	 */
	private $user;

	/**
	 * WP Fusion, when it is active.
	 *
	 * @var Spillway_Connector_Fusion|null
	 */
	private $fusion;

	/**
	 * Reads the contacts of a request.
	 *
	 * @param array[]                  $contacts The contacts' members; each has a contact_id.
	 * @param Spillway_Connector_Roles $roles    The roles that may be given.
	 * @param float                    $started  When the request began.
	 */
	public function __construct( array $contacts, Spillway_Connector_Roles $roles, $started ) {
		$this->deadline    = $started + self::SECONDS;
		$this->locks       = new Spillway_Connector_Locks();
		$this->transaction = new Spillway_Connector_Transaction();
		$this->directory   = new Spillway_Connector_Directory();
		$this->logins      = new Spillway_Connector_Logins( $this->locks );
		$this->fusion      = Spillway_Connector_Fusion::active();
		$this->user        = new Spillway_Connector_User( $roles, $this->fusion );
		foreach ( $contacts as $place => $data ) {
			$this->ids[ $place ] = $data['contact_id'];
			try {
				$this->contacts[ $place ] = Spillway_Connector_Contact::read( $data['contact_id'], $data );
			} catch ( Spillway_Connector_Failure $failure ) {
				$this->fail( $place, $failure );
			}
		}
	}

	/**
	 * Stores the contacts.
	 *
	 * @return array[] A result for every contact, in the order of the request.
	 */
	public function run() {
		global $wpdb;
		if ( method_exists( $wpdb, 'send_reads_to_masters' ) ) {
			// HyperDB and its kin: a lock and a look-up on a replica prove nothing.
			$wpdb->send_reads_to_masters();
		}
		Spillway_Connector_Mail::hush();
		if ( null !== $this->fusion ) {
			$this->fusion->mute();
		}
		try {
			$this->run_rounds();
		} finally {
			$this->commit();
			$this->locks->release();
			if ( null !== $this->fusion ) {
				$this->fusion->unmute();
			}
			Spillway_Connector_Mail::unhush();
		}
		$results = array();
		foreach ( $this->ids as $place => $id ) {
			$results[] = isset( $this->results[ $place ] ) ? $this->results[ $place ] : array(
				'contact_id' => $id,
				'outcome'    => 'deferred',
			);
		}
		return $results;
	}

	/**
	 * Stores the contacts whose locks are free, then those that had to wait.
	 */
	private function run_rounds() {
		$waiting = array_keys( $this->contacts );
		$stuck   = false;
		while ( array() !== $waiting && ! $this->is_over() ) {
			try {
				list( $round, $waiting ) = $this->lock( $waiting, $stuck );
			} catch ( Spillway_Connector_Failure $failure ) {
				foreach ( $waiting as $place ) {
					$this->fail( $place, $failure );
				}
				return;
			}
			// Whoever waits first lets go of everything else, so a round that
			// got nothing is followed by one that waits.
			$stuck = array() === $round;
			$this->directory->load( array_intersect_key( $this->contacts, array_flip( $round ) ) );
			foreach ( $round as $place ) {
				if ( $this->is_over() ) {
					return;
				}
				$this->store( $place );
			}
			$this->commit();
			$this->locks->release();
		}
	}

	/**
	 * Takes the locks of a round.
	 *
	 * @param int[] $waiting Places of the contacts that are still to be stored.
	 * @param bool  $stuck   Whether to wait for the locks of the first.
	 * @return array[] The places that can be stored now, and the others.
	 * @throws Spillway_Connector_Failure When the database has no such locks.
	 */
	private function lock( array $waiting, $stuck ) {
		$names = array();
		foreach ( $waiting as $place ) {
			$names[ $place ] = $this->lock_names( $this->contacts[ $place ] );
		}
		if ( $stuck ) {
			$first = reset( $waiting );
			if ( ! $this->locks->wait( $names[ $first ], $this->deadline - microtime( true ) ) ) {
				$this->locks->release();
				return array( array(), $waiting );
			}
		}
		$this->locks->take( array_merge( ...array_values( $names ) ) );
		$round  = array();
		$others = array();
		$behind = array();
		foreach ( $waiting as $place ) {
			$id   = $this->ids[ $place ];
			$free = ! isset( $behind[ $id ] );
			foreach ( $names[ $place ] as $name ) {
				$free = $free && $this->locks->holds( $name );
			}
			if ( $free ) {
				$round[] = $place;
				continue;
			}
			// What a request says of one contact keeps its order.
			$behind[ $id ] = true;
			$others[]      = $place;
		}
		return array( $round, $others );
	}

	/**
	 * The locks of a contact. All requests take them in this order.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return string[]
	 */
	private function lock_names( Spillway_Connector_Contact $contact ) {
		$names = array( $this->locks->contact( $contact->id ) );
		if ( 'add' === $contact->action && '' !== $contact->email ) {
			$names[] = $this->locks->email( $contact->email );
		}
		if ( '' !== $contact->new_email() ) {
			$names[] = $this->locks->email( $contact->new_email() );
		}
		if ( 'add' === $contact->action && '' !== $this->logins->first( $contact ) ) {
			$names[] = $this->locks->login( $this->logins->first( $contact ) );
		}
		return $names;
	}

	/**
	 * Stores one contact.
	 *
	 * @param int $place The contact's place.
	 */
	private function store( $place ) {
		$contact = $this->contacts[ $place ];
		$user_id = $this->directory->find( $contact );
		if ( $user_id > 0 ) {
			$this->update( $place, $user_id );
			return;
		}
		if ( 'add' === $contact->action ) {
			$this->create( $place );
			return;
		}
		$this->results[ $place ] = array(
			'contact_id' => $contact->id,
			'outcome'    => 'skipped',
			'user_id'    => 0,
			'user_login' => '',
			'role'       => '',
			'notes'      => array(),
		);
	}

	/**
	 * Stores a contact on an existing user, in the transaction that is open.
	 *
	 * @param int $place   The contact's place.
	 * @param int $user_id The user.
	 */
	private function update( $place, $user_id ) {
		$contact = $this->contacts[ $place ];
		if ( in_array( $user_id, array_column( $this->open, 'user_id' ), true ) ) {
			// Each contact of a transaction can be checked only while it is the
			// last one that changed its user.
			$this->commit();
		}
		try {
			$this->transaction->enter();
			$this->results[ $place ] = $this->user->store( $contact, $user_id );
			$this->transaction->check();
			$this->open[ $place ] = array(
				'user_id' => $user_id,
				'state'   => $this->user->state( $contact, $user_id ),
			);
			$kept = $this->transaction->release();
		} catch ( Throwable $thrown ) {
			$failure = Spillway_Connector_Failure::from_throwable( $thrown );
			$kept    = $this->transaction->rewind();
			$this->fail( $place, $failure );
			Spillway_Connector_Directory::clean( $user_id );
			if ( ! $kept && 'database' === $failure->reason() ) {
				$this->open[ $place ] = array(
					'user_id' => $user_id,
					'state'   => null,
				);
			}
		}
		$this->directory->follow( $user_id );
		if ( ! $kept ) {
			$this->recover();
		}
		if ( $this->alone || $this->transaction->age() >= self::COMMIT_AFTER ) {
			$this->commit();
		}
		if ( 'add' === $contact->action && get_user_meta( $user_id, Spillway_Connector_Mail::MARK, true ) ) {
			// A creation that was cut off before its mail went out.
			$this->commit();
			$this->send_mail( $place );
		}
	}

	/**
	 * Creates a contact's user, in a transaction of its own.
	 *
	 * @param int $place The contact's place.
	 */
	private function create( $place ) {
		$contact = $this->contacts[ $place ];
		$this->commit();
		try {
			$this->user->check_email( $contact );
			$login = $this->logins->pick( $contact );
		} catch ( Spillway_Connector_Failure $failure ) {
			$this->fail( $place, $failure );
			return;
		}
		$failure = null;
		try {
			$this->transaction->enter();
			$this->results[ $place ] = $this->user->create( $contact, $login );
			$this->transaction->check();
			$whole = $this->transaction->release();
			$kept  = $this->transaction->commit();
			$id    = $this->user->inserted();
			if ( ! $kept || ( ! $whole && ! Spillway_Connector_Directory::is_stored( $id, $contact->id ) ) ) {
				throw Spillway_Connector_Failure::database();
			}
		} catch ( Throwable $thrown ) {
			$failure = Spillway_Connector_Failure::from_throwable( $thrown );
			$this->transaction->rollback();
			$this->fail( $place, $failure );
		}
		if ( $this->user->inserted() > 0 ) {
			if ( null !== $failure || wp_using_ext_object_cache() ) {
				Spillway_Connector_Directory::clean( $this->user->inserted() );
			}
			$this->directory->follow( $this->user->inserted() );
		}
		if ( null === $failure ) {
			$this->send_mail( $place );
			return;
		}
		if ( 'email_taken' === $failure->reason() && 0 === $this->user->inserted() ) {
			// Someone who takes no locks of ours, such as a visitor, was quicker.
			$this->directory->reload_email( $contact->email );
			$user_id = $this->directory->find( $contact );
			if ( $user_id > 0 ) {
				$this->update( $place, $user_id );
			}
		}
	}

	/**
	 * Commits, and fails the contacts whose commit did not succeed.
	 */
	private function commit() {
		if ( ! $this->transaction->is_open() ) {
			return;
		}
		$kept = $this->transaction->commit();
		foreach ( $this->open as $place => $stored ) {
			if ( ! $kept ) {
				$this->fail( $place, Spillway_Connector_Failure::database() );
			}
			if ( ! $kept || wp_using_ext_object_cache() ) {
				// A page that was loaded meanwhile may have put the state before
				// the commit back into a shared cache.
				Spillway_Connector_Directory::clean( $stored['user_id'] );
			}
		}
		$this->open = array();
	}

	/**
	 * Finds out what is left of a transaction that something else has ended,
	 * and stores again what is not.
	 */
	private function recover() {
		$doubtful    = $this->open;
		$this->open  = array();
		$this->alone = true;
		// If a hook has begun a transaction of its own, this ends it.
		$this->transaction->commit();
		$lost = array();
		foreach ( $doubtful as $place => $stored ) {
			Spillway_Connector_Directory::clean( $stored['user_id'] );
			if ( $this->user->state( $this->contacts[ $place ], $stored['user_id'] ) === $stored['state'] ) {
				continue;
			}
			$this->directory->follow( $stored['user_id'] );
			$this->fail( $place, Spillway_Connector_Failure::database() );
			if ( ! isset( $this->repeated[ $place ] ) ) {
				$this->repeated[ $place ] = true;
				$lost[ $place ]           = $stored['user_id'];
			}
		}
		foreach ( $lost as $place => $user_id ) {
			$this->update( $place, $user_id );
		}
	}

	/**
	 * Sends the login details if they are owed, and notes a failure.
	 *
	 * @param int $place The contact's place.
	 */
	private function send_mail( $place ) {
		if ( ! isset( $this->results[ $place ]['user_id'] ) ) {
			return;
		}
		$note = Spillway_Connector_Mail::send( $this->results[ $place ]['user_id'] );
		if ( '' !== $note ) {
			$this->results[ $place ]['notes'][] = $note;
		}
	}

	/**
	 * Answers a contact with a failure.
	 *
	 * @param int                        $place   The contact's place.
	 * @param Spillway_Connector_Failure $failure Why.
	 */
	private function fail( $place, Spillway_Connector_Failure $failure ) {
		$this->results[ $place ] = array(
			'contact_id' => $this->ids[ $place ],
			'outcome'    => 'failed',
			'error'      => $failure->error(),
		);
	}

	/**
	 * Whether the request has worked long enough.
	 *
	 * @return bool
	 */
	private function is_over() {
		return microtime( true ) >= $this->deadline;
	}
}
