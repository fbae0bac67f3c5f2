package plugintest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// integration is a plugin that, as WP Fusion's integrations do, converts one
// field for its own storage and takes another one over.
const integration = `<?php
add_filter( 'wpf_set_user_meta', function ( $meta ) {
	if ( isset( $meta['birthday'] ) ) {
		$meta['birthday'] = str_replace( '-', '', $meta['birthday'] );
	}
	if ( isset( $meta['profile_field'] ) ) {
		update_option( 'profile_field', $meta['profile_field'] );
		unset( $meta['profile_field'] );
	}
	return $meta;
} );
`

func startWithFusion(t *testing.T) *wptest.Site {
	t.Helper()
	return wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"integration.php": integration}})
}

// calls are WP Fusion's since the last look. WordPress notes the use of an
// application password before the plugin runs; that one is no call of interest.
func calls(site *wptest.Site) []string {
	calls := slices.DeleteFunc(site.WPFusionCalls(), func(call string) bool {
		return strings.HasSuffix(call, " _application_passwords")
	})
	site.ForgetWPFusionCalls()
	return calls
}

func requireNoCRMCall(t *testing.T, calls []string) {
	t.Helper()
	for _, call := range calls {
		require.False(t, strings.HasPrefix(call, "crm "), call)
	}
}

func TestWritingBesideWPFusionCallsNoCRM(t *testing.T) {
	t.Parallel()
	site := startWithFusion(t)
	fields := change{"first_name": "Ann", "display_name": `Ann \ Lee`, "user_url": "https://a.example.com", "company": "Lee & Sons"}
	creation := add(1, fields)
	creation["tags"], creation["role"], creation["notify"] = []string{"24", "74"}, "customer", true
	creation["user_pass"], creation["generated_pass"], creation["request_id"] = "Gener8ted", true, "r1"
	site.ForgetWPFusionCalls()
	id := expect(t, site, "created", creation).UserID
	require.Equal(t, []string{
		fmt.Sprintf("set_user_meta %d company,display_name,first_name,user_url", id),
		fmt.Sprintf("set_tags %d 24,74", id),
		fmt.Sprintf("action wpf_tags_applied %d 24,74", id),
		fmt.Sprintf("action wpf_tags_removed %d", id),
		fmt.Sprintf("action wpf_tags_modified %d 24,74", id),
		fmt.Sprintf("action wpf_user_imported %d company,display_name,first_name,user_url,user_email,user_login,user_pass,role,pulsetech_contact_id", id),
	}, calls(site))

	changed := update(1, change{"first_name": "Bo", "user_email": "bo@example.com", "display_name": "Bo"})
	changed["tags"], changed["role"], changed["user_pass"] = []string{"24"}, "subscriber", "Other-pass-1"
	expect(t, site, "updated", changed)
	seen := calls(site)
	requireNoCRMCall(t, seen)
	require.Contains(t, seen, fmt.Sprintf("action wpf_tags_removed %d 74", id))
	require.Contains(t, seen, fmt.Sprintf("action wpf_user_updated %d display_name,first_name,user_email", id))

	expect(t, site, "unchanged", changed)
	requireNoCRMCall(t, calls(site))
	requireClean(t, site)
}

func TestWhatWPFusionHasStoredStays(t *testing.T) {
	t.Parallel()
	site := startWithFusion(t)
	users(t, site, 1, 1)
	fields := change{
		"note": `a\b "c" & <i onclick=x>d</i>`, "first_name": "A & B <c>", "last_name": "one\ntwo 50%41",
		"display_name": `Bo \ "x" & y`, "list": []string{`x\y`, "z"}, "mail": "me%40example.com",
	}
	for _, outcome := range []string{"updated", "unchanged", "unchanged"} {
		require.Empty(t, expect(t, site, outcome, update(1, fields)).Notes)
		require.Equal(t, `ab "c" & <i>d</i>`, meta(t, site, 1, "note"))
		require.Equal(t, "A & B", meta(t, site, 1, "first_name"))
		require.Equal(t, "one two 50", meta(t, site, 1, "last_name"))
		require.Equal(t, []string{"xy", "z"}, meta(t, site, 1, "list"))
		require.Equal(t, "me@example.com", meta(t, site, 1, "mail"))
		require.Equal(t, `Bo  "x" &amp; y`, site.UsersByContact("1")[0].DisplayName)
	}
}

