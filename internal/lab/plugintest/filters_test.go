package plugintest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// filters is a plugin that has a say in what WP Fusion loads, as integrations of
// WP Fusion and snippets of site owners do, and writes down when it was asked.
const filters = `<?php
function filters_note( $line ) {
	file_put_contents( WP_CONTENT_DIR . '/asked', $line . "\n", FILE_APPEND );
}
add_action( 'wpf_pre_pull_user_meta', function ( $user_id ) { filters_note( 'pre_pull' ); } );
add_filter( 'wpf_pulled_user_meta', function ( $meta, $user_id ) {
	filters_note( 'pulled ' . implode( ',', array_keys( $meta ) ) );
	if ( isset( $meta['stop'] ) ) {
		return null;
	}
	if ( isset( $meta['state'] ) ) {
		$meta['state']            = 'CA';
		$meta['added']            = 'by the filter';
		$meta['wp_capabilities']  = array( 'administrator' => true );
		$meta['role']             = 'administrator';
		$meta['user_pass']        = 'filtered';
		$meta['spillway_as_of']   = '1';
		$meta['user_email']       = 'other@example.com';
	}
	return $meta;
}, 10, 2 );
add_filter( 'wpf_loaded_tags', function ( $tags, $user_id, $contact_id ) {
	filters_note( 'loaded ' . implode( ',', $tags ) . " of $contact_id" );
	return in_array( '40', $tags, true ) ? array_merge( $tags, array( '41' ) ) : $tags;
}, 10, 3 );
foreach ( array( 'wpf_set_user_meta', 'wpf_user_updated', 'wpf_tags_modified', 'wpf_api_success' ) as $hook ) {
	add_filter( $hook, function ( $value, $other = '' ) use ( $hook ) {
		filters_note( 'wpf_api_success' === $hook ? "$hook $other" : $hook );
		return $value;
	}, 10, 2 );
}
`

func startFiltering(t *testing.T) *wptest.Site {
	t.Helper()
	return wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"filters.php": filters}})
}

