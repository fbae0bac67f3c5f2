<?php
/**
 * An object cache that other requests share.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stands in front of WordPress's object cache while a contact is stored, and notes
 * what is put there. A rollback takes rows back, but not what hooks of other
 * plugins have put into a cache such as Redis meanwhile: everybody would go on
 * reading that.
 */
final class Spillway_Connector_Shared_Cache {

	/**
	 * WordPress's object cache.
	 *
	 * @var object|null
	 */
	private $cache;

	/**
	 * The keys that were put there, by group.
	 *
	 * @var array[]
	 */
	private $keys = array();

	/**
	 * Stands in front of a cache.
	 *
	 * @param object|null $cache WordPress's object cache.
	 */
	private function __construct( $cache ) {
		$this->cache = $cache;
	}

	/**
	 * Stands in front of the cache if others share it.
	 *
	 * @return self|null Null when nobody does.
	 */
	public static function watch() {
		global $wp_object_cache;
		if ( ! wp_using_ext_object_cache() ) {
			return null;
		}
		$watch = new self( $wp_object_cache );
		if ( is_object( $wp_object_cache ) ) {
			$wp_object_cache = $watch; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- put back by leave().
		}
		return $watch;
	}

	/**
	 * Goes out of the way.
	 *
	 * @param bool $take_back Whether to delete what was put into the cache. One
	 *                        that is no object could not be watched, and loses all.
	 */
	public function leave( $take_back ) {
		global $wp_object_cache;
		if ( $wp_object_cache === $this ) {
			$wp_object_cache = $this->cache; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- as it was.
		}
		if ( $take_back && ! is_object( $this->cache ) ) {
			wp_cache_flush();
		}
		foreach ( $take_back ? $this->keys : array() as $group => $keys ) {
			foreach ( array_keys( $keys ) as $key ) {
				wp_cache_delete( $key, $group );
			}
		}
	}

	/**
	 * Passes a call on, and notes the keys that it puts there.
	 *
	 * @param string $method    The cache's method.
	 * @param array  $arguments Its arguments.
	 * @return mixed
	 */
	public function __call( $method, array $arguments ) {
		if ( preg_match( '/^(set|add|replace|incr|decr|increment|decrement)(_multiple)?$/', $method, $parts ) && isset( $arguments[0] ) ) {
			$several = isset( $parts[2] );
			$group   = (string) ( isset( $arguments[ $several ? 1 : 2 ] ) ? $arguments[ $several ? 1 : 2 ] : '' );
			foreach ( $several ? array_keys( (array) $arguments[0] ) : array( $arguments[0] ) as $key ) {
				$this->keys[ '' === $group ? 'default' : $group ][ $key ] = true;
			}
		}
		return $this->cache->$method( ...$arguments );
	}

	/**
	 * Reads a property of the cache.
	 *
	 * @param string $name Its name.
	 * @return mixed
	 */
	public function __get( $name ) {
		return $this->cache->$name;
	}

	/**
	 * Sets a property of the cache.
	 *
	 * @param string $name  Its name.
	 * @param mixed  $value Its value.
	 */
	public function __set( $name, $value ) {
		$this->cache->$name = $value;
	}

	/**
	 * Whether the cache has a property.
	 *
	 * @param string $name Its name.
	 * @return bool
	 */
	public function __isset( $name ) {
		return isset( $this->cache->$name );
	}
}
