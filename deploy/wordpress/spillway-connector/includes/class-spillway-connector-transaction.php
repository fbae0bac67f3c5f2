<?php
/**
 * Transactions on WordPress's connection.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * The transaction of one contact. It notices when something else has ended it: a
 * hook of another plugin may commit, roll back or alter a table, InnoDB rolls back
 * after a deadlock, and wpdb reconnects by itself. In all these cases the savepoint
 * is gone, and commit() or rollback() says so.
 *
 * On tables without transactions (MyISAM) all of it succeeds and does nothing.
 */
final class Spillway_Connector_Transaction {

	/**
	 * Errors of a statement that was cut off.
	 */
	const CUT_OFF = '/deadlock|lock wait timeout|gone away|lost connection|interrupted|killed|execution time/i';

	/**
	 * Whether begin() was called and nothing has ended it since.
	 *
	 * @var bool
	 */
	private $open = false;

	/**
	 * Errors that wpdb had seen when the transaction began.
	 *
	 * @var int
	 */
	private $errors = 0;

	/**
	 * The statement that comes before a transaction; null until it is known.
	 *
	 * @var string|null
	 */
	private $isolation = null;

	/**
	 * Begins a transaction.
	 *
	 * @throws Spillway_Connector_Failure When the database refuses.
	 */
	public function begin() {
		global $wpdb;
		if ( '' !== $this->isolation() ) {
			$wpdb->query( $this->isolation() ); // phpcs:ignore WordPress.DB.PreparedSQL -- a constant.
		}
		$this->errors = count( $this->errors() );
		$this->open   = true;
		if ( false === $wpdb->query( 'START TRANSACTION' ) || false === $wpdb->query( 'SAVEPOINT spillway_contact' ) ) {
			throw Spillway_Connector_Failure::database();
		}
	}

	/**
	 * Fails if a write to the users' tables failed since begin(), or any
	 * statement was cut off. WordPress's functions do not report it, wpdb does.
	 *
	 * @throws Spillway_Connector_Failure When one failed.
	 */
	public function check() {
		global $wpdb;
		foreach ( array_slice( $this->errors(), $this->errors ) as $error ) {
			if ( preg_match( self::CUT_OFF, $error['error_str'] ) ) {
				throw Spillway_Connector_Failure::database();
			}
			$writes = preg_match( '/^\s*(INSERT|UPDATE|DELETE|REPLACE)\b/i', $error['query'] );
			if ( $writes && preg_match( '/\b(' . preg_quote( $wpdb->users, '/' ) . '|' . preg_quote( $wpdb->usermeta, '/' ) . ')\b/', $error['query'] ) ) {
				throw Spillway_Connector_Failure::database();
			}
		}
	}

	/**
	 * Commits, also a transaction that some hook has begun in this one's place.
	 *
	 * @return bool False when something else had ended this one: then what was
	 *              written since begin() may be stored or not.
	 */
	public function commit() {
		global $wpdb;
		$this->open = false;
		$whole      = false !== $wpdb->query( 'RELEASE SAVEPOINT spillway_contact' );
		return false !== $wpdb->query( 'COMMIT' ) && $whole;
	}

	/**
	 * Takes back what was done since begin(), if that was called.
	 *
	 * @return bool False when something else had ended the transaction.
	 */
	public function rollback() {
		global $wpdb;
		if ( ! $this->open ) {
			return true;
		}
		$this->open = false;
		$whole      = false !== $wpdb->query( 'ROLLBACK TO SAVEPOINT spillway_contact' );
		$wpdb->query( 'ROLLBACK' );
		return $whole;
	}

	/**
	 * Works in a transaction that can't write, whatever filters of other plugins
	 * do. A database before MySQL 5.6 knows none and goes on without.
	 *
	 * @param callable $work The work.
	 * @return mixed What it returns.
	 */
	public static function reading( callable $work ) {
		global $wpdb;
		// Each query sees what is committed, so that nothing older gets into a
		// shared cache.
		$wpdb->query( 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED' );
		$wpdb->query( 'START TRANSACTION READ ONLY' );
		try {
			return $work();
		} finally {
			$wpdb->query( 'ROLLBACK' );
		}
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
	 * The errors that wpdb has seen in this request.
	 *
	 * @return array[] Each with its query and its text.
	 */
	private function errors() {
		global $EZSQL_ERROR; // phpcs:ignore WordPress.NamingConventions.ValidVariableName -- wpdb's own global.
		return is_array( $EZSQL_ERROR ) ? $EZSQL_ERROR : array(); // phpcs:ignore WordPress.NamingConventions.ValidVariableName
	}
}
