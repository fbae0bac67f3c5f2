<?php
/**
 * Must-use plugin of the test site: keeps mail in a file, and leaves requests
 * where they were sent.
 */

defined( 'ABSPATH' ) || exit;

// On a port of its own the site would redirect its pages in circles.
remove_action( 'template_redirect', 'redirect_canonical' );

// A file, not a table: a mail that left the site does not come back with a
// transaction that is rolled back.
add_filter(
	'pre_wp_mail',
	function ( $done, $mail ) {
		$to = $mail['to'];
		if ( ! is_array( $to ) ) {
			$to = explode( ',', $to );
		}
		$line = wp_json_encode(
			array(
				'to'      => array_map( 'strtolower', array_map( 'trim', $to ) ),
				'subject' => (string) $mail['subject'],
				'message' => (string) $mail['message'],
			)
		);
		file_put_contents( WPTEST_MAILS, $line . "\n", FILE_APPEND | LOCK_EX );
		return true;
	},
	10,
	2
);
