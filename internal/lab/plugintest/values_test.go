package plugintest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// Old sites have tables of utf8, which knows no emoji and not all Chinese letters.
func TestLettersThatTheTablesDoNotKnowStopNoContact(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	users(t, site, 1, 1)
	site.PHP(`
global $wpdb;
$wpdb->query( "ALTER TABLE $wpdb->users CONVERT TO CHARACTER SET utf8 COLLATE utf8_unicode_ci" );
$wpdb->query( "ALTER TABLE $wpdb->usermeta CONVERT TO CHARACTER SET utf8 COLLATE utf8_unicode_ci" );`)
	fields := change{"first_name": "Ann \U00020BB7", "last_name": "Łee", "display_name": "Ann \U0001F600", "plain": "1"}
	kept := []string{"field_kept:first_name", "field_kept:display_name"}
	contact := add(2, fields)
	contact["tags"] = []string{"7"}
	require.ElementsMatch(t, kept, expect(t, site, "created", contact).Notes)
	require.Equal(t, "Łee", meta(t, site, 2, "last_name"))
	require.Equal(t, []string{"7"}, meta(t, site, 2, "pulsetech_tags"))
	require.Equal(t, "Ann Łee", site.UsersByContact("2")[0].DisplayName)

	contact = update(1, fields)
	contact["tags"] = []string{"7"}
	require.ElementsMatch(t, kept, expect(t, site, "updated", contact).Notes)
	require.Equal(t, []string{"7"}, meta(t, site, 1, "pulsetech_tags"))

	// Tags decide on access: nobody is told that they are stored.
	contact["tags"] = []string{"gold \U0001F947"}
	contact["fields"] = change{"plain": "2"}
	got := expect(t, site, "failed", contact)
	require.Equal(t, "refused", got.Error.Code)
	require.Equal(t, "1", meta(t, site, 1, "plain"))
	requireClean(t, site)
}

func TestValuesThatWordPressCannotBearAreNotStored(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	users(t, site, 1, 2)

	// WordPress dies of lists where a profile has a text.
	list := update(1, change{"first_name": []string{"Ann", "Bo"}, "description": []string{"one", "two"}})
	expect(t, site, "updated", list)
	require.Equal(t, "Ann, Bo", meta(t, site, 1, "first_name"))
	require.Equal(t, "one, two", meta(t, site, 1, "description"))

	// Nobody logs in with a password that WordPress does not hash, or trims away.
	for i, password := range []string{strings.Repeat("x", 4097), " \t "} {
		contact := update(1, nil)
		contact["user_pass"] = password
		require.Equal(t, []string{"field_kept:user_pass"}, expect(t, site, "unchanged", contact).Notes)
		created := add(10+i, nil)
		created["user_pass"] = password
		require.Equal(t, []string{"field_kept:user_pass"}, expect(t, site, "created", created).Notes)
		require.Equal(t, "1", meta(t, site, 10+i, "default_password_nag"))
	}
	require.True(t, site.PasswordWorks("user1", "old-Pass-1"))

	// A login that is somebody's address belongs to that person.
	site.CreateUser(sitetest.NewUser{Login: "boss", Email: "boss@example.com", Password: "Own-pass-1", Role: "administrator"})
	taken := add(20, nil)
	taken["user_login"] = "Boss@example.com"
	require.Equal(t, "user_login_taken", expect(t, site, "failed", taken).Error.Code)

	// Some other plugin's list in place of a contact id names no contact.
	site.PHP(`update_user_meta( ` + strconv.FormatInt(site.UsersByContact("2")[0].ID, 10) + `, 'pulsetech_contact_id', array( '2' ) );`)
	broken := update(2, change{"plain": "1"})
	broken["email"] = email(2)
	require.Empty(t, expect(t, site, "updated", broken).Notes)
	require.Equal(t, "2", meta(t, site, 2, "pulsetech_contact_id"))
	requireClean(t, site)
}
