package plugintest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/polltest"
	"spillway/internal/lab/wptest"
)

// misbehaving is a plugin whose hook does what the field "misbehave" says.
const misbehaving = `<?php
function misbehave( $meta_id, $user_id, $key, $value ) {
	global $wpdb;
	if ( 'misbehave' !== $key ) {
		return;
	}
	foreach ( explode( ' ', $value ) as $what ) {
		switch ( $what ) {
			case 'throw':
				throw new RuntimeException( 'cannot bear ' . get_userdata( $user_id )->user_email );
			case 'error':
				undefined_function_of_some_plugin();
				break;
			case 'echo':
				echo '<p>Hello from a plugin</p>';
				break;
			case 'commit':
				$wpdb->query( 'COMMIT' );
				break;
			case 'rollback':
				$wpdb->query( 'ROLLBACK' );
				break;
			case 'transaction':
				$wpdb->query( 'START TRANSACTION' );
				update_option( 'misbehaved', $user_id );
				$wpdb->query( 'COMMIT' );
				break;
			case 'begin':
				$wpdb->query( 'START TRANSACTION' );
				break;
			case 'ddl':
				$wpdb->query( 'CREATE TABLE IF NOT EXISTS misbehaved (id INT)' );
				break;
			case 'broken':
				$wpdb->query( "UPDATE $wpdb->usermeta SET no_such_column = 1" );
				break;
			case 'harmless':
				$wpdb->query( 'SELECT * FROM no_such_table' );
				break;
			case 'nap':
				usleep( 300000 );
				break;
			case 'sleep':
				sleep( 4 );
				break;
			case 'kill':
				$thread = mysqli_thread_id( $wpdb->dbh );
				$other  = new wpdb( DB_USER, DB_PASSWORD, DB_NAME, DB_HOST );
				$other->query( "KILL $thread" );
				break;
		}
	}
}
add_action( 'added_user_meta', 'misbehave', 10, 4 );
add_action( 'updated_user_meta', 'misbehave', 10, 4 );
`

func startMisbehaving(t *testing.T) *wptest.Site {
	t.Helper()
	return wptest.Start(t, wptest.Options{Plugins: map[string]string{"misbehaving.php": misbehaving}})
}