// asked lists what the filters were asked since the last time.
func asked(t *testing.T, site *wptest.Site) []string {
	t.Helper()
	path := filepath.Join(site.Dir(), "www/wp-content/asked")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

func TestFiltersOfWPFusionAreAskedInItsOrder(t *testing.T) {
	t.Parallel()
	site := startFiltering(t)
	users(t, site, 1, 1)
	contact := update(1, change{"first_name": "Ann"})
	contact["tags"] = []string{"7"}
	expect(t, site, "updated", contact)
	require.Equal(t, []string{
		"pre_pull", "pulled first_name", "wpf_set_user_meta", "wpf_user_updated",
		"loaded 7 of 1", "wpf_tags_modified", "wpf_api_success update",
	}, asked(t, site))

	expect(t, site, "updated", tagged(1, "8"))
	require.Equal(t, []string{"loaded 8 of 1", "wpf_tags_modified", "wpf_api_success update_tags"}, asked(t, site))

	// Found by the address: WP Fusion says so at the end.
	other := add(2, change{"first_name": "Bob"})
	other["email"], other["tags"] = email(1), []string{"9"}
	expect(t, site, "updated", other)
	require.Equal(t, []string{
		"pre_pull", "pulled first_name", "wpf_set_user_meta", "loaded 9 of 2", "wpf_tags_modified", "wpf_user_updated", "wpf_api_success add",
	}, asked(t, site))
	requireClean(t, site)
}

func TestFilteredFieldsAreStoredButForProtectedOnes(t *testing.T) {
	t.Parallel()
	site := startFiltering(t)
	users(t, site, 1, 1)
	contact := update(1, change{"state": "California", "user_email": email(1)})
	contact["tags"] = []string{"40"}
	expect(t, site, "updated", contact)
	require.Equal(t, "CA", meta(t, site, 1, "state"))
	require.Equal(t, "by the filter", meta(t, site, 1, "added"))
	user := site.UsersByContact("1")[0]
	require.Equal(t, []string{"subscriber"}, user.Roles)
	require.Equal(t, email(1), user.Email)
	require.False(t, site.PasswordWorks(user.Login, "filtered"))
	require.Nil(t, meta(t, site, 1, "spillway_as_of"))
	requireTags(t, site, 1, "40", "41")
	// Nothing to tell the CRM: no hook has given the tag.
	require.Empty(t, expect(t, site, "unchanged", contact).Applied)
}

func TestFilterThatRefusesFieldsLeavesTagsAndRole(t *testing.T) {
	t.Parallel()
	site := startFiltering(t)
	users(t, site, 1, 1)
	contact := update(1, change{"stop": "yes", "first_name": "Ann"})
	contact["tags"], contact["role"], contact["user_pass"] = []string{"7"}, "customer", "new-Pass-word-1"
	expect(t, site, "updated", contact)
	require.Equal(t, []string{
		"pre_pull", "pulled first_name,stop", "loaded 7 of 1", "wpf_tags_modified", "wpf_api_success update",
	}, asked(t, site))
	require.Empty(t, meta(t, site, 1, "first_name"))
	user := site.UsersByContact("1")[0]
	require.Equal(t, []string{"customer"}, user.Roles)
	require.False(t, site.PasswordWorks(user.Login, "new-Pass-word-1"))
	requireTags(t, site, 1, "7")
}

func TestUserThatTheSiteClaimsForAContactIsFound(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"claims.php": `<?php
add_filter( 'wpf_get_user_id', function ( $user_id, $contact_id ) {
	return in_array( $contact_id, array( '7', '8' ), true ) ? (int) get_option( "claimed_$contact_id" ) : $user_id;
}, 10, 2 );`}})
	users(t, site, 1, 2)
	claimed := site.CreateUser(sitetest.NewUser{Login: "claimed", Email: "claimed@example.com", Password: "x", Role: "subscriber"})
	site.PHP(fmt.Sprintf(`update_option( 'claimed_7', %d ); update_option( 'claimed_8', 999999 );`, claimed))
	contact := update(7, change{"first_name": "Ann"})
	contact["email"] = email(1) // somebody else's
	require.Equal(t, claimed, expect(t, site, "updated", contact).UserID)
	require.Equal(t, claimed, expect(t, site, "unchanged", contact).UserID)
	// Nobody has that id, so the contact is looked for as ever.
	require.Equal(t, "skipped", send(t, site, update(8, change{"first_name": "Bob"}))[0].Outcome)
	require.NotEqual(t, claimed, expect(t, site, "updated", update(2, change{"first_name": "Bob"})).UserID)
	requireClean(t, site)
}

