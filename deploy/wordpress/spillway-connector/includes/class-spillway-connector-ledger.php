<?php
/**
 * Contacts, their transactions and their results.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores contacts in transactions and holds their results, which count once
 * commit() was called.
 *
 * Existing users share a transaction of half a second, each behind a savepoint;
 * a creation has a transaction of its own. When something else ended the
 * transaction, the contacts in it are compared with the database, and those
 * that are not there are stored again, each in a transaction of its own.
 */
final class Spillway_Connector_Ledger {

	const COMMIT_AFTER = 0.5;

	/**
	 * The results, by the contact's place in the request.
	 *
	 * @var array[]
	 */
	private $results = array();

	/**
	 * The contacts of the open transaction: contact, user id and state by place.
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
	 * Makes the ledger of one request.
	 *
	 * @param Spillway_Connector_Directory $directory Who is who.
	 * @param Spillway_Connector_Logins    $logins    The logins of new users.
	 * @param Spillway_Connector_User      $user      Writes single users.
	 */
	public function __construct( Spillway_Connector_Directory $directory, Spillway_Connector_Logins $logins, Spillway_Connector_User $user ) {
		$this->transaction = new Spillway_Connector_Transaction();
		$this->directory   = $directory;
		$this->logins      = $logins;
		$this->user        = $user;
	}

	/**
	 * A contact's result.
	 *
	 * @param int $place The contact's place in the request.
	 * @return array|null Null when it was not reached.
	 */
	public function result( $place ) {
		return isset( $this->results[ $place ] ) ? $this->results[ $place ] : null;
	}

	/**
	 * Answers a contact with a failure.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param string                     $id      The contact's id.
	 * @param Spillway_Connector_Failure $failure Why.
	 */
	public function fail( $place, $id, Spillway_Connector_Failure $failure ) {
		$this->results[ $place ] = array(
			'contact_id' => $id,
			'outcome'    => 'failed',
			'error'      => $failure->error(),
		);
	}

