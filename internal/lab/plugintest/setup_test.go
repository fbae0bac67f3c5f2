package plugintest

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/wptest"
	"spillway/internal/site"
)

// behind is a server block in which PHP gets what fastcgi says of requests for
// REST routes.
func behind(fastcgi string) string {
	return `
location ^~ /wp-json/ {
	fastcgi_pass unix:DIR/fpm.sock;
	fastcgi_param SCRIPT_FILENAME $document_root/index.php;
	fastcgi_param SCRIPT_NAME /index.php;
	fastcgi_param REQUEST_URI $request_uri;
	fastcgi_param REQUEST_METHOD $request_method;
	fastcgi_param QUERY_STRING $query_string;
	fastcgi_param CONTENT_TYPE $content_type;
	fastcgi_param CONTENT_LENGTH $content_length;
	fastcgi_param SERVER_PROTOCOL $server_protocol;
	fastcgi_param SERVER_NAME $server_addr;
	` + fastcgi + `
}`
}

// The staging site's web server asks Spillway alone, not the tests, for a
// password.
const (
	stagingHTTP = `map $http_user_agent $staging { default off; Spillway "Staging"; }`
	stagingSite = `auth_basic $staging; auth_basic_user_file DIR/htpasswd;`
)

// status asks the site for its status as Spillway does; changes alter how.
func status(t *testing.T, wp *wptest.Site, change func(*site.Options)) error {
	t.Helper()
	user, password := wp.Credentials()
	options := site.Options{URL: wp.URL(), User: user, AppPassword: password}
	if change != nil {
		change(&options)
	}
	client, err := site.New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })
	_, err = client.Status(t.Context())
	return err
}

// requireHindered checks which hindrance Spillway tells of, and that it names
// no secret.
func requireHindered(t *testing.T, code string, err error) site.Hindered {
	t.Helper()
	var hindered *site.Hindered
	require.ErrorAs(t, err, &hindered)
	require.Equal(t, code, hindered.Code, "%v", err)
	require.NotEmpty(t, hindered.Remedy)
	_, isOutage := contact.AsOutage(err)
	require.True(t, isOutage)
	return *hindered
}

func TestWhatKeepsSpillwayOutIsNamed(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{Plugins: map[string]string{
		// What the security plugins do, switched on by an option.
		"security.php": `<?php
switch ( get_option( 'security' ) ) {
	case 'wordfence':
		add_filter( 'wp_is_application_passwords_available', '__return_false' );
		break;
	case 'solid':
		add_filter( 'wp_is_application_passwords_available_for_user', '__return_false' );
		break;
	case 'addresses':
		add_action( 'wp_authenticate_application_password_errors', function ( $error ) {
			$error->add( 'address_blocked', 'Your address is blocked.' );
		} );
		break;
	case 'disable-rest-api':
		add_filter( 'rest_authentication_errors', function ( $access ) {
			return is_wp_error( $access ) ? $access : new WP_Error( 'rest_cannot_access', 'DRA: Only authenticated users can access the REST API.', array( 'status' => 403 ) );
		} );
		break;
	case 'aios':
		add_action( 'rest_api_init', function () {
			if ( ! is_user_logged_in() ) {
				wp_die( 'You are not authorized to perform this action.' );
			}
		}, 0 );
		break;
	case 'noisy': // as PHP is where it shows its messages
		echo "<br />\n<b>Deprecated</b>:  {closure}(): Implicit conversion in <b>functions.php</b> on line <b>3</b><br />\n";
		add_action( 'shutdown', function () { echo "\nWarning: {main} Undefined array key\n"; }, 99 );
		break;
}`,
	}})
	require.NoError(t, status(t, wp, nil))

	requireHindered(t, "wrong_password", status(t, wp, func(o *site.Options) { o.AppPassword = "abcd efgh" }))
	requireHindered(t, "unknown_user", status(t, wp, func(o *site.Options) { o.User = "nobody" }))
	weak, weakPassword := wp.WeakCredentials()
	requireHindered(t, "no_right", status(t, wp, func(o *site.Options) { o.User, o.AppPassword = weak, weakPassword }))

	for setting, code := range map[string]string{
		"wordfence": "passwords_off", "solid": "passwords_off", "addresses": "refused",
		"disable-rest-api": "rest_closed", "aios": "refused_page",
	} {
		wp.PHP(`update_option( 'security', '` + setting + `' );`)
		hindered := requireHindered(t, code, status(t, wp, nil))
		switch setting {
		case "aios":
			require.Contains(t, hindered.Text, "«You are not authorized to perform this action.»")
		case "disable-rest-api":
			require.Contains(t, hindered.Text, "rest_cannot_access")
		}
	}
	wp.PHP(`update_option( 'security', 'noisy' );`)
	_, body := wp.Get("/wp-json/")
	require.True(t, strings.HasPrefix(body, "<br />"), body)
	require.NoError(t, status(t, wp, nil))
	wp.PHP(`delete_option( 'security' );`)
	require.NoError(t, status(t, wp, nil))
	requireClean(t, wp)
}

