<?php
/**
 * Connecting and disconnecting in wp-admin.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * The part of Tools » Spillway with its two buttons. Only the answer to the press
 * of the button shows the code.
 */
final class Spillway_Connector_Connect_Page {

	const FIELD      = 'spillway_action';
	const CONNECT    = 'connect';
	const DISCONNECT = 'disconnect';
	const FUSION     = 'spillway_fusion';

	/**
	 * Does what a button asked for, and shows the result. Only the page calls
	 * it, after it has checked the capability.
	 */
	public static function act() {
		if ( ! isset( $_POST[ self::FIELD ] ) ) {
			return;
		}
		$action = sanitize_key( wp_unslash( $_POST[ self::FIELD ] ) );
		check_admin_referer( self::nonce( $action ) );
		if ( self::CONNECT === $action ) {
			self::connect( ! empty( $_POST[ self::FUSION ] ) );
		} elseif ( self::DISCONNECT === $action ) {
			Spillway_Connector_Connection::disconnect();
			self::notice( 'success', __( 'Disconnected: all application passwords of Spillway\'s user are revoked. What was stored stays.', 'spillway-connector' ) );
		}
	}

	/**
	 * Shows the state of the connection and the buttons.
	 */
	public static function show() {
		echo '<h2>', esc_html__( 'Connection', 'spillway-connector' ), '</h2>';
		echo '<p>', esc_html( self::state() ), '</p>';
		$obstacle = self::obstacle();
		if ( '' !== $obstacle ) {
			echo '<p>', esc_html( $obstacle ), '</p>';
		} else {
			self::form( self::CONNECT, array( __CLASS__, 'fusion' ), __( 'Connect', 'spillway-connector' ), 'primary' );
		}
		if ( array() !== Spillway_Connector_Connection::passwords() || 0 !== Spillway_Connector_Code::expires() ) {
			self::form( self::DISCONNECT, '__return_empty_string', __( 'Disconnect', 'spillway-connector' ), 'secondary' );
		}
	}

	/**
	 * Shows the box with which WP Fusion's settings are handed over.
	 */
	public static function fusion() {
		if ( ! Spillway_Connector_Handover::is_possible() ) {
			return;
		}
		$why = Spillway_Connector_Handover::refusal();
		printf(
			'<p><label for="spillway-fusion"><input type="checkbox" id="spillway-fusion" name="%s" value="1" aria-describedby="spillway-fusion-help"%s> %s</label></p><p class="description" id="spillway-fusion-help">%s</p>',
			esc_attr( self::FUSION ),
			disabled( '' !== $why, true, false ),
			esc_html__( 'Also hand over WP Fusion\'s settings', 'spillway-connector' ),
			'' !== $why ? esc_html( $why ) : esc_html__( 'Its access key, the CRM\'s address and token, and which fields go where. WP Fusion keeps them and goes on working.', 'spillway-connector' )
		);
	}

	/**
	 * Makes a code and shows it.
	 *
	 * @param bool $fusion Whether WP Fusion's settings go with it.
	 */
	private static function connect( $fusion ) {
		$obstacle = self::obstacle();
		$user     = '' === $obstacle ? Spillway_Connector_Connection::provide() : null;
		if ( ! $user instanceof WP_User ) {
			self::notice( 'error', is_wp_error( $user ) ? $user->get_error_message() : $obstacle );
			return;
		}
		$code = Spillway_Connector_Code::make( get_current_user_id(), $fusion && '' === Spillway_Connector_Handover::refusal() );
		// WordPress's script would move a notice that is not inline, and the focus away.
		echo '<div class="notice notice-success inline" role="status">';
		echo '<p><label for="spillway-connection-code"><strong>', esc_html__( 'Connection code', 'spillway-connector' ), '</strong></label></p>';
		printf( '<p><textarea id="spillway-connection-code" class="large-text code" rows="4" readonly autofocus spellcheck="false" onfocus="this.select()">%s</textarea></p>', esc_textarea( $code ) );
		// The focus that the page begins with selects nothing by itself.
		echo '<script>document.getElementById( "spillway-connection-code" ).select();</script>';
		echo '<p>', esc_html__( 'Copy it now, it is shown once. On the machine of Spillway run the following command and paste the code. It counts for one hour and for one use.', 'spillway-connector' ), '</p>';
		echo '<p><code>spillway connect -</code></p></div>';
	}

	/**
	 * Why no code can be made.
	 *
	 * @return string Translated; empty: nothing.
	 */
	private static function obstacle() {
		if ( ! Spillway_Connector_Code::may_travel() ) {
			return __( 'No code can be made, since WordPress does not see HTTPS: what it opens must not travel in plain text.', 'spillway-connector' );
		}
		if ( ! wp_is_application_passwords_available() ) {
			return __( 'No code can be made, since application passwords are switched off.', 'spillway-connector' );
		}
		return '';
	}

	/**
	 * The state of the connection.
	 *
	 * @return string Translated.
	 */
	private static function state() {
		$passwords = Spillway_Connector_Connection::passwords();
		$expires   = Spillway_Connector_Code::expires();
		$state     = array();
		if ( array() === $passwords ) {
			$state[] = __( 'Spillway is not connected.', 'spillway-connector' );
		} else {
			$used    = max( array_map( 'intval', wp_list_pluck( $passwords, 'last_used' ) ) );
			$state[] = sprintf(
				/* translators: 1: login name, 2: number of application passwords */
				_n( 'Spillway is connected as the user %1$s, with %2$d application password.', 'Spillway is connected as the user %1$s, with %2$d application passwords.', count( $passwords ), 'spillway-connector' ),
				Spillway_Connector_Connection::user()->user_login,
				count( $passwords )
			);
			$state[] = 0 === $used ? __( 'None of them has been used yet.', 'spillway-connector' ) : sprintf(
				/* translators: %s: date and time */
				__( 'One was used last on %s.', 'spillway-connector' ),
				Spillway_Connector_Visits::date( $used )
			);
		}
		if ( 0 !== $expires ) {
			/* translators: %s: date and time */
			$state[] = sprintf( __( 'A connection code waits to be used until %s.', 'spillway-connector' ), Spillway_Connector_Visits::date( $expires ) );
		}
		return implode( ' ', $state );
	}

	/**
	 * Shows a button's form.
	 *
	 * @param string   $action What the button does.
	 * @param callable $fields Shows the form's fields.
	 * @param string   $label  The button's label, translated.
	 * @param string   $style  Its style.
	 */
	private static function form( $action, $fields, $label, $style ) {
		printf( '<form method="post" action="%s">', esc_url( Spillway_Connector_Admin::url() ) );
		wp_nonce_field( self::nonce( $action ) );
		printf( '<input type="hidden" name="%s" value="%s">', esc_attr( self::FIELD ), esc_attr( $action ) );
		call_user_func( $fields );
		submit_button( $label, $style, 'spillway-' . $action, true, array( 'id' => 'spillway-' . $action ) );
		echo '</form>';
	}

	/**
	 * Shows a notice.
	 *
	 * @param string $kind "success" or "error".
	 * @param string $text Translated.
	 */
	private static function notice( $kind, $text ) {
		printf( '<div class="notice notice-%s" role="status"><p>%s</p></div>', esc_attr( $kind ), esc_html( $text ) );
	}

	/**
	 * The name of a button's nonce.
	 *
	 * @param string $action What the button does.
	 * @return string
	 */
	private static function nonce( $action ) {
		return 'spillway-' . $action;
	}
}