// WP Fusion decodes entities after it has cleaned a value: a text about HTML
// becomes HTML.
func TestTextThatWPFusionWouldDecodeIsNoScript(t *testing.T) {
	t.Parallel()
	site := startWithFusion(t)
	for i, attack := range []string{
		"&lt;script&gt;alert(1)&lt;/script&gt;<b>x</b>", "&lt;img src=x onerror=alert(2)&gt; > x", `<a title="x&quot; onmouseover=&quot;alert(3)">t</a>`,
		"<b>x</b><script src=//evil.example.com ", "&amp;lt;script&amp;gt;alert(4)&amp;lt;/script&amp;gt;<b>x</b>",
		"<b>x</b>&#60;script&#62;alert(5)&#60;/script&#62;", "<i>&" + strings.Repeat("amp;", 20) + "lt;script&gt;</i>",
	} {
		got := expect(t, site, "created", add(i+1, change{"note": attack, "first_name": "Ann" + attack}))
		for _, key := range []string{"note", "first_name"} {
			value, _ := meta(t, site, i+1, key).(string)
			require.NotRegexp(t, `(?i)<[^>]*(script|onerror|onmouseover)`, value, "attack %d: %+v", i, got)
		}
	}
	users(t, site, 100, 1)
	expect(t, site, "updated", update(100, change{"note": "I <3 you", "aside": "5 > 3"}))
	require.Equal(t, "I <3 you", meta(t, site, 100, "note"))
	require.Equal(t, "5 > 3", meta(t, site, 100, "aside"))
}

func TestFieldsThatAnIntegrationTakesAreLeftToIt(t *testing.T) {
	t.Parallel()
	site := startWithFusion(t)
	users(t, site, 1, 1)
	fields := change{"birthday": "2000-12-31", "profile_field": "x"}
	expect(t, site, "updated", update(1, fields))
	require.Equal(t, "20001231", meta(t, site, 1, "birthday"))
	require.Nil(t, meta(t, site, 1, "profile_field"))
	require.Equal(t, "x", site.PHP(`echo get_option( 'profile_field' );`))
	expect(t, site, "unchanged", update(1, fields))
}

// dispatch runs contacts within the test's own PHP process, which allows to
// look at that process afterwards.
const dispatch = `
wp_set_current_user( get_user_by( 'login', 'spillway' )->ID );
$request = new WP_REST_Request( 'POST', '/spillway/v1/contacts' );
$request->set_header( 'Content-Type', 'application/json' );
$request->set_body( wp_json_encode( array( 'roles_allowed' => array( 'customer' ), 'contacts' => $contacts ) ) );
$answer = rest_do_request( $request )->get_data();
`

func TestHandlersOfWPFusionAreBackAfterwards(t *testing.T) {
	t.Parallel()
	site := startWithFusion(t)
	got := site.PHP(`
rest_get_server();
function handlers() {
	global $wp_filter;
	$all = array();
	foreach ( $wp_filter as $hook => $object ) {
		foreach ( $object->callbacks as $priority => $callbacks ) {
			foreach ( $callbacks as $name => $callback ) {
				$all[ $hook ][] = "$priority $name {$callback['accepted_args']}";
			}
		}
	}
	ksort( $all );
	return $all;
}
// Another handler between WP Fusion's, whose place must stay.
add_action( 'updated_user_meta', '__return_true' );
$before   = handlers();
$contacts = array(
	array( 'contact_id' => '1', 'action' => 'add', 'email' => 'a@example.com', 'fields' => array( 'first_name' => 'A' ), 'tags' => array( '1' ), 'notify' => true ),
	array( 'contact_id' => '1', 'action' => 'update', 'fields' => array( 'first_name' => 'B', 'display_name' => 'B' ), 'role' => 'customer' ),
);
` + dispatch + `
echo $answer['results'][0]['outcome'], ' ', $answer['results'][1]['outcome'], "\n";
$after = handlers();
foreach ( $before as $hook => $list ) {
	if ( ! isset( $after[ $hook ] ) || $after[ $hook ] !== $list ) {
		echo $hook, ' ', wp_json_encode( array( $list, isset( $after[ $hook ] ) ? $after[ $hook ] : null ) ), "\n";
	}
}
echo wp_json_encode( array_keys( array_diff_key( $after, $before ) ) );
`)
	require.Equal(t, "created updated\n[]", got)
}
