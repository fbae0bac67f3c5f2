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
 */
final class Spillway_Connector_Batch {

	const SECONDS = 10;

	/**
	 * The contacts' members, by their place in the request.
	 *
	 * @var array[]
	 */
	private $given;

	/**
	 * The contacts, by their place in the request. Those that could not be read
	 * are missing here and have a result already.
	 *
	 * @var Spillway_Connector_Contact[]
	 */
	private $contacts = array();

	/**
	 * Contact ids by their place in the request.
	 *
	 * @var string[]
	 */
	private $ids;

	/**
	 * When the request has worked long enough.
	 *
	 * @var float
	 */
	private $deadline;

	/**
	 * The named locks.
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
	 * Stores contacts and holds their results.
	 *
	 * @var Spillway_Connector_Ledger
	 */
	private $ledger;

	/**
	 * The contacts' tags.
	 *
	 * @var Spillway_Connector_Tags
	 */
	private $tags;

	/**
	 * Looks at contacts without storing them.
	 *
	 * @var Spillway_Connector_Observer
	 */
	private $observer;

	/**
	 * What logins are made of.
	 *
	 * @var string
	 */
	private $login_format;

	/**
	 * WP Fusion, when it is active.
	 *
	 * @var Spillway_Connector_Fusion|null
	 */
	private $fusion;

	/**
	 * Takes the contacts of a request.
	 *
	 * @param array[]                  $contacts The contacts' members; each has a contact_id.
	 * @param Spillway_Connector_Roles $roles    The roles that may be given.
	 * @param string                   $logins   What logins are made of.
	 * @param float                    $started  When the request began.
	 */
	public function __construct( array $contacts, Spillway_Connector_Roles $roles, $logins, $started ) {
		$this->deadline  = $started + self::SECONDS;
		$this->locks     = new Spillway_Connector_Locks();
		$this->directory = new Spillway_Connector_Directory();
		$this->logins    = new Spillway_Connector_Logins( $this->locks, $logins );
		$this->fusion    = Spillway_Connector_Fusion::active();
		$this->tags      = new Spillway_Connector_Tags( $this->fusion );
		$insertion       = new Spillway_Connector_Insertion( null !== $this->fusion );
		$reach           = new Spillway_Connector_Reach( $roles );
		$user            = new Spillway_Connector_User( $roles, $reach, $this->tags, $this->fusion, $insertion );
		$this->ledger    = new Spillway_Connector_Ledger( $this->locks, $this->directory, $this->logins, $user, $insertion );
		$this->observer  = new Spillway_Connector_Observer( $this->directory, $user, $roles, $reach, $this->tags, $this->fusion );

		$this->login_format = $logins;
		$this->given        = $contacts;
		$this->ids          = wp_list_pluck( $contacts, 'contact_id' );
	}

	/**
	 * Stores the contacts.
	 *
	 * @return array[] A result for every contact, in the order of the request.
	 */
	public function run() {
		$counts = new Spillway_Connector_Counts();
		$counts->mute();
		try {
			$this->enclosed(
				function ( $surroundings ) {
					try {
						$this->run_rounds( $surroundings );
					} finally {
						$this->locks->release();
						$this->tags->settle_others();
					}
				}
			);
		} finally {
			$counts->unmute();
		}
		return $this->results();
	}

	/**
	 * Looks at the contacts without storing them, and without locks.
	 *
	 * @return array[] An answer for every contact, in the order of the request.
	 */
	public function observe() {
		Spillway_Connector_Transaction::reading(
			function () {
				$this->enclosed( array( $this, 'look_at_all' ) );
			}
		);
		return $this->results();
	}

	/**
	 * Reads the contacts and works on them, while WP Fusion calls no CRM and what
	 * hooks do harms one contact alone.
	 *
	 * @param callable $work Gets what each contact finds around it.
	 */
	private function enclosed( callable $work ) {
		global $wpdb;
		if ( method_exists( $wpdb, 'send_reads_to_masters' ) ) {
			// HyperDB and its kin: a lock and a look-up on a replica prove nothing.
			$wpdb->send_reads_to_masters();
		}
		if ( null !== $this->fusion ) {
			$this->fusion->mute();
		}
		$ends         = new Spillway_Connector_Ends( ob_get_level() - 1 );
		$surroundings = new Spillway_Connector_Surroundings();
		try {
			$this->read( $surroundings );
			$work( $surroundings );
		} finally {
			$surroundings->leave();
			$ends->leave();
			if ( null !== $this->fusion ) {
				$this->fusion->unmute();
			}
		}
	}

