package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// requireNobodyRose requires that no user of the contacts has a capability of
// an administrator, whatever way it may have come.
func requireNobodyRose(t *testing.T, site *wptest.Site, what string) {
	t.Helper()
	require.Empty(t, site.PHP(`
wp_cache_flush();
foreach ( get_users( array( 'search' => 'c*@example.com', 'search_columns' => array( 'user_email' ) ) ) as $user ) {
	if ( user_can( $user, 'manage_options' ) || user_can( $user, 'promote_users' ) || is_super_admin( $user->ID )
		|| $user->user_level > 0 || WP_Session_Tokens::get_instance( $user->ID )->get_all() || get_user_meta( $user->ID, '_application_passwords', true ) ) {
		echo $user->user_email, ' ', implode( ',', $user->roles ), "\n";
	}
}`), what)
}

// posted sends a whole body, with roles and all, as Spillway's user.
func posted(t *testing.T, site *wptest.Site, body map[string]any) {
	t.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(t, err)
	r, err := http.NewRequest(http.MethodPost, site.URL()+contactsPath, bytes.NewReader(encoded))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(site.Credentials())
	response, err := (&http.Client{Timeout: time.Minute}).Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// However a contact or a whole request asks for it, nobody becomes an
// administrator, neither by creation nor by update.
func TestNoWayLeadsToAnAdministrator(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]wptest.Options{"one site": {}, "network": {Multisite: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := wptest.Start(t, options)
			site.PHP(`
add_role( 'boss', 'Boss', array( 'read' => true, 'manage_options' => true ) );
add_role( 'clerk', 'Clerk', array( 'read' => true, 'promote_users' => true ) );
update_option( 'default_role', 'administrator' );`)
			const serialised = `a:1:{s:13:"administrator";b:1;}`
			wishes := map[string]func(contact change, fields change){}
			for _, role := range []string{
				"administrator", "Administrator", "ADMINISTRATOR", " administrator", "administrator\n", "boss", "Boss", "clerk",
				"super_admin", "10", `["administrator"]`, serialised, "subscriber,administrator", "administrator\x00", "ａdministrator",
			} {
				wishes["role "+role] = func(contact, _ change) { contact["role"] = role }
				wishes["field role "+role] = func(_, fields change) { fields["role"] = role }
			}
			wishes["a list of roles"] = func(_, fields change) { fields["role"] = []string{"administrator"} }
			for _, key := range []string{
				"wp_capabilities", "wp_2_capabilities", "capabilities", "caps", "allcaps", "WP_Capabilities", "wp_user_level", "user_level",
				"roles", "session_tokens", "_application_passwords", "ID", "user_pass", "site_admins", "super_admin", "meta_input", "user_status",
			} {
				wishes["field "+key] = func(_, fields change) { fields[key] = serialised }
				wishes["list in field "+key] = func(_, fields change) { fields[key] = []string{"administrator"} }
				wishes["number in field "+key] = func(_, fields change) { fields[key] = "10" }
			}
			for _, member := range []string{"roles", "caps", "capabilities", "wp_capabilities", "meta_input", "user_level", "super_admin", "ID", "id", "user_id"} {
				wishes["member "+member] = func(contact, _ change) { contact[member] = change{"administrator": true} }
			}
			id := 100
			var contacts []change
			for _, wish := range wishes {
				id++
				users(t, site, id, 1)
				fields, newFields := change{"first_name": "Eve"}, change{}
				existing, created := update(id, fields), add(id+1000, newFields)
				wish(existing, fields)
				wish(created, newFields)
				contacts = append(contacts, existing, created)
			}
			for _, allowed := range []map[string]any{
				{"roles_allowed": []string{"subscriber", "customer"}, "default_role": ""},
				{"roles_allowed": []string{"administrator", "Administrator", "boss", "clerk", "subscriber"}, "default_role": "administrator"},
				{"roles_allowed": []string{}, "default_role": "boss"},
			} {
				for first := 0; first < len(contacts); first += 100 {
					allowed["contacts"] = contacts[first:min(first+100, len(contacts))]
					posted(t, site, allowed)
				}
				requireNobodyRose(t, site, fmt.Sprint(allowed["roles_allowed"]))
			}
			require.NotEmpty(t, site.UsersByEmail(email(1101)), "the contacts were stored")
		})
	}
}

