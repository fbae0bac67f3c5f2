package plugintest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// shop is what a shop plugin does with capabilities: its managers get edit_users
// from a filter that is told nothing, its clerks from one that looks at the
// question, and its customers rights over their own orders.
const shop = `<?php
add_filter( 'user_has_cap', function ( $all, $caps, $args, $user ) {
	if ( in_array( 'keeper', $user->roles, true ) ) {
		$all['edit_users'] = true;
	}
	if ( in_array( 'clerk', $user->roles, true ) && isset( $caps[0] ) && 'edit_users' === $caps[0] ) {
		$all['edit_users'] = true;
	}
	if ( isset( $caps[0] ) && 'view_order' === $caps[0] ) {
		$all['view_order'] = true;
	}
	return $all;
}, 10, 4 );
foreach ( array(
	'keeper'          => array( 'read' ),
	'clerk'           => array( 'read' ),
	'store_keeper'    => array( 'read', 'manage_woocommerce' ),
	'teacher'         => array( 'read', 'edit_courses' ),
	'group_leader'    => array( 'read', 'group_leader' ),
	'bbp_moderator'   => array( 'spectate', 'moderate', 'edit_others_topics' ),
	'bp_manager'      => array( 'read', 'bp_moderate' ),
	'connected'       => array( 'read', 'spillway_store_contacts' ),
	'crm_manager'     => array( 'read', 'fcrm_manage_contacts' ),
	'forms_editor'    => array( 'read', 'gravityforms_edit_forms' ),
	'booker'          => array( 'read', 'Manage-Bookings' ),
	'translator'      => array( 'read', 'loco_admin' ),
	'role_editor'     => array( 'read', 'ure_edit_roles' ),
	'ticket_holder'   => array( 'read', 'view_ticket', 'create_ticket', 'access_edit_guides' ),
	'bbp_participant' => array( 'spectate', 'participate', 'publish_topics', 'edit_topics', 'publish_replies', 'edit_replies', 'assign_topic_tags' ),
	'student'         => array( 'read', 'level_0', 'view_courses', 'read_private_posts' ),
	'gold'            => array( 'read', 'full_access', 'access_s2member_level1', 'mepr-active', 'download_file' ),
) as $role => $caps ) {
	add_role( $role, ucfirst( $role ), array_fill_keys( $caps, true ) );
}
`

func startShop(t *testing.T, options wptest.Options) *wptest.Site {
	t.Helper()
	options.Plugins = map[string]string{"shop.php": shop}
	return wptest.Start(t, options)
}

func TestStaffIsWhoeverCanDoMoreThanAMember(t *testing.T) {
	t.Parallel()
	site := startShop(t, wptest.Options{})
	taking := func(id int, role string) (change, string) {
		login := "user" + strconv.Itoa(id)
		site.CreateUser(sitetest.NewUser{Login: login, Email: email(id), Password: "Own-pass-1", Role: role})
		contact := add(id, change{"user_email": fmt.Sprintf("taken%d@example.com", id), "_key": "x", "plain": "x"})
		contact["user_pass"], contact["role"], contact["tags"] = "Taken-over-1", "customer", []string{"7"}
		return contact, login
	}
	for i, role := range []string{"editor", "author", "contributor", "keeper", "clerk", "store_keeper", "teacher", "group_leader", "bbp_moderator", "bp_manager", "connected", "crm_manager", "forms_editor", "booker", "translator", "role_editor"} {
		id := 100 + i
		contact, login := taking(id, role)
		got := expect(t, site, "updated", contact)
		require.ElementsMatch(t, []string{"role_kept", "email_kept", "field_refused:_key"}, got.Notes, role)
		require.Len(t, site.UsersByEmail(email(id)), 1, role)
		require.Equal(t, []string{role}, site.UsersByEmail(email(id))[0].Roles)
		require.True(t, site.PasswordWorks(login, "Own-pass-1"), role)
		require.Nil(t, meta(t, site, id, "_key"), role)
		require.Equal(t, "x", meta(t, site, id, "plain"), role)
		require.Equal(t, []string{"7"}, meta(t, site, id, "pulsetech_tags"), role)

		stranger := add(id+1000, change{"plain": "y"})
		stranger["email"] = email(id)
		skipped := expect(t, site, "skipped", stranger)
		require.Equal(t, []string{"other_contact"}, skipped.Notes, role)
	}
	for i, role := range []string{"subscriber", "customer", "student", "gold", "bbp_participant", "ticket_holder"} {
		id := 200 + i
		contact, login := taking(id, role)
		got := expect(t, site, "updated", contact)
		require.Empty(t, got.Notes, role)
		require.Empty(t, site.UsersByEmail(email(id)), role)
		require.True(t, site.PasswordWorks(login, "Taken-over-1"), role)
		require.Equal(t, "x", meta(t, site, id, "_key"), role)
	}
	requireClean(t, site)
}

