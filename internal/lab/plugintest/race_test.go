package plugintest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// together sends requests of one contact each at once and returns the answers.
func together(t *testing.T, site *wptest.Site, contacts []change) []answer {
	t.Helper()
	replies := make([]<-chan reply, len(contacts))
	for i, contact := range contacts {
		replies[i] = sendLater(site, contact)
	}
	answers := make([]answer, len(contacts))
	for i, done := range replies {
		answers[i] = receive(t, done, 1)[0]
	}
	return answers
}

func created(answers []answer) int {
	n := 0
	for _, a := range answers {
		if a.Outcome == "created" {
			n++
		}
	}
	return n
}

func TestAddsAtOnceMakeOneUser(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{PHPWorkers: 8})
	for round := range 6 {
		base := 100 * (round + 1)
		same := make([]change, 8)  // one address, eight contacts
		moved := make([]change, 8) // one contact, eight addresses
		login := make([]change, 8) // eight contacts, one login
		for i := range 8 {
			same[i] = add(base+i, change{"first_name": strconv.Itoa(i)})
			same[i]["email"] = fmt.Sprintf("same%d@example.com", round)
			moved[i] = add(base+50, nil)
			moved[i]["email"] = fmt.Sprintf("moved%d-%d@example.com", round, i)
			login[i] = add(base+60+i, nil)
			login[i]["email"] = fmt.Sprintf("login%d-%d@example.com", round, i)
			login[i]["user_login"] = fmt.Sprintf("login%d", round)
		}

		answers := together(t, site, same)
		require.Equal(t, 1, created(answers), "%+v", answers)
		require.Len(t, site.UsersByEmail(fmt.Sprintf("same%d@example.com", round)), 1)

		answers = together(t, site, moved)
		require.Equal(t, 1, created(answers), "%+v", answers)
		require.Len(t, site.UsersByContact(strconv.Itoa(base+50)), 1)

		answers = together(t, site, login)
		require.Equal(t, 1, created(answers), "%+v", answers)
		for _, a := range answers {
			if a.Outcome != "created" {
				require.Equal(t, "user_login_taken", a.Error.Code, "%+v", a)
			}
		}
	}
	requireClean(t, site)
}

func TestAddressesThatAreOneLoginGetLoginsOfTheirOwn(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{PHPWorkers: 8})
	contacts := make([]change, 8)
	for i := range contacts {
		contacts[i] = add(i+1, nil)
		// WordPress drops a plus from logins.
		contacts[i]["email"] = strings.Repeat("+", i) + "ann@example.com"
	}
	logins := map[string]bool{}
	for _, a := range together(t, site, contacts) {
		require.Equal(t, "created", a.Outcome, "%+v", a)
		logins[a.UserLogin] = true
	}
	require.Len(t, logins, 8)
}

func TestBatchesAtOnceOverTheSameContactsStoreThemAll(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{PHPWorkers: 4})
	replies := make([]<-chan reply, 4)
	for i := range replies {
		var contacts []change
		for id := 1; id <= 30; id++ {
			contacts = append(contacts, add(id, change{"first_name": strconv.Itoa(i)}))
		}
		if i%2 == 1 {
			slices.Reverse(contacts)
		}
		replies[i] = sendLater(site, contacts...)
	}
	total := 0
	for _, done := range replies {
		answers := receive(t, done, 30)
		total += created(answers)
		for _, a := range answers {
			require.NotEqual(t, "failed", a.Outcome, "%+v", a)
		}
	}
	require.Equal(t, 30, total)
	for id := 1; id <= 30; id++ {
		require.Len(t, site.UsersByEmail(email(id)), 1)
	}
}

// visitor registers the address while WordPress is about to insert it.
const visitor = `<?php
add_filter( 'pre_user_email', function ( $email ) {
	static $once = false;
	if ( ! $once && 0 === strpos( $email, 'quick' ) && defined( 'REST_REQUEST' ) ) {
		$once  = true;
		$other = new wpdb( DB_USER, DB_PASSWORD, DB_NAME, DB_HOST );
		$other->insert( $GLOBALS['wpdb']->users, array( 'user_login' => 'visitor', 'user_email' => $email, 'user_registered' => '2020-01-01 00:00:00', 'user_pass' => wp_hash_password( 'x' ) ) );
	}
	return $email;
} );
`

func TestVisitorWhoRegistersMeanwhileIsTheUser(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"visitor.php": visitor}})
	contact := add(1, change{"first_name": "Ann"})
	contact["email"] = "quick@example.com"
	got := expect(t, site, "updated", contact)
	require.Equal(t, "visitor", got.UserLogin)
	require.Equal(t, "Ann", meta(t, site, 1, "first_name"))
	require.Len(t, site.UsersByEmail("quick@example.com"), 1)
}
