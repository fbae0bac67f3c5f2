<?php
/**
 * Removes the plugin's own marks. Users, their fields and tags, and their
 * contact ids stay: they belong to the site, and to WP Fusion.
 *
 * @package Spillway_Connector
 */

defined( 'WP_UNINSTALL_PLUGIN' ) || exit;

foreach ( array( 'spillway_tags', 'spillway_site_tags', 'spillway_unconfirmed', 'spillway_notify', 'spillway_probe', 'spillway_as_of' ) as $spillway_connector_mark ) {
	delete_metadata( 'user', 0, $spillway_connector_mark, '', true );
}
