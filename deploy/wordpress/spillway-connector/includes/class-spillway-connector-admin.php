<?php
/**
 * What wp-admin shows of Spillway.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * The page Tools » Spillway, its link in the list of plugins, and three lines
 * on a user's profile where WP Fusion shows none. There are no settings: the
 * page shows the state, and connects and disconnects.
 */
final class Spillway_Connector_Admin {

	const PAGE = 'spillway';

	/**
	 * Proposes a text for the site's privacy policy.
	 */
	public static function start() {
		wp_add_privacy_policy_content(
			'Spillway Connector',
			'<p>' . esc_html__( 'Your name, your e-mail address and other fields that you gave us come to this site from our customer database (CRM), with the tags that decide what you have access to. The site keeps the number that you have in that database.', 'spillway-connector' ) . '</p>'
		);
	}

	/**
	 * Adds the page to the menu.
	 */
	public static function menu() {
		add_management_page( __( 'Spillway', 'spillway-connector' ), __( 'Spillway', 'spillway-connector' ), 'manage_options', self::PAGE, array( __CLASS__, 'page' ) );
	}

	/**
	 * The page's address.
	 *
	 * @return string
	 */
	public static function url() {
		return admin_url( 'tools.php?page=' . self::PAGE );
	}

	/**
	 * Adds a link to the plugin's line in the list of plugins.
	 *
	 * @param string[] $links The links.
	 * @return string[]
	 */
	public static function links( $links ) {
		array_unshift( $links, sprintf( '<a href="%s">%s</a>', esc_url( self::url() ), esc_html__( 'Status', 'spillway-connector' ) ) );
		return $links;
	}

	/**
	 * Shows the page.
	 */
	public static function page() {
		if ( ! current_user_can( 'manage_options' ) ) {
			return;
		}
		echo '<div class="wrap"><h1>', esc_html__( 'Spillway', 'spillway-connector' ), '</h1>';
		Spillway_Connector_Connect_Page::act();
		$found = Spillway_Connector_Hindrances::found();
		echo '<p>', esc_html__( 'Spillway brings changes of contacts from the CRM to the users of this site. There is nothing to set here.', 'spillway-connector' ), '</p>';
		Spillway_Connector_Connect_Page::show();
		echo '<h2>', esc_html__( 'What hinders it', 'spillway-connector' ), '</h2>';
		if ( array() === $found ) {
			echo '<p>', esc_html__( 'Nothing that this site can see.', 'spillway-connector' ), '</p>';
		} else {
			echo '<ul class="ul-disc">';
			foreach ( $found as $hindrance ) {
				echo '<li>', esc_html( $hindrance ), '</li>';
			}
			echo '</ul>';
		}
		echo '<h2>', esc_html__( 'What is there', 'spillway-connector' ), '</h2>';
		self::table( Spillway_Connector_Health::facts(), 'widefat striped' );
		echo '</div>';
	}

	/**
	 * Shows on a user's profile which contact the user is. WP Fusion shows the
	 * same where it is active.
	 *
	 * @param WP_User $user The user.
	 */
	public static function profile( $user ) {
		if ( '' !== Spillway_Connector_Fusion::version() || ! current_user_can( 'edit_users' ) ) {
			return;
		}
		$lines = Spillway_Connector_Privacy::known( $user->ID );
		if ( array() !== $lines ) {
			echo '<h2>', esc_html__( 'Spillway', 'spillway-connector' ), '</h2>';
			self::table( $lines, 'form-table' );
		}
	}

	/**
	 * Shows a table of two columns.
	 *
	 * @param string[][] $lines Label and value of each line.
	 * @param string     $style Its class.
	 */
	private static function table( array $lines, $style ) {
		echo '<table class="', esc_attr( $style ), '"><tbody>';
		foreach ( $lines as $line ) {
			echo '<tr><th scope="row">', esc_html( $line[0] ), '</th><td>', esc_html( $line[1] ), '</td></tr>';
		}
		echo '</tbody></table>';
	}
}
