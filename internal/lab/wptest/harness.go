package wptest

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
)

var _ sitetest.Harness = (*Site)(nil)

// URL is the site's address, without a slash at the end.
func (s *Site) URL() string { return "http://" + s.host }

// Credentials are those of the user "spillway".
func (s *Site) Credentials() (user, appPassword string) {
	return "spillway", s.passwords["spillway"]
}

// WeakCredentials are those of the subscriber "weak".
func (s *Site) WeakCredentials() (user, appPassword string) { return "weak", s.passwords["weak"] }

// readUsers prints the users with $ids as JSON. Meta values that are lists of
// plain values become lists of strings.
const readUsers = `
$users = array();
foreach ( $ids as $id ) {
	$user = get_userdata( (int) $id );
	if ( ! $user ) {
		continue;
	}
	$meta = array();
	foreach ( get_user_meta( $user->ID ) as $key => $values ) {
		$value = maybe_unserialize( $values[0] );
		if ( is_array( $value ) ) {
			$plain = array_keys( $value ) === range( 0, count( $value ) - 1 ) && $value === array_filter( $value, 'is_scalar' );
			$meta[ $key ] = array() === $value ? array() : ( $plain ? array_map( 'strval', $value ) : (object) $value );
		} else {
			$meta[ $key ] = is_scalar( $value ) ? (string) $value : $value;
		}
	}
	$tags = $wpdb->get_var( $wpdb->prepare(
		"SELECT meta_value FROM $wpdb->usermeta WHERE user_id = %d AND meta_key = %s ORDER BY umeta_id LIMIT 1", $user->ID, $tags_key
	) );
	$users[] = array(
		'ID' => $user->ID, 'Login' => $user->user_login, 'Email' => $user->user_email,
		'DisplayName' => $user->display_name, 'URL' => $user->user_url, 'Nicename' => $user->user_nicename,
		'Registered' => $user->user_registered, 'Roles' => array_values( $user->roles ),
		'Meta' => (object) $meta, 'RawTags' => (string) $tags,
	);
}
echo wp_json_encode( $users );`

// readIDs begins scripts that find users; it names the meta keys in use.
const readIDs = `
global $wpdb;
$contact_key = Spillway_Connector_Keys::contact_id();
$tags_key    = Spillway_Connector_Keys::tags();
`

// UserByID reads a user as stored.
func (s *Site) UserByID(id int64) (sitetest.User, bool) {
	s.tb.Helper()
	users := s.users(`$ids = array( ` + strconv.FormatInt(id, 10) + ` );`)
	if len(users) == 0 {
		return sitetest.User{}, false
	}
	return users[0], true
}

// UsersByContact reads all users with a contact id, in the order of their ids.
func (s *Site) UsersByContact(contactID string) []sitetest.User {
	s.tb.Helper()
	return s.users(`$ids = $wpdb->get_col( $wpdb->prepare(
		"SELECT DISTINCT user_id FROM $wpdb->usermeta WHERE meta_key = %s AND meta_value = %s ORDER BY user_id", $contact_key, ` + quote(contactID) + `
	) );`)
}

// UsersByEmail reads all users with an address, in the order of their ids.
func (s *Site) UsersByEmail(email string) []sitetest.User {
	s.tb.Helper()
	return s.users(`$ids = $wpdb->get_col( $wpdb->prepare(
		"SELECT ID FROM $wpdb->users WHERE user_email = %s ORDER BY ID", ` + quote(email) + `
	) );`)
}

// CreateUser makes a user as the site's own forms would; no mail is sent.
func (s *Site) CreateUser(user sitetest.NewUser) int64 {
	s.tb.Helper()
	id := s.PHP(readIDs + `
$id = wp_insert_user( array(
	'user_login' => ` + typed(user.Login) + `, 'user_email' => ` + typed(user.Email) + `,
	'user_pass' => ` + typed(user.Password) + `, 'role' => ` + quote(user.Role) + ` ?: get_option( 'default_role' ),
) );
if ( is_wp_error( $id ) ) {
	throw new Exception( $id->get_error_message() );
}
if ( '' !== ` + quote(user.ContactID) + ` ) {
	update_user_meta( $id, $contact_key, ` + typed(user.ContactID) + ` );
}
echo $id;`)
	return s.number(id)
}