func TestFilterChangesWhoIsCreatedAndWhetherAnybodyIs(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"imports.php": `<?php
add_filter( 'wpf_import_user', function ( $meta, $contact_id ) {
	file_put_contents( WP_CONTENT_DIR . '/imports', wp_json_encode( array( $contact_id, $meta ) ) . "\n", FILE_APPEND );
	if ( 'nobody' === $meta['first_name'] ) {
		return null;
	}
	$meta['user_login'] = strtolower( $meta['first_name'] );
	$meta['user_pass']  = 'filtered';
	$meta['user_email'] = 'filtered@example.com';
	$meta['company']    = 'Filtered';
	$meta['role']       = isset( $meta['wants'] ) ? $meta['wants'] : $meta['role'];
	return $meta;
}, 10, 2 );`}})
	ann := add(1, change{"first_name": "Ann"})
	ann["user_pass"], ann["generated_pass"], ann["request_id"], ann["tags"] = "Gener8ted", true, "r1", []string{"7"}
	created := expect(t, site, "created", ann)
	require.Equal(t, "ann", created.UserLogin)
	require.True(t, site.PasswordWorks("ann", "Gener8ted"), "the password that the CRM gets")
	require.Len(t, site.UsersByEmail(email(1)), 1)
	require.Empty(t, site.UsersByEmail("filtered@example.com"))
	require.Equal(t, "Filtered", meta(t, site, 1, "company"))
	content, err := os.ReadFile(filepath.Join(site.Dir(), "www/wp-content/imports"))
	require.NoError(t, err)
	require.JSONEq(t, `["1",{"user_email":"c1@example.com","user_login":"c1@example.com","user_pass":"Gener8ted","role":"subscriber",`+
		`"pulsetech_contact_id":"1","first_name":"Ann"}]`, string(content))

	// A login of the filter's that is taken gets digits, and each one its user.
	var anns []change
	for id := 2; id <= 5; id++ {
		anns = append(anns, add(id, change{"first_name": "Ann"}))
	}
	logins := map[string]bool{"ann": true}
	for _, got := range together(t, site, anns) {
		require.Equal(t, "created", got.Outcome, "%+v", got)
		logins[got.UserLogin] = true
	}
	require.Len(t, logins, 5)

	role := add(6, change{"first_name": "Bob", "wants": "customer"})
	require.Equal(t, "customer", expect(t, site, "created", role).Role)
	admin := expect(t, site, "created", add(7, change{"first_name": "Cem", "wants": "administrator"}))
	require.Equal(t, "subscriber", admin.Role)
	require.Equal(t, []string{"role_not_allowed"}, admin.Notes)

	nobody := expect(t, site, "skipped", add(8, change{"first_name": "nobody"}))
	require.Zero(t, nobody.UserID)
	require.Empty(t, site.UsersByEmail(email(8)))
	// Who is there already is not imported.
	require.Equal(t, "updated", send(t, site, add(6, change{"first_name": "nobody"}))[0].Outcome)
	requireClean(t, site)
}

// siteTags is a page of the site whose visitor gets or loses a tag by WP Fusion.
func siteTags(site *wptest.Site, method, tag string) {
	site.PHP(fmt.Sprintf(`wp_fusion()->user->%s( array( '%s' ), get_user_by( 'email', '%s' )->ID );`, method, tag, email(1)))
}

func TestPassThatHasNotSeenWhatTheSiteJustDidReadsTheCRMAgain(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	expect(t, site, "updated", tagged(1, "5", "7"))
	siteTags(site, "apply_tags", "30")
	siteTags(site, "remove_tags", "5")
	for _, old := range []change{tagged(1, "5", "7"), tagged(1, "7"), tagged(1, "5", "7", "30"), tagged(1)} {
		late := expect(t, site, "failed", old)
		require.Equal(t, "superseded", late.Error.Code)
		require.False(t, late.Error.Permanent)
		requireTags(t, site, 1, "7", "30")
	}
	// The CRM shows it, and whatever else was changed there.
	expect(t, site, "updated", tagged(1, "7", "30", "31"))
	requireTags(t, site, 1, "7", "30", "31")
	// After a minute the CRM is right whatever it says.
	expect(t, site, "failed", tagged(1, "7"))
	site.PHP(fmt.Sprintf(`
$id    = get_user_by( 'email', '%s' )->ID;
$recent = get_user_meta( $id, 'spillway_site_tags', true );
foreach ( $recent as $tag => $entry ) {
	$recent[ $tag ][0] -= 61;
}
update_user_meta( $id, 'spillway_site_tags', $recent );`, email(1)))
	expect(t, site, "updated", tagged(1, "7"))
	requireTags(t, site, 1, "7")
}

func TestWhatTheSiteDidNotChangeHoldsNothingBack(t *testing.T) {
	t.Parallel()
	site := startEnrolling(t)
	users(t, site, 1, 1)
	expect(t, site, "updated", tagged(1, "5", "7"))
	siteTags(site, "apply_tags", "7")
	siteTags(site, "remove_tags", "8")
	expect(t, site, "updated", tagged(1, "8"))
	// What an enrolment does in a request of Spillway's is told otherwise.
	expect(t, site, "updated", tagged(1, "24"))
	require.Nil(t, meta(t, site, 1, "spillway_site_tags"))
	expect(t, site, "updated", told([]string{"99"}, nil))
	expect(t, site, "updated", tagged(1, "8"))
	requireTags(t, site, 1, "8")
}
