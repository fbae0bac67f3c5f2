package wptest_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

func TestWPFusionStub(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{WPFusion: true})
	require.Empty(t, site.WPFusionCalls(), "starting a site records nothing")

	t.Run("stores and fires as WP Fusion does", func(t *testing.T) { testStubStoresAndFires(t, site) })
	t.Run("records calls of the CRM", func(t *testing.T) { testStubRecordsCallsOfTheCRM(t, site) })
}

func testStubStoresAndFires(t *testing.T, site *wptest.Site) {
	t.Helper()
	id := site.CreateUser(sitetest.NewUser{Login: "ann", Email: "ann@example.com", Password: "secret", Role: "subscriber", ContactID: "123"})
	user := strconv.FormatInt(id, 10)

	site.ForgetWPFusionCalls()
	site.PHP(`wp_fusion()->user->set_tags( array( '24', '74' ), ` + user + ` );`)
	require.Equal(t, []string{
		"set_tags " + user + " 24,74",
		"crm push_user_meta_single " + user + " pulsetech_tags",
		"action wpf_tags_applied " + user + " 24,74",
		"action wpf_tags_removed " + user,
		"action wpf_tags_modified " + user + " 24,74",
	}, site.WPFusionCalls())

	site.ForgetWPFusionCalls()
	site.PHP(`wp_fusion()->user->set_tags( array( '74', '80' ), ` + user + ` );`)
	calls := strings.Join(site.WPFusionCalls(), "\n")
	require.Contains(t, calls, "action wpf_tags_applied "+user+" 80")
	require.Contains(t, calls, "action wpf_tags_removed "+user+" 24")
	stored, _ := site.UserByID(id)
	require.Equal(t, `a:2:{i:0;s:2:"74";i:1;s:2:"80";}`, stored.RawTags)

	site.PHP(`wp_fusion()->user->set_user_meta( ` + user + `, array(
	'first_name' => 'Ann', 'last_name' => '', 'zero' => '0', 'path' => 'a\b', 'html' => 'x<script>y', 'user_registered' => '2001-01-01 00:00:00',
	'display_name' => 'Ann A.', 'role' => 'Customer',
) );`)
	stored, _ = site.UserByID(id)
	require.Equal(t, "Ann", stored.Meta["first_name"])
	require.Empty(t, stored.Meta["last_name"])
	require.Equal(t, "0", stored.Meta["zero"])
	require.Equal(t, "ab", stored.Meta["path"], "WP Fusion loses backslashes")
	require.Equal(t, "xy", stored.Meta["html"], "WP Fusion cleans HTML")
	require.Equal(t, "Ann A.", stored.DisplayName)
	require.Equal(t, []string{"customer"}, stored.Roles)
	require.NotContains(t, stored.Registered, "2001")

	site.PHP(`wp_fusion()->user->set_tags( array(), ` + user + ` );`)
	stored, _ = site.UserByID(id)
	require.Empty(t, stored.RawTags)
}

func testStubRecordsCallsOfTheCRM(t *testing.T, site *wptest.Site) {
	t.Helper()
	id := site.CreateUser(sitetest.NewUser{Login: "bob", Email: "bob@example.com", Password: "secret", Role: "subscriber"})
	user := strconv.FormatInt(id, 10)
	require.Contains(t, site.WPFusionCalls(), "crm user_register "+user)
	require.Contains(t, site.WPFusionCalls(), "crm add_remove_user_role "+user+" subscriber")

	site.ForgetWPFusionCalls()
	site.SetPassword(id, "other")
	site.Login("bob", "other")
	site.PHP(`
wp_update_user( array( 'ID' => ` + user + `, 'display_name' => 'Bob' ) );
do_action( 'wpf_user_imported', ` + user + `, array( 'first_name' => 'Bob' ) );`)
	calls := site.WPFusionCalls()
	for _, call := range []string{
		"crm password_reset " + user, "crm login " + user, "crm profile_update " + user,
		"action wpf_user_imported " + user + " first_name", "crm return_password " + user,
	} {
		require.Contains(t, calls, call)
	}

	// Taken off and then brought back by WP Fusion itself: the trap for those
	// who write with its functions.
	site.ForgetWPFusionCalls()
	site.PHP(`
$handlers = wp_fusion()->user;
remove_action( 'added_user_meta', array( $handlers, 'push_user_meta_single' ) );
update_user_meta( ` + user + `, 'one', '1' );
$handlers->set_user_meta( ` + user + `, array( 'two' => '2' ) );
update_user_meta( ` + user + `, 'three', '3' );`)
	require.Equal(t, []string{"set_user_meta " + user + " two", "crm push_user_meta_single " + user + " three"}, site.WPFusionCalls())
}