	/**
	 * Reads the contacts. Cleaning their values asks filters of other plugins.
	 *
	 * @param Spillway_Connector_Surroundings $surroundings What each contact finds around it.
	 */
	private function read( Spillway_Connector_Surroundings $surroundings ) {
		foreach ( $this->given as $place => $data ) {
			try {
				$this->contacts[ $place ] = Spillway_Connector_Contact::read( $this->ids[ $place ], $data );
			} catch ( Throwable $thrown ) {
				$this->ledger->fail( $place, $this->ids[ $place ], Spillway_Connector_Failure::from_throwable( $thrown ) );
				$surroundings->restore();
			}
		}
	}

	/**
	 * Looks at one contact after the other.
	 *
	 * @param Spillway_Connector_Surroundings $surroundings What each contact finds around it.
	 */
	private function look_at_all( Spillway_Connector_Surroundings $surroundings ) {
		$logins = new Spillway_Connector_Logins( null, $this->login_format );
		try {
			$this->directory->load( $this->contacts, $this->fusion );
		} catch ( Spillway_Connector_Failure $failure ) {
			foreach ( $this->waiting() as $place ) {
				$this->ledger->fail( $place, $this->ids[ $place ], $failure );
			}
		}
		foreach ( $this->waiting() as $place ) {
			if ( $this->is_over() ) {
				return;
			}
			try {
				$this->ledger->hold( $place, $this->observer->look_at( $this->contacts[ $place ], $logins ) );
			} catch ( Throwable $thrown ) {
				$this->ledger->fail( $place, $this->ids[ $place ], Spillway_Connector_Failure::from_throwable( $thrown ) );
			}
			$surroundings->restore();
		}
	}

	/**
	 * The results, for now.
	 *
	 * @return array[] One for every contact, in the order of the request.
	 */
	private function results() {
		$results = array();
		foreach ( $this->ids as $place => $id ) {
			$result    = $this->ledger->result( $place );
			$results[] = null !== $result ? $result : array(
				'contact_id' => $id,
				'outcome'    => 'deferred',
			);
		}
		return $results;
	}

	/**
	 * Stores the contacts whose locks are free, then those that had to wait, and
	 * those whose transaction was lost.
	 *
	 * @param Spillway_Connector_Surroundings $surroundings What each contact finds around it.
	 */
	private function run_rounds( Spillway_Connector_Surroundings $surroundings ) {
		$stuck = false;
		while ( array() !== $this->waiting() && ! $this->is_over() ) {
			try {
				$round = $this->lock( $this->waiting(), $stuck );
				$this->directory->load( array_intersect_key( $this->contacts, array_flip( $round ) ), $this->fusion );
				$surroundings->restore();
			} catch ( Spillway_Connector_Failure $failure ) {
				foreach ( $this->waiting() as $place ) {
					$this->ledger->fail( $place, $this->ids[ $place ], $failure );
				}
				return;
			}
			// A request gives up all other locks before it waits, so a round that
			// got nothing is followed by one that waits.
			$stuck = array() === $round;
			foreach ( $round as $place ) {
				if ( $this->is_over() ) {
					return;
				}
				$this->ledger->store( $place, $this->contacts[ $place ] );
				$surroundings->restore();
				if ( null === $this->ledger->result( $place ) || ! $this->locks->stand() ) {
					// What was lost may have taken the locks along, and what is
					// known of the users.
					break;
				}
			}
			$this->locks->release();
		}
	}

	/**
	 * Places of the contacts that have no result yet.
	 *
	 * @return int[]
	 */
	private function waiting() {
		return array_values(
			array_filter(
				array_keys( $this->contacts ),
				function ( $place ) {
					return null === $this->ledger->result( $place );
				}
			)
		);
	}

	/**
	 * Takes the locks of a round.
	 *
	 * @param int[] $waiting Places of the contacts that are still to be stored.
	 * @param bool  $stuck   Whether to wait for the locks of the first.
	 * @return int[] The places that can be stored now.
	 * @throws Spillway_Connector_Failure When the database has no such locks.
	 */
	private function lock( array $waiting, $stuck ) {
		$names = array();
		foreach ( $waiting as $place ) {
			try {
				$names[ $place ] = $this->lock_names( $this->contacts[ $place ] );
			} catch ( Throwable $thrown ) {
				// Filters of other plugins have a say in logins.
				$this->ledger->fail( $place, $this->ids[ $place ], Spillway_Connector_Failure::from_throwable( $thrown ) );
			}
		}
		if ( array() === $names ) {
			return array();
		}
		$waiting = array_keys( $names );
		if ( $stuck ) {
			$first = reset( $waiting );
			if ( ! $this->locks->wait( $names[ $first ], $this->deadline - microtime( true ) ) ) {
				$this->locks->release();
				return array();
			}
		}
		$this->locks->take( array_merge( ...array_values( $names ) ) );
		$round  = array();
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
			// Several entries for one contact are stored in the order of the request.
			$behind[ $id ] = true;
		}
		return $round;
	}

	/**
	 * The locks of a contact. All requests wait for them in one order.
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
		sort( $names, SORT_STRING );
		return $names;
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