func TestHeaderThatTheServerKeepsBackDoesNoHarm(t *testing.T) {
	t.Parallel()
	// As Apache does with PHP as CGI.
	wp := wptest.Start(t, wptest.Options{NginxServer: behind(`fastcgi_param HTTP_AUTHORIZATION "";`)})
	require.NoError(t, status(t, wp, nil))

	neither := wptest.Start(t, wptest.Options{NginxServer: behind(`fastcgi_param HTTP_AUTHORIZATION ""; fastcgi_param HTTP_X_SPILLWAY_AUTHORIZATION "";`)})
	requireHindered(t, "no_credentials", status(t, neither, nil))
}

// Without .htaccess nothing tells Apache to hand the header to PHP.
func TestApacheThatReadsNoAccessFileIsNoHindrance(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	wp.StartApache(addr, wptest.Apache{
		Host: "<Directory " + wp.Dir() + "/www>\nAllowOverride None\nFallbackResource /index.php\n</Directory>",
	})
	by := func(header string) string {
		user, password := wp.Credentials()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+statusPath, nil)
		require.NoError(t, err)
		request.SetBasicAuth(user, password)
		credentials := request.Header.Get("Authorization")
		request.Header.Del("Authorization")
		request.Header.Set(header, credentials)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(content)
	}
	require.Contains(t, by("Authorization"), `"code":"spillway_no_credentials"`)
	require.Contains(t, by("X-Spillway-Authorization"), `"protocol":`)
	require.NoError(t, status(t, wp, func(o *site.Options) { o.URL = "http://" + addr }))
}

// The second header opens the connector's routes and no other.
func TestSecondHeaderOpensNothingElse(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{})
	user, password := wp.Credentials()
	own := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	for _, path := range []string{
		"/wp-json/wp/v2/users/me", "/?rest_route=/wp/v2/users/me",
		statusPath + "?rest_route=/wp/v2/users/me", "/wp-json/wp/v2/users/me?x=/spillway/v1/status",
	} {
		require.Equal(t, http.StatusUnauthorized, secondHeader(t, wp, http.MethodGet, path, own, ""), path)
	}
	require.Equal(t, http.StatusUnauthorized, secondHeader(t, wp, http.MethodPost, statusPath, own, "rest_route=/wp/v2/settings"))
	require.Equal(t, http.StatusOK, secondHeader(t, wp, http.MethodGet, "/?rest_route=/spillway/v1/status", own, ""))
	require.Equal(t, http.StatusOK, secondHeader(t, wp, http.MethodGet, "/index.php"+statusPath, own, ""))
}

// secondHeader sends a form, or nothing, with the second header alone.
func secondHeader(t *testing.T, wp *wptest.Site, method, path, value, form string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, wp.URL()+path, strings.NewReader(form))
	require.NoError(t, err)
	request.Header.Set("X-Spillway-Authorization", value)
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

func TestProxyThatKeepsHTTPSToItselfIsNamed(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{Production: true})
	requireHindered(t, "no_tls", status(t, wp, nil))

	told := wptest.Start(t, wptest.Options{Production: true, NginxServer: behind(`fastcgi_param HTTPS on; fastcgi_param HTTP_AUTHORIZATION $http_authorization;`)})
	require.NoError(t, status(t, told, nil))
}

