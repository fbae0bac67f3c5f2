package plugintest

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin/observations"
	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// hooks notes each hook by which WordPress or WP Fusion says that something is
// stored, and tries to write in the filters that an observation asks.
const hooks = `<?php
foreach ( array( 'user_register', 'profile_update', 'added_user_meta', 'updated_user_meta', 'deleted_user_meta', 'set_user_role', 'add_user_role',
	'added_option', 'updated_option', 'wpf_user_imported', 'wpf_user_updated', 'wpf_user_meta_updated', 'wpf_set_user_meta', 'wpf_tags_applied',
	'wpf_tags_removed', 'wpf_tags_modified', 'wpf_api_success' ) as $hook ) {
	add_filter( $hook, function ( $value = null ) use ( $hook ) {
		error_log( "fired $hook in " . ( $_SERVER['REQUEST_URI'] ?? '' ) );
		return $value;
	} );
}
foreach ( array( 'wpf_pulled_user_meta', 'wpf_import_user', 'wpf_loaded_tags', 'illegal_user_logins' ) as $filter ) {
	add_filter( $filter, function ( $value ) {
		if ( false !== strpos( $_SERVER['REQUEST_URI'] ?? '', 'observations' ) ) {
			$GLOBALS['wpdb']->query( "INSERT INTO {$GLOBALS['wpdb']->options} (option_name, option_value) VALUES ('written" . wp_rand() . "', '1')" );
		}
		return $value;
	} );
}
`

// stored is all that the database holds of users, and how many options it has.
const stored = `
global $wpdb;
$rows = array();
foreach ( array( $wpdb->users => 'ID', $wpdb->usermeta => 'umeta_id' ) as $table => $id ) {
	foreach ( $wpdb->get_results( "SELECT * FROM $table ORDER BY $id", ARRAY_N ) as $row ) {
		$rows[] = implode( '|', $row );
	}
}
foreach ( $wpdb->get_results( "SELECT option_name, option_value FROM $wpdb->options WHERE option_name NOT LIKE '%transient%' ORDER BY option_id", ARRAY_N ) as $row ) {
	$rows[] = implode( '|', $row );
}
echo count( $rows ), ' ', md5( implode( "\n", $rows ) );`

// kindsOfContacts are contacts that differ from the site in each way there is.
// Contact ID is of kind ID modulo their number.
var kindsOfContacts = []struct {
	name   string
	action contact.Action
	role   string
	record map[string]any // besides address and names
	tags   []int
	php    string // makes the user: $id and $email are set; empty: there is none
}{
	{name: "created", action: contact.Add, role: "customer", record: map[string]any{"company": "Lee & <b>Sons</b>", "url": strings.Repeat("u", 200)}, tags: []int{24, 74}},
	{name: "no address", action: contact.Add, record: map[string]any{"email": ""}},
	{name: "invalid address", action: contact.Add, record: map[string]any{"email": "nobody"}},
	{name: "no user", action: contact.Update},
	{name: "unchanged", action: contact.Update, tags: []int{24}, record: map[string]any{"company": "Lee"}, php: "make( array( 'company' => 'Lee', 'pulsetech_tags' => array( '24' ) ) );"},
	{
		name: "fields and tags", action: contact.Update, tags: []int{24, 75}, record: map[string]any{"company": "New", "topics": []any{"a", "b"}, "newsletter": false},
		php: "make( array( 'company' => 'Old', 'topics' => 'a, b', 'newsletter' => '1', 'pulsetech_tags' => array( '24', '74' ) ) );",
	},
	{name: "tags alone", action: contact.UpdateTags, tags: []int{7}, record: map[string]any{"company": "Not read"}, php: "make( array() );"},
	{name: "tags cleared", action: contact.Update, php: "make( array( 'pulsetech_tags' => array( '24' ) ) );"},
	{name: "role given", action: contact.Update, role: "Customer", php: "make( array() );"},
	{name: "role refused", action: contact.Update, role: "administrator", php: "make( array() );"},
	{name: "role unknown", action: contact.Update, role: "no-such-role", php: "make( array() );"},
	{name: "staff", action: contact.Update, role: "customer", record: map[string]any{"email": "staff%d@example.com", "company": "New", "hidden": "x"}, php: "make( array(), 'editor' );"},
	{name: "found by address", action: contact.Update, php: "make( array( 'pulsetech_contact_id' => null ) );"},
	{name: "another contact's", action: contact.Update, php: "make( array( 'pulsetech_contact_id' => '900001' ) );"},
	{name: "taken over", action: contact.Add, php: "make( array( 'pulsetech_contact_id' => '900001' ) );"},
	{name: "merged", action: contact.Update, php: "make( array( 'pulsetech_contact_id' => '800001' ) );"},
	{name: "address changes", action: contact.Update, record: map[string]any{"email": "fresh%d@example.com"}, php: "make( array() );"},
	{name: "address taken", action: contact.Update, record: map[string]any{"email": "taken@example.com"}, php: "make( array() );"},
	{name: "line breaks", action: contact.Update, record: map[string]any{"company": "one\ntwo"}, php: "make( array( 'company' => 'one two' ) );"},
	{name: "gone", action: contact.Update, php: "make( array() );"},
	{name: "login taken", action: contact.Add, record: map[string]any{"login": "weak"}},
	{name: "login changed", action: contact.Add, record: map[string]any{"login": "a<b>%d"}},
	{name: "emptied", action: contact.Update, record: map[string]any{"raw": ""}, php: "make( array( 'raw_field' => 'x' ) );"},
}