// PasswordWorks asks the site's own check; it does not count as a login.
func (s *Site) PasswordWorks(login, password string) bool {
	s.tb.Helper()
	return s.PHP(`
$user = wp_authenticate( `+quote(login)+`, `+typed(password)+` );
echo is_wp_error( $user ) ? 'no' : 'yes';`) == "yes"
}

// Login signs the user in as the login form does.
func (s *Site) Login(login, password string) bool {
	s.tb.Helper()
	return s.PHP(`
$_POST = array( 'log' => `+typed(login)+`, 'pwd' => `+typed(password)+` );
$user  = wp_signon();
echo is_wp_error( $user ) ? 'no' : 'yes';`) == "yes"
}

// SetPassword changes a password as the link in the login-details mail does.
func (s *Site) SetPassword(id int64, password string) {
	s.tb.Helper()
	s.PHP(`reset_password( get_userdata( ` + strconv.FormatInt(id, 10) + ` ), ` + typed(password) + ` );`)
}

// AgeOrder makes what a user is known to have stored last older by a time.
func (s *Site) AgeOrder(id int64, by time.Duration) {
	s.tb.Helper()
	s.PHP(fmt.Sprintf(`
$mark   = explode( ' ', get_user_meta( %[1]d, 'spillway_as_of', true ) );
$mark[] = array_pop( $mark ) - %[2]d;
update_user_meta( %[1]d, 'spillway_as_of', implode( ' ', $mark ) );`, id, int(by.Seconds())))
}

// ConnectionCode makes a connection code in the administrator's name.
func (s *Site) ConnectionCode() string {
	s.tb.Helper()
	return s.PHP(`
Spillway_Connector_Connection::provide();
echo Spillway_Connector_Code::make( get_user_by( 'login', 'admin' )->ID, false );`)
}

// AgeCode makes the current connection code older.
func (s *Site) AgeCode(by time.Duration) {
	s.tb.Helper()
	s.PHP(fmt.Sprintf(`
$code             = get_option( 'spillway_connector_code' );
$code['expires'] -= %d;
update_option( 'spillway_connector_code', $code );`, int(by.Seconds())))
}

// Mails lists the subjects of the mails sent to an address, oldest first.
func (s *Site) Mails(to string) []string {
	s.tb.Helper()
	var subjects []string
	for _, line := range s.lines("mails.jsonl") {
		var mail struct {
			To      []string
			Subject string
		}
		require.NoError(s.tb, json.Unmarshal([]byte(line), &mail))
		for _, recipient := range mail.To {
			if recipient == strings.ToLower(to) {
				subjects = append(subjects, mail.Subject)
			}
		}
	}
	return subjects
}

func (s *Site) users(find string) []sitetest.User {
	s.tb.Helper()
	var users []sitetest.User
	require.NoError(s.tb, json.Unmarshal([]byte(s.PHP(readIDs+find+readUsers)), &users))
	for _, user := range users {
		for key, value := range user.Meta {
			if list, ok := value.([]any); ok {
				user.Meta[key] = stringsOf(list)
			}
		}
	}
	return users
}

func stringsOf(list []any) []string {
	strings := make([]string, 0, len(list))
	for _, value := range list {
		if text, ok := value.(string); ok {
			strings = append(strings, text)
		}
	}
	return strings
}

func (s *Site) number(text string) int64 {
	s.tb.Helper()
	number, err := strconv.ParseInt(text, 10, 64)
	require.NoError(s.tb, err)
	return number
}

// lines reads a file of the site that grows by whole lines.
func (s *Site) lines(name string) []string {
	s.tb.Helper()
	content, err := os.ReadFile(s.path(name))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(s.tb, err)
	text := strings.TrimSuffix(string(content), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// quote makes a PHP string of any text.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// typed makes a PHP string as PHP sees what a person types into a form:
// WordPress adds slashes to it, and hashes and checks passwords with them. A
// password with a quote or backslash that is hashed without them never logs in.
func typed(text string) string { return "wp_slash( " + quote(text) + " )" }
