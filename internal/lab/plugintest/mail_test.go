package plugintest

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// brokenMail refuses mail to addresses that begin with "broken", as
// WordPress's mailer does.
const brokenMail = `<?php
add_filter( 'pre_wp_mail', function ( $done, $mail ) {
	if ( 0 === strpos( $mail['to'], 'broken' ) ) {
		do_action( 'wp_mail_failed', new WP_Error( 'wp_mail_failed', 'no mail server', $mail ) );
		return false;
	}
	return $done;
}, 5, 2 );
// The test site's own filter, which keeps mails, comes later.
add_filter( 'pre_wp_mail', function ( $done, $mail ) {
	return 0 === strpos( $mail['to'], 'broken' ) ? false : $done;
}, 20, 2 );
`

// mailService is a plugin with a wp_mail() of its own, as mail services have, beside
// one that sends.
const mailService = `<?php
function wp_mail( $to, $subject, $message, $headers = '', $attachments = array() ) {
	$mail = apply_filters( 'wp_mail', compact( 'to', 'subject', 'message', 'headers', 'attachments' ) );
	if ( '' !== $mail['to'] ) {
		file_put_contents( WP_CONTENT_DIR . '/sent', $mail['to'] . ' ' . $mail['subject'] . "\n", FILE_APPEND );
	}
	return '' !== $mail['to'];
}
add_action( 'user_register', function ( $user_id ) {
	wp_mail( get_userdata( $user_id )->user_email, 'Welcome', 'Hello' );
} );
add_filter( 'wp_new_user_notification_email', function ( $mail ) {
	$mail['subject'] = 'Login';
	return $mail;
} );
`

func TestMailsOfAnotherWPMailAreHeldBack(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"mail-service.php": mailService}})
	told := add(2, nil)
	told["notify"] = true
	for i, a := range send(t, site, add(1, nil), told) {
		require.Equal(t, "created", a.Outcome, "%d: %+v", i, a)
		require.Empty(t, a.Notes)
	}
	require.Equal(t, email(2)+" Welcome\n"+email(2)+" Login\n", site.PHP(`echo file_get_contents( WP_CONTENT_DIR . '/sent' );`))
	requireClean(t, site)
}

// notified creates contact 1 with a mail.
func notified() change {
	contact := add(1, nil)
	contact["notify"], contact["request_id"], contact["user_pass"], contact["generated_pass"] = true, "r1", "Gener8ted", true
	return contact
}

func TestMailThatFailsIsNotedAndTheUserIsKept(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"broken-mail.php": brokenMail}})
	contact := notified()
	contact["email"] = "broken@example.com"
	require.Equal(t, []string{"mail_failed"}, expect(t, site, "created", contact).Notes)
	require.Len(t, site.UsersByEmail("broken@example.com"), 1)
	require.Empty(t, expect(t, site, "created", contact).Notes, "it is not sent again")
}

func TestMailOfACreationThatWasCutOffIsSentByItsRepetition(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	contact := notified()
	id := expect(t, site, "created", contact).UserID
	require.Len(t, site.Mails(email(1)), 1)
	// As if the request had ended between commit and mail.
	site.PHP(`update_user_meta( ` + strconv.FormatInt(id, 10) + `, 'spillway_notify', '1' );`)
	replies := []<-chan reply{sendLater(site, contact), sendLater(site, contact), sendLater(site, contact)}
	for _, done := range replies {
		require.Equal(t, "created", receive(t, done, 1)[0].Outcome)
	}
	require.Len(t, site.Mails(email(1)), 2)
}

func TestAdministratorGetsNoMail(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	admin := site.PHP(`echo get_option( 'admin_email' );`)
	before := site.Mails(admin)
	expect(t, site, "created", notified())
	changed := update(1, change{"user_email": "other@example.com"})
	changed["user_pass"] = "Other-pass-1"
	expect(t, site, "updated", changed)
	require.Equal(t, before, site.Mails(admin))
	require.Len(t, site.Mails(email(1)), 1)
	require.Empty(t, site.Mails("other@example.com"))
}

func TestMagicLinkCountsAsALogin(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	contact := notified()
	id := expect(t, site, "created", contact).UserID
	// Plugins that log in by a link set the cookie without wp_signon().
	site.PHP(`
add_filter( 'send_auth_cookies', '__return_false' );
wp_set_auth_cookie( ` + strconv.FormatInt(id, 10) + ` );`)
	contact["request_id"], contact["user_pass"] = "other", "Second-pass-2"
	expect(t, site, "updated", contact)
	require.True(t, site.PasswordWorks(email(1), "Gener8ted"))
}

func TestUninstallRemovesTheMarksAlone(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	contact := notified()
	contact["tags"] = []string{"24"}
	id := expect(t, site, "created", contact).UserID
	require.NotNil(t, meta(t, site, 1, "spillway_unconfirmed"))
	site.PHP(`
update_user_meta( ` + strconv.FormatInt(id, 10) + `, 'spillway_notify', '1' );
define( 'WP_UNINSTALL_PLUGIN', 'spillway-connector/spillway-connector.php' );
include WP_PLUGIN_DIR . '/spillway-connector/uninstall.php';`)
	user := site.UsersByContact("1")[0]
	require.Equal(t, []string{"24"}, user.Meta["pulsetech_tags"])
	for key := range user.Meta {
		require.NotContains(t, key, "spillway")
	}
}
