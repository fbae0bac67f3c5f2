<?php
/**
 * Named locks of the database.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Locks contacts, addresses and logins across all requests to this site, with
 * MySQL's GET_LOCK. Locks end with the connection, so a request that dies holds
 * none. A request never waits while it holds another contact's lock, so two
 * requests never wait for each other.
 *
 * A lock belongs to one database server: a cluster that takes writes on
 * several servers must send this site's to one of them.
 */
final class Spillway_Connector_Locks {

	/**
	 * The locks held, by name.
	 *
	 * @var bool[]
	 */
	private $held = array();

	/**
	 * The connection that holds them, by its id at MySQL.
	 *
	 * @var int
	 */
	private $connection = 0;

	/**
	 * Whether one connection may hold several locks.
	 *
	 * @var bool|null
	 */
	private $several = null;

	/**
	 * The lock of a contact id.
	 *
	 * @param string $id The contact id.
	 * @return string
	 */
	public function contact( $id ) {
		return $this->name( 'contact', $id );
	}

	/**
	 * The lock of an e-mail address.
	 *
	 * @param string $email The address.
	 * @return string
	 */
	public function email( $email ) {
		return $this->name( 'email', strtolower( $email ) );
	}

	/**
	 * The lock of a login.
	 *
	 * @param string $login The login.
	 * @return string
	 */
	public function login( $login ) {
		return $this->name( 'login', strtolower( $login ) );
	}

	/**
	 * Takes those locks of a list that are free.
	 *
	 * @param string[] $names The locks.
	 * @return bool[] The locks now held, by name; those held before included.
	 * @throws Spillway_Connector_Failure When the database has no such locks.
	 */
	public function take( array $names ) {
		return $this->ask( $names, 0 );
	}

	/**
	 * Takes all locks of a list, and waits for each. Call it only while holding
	 * no lock of another contact.
	 *
	 * @param string[] $names   The locks.
	 * @param float    $seconds How long to wait at most.
	 * @return bool False when the time is over; some locks may be held then.
	 * @throws Spillway_Connector_Failure When the database has no such locks.
	 */
	public function wait( array $names, $seconds ) {
		$until = microtime( true ) + $seconds;
		foreach ( $names as $name ) {
			$left = (int) floor( $until - microtime( true ) );
			if ( array() === $this->ask( array( $name ), max( 0, $left ) ) ) {
				return false;
			}
		}
		return true;
	}

	/**
	 * Whether a lock is held.
	 *
	 * @param string $name The lock.
	 * @return bool
	 */
	public function holds( $name ) {
		return isset( $this->held[ $name ] );
	}

	/**
	 * Whether the locks are still held: wpdb reconnects by itself, and a new
	 * connection has none, nor a transaction of the old one.
	 *
	 * @return bool
	 */
	public function stand() {
		return $this->connection === $this->connection();
	}

	/**
	 * Gives all locks back.
	 */
	public function release() {
		global $wpdb;
		if ( array() !== $this->held ) {
			$calls = array();
			foreach ( array_keys( $this->held ) as $name ) {
				$calls[] = $wpdb->prepare( 'RELEASE_LOCK(%s)', $name );
			}
			$wpdb->get_row( 'SELECT ' . implode( ', ', $calls ) ); // phpcs:ignore WordPress.DB.PreparedSQL -- prepared above.
		}
		$this->held = array();
	}

	/**
	 * Asks the database for locks.
	 *
	 * @param string[] $names   The locks.
	 * @param int      $seconds How long to wait for each.
	 * @return bool[] The locks of the list that are held, by name.
	 * @throws Spillway_Connector_Failure When the database has no such locks.
	 */
	private function ask( array $names, $seconds ) {
		global $wpdb;
		$names  = array_unique( $names );
		$wanted = array_values( array_diff( $names, array_keys( $this->held ) ) );
		if ( array() !== $wanted ) {
			$calls = array();
			foreach ( $wanted as $name ) {
				$calls[] = $wpdb->prepare( 'GET_LOCK(%s, %d)', $name, $seconds );
			}
			$answers = $wpdb->get_row( 'SELECT ' . implode( ', ', $calls ), ARRAY_N ); // phpcs:ignore WordPress.DB.PreparedSQL -- prepared above.
			if ( ! is_array( $answers ) ) {
				$cut_off = preg_match( Spillway_Connector_Transaction::CUT_OFF, $wpdb->last_error );
				throw $cut_off ? Spillway_Connector_Failure::database() : Spillway_Connector_Failure::no_locks();
			}
			if ( array() === $this->held ) {
				$this->connection = $this->connection();
			}
			foreach ( $wanted as $position => $name ) {
				if ( '1' === (string) $answers[ $position ] ) {
					$this->held[ $name ] = true;
				}
			}
		}
		return array_intersect_key( $this->held, array_flip( $names ) );
	}

	/**
	 * A lock's name: at most 64 characters, without personal data, and another
	 * one for every table of users on the server.
	 *
	 * @param string $kind  Kind of thing.
	 * @param string $value The thing.
	 * @return string
	 */
	private function name( $kind, $value ) {
		global $wpdb;
		if ( ! $this->several() ) {
			return 'spillway:' . sha1( DB_NAME . "\n" . $wpdb->users );
		}
		return 'spillway:' . sha1( DB_NAME . "\n" . $wpdb->users . "\n" . $kind . "\n" . $value );
	}

	/**
	 * The connection's id at MySQL.
	 *
	 * @return int Zero when it can't be told.
	 */
	private function connection() {
		global $wpdb;
		return $wpdb->dbh instanceof mysqli ? (int) $wpdb->dbh->thread_id : 0;
	}

	/**
	 * Whether one connection may hold several locks. Before 5.7.5 MySQL drops
	 * the first with the second; there one lock stands for all.
	 *
	 * @return bool
	 */
	private function several() {
		global $wpdb;
		if ( null === $this->several ) {
			$version       = (string) $wpdb->get_var( 'SELECT VERSION()' );
			$this->several = false !== stripos( $version, 'mariadb' ) || version_compare( $version, '5.7.5', '>=' );
		}
		return $this->several;
	}
}
