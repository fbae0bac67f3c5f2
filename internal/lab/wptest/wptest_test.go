package wptest_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

func TestSiteStartsWithTheConnectorActive(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{
		"greeting": `<?php add_action( 'wp_head', function () { echo 'hello from a hook'; trigger_error( 'and a warning', E_USER_WARNING ); } );`,
	}})

	require.Contains(t, site.PHP(`echo implode( "\n", get_option( 'active_plugins' ) );`), "spillway-connector/")
	require.NotContains(t, site.Log(), "spillway-connector")
	require.Equal(t, "customer=Customer", site.PHP(`echo 'customer=' . wp_roles()->get_names()['customer'];`))

	status, body := site.Get("/hello-world/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "hello from a hook", "a must-use plugin of the test runs")
	require.Contains(t, site.Log(), "and a warning")
	require.NotContains(t, body, "and a warning")

	t.Run("application passwords open what their users may", func(t *testing.T) { testApplicationPasswords(t, site) })
}

func testApplicationPasswords(t *testing.T, site *wptest.Site) {
	t.Helper()
	user, password := site.Credentials()
	status, body := get(t, site.URL()+"/wp-json/wp/v2/users/me?context=edit", user, password)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"roles":["spillway"]`)
	status, body = get(t, site.URL()+"/wp-json/spillway/v1/status", user, password)
	require.Equal(t, http.StatusOK, status, body)
	status, body = get(t, site.URL()+"/wp-json/wp/v2/users?context=edit", user, password)
	require.Equal(t, http.StatusForbidden, status, "nothing but the connector's routes: %s", body)

	weak, weakPassword := site.WeakCredentials()
	status, body = get(t, site.URL()+"/wp-json/wp/v2/users/me?context=edit", weak, weakPassword)
	require.Equal(t, http.StatusOK, status, body)
	status, body = get(t, site.URL()+"/wp-json/spillway/v1/status", weak, weakPassword)
	require.Equal(t, http.StatusForbidden, status, body)
	status, body = get(t, site.URL()+"/wp-json/wp/v2/users/me", user, weakPassword)
	require.Equal(t, http.StatusUnauthorized, status, body)
}

func TestSitesDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	one := wptest.Start(t, wptest.Options{})
	leftBehind := filepath.Join(filepath.Dir(one.Dir()), "spillway-wptest-left-behind")
	require.NoError(t, os.MkdirAll(filepath.Join(leftBehind, "www"), 0o700))
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{leftBehind, one.Dir()} {
		require.NoError(t, os.Chtimes(dir, old, old))
	}
	other := wptest.Start(t, wptest.Options{})
	require.NotEqual(t, one.URL(), other.URL())
	require.NoDirExists(t, leftBehind)

	one.CreateUser(sitetest.NewUser{Login: "ann", Email: "ann@example.com", Password: "secret", Role: "customer"})
	one.PHP(`wp_mail( 'ann@example.com', 'Only here', 'text' );`)
	require.Empty(t, other.UsersByEmail("ann@example.com"))
	require.Empty(t, other.Mails("ann@example.com"))

	one.StopPHP()
	status, _ := other.Get("/hello-world/")
	require.Equal(t, http.StatusOK, status)
	require.Len(t, one.UsersByEmail("ann@example.com"), 1)
}

func TestStoppedPHPAnswers502UntilItIsBack(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{PHPWorkers: 1, Plugins: map[string]string{
		"slow.php": `<?php if ( isset( $_GET['slow'] ) ) { file_put_contents( dirname( ABSPATH ) . '/slow', '' ); sleep( 60 ); }`,
	}})
	ended := make(chan int, 1)
	go func() {
		response, err := http.Get(site.URL() + "/?slow=1")
		if err != nil {
			ended <- 0
			return
		}
		_ = response.Body.Close()
		ended <- response.StatusCode
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(site.Dir(), "slow"))
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)

	site.StopPHP()
	select {
	case status := <-ended:
		require.Equal(t, http.StatusBadGateway, status, "the request under way")
	case <-time.After(30 * time.Second):
		require.Fail(t, "a request under way outlives the PHP that served it")
	}
	status, _ := site.Get("/hello-world/")
	require.Equal(t, http.StatusBadGateway, status)
	require.Equal(t, "still here", site.PHP(`echo 'still here';`))

	site.StartPHP()
	status, _ = site.Get("/hello-world/")
	require.Equal(t, http.StatusOK, status)
}

func TestEndOfTheTestLeavesNoProcessAndNoFolder(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("site", func(t *testing.T) {
		site := wptest.Start(t, wptest.Options{})
		dir = site.Dir()
		require.NotEmpty(t, processesOf(t, dir))
	})
	require.NotEmpty(t, dir)
	require.Empty(t, processesOf(t, dir))
	require.NoDirExists(t, dir)
}

func TestNetworkHasTwoSitesWithTheConnectorActive(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Multisite: true})
	require.Equal(t, "2", site.PHP(`echo is_multisite() ? count( get_sites() ) : 0;`))
	require.Contains(t, site.PHP(`echo implode( "\n", array_keys( get_site_option( 'active_sitewide_plugins' ) ) );`), "spillway-connector/")

	user, password := site.Credentials()
	for _, url := range []string{site.URL(), site.URL() + "/second"} {
		status, body := get(t, url+"/wp-json/wp/v2/users/me?context=edit", user, password)
		require.Equal(t, http.StatusOK, status, "%s: %s", url, body)
		require.Contains(t, body, url+"/wp-json/wp/v2/users/", "the site's own address")
		status, body = get(t, url+"/wp-json/spillway/v1/status", user, password)
		require.Equal(t, http.StatusOK, status, "%s: %s", url, body)
	}
	status, _ := site.Get("/second/")
	require.Equal(t, http.StatusOK, status)
	rights := site.PHP(`
wp_set_current_user( get_user_by( 'login', 'spillway' )->ID );
foreach ( array( 'read', 'create_users', 'edit_users', 'manage_options', 'manage_network_users' ) as $right ) {
	echo $right, '=', (int) current_user_can( $right ), ' ';
}`)
	require.Equal(t, "read=1 create_users=0 edit_users=0 manage_options=0 manage_network_users=0 ", rights)
}

func TestWithoutWordPressTestsAreSkippedButFailInCI(t *testing.T) {
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		recorder := &verdict{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			wptest.Start(recorder, wptest.Options{WordPressDir: t.TempDir()})
		}()
		<-done
		require.Equal(t, ci == "", recorder.skipped != "")
		require.Equal(t, ci != "", recorder.failed != "")
		require.Contains(t, recorder.skipped+recorder.failed, wptest.Packages)
	}
}

// verdict notes how a test would have ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Skip(args ...any) {
	v.skipped = args[0].(error).Error()
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) {
	v.failed = args[0].(error).Error()
	runtime.Goexit()
}

func get(t *testing.T, url, user, password string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, strings.ReplaceAll(string(content), `\/`, "/")
}

// processesOf lists the command lines that name a folder.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		if bytes.Contains(content, []byte(dir)) {
			found = append(found, string(content))
		}
	}
	return found
}
