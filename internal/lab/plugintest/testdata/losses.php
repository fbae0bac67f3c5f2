<?php
/**
 * Stores contacts while something ends the transaction before one query after
 * the other, and compares each answer with what another connection finds in the
 * database. $way is how it ends, $action what is stored, $alone whether the
 * contact is a request of its own, $from and $several which queries. Prints what
 * differs, and how often it was tried: less than that when no query was left.
 */

function losses_connect() {
	global $wpdb;
	list( , , $socket ) = $wpdb->parse_db_host( DB_HOST );
	return mysqli_connect( 'localhost', DB_USER, DB_PASSWORD, DB_NAME, 0, $socket );
}

$other  = losses_connect();
$before = 0; // Before which query; zero: no more.
$ended  = '';
add_filter(
	'query',
	function ( $query ) use ( $other, $way, &$before, &$ended ) {
		global $wpdb;
		if ( $before <= 0 || --$before > 0 ) {
			return $query;
		}
		$ended = $query;
		if ( 'KILL' !== $way ) {
			// No hook runs between the end of the savepoint and the commit.
			if ( 'COMMIT' !== $query ) {
				mysqli_query( $wpdb->dbh, $way );
			}
			return $query;
		}
		$thread = mysqli_thread_id( $wpdb->dbh );
		mysqli_query( $other, "KILL $thread" );
		do {
			$there = mysqli_query( $other, "SELECT 1 FROM information_schema.processlist WHERE ID = $thread" );
		} while ( $there->num_rows > 0 );
		return $query;
	},
	PHP_INT_MAX
);

// Passwords cost from WordPress 6.8 on more than all the rest.
add_filter(
	'wp_hash_password_options',
	function () {
		return array( 'cost' => 4 );
	}
);

/** Makes the user of a contact, past WordPress. */
function losses_user( mysqli $db, $id, $action ) {
	$hash = 'confirm' === $action ? '$P$Bold' : 'x';
	$db->query( "INSERT INTO wp_users (user_login, user_nicename, user_email, user_pass, display_name, user_registered) VALUES ('u$id', 'u$id', 'c$id@example.com', '$hash', 'Old', '2020-01-01')" );
	$user = $db->insert_id;
	$meta = array(
		'pulsetech_contact_id' => $id,
		'first_name'           => 'Old',
		'pulsetech_tags'       => serialize( array( '1' ) ),
		'wp_capabilities'      => serialize( array( 'subscriber' => true ) ),
		'wp_user_level'        => '0',
	);
	if ( 'confirm' === $action ) {
		$meta['spillway_unconfirmed'] = serialize( Spillway_Connector_Password::mark( (string) $id, "r$id", $hash ) );
	}
	$rows = array();
	foreach ( $meta as $key => $value ) {
		$rows[] = "($user, '$key', '$value')";
	}
	$db->query( 'INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES ' . implode( ', ', $rows ) );
}

