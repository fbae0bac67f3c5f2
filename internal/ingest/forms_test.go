package ingest_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

const (
	textType = "text/plain"
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// form is a webhook as some CRM sends it, byte by byte.
type form struct {
	method, target string // POST where there is none
	contentType    string // no header where there is none
	headers        string // further ones, each with its line's end
	body           string
	chunked        bool
}

func (f form) raw() string {
	method, body := f.method, f.body
	if method == "" {
		method = "POST"
	}
	headers := "Host: x\r\nConnection: close\r\n" + f.headers
	if f.contentType != "" {
		headers += "Content-Type: " + f.contentType + "\r\n"
	}
	if f.chunked {
		headers += "Transfer-Encoding: chunked\r\n"
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	} else {
		headers += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return method + " " + f.target + " HTTP/1.1\r\n" + headers + "\r\n" + body
}

// recorder keeps what is submitted.
type recorder struct {
	mu  sync.Mutex
	got []string
}

func (r *recorder) Submit(_ context.Context, ref contact.Ref, intent contact.Intent, _ contact.Receipt) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, strings.TrimSpace(intent.Action.String()+" "+ref.ID+" "+intent.Role))
	return false, nil
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := strings.Join(r.got, ", ")
	r.got = nil
	return got
}

// Webhooks that are complete and right are taken, in whatever form a CRM sends
// them: those that public bug reports describe, and others of their kinds.
func TestEveryFormOfACompleteWebhookIsTaken(t *testing.T) {
	t.Parallel()

	const (
		u        = "/?wpf_action=update&access_key=" + key // needs an id
		complete = u + "&contact_id=5"
		part     = "--b\r\nContent-Disposition: form-data; name="
		page     = "<!doctype html><html><body>A contact was edited</body></html>"
	)
	long := strings.Repeat("a long note, ", 6000) // 78 kB
	record := `{"id":7,"email":"x@example.com","note":"` + long + `"}`
	submitted := &recorder{}
	address, _ := serve(t, setup(t, submitted).server)
	for name, c := range map[string]struct {
		form

		want string
	}{
		// The type is wrong or missing.
		"text":                          {form{target: complete, contentType: textType, body: "hello"}, "update 5"},
		"a line's end of any type":      {form{target: complete, contentType: textType, body: "\n"}, "update 5"},
		"XML beside a complete URL":     {form{target: complete, contentType: "text/xml; charset=utf-8", body: "<a/>"}, "update 5"},
		"bytes beside a complete URL":   {form{target: complete, contentType: "application/octet-stream", body: "\x00\x01\xff"}, "update 5"},
		"a page beside a complete URL":  {form{target: complete, contentType: "text/html", body: page}, "update 5"},
		"no type":                       {form{target: complete, body: "hello"}, "update 5"},
		"no type that is one":           {form{target: complete, contentType: ";;", body: "hello"}, "update 5"},
		"JSON that is text":             {form{target: u, contentType: textType, body: `{"id":5}`}, "update 5"},
		"JSON that is bytes":            {form{target: u, contentType: "application/octet-stream", body: `{"id":5}`}, "update 5"},
		"JSON that is a form":           {form{target: u, contentType: formType, body: `{"id":5}`}, "update 5"},
		"JSON that is multipart":        {form{target: u, contentType: "multipart/form-data", body: `{"id":5}`}, "update 5"},
		"JSON that is XML":              {form{target: u, contentType: "application/xml", body: ` {"id":5}`}, "update 5"},
		"JSON of a type of its own":     {form{target: u, contentType: "application/hal+json", body: `{"id":5}`}, "update 5"},
		"JSON in a list of types":       {form{target: u, contentType: "application/json, application/json", body: `{"id":5}`}, "update 5"},
		"form that is JSON":             {form{target: u, contentType: jsonType, body: "contact_id=5"}, "update 5"},
		"form without a type":           {form{target: u, body: "contact_id=5&x=1"}, "update 5"},
		"form that is text":             {form{target: u, contentType: textType, body: "contact_id=5\r\n"}, "update 5"},
		"form that is multipart":        {form{target: u, contentType: "multipart/form-data", body: "x=1&contact_id=5"}, "update 5"},
		"all in a form that is text":    {form{target: "/", contentType: textType, body: "wpf_action=add&access_key=" + key + "&contact_id=5&role=customer"}, "add 5 customer"},
		"multipart without a boundary":  {form{target: u, contentType: "multipart/form-data", body: part + "contact_id\r\n\r\n5\r\n--b--\r\n"}, "update 5"},
		"multipart of another boundary": {form{target: u, contentType: "multipart/form-data; boundary=c", body: part + `"contact_id"` + "\r\n\r\n5\r\n--b--\r\n"}, "update 5"},
		"multipart without a type":      {form{target: u, body: part + "contact_id\r\n\r\n5\r\n--b--"}, "update 5"},
		"multipart, mixed":              {form{target: u, contentType: `multipart/mixed; boundary="b"`, body: part + "id\r\n\r\n5\r\n--b--"}, "update 5"},
		"test of any type":              {form{target: "/?wpf_action=test&access_key=" + key, contentType: textType, body: "x"}, ""},

		// The body is large.
		"a long note":               {form{target: complete, contentType: jsonType, body: record}, "update 5"},
		"a long note, chunked":      {form{target: complete, contentType: jsonType, body: record, chunked: true}, "update 5"},
		"2 MiB":                     {form{target: complete, contentType: jsonType, body: strings.Repeat(" ", 2<<20)}, "update 5"},
		"a long note that is read":  {form{target: u, contentType: jsonType, body: record}, "update 7"},
		"a long form that is read":  {form{target: u, contentType: formType, body: "note=" + long + "&id=5"}, "update 5"},
		"2 MiB after the id":        {form{target: u, contentType: jsonType, body: `{"id":5,"note":"` + strings.Repeat("x", 2<<20) + `"}`}, "update 5"},
		"2 MiB after the id's pair": {form{target: u, contentType: formType, body: "id=5&note=" + strings.Repeat("x", 2<<20), chunked: true}, "update 5"},

		// The body is packed, or says so.
		"gzip beside a complete URL":    {form{target: complete, headers: "Content-Encoding: gzip\r\n", body: zipped(t, "{}")}, "update 5"},
		"no gzip at all":                {form{target: complete, headers: "Content-Encoding: gzip\r\n", body: "{}"}, "update 5"},
		"Brotli beside a complete URL":  {form{target: complete, headers: "Content-Encoding: br\r\n", body: "\x0b\x01"}, "update 5"},
		"a coding of nobody's":          {form{target: complete, headers: "Content-Encoding: utf-8\r\n", contentType: jsonType, body: "{}"}, "update 5"},
		"a coding of nobody's, needed":  {form{target: u, headers: "Content-Encoding: UTF-8\r\n", contentType: jsonType, body: `{"id":5}`}, "update 5"},
		"gzip":                          {form{target: u, headers: "Content-Encoding: gzip\r\n", contentType: jsonType, body: zipped(t, record)}, "update 7"},
		"x-gzip of a form":              {form{target: u, headers: "Content-Encoding: X-GZIP\r\n", contentType: formType, body: zipped(t, "id=5")}, "update 5"},
		"gzip of which nothing is said": {form{target: u, contentType: jsonType, body: zipped(t, `{"id":5}`)}, "update 5"},
		"JSON that is no gzip":          {form{target: u, headers: "Content-Encoding: gzip\r\n", contentType: jsonType, body: `{"id":5}`}, "update 5"},
		"deflate":                       {form{target: u, headers: "Content-Encoding: deflate\r\n", body: deflated(t, `{"id":5}`, false)}, "update 5"},
		"zlib":                          {form{target: u, headers: "Content-Encoding: deflate\r\n", body: deflated(t, `{"id":5}`, true)}, "update 5"},

		// Blanks, as pasted.
		"a space behind the key":         {form{target: "/?wpf_action=update&contact_id=5&access_key=" + key + "%20"}, "update 5"},
		"a line's end behind the key":    {form{target: "/?wpf_action=update&contact_id=5&access_key=" + key + "%0D%0A"}, "update 5"},
		"a tab before the key":           {form{target: "/?wpf_action=update&contact_id=5&access_key=%09" + key}, "update 5"},
		"a hard space around the key":    {form{target: "/?wpf_action=update&contact_id=5&access_key=%C2%A0" + key + "%C2%A0"}, "update 5"},
		"a hard space of Latin-1":        {form{target: "/?wpf_action=update&contact_id=5&access_key=" + key + "%A0"}, "update 5"},
		"a mark before the key":          {form{target: "/?wpf_action=update&contact_id=5&access_key=%EF%BB%BF" + key}, "update 5"},
		"blanks around the header's key": {form{target: "/?wpf_action=update&contact_id=5", headers: "X-Access-Key: \t" + key + " \r\n"}, "update 5"},
		"a space behind the action":      {form{target: "/?wpf_action=update%20&contact_id=5&access_key=" + key}, "update 5"},
		"plus signs around the action":   {form{target: "/?wpf_action=+Update_Tags+&contact_id=5&access_key=" + key}, "update_tags 5"},
		"a space behind the id":          {form{target: u + "&contact_id=119%20"}, "update 119"},
		"a line's end behind the id":     {form{target: u + "&contact_id=119%0A"}, "update 119"},
		"a blank escaped twice":          {form{target: u + "&contact_id=119%2520"}, "update 119"},
		"blanks escaped twice, in all":   {form{target: "/?wpf_action=update%2520&contact_id=%25095&access_key=" + key + "%250D%250a"}, "update 5"},
		"blanks escaped twice, a form":   {form{target: "/", contentType: formType, body: "wpf_action=add&access_key=" + key + "%2520&contact_id=5&role=customer%2520"}, "add 5 customer"},
		"NUL behind the id":              {form{target: u + "&contact_id=119%00"}, "update 119"},
		"a text with spaces in JSON":     {form{target: u, contentType: jsonType, body: `{"id":" 110 "}`}, "update 110"},
		"a line's end in JSON":           {form{target: u, contentType: jsonType, body: `{"id":"110\r\n"}`}, "update 110"},
		"a raw line's end in JSON":       {form{target: u, contentType: jsonType, body: "{\"id\":\"110\n\"}"}, "update 110"},
		"a space before a name":          {form{target: "/?wpf_action=update&%20access_key=" + key + "&%20contact_id=5"}, "update 5"},
		"blanks in a form":               {form{target: "/", contentType: formType, body: " wpf_action = add &\r\naccess_key=" + key + "\r\n&contact_id=5\r\n&role=+customer "}, "add 5 customer"},
		"single quotes around a part":    {form{target: u, contentType: "multipart/form-data; boundary=b", body: part + "'contact_id'\r\n\r\n5\r\n--b--\r\n"}, "update 5"},
		"blanks in parts":                {form{target: u, contentType: "multipart/form-data; boundary=b", body: part + "contact_id\r\n\r\n 5\r\n \r\n--b--\r\n"}, "update 5"},

		// Other methods.
		"PUT":                           {form{method: "PUT", target: u + "&contact_id=121"}, "update 121"},
		"PATCH":                         {form{method: "PATCH", target: u, contentType: jsonType, body: `{"id":121}`}, "update 121"},
		"a form by PUT":                 {form{method: "PUT", target: "/", contentType: formType, body: "wpf_action=add&id=5&access_key=" + key}, "add 5"},
		"a body by GET":                 {form{method: "GET", target: u, contentType: jsonType, body: `{"id":5}`}, "update 5"},
		"a page's body by GET":          {form{method: "GET", target: complete, contentType: "text/html", body: page}, "update 5"},
		"HEAD":                          {form{method: "HEAD", target: complete}, ""},
		"HEAD without a contact":        {form{method: "HEAD", target: u}, ""},
		"HEAD of the key alone":         {form{method: "HEAD", target: "/?access_key=" + key}, ""},
		"OPTIONS":                       {form{method: "OPTIONS", target: complete}, ""},
		"OPTIONS, the key in a header":  {form{method: "OPTIONS", target: "/a/b.php", headers: "X-Access-Key: " + key + "\r\n"}, ""},
		"Expect: 100-continue":          {form{target: complete, headers: "Expect: 100-continue\r\n", body: record}, "update 5"},
		"Expect: 100-continue, chunked": {form{target: u, headers: "Expect: 100-continue\r\n", body: record, chunked: true}, "update 7"},

		// Marks and codings of texts.
		"a mark before JSON":           {form{target: u, contentType: jsonType, body: "\xef\xbb\xbf{\"id\":102}"}, "update 102"},
		"a mark before a form":         {form{target: u, contentType: formType, body: "\xef\xbb\xbfcontact_id=102"}, "update 102"},
		"a mark before an unknown":     {form{target: u, contentType: textType, body: "\xef\xbb\xbf \r\n{\"id\":102}"}, "update 102"},
		"an escaped mark":              {form{target: u, contentType: formType, body: "%EF%BB%BFcontact_id=102"}, "update 102"},
		"two marks":                    {form{target: u, contentType: jsonType, body: "\xef\xbb\xbf\xef\xbb\xbf{\"id\":102}"}, "update 102"},
		"two marks of UTF-16":          {form{target: u, contentType: jsonType, body: in16("\ufeff{\"id\":102}", true, true)}, "update 102"},
		"UTF-16 with a mark":           {form{target: u, contentType: jsonType, body: in16(`{"id":102}`, true, true)}, "update 102"},
		"UTF-16, the other way round":  {form{target: u, contentType: jsonType + "; charset=utf-16", body: in16(`{"note":"ü","id":102}`, false, true)}, "update 102"},
		"UTF-16 without a mark":        {form{target: u, contentType: jsonType, body: in16(`{"id":102}`, true, false)}, "update 102"},
		"a form in UTF-16":             {form{target: u, contentType: formType, body: in16("contact_id=102", true, true)}, "update 102"},
		"Latin-1 beside a URL":         {form{target: complete + "&name=%FC", contentType: jsonType, body: "{\"name\":\"\xfc\"}"}, "update 5"},
		"Latin-1 in JSON":              {form{target: u, contentType: jsonType + "; charset=iso-8859-1", body: "{\"name\":\"J\xfcrg\",\"id\":5}"}, "update 5"},
		"Latin-1 in a form":            {form{target: u, contentType: formType, body: "name=J\xfcrg&x=%zz&id=5"}, "update 5"},
		"half a character beside them": {form{target: u, contentType: jsonType, body: "{\"id\":5,\"name\":\"\xf0\x9f\"}"}, "update 5"},

		// URLs that went through HTML or were lengthened.
		"&amp;":                        {form{target: "/?wpf_action=update&amp;access_key=" + key + "&amp;contact_id=116"}, "update 116"},
		"&amp;amp;":                    {form{target: "/?wpf_action=update&amp;amp;access_key=" + key + "&amp;amp;contact_id=116"}, "update 116"},
		"&#038;":                       {form{target: "/?wpf_action=update&#038;access_key=" + key + "&#38;contact_id=116"}, "update 116"},
		"&amp%3B":                      {form{target: "/?wpf_action=update&amp%3Baccess_key=" + key + "&amp%3bcontact_id=116"}, "update 116"},
		"&amp; in a form":              {form{target: "/", contentType: formType, body: "wpf_action=update&amp;access_key=" + key + "&amp;contact_id=116"}, "update 116"},
		"a second ? behind the key":    {form{target: u + "?contact_id=117"}, "update 117"},
		"a second ? behind the action": {form{target: "/?access_key=" + key + "&wpf_action=update?contact_id=117&x=1"}, "update 117"},
		"a second ? of anybody's":      {form{target: "/?wpf_action=update&contact_id=117&access_key=" + key + "?utm_source=crm"}, "update 117"},
		"a second ? behind the id":     {form{target: u + "&contact_id=117?ts=1764072000"}, "update 117"},
		"a ? with nothing behind":      {form{target: u + "&contact_id=117?"}, "update 117"},
		"a /? behind the key":          {form{target: u + "/?contact_id=117"}, "update 117"},
		"two ? at the beginning":       {form{target: "/??wpf_action=update&access_key=" + key + "&contact_id=117"}, "update 117"},
		"a ? before a form":            {form{target: "/", contentType: formType, body: "?wpf_action=update&access_key=" + key + "&contact_id=117"}, "update 117"},
		"a fragment behind the id":     {form{target: u + "&contact_id=117#top"}, "update 117"},
		"a fragment behind the key":    {form{target: "/?wpf_action=update&contact_id=117&access_key=" + key + "#/a?b=c&contact_id=9"}, "update 117"},
		"a fragment and &#038;":        {form{target: "/?wpf_action=update&#038;access_key=" + key + "&amp;#38;contact_id=117#"}, "update 117"},
		"& at both ends":               {form{target: "/?&&wpf_action=update&access_key=" + key + "&contact_id=117&"}, "update 117"},

		// Templates that escape nothing.
		"a line's end in a note":     {form{target: u, contentType: jsonType, body: "{\"id\":114,\"note\":\"a\nb\"}"}, "update 114"},
		"a line's end before the id": {form{target: u, contentType: jsonType, body: "{\"note\":\"a\r\n\tb\",\"id\":114}"}, "update 114"},
		"quotes in a note":           {form{target: u, contentType: jsonType, body: `{"id":114,"note":"the "best" client"}`}, "update 114"},
		"a value that is missing":    {form{target: u, contentType: jsonType, body: `{"id":114,"age":,"city":"x"}`}, "update 114"},
		"a backslash at the end":     {form{target: u, contentType: jsonType, body: `{"id":114,"path":"C:\"}`}, "update 114"},
		"broken beside a URL":        {form{target: complete, contentType: jsonType, body: `{"id":"`}, "update 5"},
		"parts that break off":       {form{target: complete, contentType: "multipart/form-data; boundary=b", body: part}, "update 5"},
		"a comma at the end":         {form{target: u, contentType: jsonType, body: `{"tags":[1,2],"id":114,}`}, "update 114"},
		"JSON and a line's end":      {form{target: u, contentType: jsonType, body: "{\"id\":114}\r\n\x00"}, "update 114"},
		"an escaped name":            {form{target: u, contentType: jsonType, body: `{"\u0069d":114}`}, "update 114"},
		"objects with ids around it": {form{target: u, contentType: jsonType, body: `{"tags":[{"id":1}],"id":114,"owner":{"id":2}}`}, "update 114"},
		"PHP's reading of names":     {form{target: "/?wpf.action=update&access+key=" + key + "&contact%20id=5"}, "update 5"},

		// What the URL says is not replaced.
		"a contact's own role":          {form{target: "/?wpf_action=add&role=customer&access_key=" + key, contentType: formType, body: "id=5&first_name=Ann&role=Chief+Executive"}, "add 5 customer"},
		"a contact's own id":            {form{target: complete, contentType: formType, body: "id=9&contact_id=8&role=x&name=y"}, "update 5"},
		"a contact's own action":        {form{target: complete, contentType: formType, body: "wpf_action=add&access_key=x"}, "update 5"},
		"a role that nobody meant":      {form{target: "/?wpf_action=add&access_key=" + key, contentType: formType, body: "id=5&first_name=Ann&role=Chief+Executive"}, "add 5"},
		"a role that is meant, chunked": {form{target: "/?wpf_action=add&contact_id=5&access_key=" + key, contentType: formType + ", " + formType, body: "role=customer", chunked: true}, "add 5 customer"},
		"a role in a chunked part":      {form{target: "/?wpf_action=add&contact_id=5&access_key=" + key, contentType: "multipart/form-data; boundary=b", body: part + "role\r\n\r\ncustomer\r\n--b--\r\n", chunked: true}, "add 5 customer"},
		"a role that is meant":          {form{target: "/?wpf_action=add&contact_id=5&access_key=" + key, contentType: formType, body: "role=customer"}, "add 5 customer"},
		"an empty id, then the body's":  {form{target: u + "&contact_id=", contentType: jsonType, body: `{"id":5}`}, "update 5"},
	} {
		statuses, text := talk(t, address, c.raw())
		for len(statuses) > 1 && statuses[0] == 100 {
			statuses = statuses[1:]
		}
		require.Equal(t, []int{200}, statuses, "%s: %s", name, text)
		require.Equal(t, c.want, submitted.take(), name)
		require.NotContains(t, text, key, name)
	}
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var buffer bytes.Buffer
	out := gzip.NewWriter(&buffer)
	_, err := io.WriteString(out, text)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return buffer.String()
}

