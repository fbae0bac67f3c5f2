<?php
/**
 * The meta of a user who is being inserted.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Writes the meta of a user who is being inserted in one query. WordPress asks
 * for each row whether there is one, adds it, drops the user's cached meta and
 * reads all of it again for the next; what a user has who did not exist a moment
 * ago is known without asking.
 *
 * Hooks see the same as ever, but that all rows are there when the first is
 * reported. Where a plugin wants to have a say before a row is written,
 * WordPress writes them one by one.
 *
 * It ends with the insertion: what is decided later is decided by what the
 * database holds. A shared object cache is left alone, since others would read
 * there what is not committed yet.
 */
final class Spillway_Connector_Fresh {

	/**
	 * The most bytes that are written in one query. What is larger is for
	 * WordPress: a database drops the connection over a query that it holds for
	 * too large, and the transaction with it.
	 */
	const MAX_BYTES = 65536;

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
	 * The rows of write() that are being reported, by id.
	 *
	 * @var array
	 */
	private $written = array();

	/**
	 * Begins with what a user has who was just inserted: nothing, or what some
	 * plugin's hook has added by now.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    What is to be written, slashed, by key.
	 * @return array What is left for WordPress to write: all or nothing.
	 */
	public function begin( $user_id, array $meta ) {
		$user_id    = (int) $user_id;
		$known      = update_meta_cache( 'user', array( $user_id ) );
		$this->rows = isset( $known[ $user_id ] ) ? $known[ $user_id ] : array();
		$reported   = has_action( 'added_user_meta' );
		$rows       = $this->prepared( $user_id, $meta );
		$done       = array() !== $rows && $this->write( $user_id, $rows );
		if ( ! wp_using_ext_object_cache() ) {
			$this->follow( $user_id );
		}
		if ( $done && $reported ) {
			$this->report( $user_id, $rows );
		}
		return $done ? array() : $meta;
	}

	/**
	 * Reads meta as update_user_meta() would.
	 *
	 * @param int   $user_id The user.
	 * @param array $meta    Slashed values by key.
	 * @return array Values by key; empty when WordPress is to write them.
	 */
	private function prepared( $user_id, array $meta ) {
		if ( has_filter( 'update_user_metadata' ) || has_filter( 'add_user_metadata' ) || has_action( 'add_user_meta' ) ) {
			return array();
		}
		$rows  = array();
		$bytes = 0;
		$taken = array_change_key_case( $this->rows );
		foreach ( $meta as $key => $value ) {
			$key    = wp_unslash( (string) $key );
			$value  = sanitize_meta( $key, wp_unslash( $value ), 'user', get_object_subtype( 'user', $user_id ) );
			$bytes += strlen( $key ) + strlen( (string) maybe_serialize( $value ) );
			// MySQL holds keys for the same that differ in case alone.
			$lower = strtolower( $key );
			if ( '' === $key || null === $value || isset( $taken[ $lower ] ) || $bytes > self::MAX_BYTES ) {
				return array();
			}
			$taken[ $lower ] = true;
			$rows[ $key ]    = $value;
		}
		return $rows;
	}

	/**
	 * Writes rows of meta that the user has none of.
	 *
	 * @param int   $user_id The user.
	 * @param array $rows    Values by key.
	 * @return bool Whether they are written; if not, none is.
	 */
	private function write( $user_id, array $rows ) {
		global $wpdb;
		$values = array();
		foreach ( $rows as $key => $value ) {
			array_push( $values, $user_id, $key, maybe_serialize( $value ) );
		}
		$places = implode( ', ', array_fill( 0, count( $rows ), '(%d, %s, %s)' ) );
		$count  = $wpdb->query( $wpdb->prepare( "INSERT INTO {$wpdb->usermeta} (user_id, meta_key, meta_value) VALUES $places", $values ) ); // phpcs:ignore WordPress.DB -- $places holds placeholders.
		wp_cache_delete( $user_id, 'user_meta' );
		if ( count( $rows ) !== $count ) {
			return false;
		}
		foreach ( $rows as $key => $value ) {
			$this->rows[ $key ][] = (string) maybe_serialize( $value );
		}
		return true;
	}

	/**
	 * Tells the hooks of other plugins of rows that were written.
	 *
	 * @param int   $user_id The user.
	 * @param array $rows    Values by key.
	 */
	private function report( $user_id, array $rows ) {
		global $wpdb;
		$found = $wpdb->get_results( $wpdb->prepare( "SELECT umeta_id, meta_key FROM {$wpdb->usermeta} WHERE user_id = %d ORDER BY umeta_id", $user_id ) ); // phpcs:ignore WordPress.DB -- they are cached, but for their ids.
		foreach ( $found as $row ) {
			if ( array_key_exists( $row->meta_key, $rows ) ) {
				$this->written[ (int) $row->umeta_id ] = true;
				do_action( 'added_user_meta', (int) $row->umeta_id, $user_id, $row->meta_key, $rows[ $row->meta_key ] ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own.
			}
		}
		$this->written = array();
	}

	/**
	 * Keeps the user's cached meta as the hooks of WordPress and of plugins
	 * change it.
	 *
	 * @param int $user_id The user.
	 */
	private function follow( $user_id ) {
		$this->user_id = $user_id;
		wp_cache_set( $user_id, $this->rows, 'user_meta' );
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
	 * @param int    $mid     The row's id.
	 * @param int    $user_id The user.
	 * @param string $key     The key.
	 * @param mixed  $value   The value.
	 */
	public function added( $mid, $user_id, $key, $value ) {
		if ( (int) $user_id !== $this->user_id || isset( $this->written[ (int) $mid ] ) ) {
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