const makeUser = `
function make( $meta, $role = 'subscriber' ) {
	list( $id, $email ) = $GLOBALS['contact'];
	$user = wp_insert_user( array( 'user_login' => "c$id", 'user_email' => $email, 'user_pass' => 'x', 'role' => $role, 'first_name' => "Ann$id" ) );
	foreach ( $meta + array( 'pulsetech_contact_id' => (string) $id ) as $key => $value ) {
		null === $value || update_user_meta( $user, $key, $value );
	}
}
`

const observedFields = "user_email=email,first_name=first_name,company=company,user_url=url,topics=topics:multiselect,newsletter=newsletter,_hidden=hidden,user_login=login,raw_field=raw:raw"

func TestWhatIsObservedIsWhatIsDoneThen(t *testing.T) {
	t.Parallel()
	for name, fusion := range map[string]bool{"alone": false, "beside WP Fusion": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			observeThenDo(t, fusion, contactsOfEachKind(t))
		})
	}
}

// contactsOfEachKind is how many contacts of each kind are looked at.
func contactsOfEachKind(t *testing.T) int {
	t.Helper()
	text := os.Getenv("OBSERVED_CONTACTS_OF_EACH_KIND")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func observeThenDo(t *testing.T, fusion bool, each int) {
	t.Helper()
	wp := wptest.Start(t, wptest.Options{WPFusion: fusion, Plugins: map[string]string{"hooks.php": hooks}})
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "a-token"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	server := redistest.Start(t)
	contacts := pending.New(server.Client(), pending.Options{})
	n := each * len(kindsOfContacts)
	intents := make(map[int]contact.Intent, n)
	script := makeUser + "wp_insert_user( array( 'user_login' => 'taken', 'user_email' => 'taken@example.com', 'user_pass' => 'x' ) );\n"
	for id := 1; id <= n; id++ {
		kind := kindsOfContacts[id%len(kindsOfContacts)]
		intents[id] = contact.Intent{Action: kind.action, Role: kind.role}
		record := map[string]any{"email": email(id), "first_name": fmt.Sprintf("Ann%d", id)}
		for field, value := range kind.record {
			if text, isText := value.(string); isText && strings.Contains(text, "%d") {
				value = fmt.Sprintf(text, id)
			}
			record[field] = value
		}
		if kind.name != "gone" {
			stand.CRM.Put(strconv.Itoa(id), record, kind.tags)
		}
		if kind.php != "" {
			script += fmt.Sprintf("$GLOBALS['contact'] = array( %d, '%s' ); %s\n", id, email(id), kind.php)
		}
	}
	stand.CRM.Put("900001", map[string]any{"email": "another@example.com"}, nil)
	wp.PHP(script)
	require.NoError(t, status(t, wp, nil)) // the plugin remembers WP Fusion's keys, WordPress the use of the password

	// Observed: nothing is written anywhere.
	before, beforeUsers := wp.PHP(stored), usersOf(wp, n)
	stop := work(t, wp, stand, server, "observe")
	runPasses(t, contacts, intents)
	stop()
	require.Equal(t, before, wp.PHP(stored), "the database is as before")
	require.NotRegexp(t, `fired \w+ in \S*/observations`, wp.Log())
	calls := stand.CRM.Stats().Calls
	require.Zero(t, calls["update"]+calls["tag_apply"]+calls["untag"], "nothing is written to the CRM")
	store := observations.New(server.Client(), contact.DefaultSite)
	seen := map[int]observations.Seen{}
	_, beyond, err := store.Each(t.Context(), func(one observations.Seen) {
		id, _ := strconv.Atoi(one.Contact)
		seen[id] = one
	})
	require.NoError(t, err)
	require.Zero(t, beyond)
	require.Len(t, seen, n)
	report, err := store.Report(t.Context())
	require.NoError(t, err)

	// Done: with one setting.
	stop = work(t, wp, stand, server, "connector")
	runPasses(t, contacts, intents)
	stop()
	require.Regexp(t, `fired user_register in \S*/contacts`, wp.Log())
	timelines := history.New(server.Client(), contact.DefaultSite, 1)
	outcomes, keys := map[contact.Outcome]int{}, map[string]int{}
	for id := 1; id <= n; id++ {
		kind, foretold := kindsOfContacts[id%len(kindsOfContacts)].name, seen[id]
		events, _, err := timelines.Timeline(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)})
		require.NoError(t, err)
		done := events[0]
		require.Equal(t, history.Observed, events[1].Kind, kind)
		if done.Kind == history.Parked {
			outcomes[contact.Parking]++
			require.Equal(t, contact.Parking, foretold.Outcome, kind)
			require.Equal(t, done.Code, foretold.Code, kind)
			continue
		}
		outcomes[contact.Outcome(done.Outcome)]++
		require.Equal(t, done.Outcome, string(foretold.Outcome), "%s: %+v, %+v", kind, done, foretold)
		notes := slices.DeleteFunc(foretold.Notes, func(note string) bool {
			code, _, _ := strings.Cut(note, ":")
			return slices.Contains([]string{"unticked", "list", "cleaned"}, code)
		})
		require.ElementsMatch(t, done.Notes, notes, kind)
		if done.UserID == 0 {
			continue
		}
		user, found := wp.UserByID(done.UserID)
		require.True(t, found)
		old, existed := beforeUsers[done.UserID]
		added, removed := differ(tagsOf(user), tagsOf(old))
		require.ElementsMatch(t, added, foretold.TagsAdded, kind)
		require.ElementsMatch(t, removed, foretold.TagsRemoved, kind)
		require.Equal(t, !slices.Equal(user.Roles, old.Roles), foretold.Role != "", kind)
		if !existed {
			require.Equal(t, user.Roles[0], foretold.Role, kind)
			continue
		}
		var changed []string
		for key, value := range valuesOf(user) {
			if !reflect.DeepEqual(value, valuesOf(old)[key]) {
				changed = append(changed, key)
				keys[key]++
			}
		}
		require.ElementsMatch(t, changed, foretold.Keys, kind)
	}
	require.Equal(t, outcomes, report.Outcomes)
	for _, count := range report.Keys {
		require.Equal(t, keys[count.Name], count.Contacts, count.Name)
	}
	require.Len(t, report.Keys, len(keys))
	require.NotEmpty(t, report.Parked)
	requireClean(t, wp)
	t.Logf("%d contacts: %v", n, outcomes)
}