/** What is wrong with an answer, empty if nothing is. */
function losses_wrong( mysqli $db, array $contact, array $result ) {
	$id       = $contact['contact_id'];
	$creation = 'create' === $contact['case'];
	if ( $result['outcome'] !== ( $creation ? 'created' : 'updated' ) ) {
		return 'answered ' . wp_json_encode( $result );
	}
	$users = $db->query( "SELECT ID, user_email FROM wp_users WHERE user_email IN ('c$id@example.com', 'new$id@example.com')" )->fetch_all( MYSQLI_ASSOC );
	if ( 1 !== count( $users ) || (int) $users[0]['ID'] !== $result['user_id'] ) {
		return 'users ' . wp_json_encode( $users );
	}
	$meta = array();
	foreach ( $db->query( "SELECT meta_key, meta_value FROM wp_usermeta WHERE user_id = {$users[0]['ID']}" )->fetch_all( MYSQLI_ASSOC ) as $row ) {
		if ( isset( $meta[ $row['meta_key'] ] ) ) {
			return "two rows of {$row['meta_key']}";
		}
		$meta[ $row['meta_key'] ] = $row['meta_value'];
	}
	$wanted = array( 'pulsetech_contact_id' => $id );
	if ( 'confirm' === $contact['case'] ) {
		$wanted['spillway_unconfirmed'] = null;
	} else {
		$wanted['pulsetech_tags'] = serialize( array( '7' ) );
	}
	if ( isset( $contact['fields'] ) ) {
		$wanted += $contact['fields'];
		unset( $wanted['user_email'] );
		$wanted['wp_capabilities'] = serialize( array( 'customer' => true ) );
		if ( $users[0]['user_email'] !== $contact['fields']['user_email'] ) {
			return 'the address is not stored';
		}
	}
	foreach ( $wanted as $key => $value ) {
		if ( $value !== ( isset( $meta[ $key ] ) ? $meta[ $key ] : null ) ) {
			return "$key is not stored";
		}
	}
	if ( isset( $contact['as_of'] ) && ( ! isset( $meta['spillway_as_of'] ) || 0 !== strpos( $meta['spillway_as_of'], "$id {$contact['as_of']} " ) ) ) {
		return 'the pass is not noted';
	}
	if ( $creation ) {
		$mark = isset( $meta['spillway_unconfirmed'] ) ? unserialize( $meta['spillway_unconfirmed'] ) : array();
		if ( ! isset( $mark['request_id'] ) || "r$id" !== $mark['request_id'] ) {
			return 'the creation is not marked';
		}
		$mails = substr_count( (string) file_get_contents( WPTEST_MAILS ), '"to":["c' . $id . '@example.com"]' );
		if ( 1 !== $mails || isset( $meta['spillway_notify'] ) ) {
			return "$mails mails";
		}
	}
	return '';
}

rest_get_server();
wp_set_current_user( get_user_by( 'login', 'spillway' )->ID );
$tried = 0;
for ( $query = $from; $query < $from + $several; $query++ ) {
	$contacts = array();
	$other->begin_transaction();
	for ( $place = 0; $place < ( $alone ? 1 : 3 ); $place++ ) {
		$id      = $first + 3 * $query + $place;
		$contact = array(
			'case'       => $action,
			'contact_id' => (string) $id,
			'action'     => 'create' === $action ? 'add' : $action,
			'request_id' => "r$id",
		);
		if ( 'confirm' !== $action ) {
			$contact += array(
				'as_of' => 5,
				'email' => "c$id@example.com",
				'tags'  => array( '7' ),
			);
		}
		if ( in_array( $action, array( 'create', 'add', 'update' ), true ) ) {
			$contact['fields'] = array(
				'first_name' => 'New',
				'company'    => "C$id",
				'user_email' => 'create' === $action ? "c$id@example.com" : "new$id@example.com",
			);
			$contact['role']   = 'customer';
		}
		if ( 'create' === $action ) {
			$contact += array(
				'user_pass'      => 'Gener8ted',
				'generated_pass' => true,
				'notify'         => true,
			);
		} else {
			losses_user( $other, $id, $action );
		}
		$contacts[] = $contact;
	}
	$other->commit();
	$request = new WP_REST_Request( 'POST', '/spillway/v1/contacts' );
	$request->set_header( 'Content-Type', 'application/json' );
	$request->set_body( wp_json_encode( array( 'roles_allowed' => array( 'customer' ), 'contacts' => $contacts ) ) );
	$ended  = '';
	$before = $query;
	$answer = rest_do_request( $request )->get_data();
	if ( $before > 0 ) {
		break; // No query is left to come before.
	}
	++$tried;
	foreach ( $contacts as $place => $contact ) {
		$wrong = losses_wrong( $other, $contact, $answer['results'][ $place ] );
		if ( '' !== $wrong ) {
			echo "$way before query $query, ", substr( preg_replace( '/\s+/', ' ', $ended ), 0, 120 ), ": contact $place: $wrong\n";
		}
	}
}
$orphans = $other->query( 'SELECT m.user_id, m.meta_key FROM wp_usermeta m LEFT JOIN wp_users u ON u.ID = m.user_id WHERE u.ID IS NULL' )->fetch_all( MYSQLI_ASSOC );
if ( array() !== $orphans ) {
	echo 'rows without a user: ', wp_json_encode( $orphans ), "\n";
}
echo "tried $tried";