func deflated(t *testing.T, text string, framed bool) string {
	t.Helper()
	var buffer bytes.Buffer
	var out io.WriteCloser = zlib.NewWriter(&buffer)
	if !framed {
		var err error
		out, err = flate.NewWriter(&buffer, flate.DefaultCompression)
		require.NoError(t, err)
	}
	_, err := io.WriteString(out, text)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return buffer.String()
}

func in16(text string, little, mark bool) string {
	if mark {
		text = "\ufeff" + text
	}
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		high, low := byte(unit>>8), byte(unit)
		if little {
			high, low = low, high
		}
		encoded = append(encoded, high, low)
	}
	return string(encoded)
}

// What lacks something is refused, and told what and why.
func TestEveryRefusalSaysWhatIsMissing(t *testing.T) {
	t.Parallel()

	const u = "/?wpf_action=update&access_key=" + key
	submitted := &recorder{}
	address, _ := serve(t, setup(t, submitted).server)
	const id = "contact_id is not in the URL, and the body "
	for name, c := range map[string]struct {
		form

		status     int
		code, says string
	}{
		"nothing":                   {form{target: u}, 400, "missing_contact_id", "contact_id is missing"},
		"a probe by GET":            {form{method: "GET", target: u}, 400, "missing_contact_id", "contact_id is missing"},
		"an empty object":           {form{target: u, contentType: jsonType, body: "{}"}, 400, "missing_contact_id", "contact_id is missing"},
		"an id within":              {form{target: u, contentType: jsonType, body: `{"contact":{"id":109}}`}, 400, "missing_contact_id", "contact_id is missing"},
		"JSON in a form":            {form{target: u, contentType: formType, body: `payload={"id":5}`}, 400, "missing_contact_id", "contact_id is missing"},
		"contact_id in JSON":        {form{target: u, contentType: jsonType, body: `{"contact_id":109}`}, 400, "missing_contact_id", "contact_id is missing"},
		"a fraction":                {form{target: u, contentType: jsonType, body: `{"id":110.5}`}, 400, "invalid_contact_id", "positive whole number"},
		"a template":                {form{target: u + "&contact_id=%7B%7Bcontact.id%7D%7D"}, 400, "invalid_contact_id", "positive whole number"},
		"text":                      {form{target: u, contentType: textType, body: "contact 5"}, 415, "unsupported_media_type", id + "is neither"},
		"XML":                       {form{target: u, contentType: "text/xml", body: "<id>5</id>"}, 415, "unsupported_media_type", id + "is neither"},
		"Brotli":                    {form{target: u, contentType: jsonType, headers: "Content-Encoding: br\r\n", body: "\x0b\x03"}, 415, "unsupported_media_type", id + "has a Content-Encoding"},
		"2 MiB before the id":       {form{target: u, contentType: jsonType, body: `{"note":"` + strings.Repeat("x", 2<<20) + `","id":5}`}, 413, "body_too_large", id + "is larger"},
		"a bomb":                    {form{target: u, contentType: jsonType, body: zipped(t, `{"note":"`+strings.Repeat("x", 64<<20)+`","id":5}`)}, 413, "body_too_large", id + "is larger"},
		"quotes before the id":      {form{target: u, contentType: jsonType, body: `{"note":"the "best"","id":5}`}, 400, "invalid_body", id + "broke off"},
		"half":                      {form{target: u, contentType: jsonType, body: `{"id":5`}, 400, "invalid_body", id + "broke off"},
		"the action, in text":       {form{target: "/?contact_id=5&access_key=" + key, contentType: textType, body: "update it"}, 415, "unsupported_media_type", "wpf_action is not in the URL"},
		"the action, in JSON":       {form{target: "/?contact_id=5&access_key=" + key, contentType: jsonType, body: `{"wpf_action":"update"}`}, 400, "missing_action", "wpf_action is missing"},
		"a key in JSON":             {form{target: "/?wpf_action=update", contentType: jsonType, body: `{"id":5,"access_key":"` + key + `"}`}, 403, "invalid_access_key", "access key is missing"},
		"a key within a large body": {form{target: "/?wpf_action=update", contentType: formType, body: "x=" + strings.Repeat("x", 2<<20) + "&access_key=" + key}, 403, "invalid_access_key", "access key is missing"},
	} {
		statuses, text := talk(t, address, c.raw())
		require.Equal(t, []int{c.status}, statuses, "%s: %s", name, text)
		require.Contains(t, text, `"code":"`+c.code+`","message":"`, name)
		require.Contains(t, text, c.says, name)
		require.Empty(t, submitted.take(), name)
		require.NotContains(t, text, key, name)
	}
}