// Whoever can write contacts in the CRM cannot take the account of somebody who
// could take the site: not the address, not the password, not the role.
func TestAccountsThatManageTheSiteAreOutOfReach(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	site.PHP(`add_role( 'clerk', 'Clerk', array( 'read' => true, 'edit_users' => true ) );`)
	for i, role := range []string{"administrator", "clerk", "editor"} {
		login, id := "staff"+strconv.Itoa(i), 10+i
		site.CreateUser(sitetest.NewUser{Login: login, Email: email(id), Password: "Own-pass-1", Role: role})
		contact := add(id, change{"user_email": "taken@example.com"})
		contact["user_pass"], contact["role"] = "Taken-over-1", "subscriber"
		send(t, site, contact)
		stored := site.UsersByEmail(email(id))
		require.Len(t, stored, 1, role)
		require.Equal(t, []string{role}, stored[0].Roles)
		require.True(t, site.PasswordWorks(login, "Own-pass-1"), role)
	}
	require.Empty(t, site.UsersByEmail("taken@example.com"))
}

// sum is a sum over all that a site has of users and options, but for when an
// application password was last used and what WordPress does by the clock.
func sum(site *wptest.Site) string {
	return site.PHP(`
global $wpdb;
echo md5( wp_json_encode( array(
	$wpdb->get_results( "SELECT * FROM {$wpdb->users} ORDER BY ID" ),
	$wpdb->get_results( "SELECT * FROM {$wpdb->usermeta} WHERE meta_key NOT IN ( '_application_passwords', 'session_tokens' ) ORDER BY umeta_id" ),
	$wpdb->get_results( "SELECT * FROM {$wpdb->options} WHERE option_name NOT LIKE '%transient%' AND option_name <> 'cron' ORDER BY option_id" ),
) ) );`)
}

func TestASubscribersApplicationPasswordChangesNothing(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	users(t, site, 1, 1)
	before := sum(site)
	weak, password := site.WeakCredentials()
	for _, contact := range []change{add(2, change{"first_name": "Eve"}), update(1, change{"first_name": "Eve", "role": "administrator"})} {
		got := request(site, weak, password, contactsPath, contact)
		require.Equal(t, http.StatusForbidden, got.status, got.body)
		require.NotContains(t, got.body, "example.com")
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{contactsPath, "/wp-json/spillway/v1/status"} {
			r, err := http.NewRequest(method, site.URL()+path, strings.NewReader(`{"contacts":[]}`))
			require.NoError(t, err)
			r.SetBasicAuth(weak, password)
			response, err := (&http.Client{Timeout: time.Minute}).Do(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Contains(t, []int{http.StatusForbidden, http.StatusNotFound}, response.StatusCode, method+path)
		}
	}
	require.Equal(t, before, sum(site))
}

// The plugin has no form, so it needs no nonce of its own; WordPress asks for
// one when a browser's cookie is all that comes along.
func TestAnAdministratorsCookieAloneStoresNothing(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	site.CreateUser(sitetest.NewUser{Login: "chief", Email: "chief@example.org", Password: "Chief-pass-1", Role: "administrator"})
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	response, err := browser.PostForm(site.URL()+"/wp-login.php", url.Values{"log": {"chief"}, "pwd": {"Chief-pass-1"}})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	at, err := url.Parse(site.URL())
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(jar.Cookies(at)), "wordpress_logged_in", "the browser is logged in")

	body := `{"roles_allowed":["subscriber"],"contacts":[{"contact_id":"5","action":"add","email":"` + email(5) + `"}]}`
	// A page elsewhere can send these types without asking.
	for _, contentType := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded"} {
		response, err := browser.Post(site.URL()+contactsPath, contentType, strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, response.StatusCode)
	}
	require.Empty(t, site.UsersByEmail(email(5)))
}