func TestStagingSiteBehindBasicAuthentication(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{NginxHTTP: stagingHTTP, NginxServer: stagingSite})
	require.NoError(t, os.WriteFile(filepath.Join(wp.Dir(), "htpasswd"), []byte("stage:{PLAIN}s3cr@t\n"), 0o644))
	hindered := requireHindered(t, "server_password", status(t, wp, nil))
	require.Contains(t, hindered.Remedy, "SPILLWAY_SITE_URL=https://USER:PASSWORD@HOST")

	with := func(password string) func(*site.Options) {
		return func(o *site.Options) { o.URL = "http://stage:" + password + "@" + wp.URL()[len("http://"):] }
	}
	err := status(t, wp, with("wrong"))
	requireHindered(t, "server_password", err)
	require.NotContains(t, err.Error(), "stage:")
	require.NoError(t, status(t, wp, with("s3cr%40t")))

	// WordPress's own decision stays the connector's password.
	requireHindered(t, "wrong_password", status(t, wp, func(o *site.Options) {
		with("s3cr%40t")(o)
		o.AppPassword = "abcd efgh"
	}))

	code := codeIn(t, press(wp, "admin", "connect", ""))
	_, err = exchange(t, code, false)
	requireHindered(t, "server_password", err)
	code.Site = code.Address("http://stage:s3cr%40t@" + wp.URL()[len("http://"):])
	given, err := exchange(t, code, false)
	require.NoError(t, err)
	require.NoError(t, status(t, wp, func(o *site.Options) { o.URL, o.User, o.AppPassword = code.Site, given.User, given.Password }))
}

func TestRoutesAreFoundWherePrettyAddressesAreNot(t *testing.T) {
	t.Parallel()
	for name, wp := range map[string]*wptest.Site{
		"plain permalinks": wptest.Start(t, wptest.Options{}),
		"another prefix": wptest.Start(t, wptest.Options{Plugins: map[string]string{"prefix.php": `<?php
get_option( 'prefix' ) && add_filter( 'rest_url_prefix', function () { return get_option( 'prefix' ); } );`}}),
		"a rule that hides them": wptest.Start(t, wptest.Options{
			NginxHTTP:   `map $http_user_agent $hidden { default 0; Spillway 1; }`,
			NginxServer: `location ^~ /wp-json/ { if ($hidden) { return 404; } rewrite ^ /index.php last; }`,
		}),
	} {
		switch name {
		case "plain permalinks":
			wp.PHP(`update_option( 'permalink_structure', '' ); flush_rewrite_rules();`)
		case "another prefix":
			wp.PHP(`update_option( 'prefix', 'api' ); delete_option( 'rewrite_rules' );`)
		}
		user, password := wp.Credentials()
		client, err := site.New(site.Options{URL: wp.URL(), User: user, AppPassword: password})
		require.NoError(t, err)
		// The first request is a POST: nobody has asked for the status before.
		for id := 1; id <= 2; id++ {
			result, err := client.Store(t.Context(), contact.Change{ContactID: "1", Action: "add", Email: email(id)})
			require.NoError(t, err, name)
			require.NotZero(t, result.UserID)
		}
		_, err = client.Status(t.Context(), "first_name")
		require.NoError(t, err, name)
		require.NoError(t, client.Close(context.Background()))
	}
}

func TestDatabaseWithoutLocksOrTransactionsIsTold(t *testing.T) {
	t.Parallel()
	wp := wptest.Start(t, wptest.Options{Plugins: map[string]string{"no-locks.php": `<?php
if ( get_option( 'no_locks' ) ) {
	add_filter( 'query', function ( $query ) { // as a cluster in strict mode answers
		return str_replace( 'GET_LOCK(', 'NO_SUCH_FUNCTION(', $query );
	} );
}`}})
	user, password := wp.Credentials()
	client, err := site.New(site.Options{URL: wp.URL(), User: user, AppPassword: password})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })
	wp.PHP(`
update_option( 'no_locks', 1 );
$GLOBALS['wpdb']->query( 'ALTER TABLE ' . $GLOBALS['wpdb']->usermeta . ' ENGINE=MyISAM' );`)
	status, err := client.Status(t.Context())
	require.NoError(t, err)
	require.False(t, *status.Locks)
	require.False(t, *status.Transactions)
	requireClean(t, wp)
}
