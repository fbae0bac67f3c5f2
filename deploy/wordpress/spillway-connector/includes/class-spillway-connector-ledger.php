<?php
/**
 * Contacts, their transactions and their results.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores each contact in a transaction of its own, and keeps the results. A result
 * is given only for what is committed.
 *
 * A contact whose transaction something else has ended has no result yet and is
 * to be stored again, under new locks and from what the database holds then.
 * The second time settles it.
 */
final class Spillway_Connector_Ledger {

	/**
	 * The results, by the contact's place in the request.
	 *
	 * @var array[]
	 */
	private $results = array();

	/**
	 * The first try of contacts that must be stored again, by place: its outcome
	 * (empty if it failed), the user that it created, and the mails of other
	 * plugins.
	 *
	 * @var array[]
	 */
	private $first = array();

	/**
	 * The transaction.
	 *
	 * @var Spillway_Connector_Transaction
	 */
	private $transaction;

	/**
	 * The mails of other plugins.
	 *
	 * @var Spillway_Connector_Outbox
	 */
	private $outbox;

	/**
	 * The named locks, which end with the connection.
	 *
	 * @var Spillway_Connector_Locks
	 */
	private $locks;

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
	 * Inserts new users.
	 *
	 * @var Spillway_Connector_Insertion
	 */
	private $insertion;

	/**
	 * Makes the ledger of one request.
	 *
	 * @param Spillway_Connector_Locks     $locks     The named locks.
	 * @param Spillway_Connector_Directory $directory Who is who.
	 * @param Spillway_Connector_Logins    $logins    The logins of new users.
	 * @param Spillway_Connector_User      $user      Writes single users.
	 * @param Spillway_Connector_Insertion $insertion Inserts new users, also for $user.
	 */
	public function __construct( Spillway_Connector_Locks $locks, Spillway_Connector_Directory $directory, Spillway_Connector_Logins $logins, Spillway_Connector_User $user, Spillway_Connector_Insertion $insertion ) {
		$this->transaction = new Spillway_Connector_Transaction();
		$this->outbox      = new Spillway_Connector_Outbox();
		$this->locks       = $locks;
		$this->directory   = $directory;
		$this->logins      = $logins;
		$this->user        = $user;
		$this->insertion   = $insertion;
	}

	/**
	 * A contact's result.
	 *
	 * @param int $place The contact's place in the request.
	 * @return array|null Null when it has none yet.
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
	 * Answers a contact.
	 *
	 * @param int   $place  The contact's place in the request.
	 * @param array $result The contact's result.
	 */
	public function hold( $place, array $result ) {
		$this->results[ $place ] = $result;
	}

	/**
	 * Stores a contact, whose locks are held and who is in the directory.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 */
	public function store( $place, Spillway_Connector_Contact $contact ) {
		try {
			$user_id                 = $this->directory->find( $contact );
			$this->results[ $place ] = $this->user->settled( $contact, $user_id );
		} catch ( Throwable $thrown ) {
			$this->fail( $place, $contact->id, Spillway_Connector_Failure::from_throwable( $thrown ) );
		}
		if ( null !== $this->result( $place ) ) {
			return;
		}
		$mark    = Spillway_Connector_Order::mark( $contact );
		$result  = null;
		$failure = null;
		$this->insertion->forget();
		$this->outbox->open();
		$cache = Spillway_Connector_Shared_Cache::watch();
		try {
			$result = $user_id > 0 ? $this->update( $place, $contact, $user_id, $mark ) : $this->create( $contact, $mark );
			$this->transaction->check();
			$whole = $this->locks->stand() && $this->transaction->commit() && $this->locks->stand();
			$this->transaction->rollback();
		} catch ( Throwable $thrown ) {
			$failure = Spillway_Connector_Failure::from_throwable( $thrown );
			$whole   = $this->transaction->rollback() && $this->locks->stand();
		}
		if ( null !== $cache ) {
			$cache->leave( ! $whole || null !== $failure );
		}
		$mails   = $this->outbox->close();
		$created = $this->insertion->inserted();
		$user_id = $created > 0 ? $created : $user_id;
		if ( ! $whole || null !== $failure || wp_using_ext_object_cache() ) {
			// A page that was loaded meanwhile may have put the state before
			// the commit back into a shared cache.
			Spillway_Connector_Directory::clean( $user_id );
		}
		if ( $this->is_to_be_repeated( $place, $contact, $created, $whole, $failure ) ) {
			$this->first[ $place ] = array( null === $result ? '' : $result['outcome'], $created, $mails );
			Spillway_Connector_Directory::remove_orphans( $created );
			return;
		}
		if ( null === $failure && ! $whole && ! Spillway_Connector_Order::is_noted( $user_id, $mark ) ) {
			Spillway_Connector_Directory::remove_orphans( $created );
			$failure = Spillway_Connector_Failure::database();
		}
		$this->directory->follow( $user_id );
		if ( null !== $failure ) {
			$this->fail( $place, $contact->id, $failure );
			return;
		}
		$this->results[ $place ] = $this->with_first_try( $place, $result );
		if ( $user_id > 0 && $this->created_first( $place ) === $user_id ) {
			$created = $user_id;
			$mails   = array_merge( $this->first[ $place ][2], $mails );
		}
		// As in WP Fusion: without a request for the mail, nobody is told of a creation.
		if ( 0 === $created || $contact->notify ) {
			Spillway_Connector_Outbox::send( $mails );
		}
		if ( 'add' === $contact->action ) {
			$this->send_mail( $place, $contact );
		}
	}