func TestRolesThatGetTheirRightsFromAFilterAreNotGiven(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]wptest.Options{"one site": {}, "network": {Multisite: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := startShop(t, options)
			users(t, site, 1, 1)
			for i, role := range []string{"keeper", "clerk", "store_keeper", "connected", "role_editor", "spillway"} {
				contact := add(10+i, nil)
				contact["role"] = role
				update := update(1, nil)
				update["role"] = role
				posted(t, site, map[string]any{"roles_allowed": []string{role}, "default_role": role, "contacts": []change{contact, update}})
				require.Equal(t, []string{"subscriber"}, site.UsersByContact(strconv.Itoa(10 + i))[0].Roles, role)
				require.Equal(t, []string{"subscriber"}, site.UsersByContact("1")[0].Roles, role)
			}
			contact := update(1, nil)
			contact["role"] = "gold"
			posted(t, site, map[string]any{"roles_allowed": []string{"gold"}, "contacts": []change{contact}})
			require.Equal(t, []string{"gold"}, site.UsersByContact("1")[0].Roles)
			requireClean(t, site)
		})
	}
}

func TestStaffOfAnotherSiteOfTheNetworkIsOutOfReach(t *testing.T) {
	t.Parallel()
	site := startShop(t, wptest.Options{Multisite: true})
	for i, role := range []string{"administrator", "author", "keeper", "store_keeper"} {
		id := 10 + i
		login := "user" + strconv.Itoa(id)
		user := strconv.FormatInt(site.CreateUser(sitetest.NewUser{Login: login, Email: email(id), Password: "Own-pass-1"}), 10)
		site.PHP(`
remove_user_from_blog( ` + user + `, 1 );
$capabilities = get_role( '` + role + `' )->capabilities;
switch_to_blog( 2 );
add_role( '` + role + `', 'There', $capabilities );
add_user_to_blog( 2, ` + user + `, '` + role + `' );`)
		contact := update(id, change{"user_email": "taken@example.com", "first_name": "Ann"})
		contact["email"], contact["user_pass"], contact["role"] = email(id), "Taken-over-1", "customer"
		got := expect(t, site, "updated", contact)
		require.ElementsMatch(t, []string{"role_kept", "email_kept"}, got.Notes, role)
		require.Len(t, site.UsersByEmail(email(id)), 1, role)
		require.True(t, site.PasswordWorks(login, "Own-pass-1"), role)
		require.Equal(t, "Ann", meta(t, site, id, "first_name"), role)
	}
	require.Empty(t, site.UsersByEmail("taken@example.com"))
	requireClean(t, site)
}

// forum keeps its roles out of WordPress's screens and follows roles.
const forum = `<?php
add_filter( 'editable_roles', function ( $roles ) {
	unset( $roles['bbp_participant'] );
	return $roles;
} );
add_action( 'set_user_role', function ( $user_id, $role, $old ) {
	update_option( 'set_user_role', $role . ' for ' . implode( ',', $old ) );
}, 10, 3 );
`

func TestRolesOfOtherPluginsStay(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{"shop.php": shop, "forum.php": forum}})
	for i, test := range []struct {
		before   []string
		replaced string
		after    []string
	}{
		{[]string{"subscriber", "bbp_participant"}, "subscriber", []string{"customer", "bbp_participant"}},
		{[]string{"bbp_participant", "subscriber"}, "subscriber", []string{"customer", "bbp_participant"}},
		{[]string{"subscriber", "student", "bbp_participant"}, "subscriber", []string{"customer", "student", "bbp_participant"}},
		{[]string{"bbp_participant"}, "", []string{"customer", "bbp_participant"}},
		{[]string{"bbp_participant", "gold"}, "gold", []string{"customer", "bbp_participant"}},
		{[]string{"subscriber"}, "subscriber", []string{"customer"}},
		{[]string{"gold"}, "gold", []string{"customer"}},
	} {
		id := i + 1
		users(t, site, id, 1)
		var roles string
		for _, role := range test.before {
			roles += `$user->add_role( '` + role + `' );`
		}
		site.PHP(`$user = get_user_by( 'email', '` + email(id) + `' ); $user->remove_all_caps();` + roles)
		contact := update(id, nil)
		contact["role"] = "customer"
		got := send(t, site, contact)[0]
		require.Empty(t, got.Notes, "%+v", got)
		require.Equal(t, test.after[0], got.Role, "%v", test.before)
		require.Equal(t, test.after, site.UsersByContact(strconv.Itoa(id))[0].Roles, "%v", test.before)
		require.Equal(t, "customer for "+test.replaced, site.PHP(`echo get_option( 'set_user_role' );`))
		expect(t, site, "unchanged", contact)
	}
	requireClean(t, site)
}
