package plugintest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/browsertest"
	"spillway/internal/lab/wptest"
	"spillway/internal/operate/connect"
	"spillway/internal/site"
)

// signIn signs a person in at wp-login.php, whoever was before, and opens Tools »
// Spillway.
func signIn(b *browsertest.Browser, login, password string) {
	b.Open("/wp-login.php?reauth=1&redirect_to=%2Fwp-admin%2Ftools.php%3Fpage%3Dspillway")
	// WordPress's script empties a field before it moves the focus there.
	b.Eventually("document.readyState === 'complete' && ['user_login', 'user_pass'].includes(document.activeElement.id)")
	b.Text(fmt.Sprintf("(document.getElementById('user_login').value = %q, document.getElementById('user_pass').value = %q)", login, password))
	b.Click("#wp-submit")
	b.Eventually("location.pathname === '/wp-admin/tools.php' && document.readyState === 'complete'")
}

// toContent follows WordPress's own link past its menus, by keyboard.
func toContent(b *browsertest.Browser) {
	b.Press("\t")
	b.Eventually("document.activeElement.className.includes('screen-reader-shortcut')")
	b.Press("\r")
}

// tabTo presses Tab, as someone without a mouse, until an element has the focus.
func tabTo(t *testing.T, b *browsertest.Browser, id string) {
	t.Helper()
	for range 15 {
		if b.Text("document.activeElement.id || ''") == id {
			return
		}
		b.Press("\t")
	}
	t.Fatalf("%s cannot be reached with the keyboard", id)
}

// TestToolsSpillwayInABrowser does what an administrator does, by keyboard alone.
func TestToolsSpillwayInABrowser(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{WPFusion: true})
	wp.PHP(fusionSettings + `
update_option( 'show_avatars', 0 ); // they come from elsewhere
WP_Application_Passwords::delete_all_application_passwords( get_user_by( 'login', 'spillway' )->ID );
foreach ( array( 'admin', 'weak' ) as $login ) {
	wp_set_password( 'of the ' . $login, get_user_by( 'login', $login )->ID );
}`)
	b := browsertest.Start(t, wp.URL())
	signIn(b, "admin", "of the admin")
	b.Has("Spillway is not connected.")
	b.Has("Nothing that this site can see.")
	b.Has("What is there")

	toContent(b)
	tabTo(t, b, "spillway-fusion")
	require.NotEmpty(t, b.Text("document.getElementById('spillway-fusion').labels[0].innerText.trim()"))
	b.Press(" ")
	b.Eventually("document.getElementById('spillway-fusion').checked")
	tabTo(t, b, "spillway-connect")
	b.Press("\r")
	b.Eventually("document.readyState === 'complete' && document.activeElement.id === 'spillway-connection-code'")
	const code = "document.getElementById('spillway-connection-code')"
	b.Eventually(code + ".labels[0].innerText.includes('Connection code')")
	b.Eventually(code + ".selectionStart === 0 && " + code + ".selectionEnd === " + code + ".value.length")
	require.Equal(t, 1, b.Number("document.querySelectorAll('#spillway-connection-code').length"))
	b.Has("Nothing that this site can see.")
	shown, err := connect.ParseCode(b.Text(code + ".value"))
	require.NoError(t, err)

	b.Open("/wp-admin/tools.php?page=spillway")
	b.Has("A connection code waits to be used until")
	require.Zero(t, b.Number("document.querySelectorAll('#spillway-connection-code').length"), "it is shown once")
	given, err := exchange(t, shown, false)
	require.NoError(t, err)
	require.NotNil(t, given.Fusion, "the box was ticked")
	with := func(o *site.Options) { o.User, o.AppPassword = given.User, given.Password }
	require.NoError(t, status(t, wp, with))
	b.Open("/wp-admin/tools.php?page=spillway")
	b.Has("Spillway is connected as the user " + given.User)
	b.Has("One was used last on")

	toContent(b)
	tabTo(t, b, "spillway-disconnect")
	b.Press("\r")
	b.Has("Disconnected: all application passwords of Spillway's user are revoked.")
	b.Has("Spillway is not connected.")
	requireHindered(t, "wrong_password", status(t, wp, with))
	for _, complaint := range b.Complaints() {
		// WordPress's jQuery says that it is there.
		require.True(t, strings.HasPrefix(complaint, "console.log: JQMIGRATE"), complaint)
	}

	signIn(b, "weak", "of the weak")
	b.Has("not allowed to access this page")
	require.Zero(t, b.Number("document.querySelectorAll('textarea, #spillway-connect').length"))
	b.Open("/wp-admin/profile.php")
	require.Zero(t, b.Number("document.querySelectorAll('a[href*=\"page=spillway\"]').length"), "nor is it in the menu")
	requireClean(t, wp)
}