// usersOf reads users by their ids.
func usersOf(wp *wptest.Site, n int) map[int64]sitetest.User {
	users := map[int64]sitetest.User{}
	for id := int64(1); id <= int64(n)+20; id++ {
		if user, found := wp.UserByID(id); found {
			users[id] = user
		}
	}
	return users
}

func tagsOf(user sitetest.User) (tags []string) {
	list, _ := user.Meta["pulsetech_tags"].([]any)
	for _, tag := range list {
		tags = append(tags, fmt.Sprint(tag))
	}
	if list, ok := user.Meta["pulsetech_tags"].([]string); ok {
		tags = list
	}
	return tags
}

func differ(a, b []string) (added, removed []string) {
	without := func(list, others []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(others, one) })
	}
	return without(a, b), without(b, a)
}

// valuesOf are a user's that fields write.
func valuesOf(user sitetest.User) map[string]any {
	values := map[string]any{"user_email": user.Email, "user_url": user.URL, "display_name": user.DisplayName}
	for key, value := range user.Meta {
		if !strings.HasPrefix(key, "spillway_") && !strings.HasPrefix(key, "pulsetech_") && !strings.HasSuffix(key, "capabilities") && !strings.HasSuffix(key, "user_level") {
			values[key] = value
		}
	}
	return values
}

// runPasses queues a pass for each contact and waits until all are done or parked.
func runPasses(t *testing.T, contacts *pending.Contacts, intents map[int]contact.Intent) {
	t.Helper()
	for id, intent := range intents {
		_, err := contacts.Resync(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}, intent)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		stats, err := contacts.Stats(t.Context())
		return err == nil && stats.Pending+stats.Active+stats.Retrying == 0
	}, 4*time.Minute, 50*time.Millisecond)
}

// work runs a worker in a mode until it is stopped.
func work(t *testing.T, wp *wptest.Site, stand *sandbox.Running, server *redistest.Server, mode string) (stop func()) {
	t.Helper()
	user, password := wp.Credentials()
	settings, err := config.Load(config.Worker, nil, []string{
		"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_CRM_URL=" + stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token", "SPILLWAY_CRM_RATE=1000",
		"SPILLWAY_SITE_URL=" + wp.URL(), "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD=" + password, "SPILLWAY_WORKER_ADDR=127.0.0.1:0",
		"SPILLWAY_FIELDS=" + observedFields, "SPILLWAY_MODE=" + mode, "SPILLWAY_SECRET_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password",
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- assembly.Worker(ctx, settings, zerolog.Nop()) }()
	ended := false
	stop = func() {
		if !ended {
			ended = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}
