package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// seesWebhooks answers in WP Fusion's place, so that a request that reaches
// WordPress shows itself. A site that two servers serve is not to redirect from
// the one to the other. slow@example.org takes longer to become a user than
// anything else that a server waits for.
const seesWebhooks = `<?php
add_filter( 'redirect_canonical', '__return_false' );
add_action( 'user_register', function ( $id ) {
	if ( 0 === strpos( get_userdata( $id )->user_email, 'slow' ) ) {
		sleep( 6 );
	}
} );
add_action( 'init', function () {
	header( 'X-Seen-By: WordPress' );
	if ( isset( $_REQUEST['wpf_action'] ) ) {
		echo 'WordPress saw ', wp_json_encode( $_REQUEST['wpf_action'] );
		exit;
	}
} );`

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// bySpillway and byWordPress tell who gave it.
func (a answer) bySpillway() bool  { return a.header.Get("X-Request-Id") != "" }
func (a answer) byWordPress() bool { return a.header.Get("X-Seen-By") == "WordPress" }

// send sends a request, with a body of JSON if there is one.
func send(t *testing.T, client *http.Client, method, address, body string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	require.NoError(t, err, "%s %s", method, address)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

// unredirected is the client for the answers that lead elsewhere.
func unredirected(client *http.Client) *http.Client {
	return &http.Client{Transport: client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

const keyed = "access_key=" + accessKey

// forSpillway are queries of WP Fusion's webhooks, in the ways in which they
// are written and miswritten.
var forSpillway = []string{
	"wpf_action=add&" + keyed + "&contact_id=1",
	"wpf_action=Update&" + keyed + "&contact_id=1",
	"wpf_action=UPDATE_TAGS&" + keyed + "&contact_id=1",
	"wpf_action=update%5Ftags&" + keyed + "&contact_id=1",
	"wpf%5faction=update&" + keyed + "&contact_id=1",
	// Anywhere in the query, with parameters that nobody knows.
	keyed + "&contact_id=1&wpf_action=update",
	"page_id=2&" + keyed + "&wpf_action=update&contact_id=1&utm_source=crm",
	"wpf_action=update&" + keyed + "&contact_id=1&async=true&role=&send_notification=false",
	// Pasted with blanks or the end of a line.
	"wpf_action=update%20&" + keyed + "&contact_id=1",
	"wpf_action=update+&" + keyed + "&contact_id=1",
	"wpf_action=%20update&" + keyed + "&contact_id=1",
	keyed + "&contact_id=1&wpf_action=update%0A",
	keyed + "&contact_id=1&wpf_action=UPDATE%0D%0a",
	keyed + "&contact_id=1&wpf_action=update%09%20",
	keyed + "&contact_id=1&wpf_action=update%C2%A0",
	keyed + "&contact_id=1&wpf_action=update%e2%80%8b",
	keyed + "&contact_id=1&%20wpf_action=%EF%BB%BFupdate",
	keyed + "&contact_id=1&wpf.action=update",
	// Escaped as HTML, glued together, said twice.
	keyed + "&amp;contact_id=1&amp;wpf_action=update",
	"wpf_action=update&amp;" + keyed + "&amp;contact_id=1",
	"wpf_action=update&" + keyed + "?contact_id=1",
	keyed + "&wpf_action=update?contact_id=1",
	"page_id=2?wpf_action=update&" + keyed + "&contact_id=1",
	"wpf_action=thrivecart&wpf_action=update&" + keyed + "&contact_id=1",
}

// forWordPress are requests that stay where they are, and what WordPress sees
// of them; nil: a page.
var forWordPress = map[string]any{
	"/?wpf_action=thrivecart&" + keyed:                             `"thrivecart"`,
	"/?wpf_action=thrivecart%20&" + keyed:                          `"thrivecart "`,
	"/?wpf_action=ck_unsubscribed&" + keyed:                        `"ck_unsubscribed"`,
	"/?wpf_action=delete_user&contact_id=1&" + keyed:               `"delete_user"`,
	"/?wpf_action=updates&" + keyed:                                `"updates"`,
	"/?wpf_action=update_tag&" + keyed:                             `"update_tag"`,
	"/?wpf_action=&" + keyed:                                       `""`,
	"/?wpf_action=up%64ate&" + keyed:                               `"update"`, // the limit that docs/deploy.md states
	"/?wpf_action=update&wpf_action=thrivecart&" + keyed:           `"thrivecart"`,
	"/?wpf_action[]=update&" + keyed:                               `["update"]`,
	"/wp-admin/admin-ajax.php?action=wpf_update_user&contact_id=1": nil,
	"/?WPF_ACTION=update":                                          nil,
	"/?my_wpf_action=update":                                       nil,
	"/?x=wpf_action=update":                                        nil,
	"/":                                                            nil,
	"/wp-login.php?action=lostpassword":                            nil,
}

// broken are requests that a server refuses before it knows whose they are.
var broken = []string{
	"GET /?%s two words HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /?%s HTTP/1.1\r\n\r\n",
	"GET /?%s HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
	"POST /?%s HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
	"POST /?%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"GET /?%s\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /?%s HTTP/3.1\r\nHost: a\r\n\r\n",
}