	/**
	 * The user whom the first of two tries has created.
	 *
	 * @param int $place The contact's place in the request.
	 * @return int Zero without one.
	 */
	private function created_first( $place ) {
		return isset( $this->first[ $place ] ) ? $this->first[ $place ][1] : 0;
	}

	/**
	 * Stores a contact on an existing user, as far as the commit.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id The user.
	 * @param string                     $mark    The note of its pass.
	 * @return array The contact's result.
	 */
	private function update( $place, Spillway_Connector_Contact $contact, $user_id, $mark ) {
		$this->transaction->begin();
		Spillway_Connector_Order::note( $user_id, $mark );
		if ( $this->created_first( $place ) === $user_id ) {
			$this->insertion->complete( $contact, $user_id );
		}
		if ( array() === array_intersect( Spillway_Connector_Profile::NAMES, array_keys( $contact->fields ) ) ) {
			return $this->user->store( $contact, $user_id );
		}
		return Spillway_Connector_Profile::watch(
			$user_id,
			function () use ( $contact, $user_id ) {
				return $this->user->store( $contact, $user_id );
			}
		);
	}

	/**
	 * Creates a contact's user, as far as the commit.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param string                     $mark    The note of its pass.
	 * @return array The contact's result.
	 */
	private function create( Spillway_Connector_Contact $contact, $mark ) {
		$this->user->check_email( $contact );
		$contact = $this->user->imported_as( $contact, $this->logins->first( $contact ) );
		if ( $contact->cancelled ) {
			$this->transaction->begin();
			return $this->user->skipped( $contact, '' );
		}
		// Outside the transaction, to see what others have committed.
		$login = $this->logins->pick( $contact );
		$this->transaction->begin();
		return $this->user->create( $contact, $login, $mark );
	}

	/**
	 * Whether a contact must be stored a second time: its transaction was lost, or
	 * somebody who takes no locks of ours, such as a visitor, registered its
	 * address first. After an exception of a plugin it is stored again only if the
	 * connection was lost, too, which may be the cause.
	 *
	 * @param int                             $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact      $contact The contact.
	 * @param int                             $created The user that was created, or zero.
	 * @param bool                            $whole   Whether the transaction was the contact's own to its end.
	 * @param Spillway_Connector_Failure|null $failure Why it failed.
	 * @return bool
	 */
	private function is_to_be_repeated( $place, Spillway_Connector_Contact $contact, $created, $whole, $failure ) {
		if ( isset( $this->first[ $place ] ) ) {
			return false;
		}
		if ( null !== $failure && 'email_taken' === $failure->reason() ) {
			return 'add' === $contact->action && 0 === $created;
		}
		return ! $whole && ( null === $failure || 'exception' !== $failure->reason() || ! $this->locks->stand() );
	}

	/**
	 * The result of a contact that was stored twice. The first try may have left
	 * its changes in the database, so the second finds less to do: the result
	 * takes the larger outcome of the two.
	 *
	 * @param int   $place  The contact's place in the request.
	 * @param array $result The result of the last try.
	 * @return array
	 */
	private function with_first_try( $place, array $result ) {
		if ( isset( $this->first[ $place ] ) ) {
			$outcome = $this->first[ $place ][0];
			if ( $this->created_first( $place ) === $result['user_id'] && ! in_array( 'password_changed', $result['notes'], true ) ) {
				$result['outcome'] = 'created';
			} elseif ( 'unchanged' === $result['outcome'] && 'unchanged' !== $outcome ) {
				$result['outcome'] = 'updated';
			}
		}
		return $result;
	}

	/**
	 * Sends the login details if they are owed: by this creation, or by one that
	 * was cut off before its mail went out. Notes a failure, and that some plugin
	 * has given a new user another password than the contact's.
	 *
	 * @param int                        $place   The contact's place in the request.
	 * @param Spillway_Connector_Contact $contact The contact.
	 */
	private function send_mail( $place, Spillway_Connector_Contact $contact ) {
		$result = &$this->results[ $place ];
		$note   = Spillway_Connector_Mail::send( $result['user_id'] );
		if ( '' !== $note ) {
			$result['notes'][] = $note;
		}
		if ( 'created' === $result['outcome'] && Spillway_Connector_Password::is_replaced( $contact, $result['user_id'] ) ) {
			$result['notes'][] = 'password_changed';
		}
	}
}
