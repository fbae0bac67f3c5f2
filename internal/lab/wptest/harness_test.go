package wptest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// The tests of the harness share a site; each has users of its own.
func TestHarness(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	require.Empty(t, site.Mails("admin@example.com"), "the installation's mail is not this site's")

	t.Run("reads users as stored", func(t *testing.T) { testReadsUsersAsStored(t, site) })
	t.Run("checks passwords as the login form does", func(t *testing.T) { testPasswordsWorkAsInTheLoginForm(t, site) })
	t.Run("counts only a login as a login", func(t *testing.T) { testOnlyALoginIsALogin(t, site) })
	t.Run("catches mail per recipient", func(t *testing.T) { testMailIsCaughtPerRecipient(t, site) })
	t.Run("runs scripts on what is stored by then", func(t *testing.T) { testScriptsSeeWhatTheSiteHasStoredSince(t, site) })
}

func testReadsUsersAsStored(t *testing.T, site *wptest.Site) {
	t.Helper()
	id := site.CreateUser(sitetest.NewUser{Login: "ann", Email: "Ann@example.com", Password: "secret", Role: "customer", ContactID: "123"})
	site.PHP(`
$id = get_user_by( 'login', 'ann' )->ID;
update_user_meta( $id, 'pulsetech_tags', array( '24', '74' ) );
update_user_meta( $id, 'path', wp_slash( 'C:\new "folder"' ) );
update_user_meta( $id, 'nothing', array() );
update_user_meta( $id, 'nested', array( 'a' => array( 1 ) ) );`)

	user, found := site.UserByID(id)
	require.True(t, found)
	require.Equal(t, id, user.ID)
	require.Equal(t, "ann", user.Login)
	require.Equal(t, "Ann@example.com", user.Email)
	require.Equal(t, []string{"customer"}, user.Roles)
	require.NotEmpty(t, user.Registered)
	require.Equal(t, "123", user.Meta["pulsetech_contact_id"])
	require.Equal(t, []string{"24", "74"}, user.Meta["pulsetech_tags"])
	require.Equal(t, `C:\new "folder"`, user.Meta["path"])
	require.Equal(t, []string{}, user.Meta["nothing"])
	require.Equal(t, map[string]any{"a": []any{float64(1)}}, user.Meta["nested"])
	require.Equal(t, `a:2:{i:0;s:2:"24";i:1;s:2:"74";}`, user.RawTags)

	require.Equal(t, []sitetest.User{user}, site.UsersByContact("123"))
	require.Equal(t, []sitetest.User{user}, site.UsersByEmail("ann@example.com"))
	require.Empty(t, site.UsersByContact("12"))
	require.Empty(t, site.UsersByEmail("bob@example.com"))
	_, found = site.UserByID(id + 1000)
	require.False(t, found)
}

func testPasswordsWorkAsInTheLoginForm(t *testing.T, site *wptest.Site) {
	t.Helper()
	const first, second = `o'first "\pass`, `a\second'one`
	id := site.CreateUser(sitetest.NewUser{Login: "pat", Email: "pat@example.com", Password: first, Role: "subscriber"})

	require.True(t, site.PasswordWorks("pat", first))
	require.True(t, site.PasswordWorks("pat@example.com", first), "the address is as good as the login")
	require.False(t, site.PasswordWorks("pat", second))
	require.False(t, site.PasswordWorks("nobody", first))
	require.True(t, formAccepts(t, site, "pat", first))
	user, _ := site.UserByID(id)
	require.Contains(t, user.Meta, "session_tokens", "the form's login is a login")

	site.SetPassword(id, second)
	require.False(t, site.PasswordWorks("pat", first))
	require.True(t, site.PasswordWorks("pat", second))
	require.True(t, formAccepts(t, site, "pat", second))
	require.Empty(t, site.Mails("pat@example.com"))
}

func testOnlyALoginIsALogin(t *testing.T, site *wptest.Site) {
	t.Helper()
	id := site.CreateUser(sitetest.NewUser{Login: "lou", Email: "lou@example.com", Password: "secret", Role: "subscriber"})
	site.PasswordWorks("lou", "secret")
	user, _ := site.UserByID(id)
	require.NotContains(t, user.Meta, "session_tokens")

	require.False(t, site.Login("lou", "wrong"))
	require.True(t, site.Login("lou", "secret"))
	user, _ = site.UserByID(id)
	require.Contains(t, user.Meta, "session_tokens")
}

func testMailIsCaughtPerRecipient(t *testing.T, site *wptest.Site) {
	t.Helper()
	id := site.CreateUser(sitetest.NewUser{Login: "may", Email: "May@example.com", Password: "secret", Role: "subscriber"})
	require.Empty(t, site.Mails("may@example.com"))
	site.PHP(`
wp_new_user_notification( ` + "get_user_by( 'login', 'may' )->ID" + `, null, 'user' );
wp_mail( array( 'bob@example.com', 'may@example.com' ), 'To two', 'text' );
wp_mail( 'bob@example.com, carl@example.com', 'To two more', 'text' );`)
	require.Positive(t, id)
	require.Equal(t, []string{"[Test site] Login Details", "To two"}, site.Mails("MAY@example.com"))
	require.Equal(t, []string{"To two", "To two more"}, site.Mails("bob@example.com"))
	require.Equal(t, []string{"To two more"}, site.Mails("carl@example.com"))
	require.Empty(t, site.Mails("example.com"))
}

func testScriptsSeeWhatTheSiteHasStoredSince(t *testing.T, site *wptest.Site) {
	t.Helper()
	site.PHP(`update_option( 'default_role', 'customer' ); add_role( 'late', 'Late', array() );`)
	require.Equal(t, "customer late", site.PHP(`echo get_option( 'default_role' ), ' ', wp_roles()->is_role( 'late' ) ? 'late' : '';`))
	require.Equal(t, "until here", site.PHP(`echo 'until here'; exit; echo 'not this';`))
	require.Equal(t, "\xff\x00", site.PHP(`echo "\xff\x00";`), "any byte comes through")
}

// formAccepts signs in with a browser's request.
func formAccepts(t *testing.T, site *wptest.Site, login, password string) bool {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	form := url.Values{"log": {login}, "pwd": {password}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, site.URL()+"/wp-login.php", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	return response.StatusCode == http.StatusFound
}