	/**
	 * Stores a contact, whose locks are held and who is in the directory.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 */
	public function store( $place, Spillway_Connector_Contact $contact ) {
		$user_id = $this->directory->find( $contact );
		if ( $user_id > 0 && Spillway_Connector_Order::is_superseded( $contact, $user_id ) ) {
			$this->fail( $place, $contact->id, Spillway_Connector_Failure::superseded() );
			return;
		}
		if ( $user_id > 0 ) {
			$this->update( $place, $contact, $user_id );
			return;
		}
		if ( 'add' === $contact->action ) {
			$this->create( $place, $contact );
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
	 * Commits, and fails the contacts whose commit did not succeed.
	 */
	public function commit() {
		if ( ! $this->transaction->is_open() ) {
			return;
		}
		$kept = $this->transaction->commit();
		foreach ( $this->open as $place => $stored ) {
			if ( ! $kept ) {
				$this->fail( $place, $stored['contact']->id, Spillway_Connector_Failure::database() );
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
	 * Stores a contact on an existing user.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 */
	private function update( $place, Spillway_Connector_Contact $contact, $user_id ) {
		if ( $this->alone ) {
			$this->update_alone( $place, $contact, $user_id );
		} else {
			$this->update_among_others( $place, $contact, $user_id );
		}
		if ( 'add' === $contact->action && get_user_meta( $user_id, Spillway_Connector_Mail::MARK, true ) ) {
			// A creation that was cut off before its mail went out.
			$this->commit();
			$this->send_mail( $place );
		}
	}

	/**
	 * Stores a contact in the transaction that is open.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 */
	private function update_among_others( $place, Spillway_Connector_Contact $contact, $user_id ) {
		if ( in_array( $user_id, array_column( $this->open, 'user_id' ), true ) ) {
			// A contact of a transaction can be compared with the database only
			// while it is the last one that changed its user.
			$this->commit();
		}
		$entry = array(
			'contact' => $contact,
			'user_id' => $user_id,
			'state'   => null,
		);
		try {
			$this->transaction->enter();
			$this->results[ $place ] = $this->user->store( $contact, $user_id );
			Spillway_Connector_Order::note( $contact, $user_id );
			$this->transaction->check();
			$entry['state'] = $this->user->state( $contact, $user_id );
			$again          = ! $this->transaction->release();
			$lost           = $again;
		} catch ( Throwable $thrown ) {
			$failure = Spillway_Connector_Failure::from_throwable( $thrown );
			$lost    = ! $this->transaction->rewind();
			// A deadlock takes the transaction away, and is worth a second try;
			// what a plugin threw is not.
			$again = $lost && 'database' === $failure->reason();
			$this->fail( $place, $contact->id, $failure );
			Spillway_Connector_Directory::clean( $user_id );
		}
		$this->directory->follow( $user_id );
		if ( ! $lost && null !== $entry['state'] ) {
			$this->open[ $place ] = $entry;
		}
		if ( $lost ) {
			$this->recover();
		}
		if ( $again ) {
			// Its state was read after the transaction had ended and proves
			// nothing.
			$this->repeat( $place, $entry );
		}
		if ( $this->transaction->age() >= self::COMMIT_AFTER ) {
			$this->commit();
		}
	}

	/**
	 * Stores a contact in a transaction of its own.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 */
	private function update_alone( $place, Spillway_Connector_Contact $contact, $user_id ) {
		try {
			$this->transaction->enter_with_probe( $user_id );
			$this->results[ $place ] = $this->user->store( $contact, $user_id );
			Spillway_Connector_Order::note( $contact, $user_id );
			$this->transaction->check();
			// A hook may have committed; then the probe is there, too.
			if ( ! $this->transaction->remove_probe() || ! $this->transaction->commit() ) {
				throw Spillway_Connector_Failure::database();
			}
		} catch ( Throwable $thrown ) {
			$this->transaction->rollback();
			$this->transaction->remove_probe();
			$this->fail( $place, $contact->id, Spillway_Connector_Failure::from_throwable( $thrown ) );
			Spillway_Connector_Directory::clean( $user_id );
		}
		if ( wp_using_ext_object_cache() ) {
			Spillway_Connector_Directory::clean( $user_id );
		}
		$this->directory->follow( $user_id );
	}

	/**
	 * Creates a contact's user, in a transaction of its own.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 */
	private function create( $place, Spillway_Connector_Contact $contact ) {
		$this->commit();
		$this->user->forget();
		$failure = null;
		try {
			$this->user->check_email( $contact );
			$login = $this->logins->pick( $contact );
			$this->transaction->enter();
			$this->results[ $place ] = $this->user->create( $contact, $login );
			Spillway_Connector_Order::note( $contact, $this->user->inserted() );
			$this->transaction->check();
			$whole = $this->transaction->release();
			$kept  = $this->transaction->commit();
			if ( ! $kept || ( ! $whole && ! Spillway_Connector_Directory::is_stored( $this->user->inserted(), $contact->id ) ) ) {
				throw Spillway_Connector_Failure::database();
			}
		} catch ( Throwable $thrown ) {
			$failure = Spillway_Connector_Failure::from_throwable( $thrown );
			if ( $this->transaction->is_open() ) {
				$this->transaction->rollback();
			}
			$this->fail( $place, $contact->id, $failure );
		}
		$user_id = $this->user->inserted();
		if ( $user_id > 0 ) {
			if ( null !== $failure || wp_using_ext_object_cache() ) {
				Spillway_Connector_Directory::clean( $user_id );
			}
			$this->directory->follow( $user_id );
		}
		if ( null === $failure ) {
			$this->send_mail( $place );
			return;
		}
		if ( 'email_taken' === $failure->reason() && 0 === $user_id ) {
			// Someone who takes no locks of ours, such as a visitor, was quicker.
			$this->directory->reload_email( $contact->email );
			$user_id = $this->directory->find( $contact );
			if ( $user_id > 0 ) {
				$this->update( $place, $contact, $user_id );
			}
		}
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
		foreach ( $doubtful as $place => $stored ) {
			Spillway_Connector_Directory::clean( $stored['user_id'] );
			if ( $this->user->state( $stored['contact'], $stored['user_id'] ) !== $stored['state'] ) {
				$this->repeat( $place, $stored );
			}
		}
	}

	/**
	 * Stores a contact a second time, alone. What the first time has left in
	 * the database makes the second one's outcome smaller, not the contact's.
	 *
	 * @param int   $place  The contact's place in the request.
	 * @param array $stored Contact and user id.
	 */
	private function repeat( $place, array $stored ) {
		$first = $this->results[ $place ]['outcome'];
		$this->update_alone( $place, $stored['contact'], $stored['user_id'] );
		if ( 'updated' === $first && 'unchanged' === $this->results[ $place ]['outcome'] ) {
			$this->results[ $place ]['outcome'] = 'updated';
		}
	}

	/**
	 * Sends the login details if they are owed, and notes a failure.
	 *
	 * @param int $place The contact's place in the request.
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
}
