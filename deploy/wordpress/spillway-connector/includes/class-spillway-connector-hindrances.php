<?php
/**
 * What on this site hinders Spillway.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Looks for settings of the site that keep Spillway out or make storing less
 * safe. It asks the database twice and changes nothing.
 */
final class Spillway_Connector_Hindrances {

	/**
	 * Whether the database has named locks. Some clusters and proxies refuse them.
	 *
	 * @return bool
	 */
	public static function has_locks() {
		global $wpdb;
		$suppressed = $wpdb->suppress_errors( true );
		$name       = 'spillway:check:' . wp_generate_password( 12, false );
		$taken      = $wpdb->get_var( $wpdb->prepare( 'SELECT GET_LOCK(%s, 0) + RELEASE_LOCK(%s)', $name, $name ) ); // phpcs:ignore WordPress.DB -- no data.
		$wpdb->suppress_errors( $suppressed );
		return '2' === (string) $taken;
	}

	/**
	 * Whether both tables of users take part in transactions.
	 *
	 * @return bool
	 */
	public static function has_transactions() {
		global $wpdb;
		// phpcs:ignore WordPress.DB -- the engine is no data.
		$count = $wpdb->get_var( $wpdb->prepare( "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (%s, %s) AND ENGINE = 'InnoDB'", $wpdb->users, $wpdb->usermeta ) );
		return '2' === (string) $count;
	}

	/**
	 * What hinders, in words for an administrator.
	 *
	 * @return string[] Translated sentences; empty when nothing does.
	 */
	public static function found() {
		$found = array();
		if ( ! is_ssl() && 'local' !== wp_get_environment_type() ) {
			$found[] = __( 'WordPress does not see HTTPS, and takes application passwords over HTTPS only. If a proxy in front of this site speaks HTTPS, let it send X-Forwarded-Proto, and set $_SERVER[\'HTTPS\'] from it in wp-config.php.', 'spillway-connector' );
		} elseif ( ! wp_is_application_passwords_available() ) {
			$found[] = __( 'Application passwords are switched off. Security plugins do that. In Wordfence untick "Disable WordPress application passwords" under All Options; Solid Security has it among its settings of WordPress\'s API.', 'spillway-connector' );
		}
		if ( ! self::has_rest() ) {
			$found[] = __( 'A plugin closes the REST API for visitors. Let it except the routes below spillway/v1.', 'spillway-connector' );
		}
		if ( ! self::has_locks() ) {
			$found[] = __( 'The database refuses named locks (GET_LOCK), so no contact can be stored. Percona XtraDB Cluster and ProxySQL have settings for them.', 'spillway-connector' );
		}
		if ( ! self::has_transactions() ) {
			$found[] = __( 'The tables of users and their fields are not InnoDB: what a contact had stored before it failed stays.', 'spillway-connector' );
		}
		if ( array() === self::users() ) {
			$found[] = __( 'No user has the role Spillway. Connect makes one.', 'spillway-connector' );
		}
		return $found;
	}

	/**
	 * The users whom Spillway may use.
	 *
	 * @return WP_User[] At most ten.
	 */
	public static function users() {
		return get_users(
			array(
				'role'   => Spillway_Connector_Rights::ROLE,
				'number' => 10,
			)
		);
	}

	/**
	 * Whether a visitor who has not signed in reaches the plugin's routes, to be
	 * refused by them. Asked inside this request, not over the network.
	 *
	 * @return bool
	 */
	private static function has_rest() {
		$user_id = get_current_user_id();
		wp_set_current_user( 0 );
		// WordPress's own check would take the nonce of a form for one of the API.
		$checked = remove_filter( 'rest_authentication_errors', 'rest_cookie_check_errors', 100 );
		$errors  = apply_filters( 'rest_authentication_errors', null ); // phpcs:ignore WordPress.NamingConventions.PrefixAllGlobals -- WordPress's own.
		if ( $checked ) {
			add_filter( 'rest_authentication_errors', 'rest_cookie_check_errors', 100 );
		}
		wp_set_current_user( $user_id );
		return ! is_wp_error( $errors );
	}
}