func TestHooksThatMisbehave(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)

	// Each case has ids of its own: contacts base to base+5 are in one request,
	// base+2 misbehaves, the others must be stored.
	cases := []struct {
		what    string
		outcome string // of the contact that misbehaves, as an update
	}{
		{"throw", "failed"},
		{"error", "failed"},
		{"echo", "updated"},
		{"commit", "updated"},
		{"rollback", "failed"},
		{"transaction", "updated"},
		{"begin", "updated"},
		{"ddl", "updated"},
		{"broken", "failed"},
		{"harmless", "updated"},
		{"commit throw", "failed"},
		{"rollback throw", "failed"},
		{"kill", "failed"},
	}
	for i, c := range cases {
		t.Run("Update/"+strings.ReplaceAll(c.what, " ", "Then"), func(t *testing.T) {
			base := 1000 + 100*i
			users(t, site, base, 5)
			var contacts []change
			for id := base; id < base+5; id++ {
				contacts = append(contacts, update(id, change{"first_name": "New" + strconv.Itoa(id)}))
			}
			contacts[2]["fields"] = change{"misbehave": c.what, "after": "1"}
			got := send(t, site, contacts...)
			for j, a := range got {
				if j == 2 {
					require.Equal(t, c.outcome, a.Outcome, "%+v", a)
					require.NotContains(t, a.Error.Message, email(base+2))
					require.False(t, a.Error.Permanent)
					continue
				}
				require.Equal(t, "updated", a.Outcome, "neighbour %d: %+v", j, a)
				require.Equal(t, "New"+strconv.Itoa(base+j), meta(t, site, base+j, "first_name"))
			}
			if c.outcome == "updated" {
				require.Equal(t, "1", meta(t, site, base+2, "after"))
			} else if !strings.HasPrefix(c.what, "commit") {
				require.Nil(t, meta(t, site, base+2, "misbehave"), "what failed is taken back")
			}
		})
		t.Run("Creation/"+strings.ReplaceAll(c.what, " ", "Then"), func(t *testing.T) {
			base := 5000 + 100*i
			creation := add(base, change{"misbehave": c.what, "after": "1"})
			creation["request_id"], creation["user_pass"], creation["generated_pass"] = "r"+strconv.Itoa(base), "Gener8ted"+strconv.Itoa(base), true
			got := send(t, site, add(base+1, nil), creation, add(base+2, nil))
			require.Equal(t, "created", got[0].Outcome)
			require.Equal(t, "created", got[2].Outcome, "%+v", got[2])
			if c.outcome == "updated" {
				require.Equal(t, "created", got[1].Outcome, "%+v", got[1])
				require.Equal(t, "1", meta(t, site, base, "after"))
			} else {
				require.Equal(t, "failed", got[1].Outcome, "%+v", got[1])
				if !strings.HasPrefix(c.what, "commit") {
					require.Empty(t, site.UsersByEmail(email(base)))
				}
			}
			// Whatever was left: the repetition is the creation, and the password works.
			creation["fields"] = change{"after": "1"}
			again := send(t, site, creation)[0]
			require.Equal(t, "created", again.Outcome, "%+v", again)
			require.Len(t, site.UsersByEmail(email(base)), 1)
			require.True(t, site.PasswordWorks(email(base), "Gener8ted"+strconv.Itoa(base)))
			require.Equal(t, "1", meta(t, site, base, "after"))
		})
	}
	requireClean(t, site)
}

func TestRequestWorksForTenSecondsAndDefersTheRest(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)
	users(t, site, 1, 5)
	var contacts []change
	for id := 1; id <= 5; id++ {
		contacts = append(contacts, update(id, change{"misbehave": "sleep"}))
	}
	began := time.Now()
	got := send(t, site, contacts...)
	require.Less(t, time.Since(began), 15*time.Second)
	for i, a := range got {
		require.Equal(t, i >= 3, a.Outcome == "deferred", "%d: %+v", i, a)
	}
	require.Nil(t, meta(t, site, 4, "misbehave"), "nothing was done for a deferred contact")
}

func TestResultsAreCommittedWhileTheRequestStillWorks(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)
	users(t, site, 1, 10)
	var contacts []change
	for id := 1; id <= 10; id++ {
		contacts = append(contacts, update(id, change{"misbehave": "nap"}))
	}
	done := sendLater(site, contacts...)
	polltest.Until(t, 10*time.Second, func() bool { return meta(t, site, 1, "misbehave") == "nap" }, "the first contact is stored")
	require.Empty(t, done, "the first contact is committed before the request is answered")
	receive(t, done, 10)
}

func TestPHPThatDiesInACreationLeavesNothing(t *testing.T) {
	t.Parallel()
	site := startMisbehaving(t)
	users(t, site, 1, 1)
	creation := add(2, change{"misbehave": "sleep"})
	creation["request_id"], creation["user_pass"], creation["generated_pass"] = "r2", "Gener8ted", true
	done := sendLater(site, update(1, change{"first_name": "Kept"}), creation)
	// The creation begins after the update is committed.
	polltest.Until(t, 10*time.Second, func() bool { return meta(t, site, 1, "first_name") == "Kept" }, "the update is stored")
	site.StopPHP()
	require.Empty(t, (<-done).answers)
	site.StartPHP()
	require.Empty(t, site.UsersByEmail(email(2)))

	creation["fields"] = change{}
	expect(t, site, "created", creation)
	require.Len(t, site.UsersByEmail(email(2)), 1)
	require.True(t, site.PasswordWorks(email(2), "Gener8ted"))
}
