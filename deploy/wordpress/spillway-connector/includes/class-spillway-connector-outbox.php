<?php
/**
 * The mails of other plugins.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Holds mails back while a contact is stored. A mail that has left can't be taken
 * back with the transaction, and the next try would send it again. After the
 * commit the mails are sent, or dropped.
 */
final class Spillway_Connector_Outbox {

	/**
	 * The hooks that WordPress asks while it sends. Plugins add to them for one
	 * mail and take that back, so each mail keeps them as they were.
	 */
	const HOOKS = array( 'wp_mail_content_type', 'wp_mail_charset', 'wp_mail_from', 'wp_mail_from_name', 'phpmailer_init', 'wp_mail_failed', 'wp_mail_succeeded' );

	/**
	 * The recipient of a mail that goes nowhere.
	 */
	const TO_NOBODY = '';

	/**
	 * The mails held: what WordPress was to send, and the hooks by name.
	 *
	 * @var array[]
	 */
	private $held = array();

	/**
	 * Plugins that send in WordPress's place, set aside meanwhile.
	 *
	 * @var WP_Hook|null
	 */
	private $senders = null;

	/**
	 * Holds mails back from now on. WordPress's own about changed addresses and
	 * passwords are not made at all.
	 */
	public function open() {
		$this->senders = self::swap( 'pre_wp_mail', null );
		add_filter( 'pre_wp_mail', array( $this, 'hold' ), PHP_INT_MAX, 2 );
		if ( self::has_another_function() ) {
			add_filter( 'wp_mail', array( $this, 'empty' ), PHP_INT_MAX );
		}
		add_filter( 'send_email_change_email', '__return_false', PHP_INT_MAX );
		add_filter( 'send_password_change_email', '__return_false', PHP_INT_MAX );
	}

	/**
	 * Holds a mail back, and tells its sender that it is sent.
	 *
	 * @param bool|null $done Not null when a plugin has seen to it.
	 * @param array     $mail What WordPress is to send.
	 * @return bool|null
	 */
	public function hold( $done, $mail ) {
		if ( null !== $done || Spillway_Connector_Ends::is_dying() ) {
			return $done;
		}
		if ( self::TO_NOBODY === $mail['to'] ) {
			return true; // It is held already.
		}
		$hooks = array();
		foreach ( self::HOOKS as $name ) {
			$hooks[ $name ] = isset( $GLOBALS['wp_filter'][ $name ] ) ? clone $GLOBALS['wp_filter'][ $name ] : null;
		}
		$this->held[] = array( $mail, $hooks );
		return true;
	}

	/**
	 * Holds a mail back where a plugin has a wp_mail() of its own, as those of mail
	 * services do. Most of them ask this filter and not the other. What they send
	 * then is for nobody, as WP Fusion does it.
	 *
	 * @param array $mail What is to be sent.
	 * @return array
	 */
	public function empty( $mail ) {
		if ( Spillway_Connector_Ends::is_dying() ) {
			return $mail;
		}
		$this->hold( null, $mail );
		return array( 'to' => self::TO_NOBODY ) + (array) $mail;
	}

	/**
	 * Whether wp_mail() is a plugin's.
	 *
	 * @return bool
	 */
	private static function has_another_function() {
		return 0 !== strpos( wp_normalize_path( (string) ( new ReflectionFunction( 'wp_mail' ) )->getFileName() ), wp_normalize_path( ABSPATH . WPINC ) );
	}

	/**
	 * Lets mails go again, those that are held apart.
	 *
	 * @return array[] The mails held, for send().
	 */
	public function close() {
		remove_filter( 'pre_wp_mail', array( $this, 'hold' ), PHP_INT_MAX );
		remove_filter( 'wp_mail', array( $this, 'empty' ), PHP_INT_MAX );
		remove_filter( 'send_email_change_email', '__return_false', PHP_INT_MAX );
		remove_filter( 'send_password_change_email', '__return_false', PHP_INT_MAX );
		$added = self::swap( 'pre_wp_mail', $this->senders );
		foreach ( null === $added ? array() : $added->callbacks as $priority => $callbacks ) {
			foreach ( $callbacks as $callback ) {
				add_filter( 'pre_wp_mail', $callback['function'], $priority, $callback['accepted_args'] );
			}
		}
		$held       = $this->held;
		$this->held = array();
		return $held;
	}

	/**
	 * Sends mails that were held. Only the plugins that sent them know what they
	 * are for, so failures are not reported.
	 *
	 * @param array[] $mails What close() returned.
	 */
	public static function send( array $mails ) {
		foreach ( $mails as list( $mail, $hooks ) ) {
			// The filter of this name has had the mail already.
			$hooks['wp_mail'] = null;
			$others           = array();
			foreach ( $hooks as $name => $hook ) {
				$others[ $name ] = self::swap( $name, $hook );
			}
			try {
				wp_mail( ...array_values( array_merge( array_fill_keys( array( 'to', 'subject', 'message', 'headers', 'attachments' ), '' ), $mail ) ) );
			} catch ( Throwable $thrown ) {
				unset( $thrown ); // The contact is stored all the same.
			}
			foreach ( $others as $name => $hook ) {
				self::swap( $name, $hook );
			}
		}
	}

	/**
	 * Puts a hook in the place of another one.
	 *
	 * @param string       $name Name of the hook.
	 * @param WP_Hook|null $hook Null: none.
	 * @return WP_Hook|null What was there.
	 */
	private static function swap( $name, $hook ) {
		global $wp_filter;
		$other = isset( $wp_filter[ $name ] ) ? $wp_filter[ $name ] : null;
		if ( null === $hook ) {
			unset( $wp_filter[ $name ] );
		} else {
			$wp_filter[ $name ] = $hook; // phpcs:ignore WordPress.WP.GlobalVariablesOverride -- put back afterwards.
		}
		return $other;
	}
}
