<?php
/**
 * Transactions on WordPress's connection.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A transaction that knows when it was ended behind its back: a hook of another
 * plugin may commit, roll back or alter a table, InnoDB takes a transaction
 * away after a deadlock, and wpdb reconnects by itself. In all of these the
 * savepoint is gone, and release() or rewind() says so.
 *
 * On tables without transactions (MyISAM) all of it succeeds and does nothing.
 */
final class Spillway_Connector_Transaction {

	const PROBE = 'spillway_probe';

	/**
	 * When the transaction began; zero while none is open.
	 *
	 * @var float
	 */
	private $began = 0.0;

	/**
	 * The connection's id at MySQL when the transaction began.
	 *
	 * @var int
	 */
	private $thread = 0;

	/**
	 * Errors that wpdb had seen when the savepoint was set.
	 *
	 * @var int
	 */
	private $errors = 0;

	/**
	 * The row that tells a commit by a hook from a rollback; zero without one.
	 *
	 * @var int
	 */
	private $probe = 0;

	/**
	 * The statement that comes before a transaction; null until it is known.
	 *
	 * @var string|null
	 */
	private $isolation = null;

	/**
	 * Begins a transaction if none is open, and sets the savepoint of a contact.
	 *
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	public function enter() {
		global $wpdb;
		if ( ! $this->is_open() ) {
			if ( '' !== $this->isolation() ) {
				$wpdb->query( $this->isolation() ); // phpcs:ignore WordPress.DB.PreparedSQL -- a constant.
			}
			if ( false === $wpdb->query( 'START TRANSACTION' ) ) {
				throw Spillway_Connector_Failure::database();
			}
			$this->began  = microtime( true );
			$this->thread = $this->thread();
		}
		$this->errors = $this->count_errors();
		$wpdb->query( 'SAVEPOINT spillway_contact' );
	}

	/**
	 * Begins a transaction for one contact alone, with a row that has no other
	 * use than to be kept or lost together with the contact.
	 *
	 * @param int $user_id The user to whose meta the row is added.
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	public function enter_with_probe( $user_id ) {
		global $wpdb;
		$this->enter();
		$row = array(
			'user_id'  => $user_id,
			'meta_key' => self::PROBE, // phpcs:ignore WordPress.DB.SlowDBQuery -- an insert.
		);
		// Past the functions of WordPress: no hook is to see this row.
		$this->probe = $wpdb->insert( $wpdb->usermeta, $row ) ? (int) $wpdb->insert_id : 0;
	}

	/**
	 * Takes the probe away again.
	 *
	 * @return bool Whether it was there: what came before is committed, or
	 *              still to be committed.
	 */
	public function remove_probe() {
		global $wpdb;
		$there       = $this->probe > 0 && $wpdb->delete( $wpdb->usermeta, array( 'umeta_id' => $this->probe ) );
		$this->probe = 0;
		return (bool) $there;
	}

	/**
	 * Whether a transaction is open.
	 *
	 * @return bool
	 */
	public function is_open() {
		return $this->began > 0;
	}

	/**
	 * How long the transaction has been open.
	 *
	 * @return float Seconds.
	 */
	public function age() {
		return $this->is_open() ? microtime( true ) - $this->began : 0.0;
	}

	/**
	 * Fails if a write to the users' tables failed since enter(). WordPress's
	 * functions do not report it, wpdb does.
	 *
	 * @throws Spillway_Connector_Failure When one failed.
	 */
	public function check() {
		global $wpdb, $EZSQL_ERROR; // phpcs:ignore WordPress.NamingConventions.ValidVariableName -- wpdb's own global.
		$errors = is_array( $EZSQL_ERROR ) ? array_slice( $EZSQL_ERROR, $this->errors ) : array(); // phpcs:ignore WordPress.NamingConventions.ValidVariableName
		foreach ( $errors as $error ) {
			if ( preg_match( '/deadlock|lock wait timeout|gone away|lost connection/i', $error['error_str'] ) ) {
				throw Spillway_Connector_Failure::database();
			}
			$writes = preg_match( '/^\s*(INSERT|UPDATE|DELETE|REPLACE)\b/i', $error['query'] );
			if ( $writes && preg_match( '/\b(' . preg_quote( $wpdb->users, '/' ) . '|' . preg_quote( $wpdb->usermeta, '/' ) . ')\b/', $error['query'] ) ) {
				throw Spillway_Connector_Failure::database();
			}
		}
	}

	/**
	 * Ends the savepoint of a contact that is stored.
	 *
	 * @return bool False when the transaction had been ended by something else.
	 */
	public function release() {
		global $wpdb;
		return false !== $wpdb->query( 'RELEASE SAVEPOINT spillway_contact' ) && $this->thread() === $this->thread;
	}

	/**
	 * Takes back what was done since enter().
	 *
	 * @return bool False when the transaction had been ended by something else.
	 */
	public function rewind() {
		global $wpdb;
		return false !== $wpdb->query( 'ROLLBACK TO SAVEPOINT spillway_contact' ) && $this->thread() === $this->thread;
	}

	/**
	 * Commits.
	 *
	 * @return bool Whether everything since begin() is kept.
	 */
	public function commit() {
		global $wpdb;
		$this->began = 0.0;
		// After a reconnect the COMMIT succeeds, on a connection that has
		// nothing to commit.
		return false !== $wpdb->query( 'COMMIT' ) && $this->thread() === $this->thread;
	}

	/**
	 * Rolls the whole transaction back.
	 */
	public function rollback() {
		global $wpdb;
		$this->began = 0.0;
		$wpdb->query( 'ROLLBACK' );
	}

	/**
	 * READ COMMITTED spares visitors who register meanwhile the gap locks that
	 * the default takes around the rows of existing users. MySQL refuses writes
	 * under it only where the binary log holds statements.
	 *
	 * @return string A statement, empty to leave the default.
	 */
	private function isolation() {
		global $wpdb;
		if ( null === $this->isolation ) {
			$format          = (string) $wpdb->get_var( "SHOW VARIABLES LIKE 'binlog_format'", 1 );
			$log             = (string) $wpdb->get_var( "SHOW VARIABLES LIKE 'log_bin'", 1 );
			$statements      = 'STATEMENT' === strtoupper( $format ) && 'OFF' !== strtoupper( $log );
			$this->isolation = $statements ? '' : 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED';
		}
		return $this->isolation;
	}

	/**
	 * The connection's id at MySQL.
	 *
	 * @return int Zero when it can't be told.
	 */
	private function thread() {
		global $wpdb;
		return $wpdb->dbh instanceof mysqli ? (int) mysqli_thread_id( $wpdb->dbh ) : 0;
	}

	/**
	 * How many errors wpdb has seen in this request.
	 *
	 * @return int
	 */
	private function count_errors() {
		global $EZSQL_ERROR; // phpcs:ignore WordPress.NamingConventions.ValidVariableName -- wpdb's own global.
		return is_array( $EZSQL_ERROR ) ? count( $EZSQL_ERROR ) : 0; // phpcs:ignore WordPress.NamingConventions.ValidVariableName
	}
}
