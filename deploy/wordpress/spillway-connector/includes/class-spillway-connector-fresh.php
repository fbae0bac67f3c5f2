<?php
/**
 * The meta of a user who is being inserted.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Spares wp_insert_user() a query for each row of meta that it writes. WordPress
 * drops a user's cached meta with every new row and reads all of it again for
 * the next one; what a user has who did not exist a moment ago is known without
 * asking.
 *
 * It ends with the insertion: what is decided later is decided by what the
 * database holds. A shared object cache is left alone, since others would read
 * there what is not committed yet.
 */
final class Spillway_Connector_Fresh {

	/**
	 * The user, zero before the insertion.
	 *
	 * @var int
	 */
	private $user_id = 0;

	/**
	 * The user's meta as WordPress caches it: lists of texts by key.
	 *
	 * @var array
	 */
	private $rows = array();

	/**
	 * Begins with what a user has who was just inserted: nothing, or what some
	 * plugin's hook has added by now.
	 *
	 * @param int $user_id The user.
	 */
	public function begin( $user_id ) {
		if ( wp_using_ext_object_cache() ) {
			return;
		}
		$this->user_id = (int) $user_id;
		$known         = update_meta_cache( 'user', array( $this->user_id ) );
		$this->rows    = isset( $known[ $this->user_id ] ) ? $known[ $this->user_id ] : array();
		add_action( 'added_user_meta', array( $this, 'added' ), PHP_INT_MIN, 4 );
		// Nothing changes or deletes a new user's meta but a hook of some plugin.
		add_action( 'updated_user_meta', array( $this, 'changed' ), PHP_INT_MIN, 2 );
		add_action( 'deleted_user_meta', array( $this, 'changed' ), PHP_INT_MIN, 2 );
	}

	/**
	 * Ends, and lets WordPress read the user's meta from the database.
	 */
	public function end() {
		if ( 0 === $this->user_id ) {
			return;
		}
		remove_action( 'added_user_meta', array( $this, 'added' ), PHP_INT_MIN );
		remove_action( 'updated_user_meta', array( $this, 'changed' ), PHP_INT_MIN );
		remove_action( 'deleted_user_meta', array( $this, 'changed' ), PHP_INT_MIN );
		wp_cache_delete( $this->user_id, 'user_meta' );
		$this->user_id = 0;
	}

	/**
	 * Follows a row that was added.
	 *
	 * @param int    $mid     Not used.
	 * @param int    $user_id The user.
	 * @param string $key     The key.
	 * @param mixed  $value   The value.
	 */
	public function added( $mid, $user_id, $key, $value ) {
		if ( (int) $user_id !== $this->user_id ) {
			return;
		}
		$this->rows[ $key ][] = (string) maybe_serialize( $value );
		wp_cache_set( $this->user_id, $this->rows, 'user_meta' );
	}

	/**
	 * Stops when the user's meta was changed in another way.
	 *
	 * @param int|int[] $mid     Not used.
	 * @param int       $user_id The user.
	 */
	public function changed( $mid, $user_id ) {
		if ( (int) $user_id === $this->user_id ) {
			$this->end();
		}
	}
}
