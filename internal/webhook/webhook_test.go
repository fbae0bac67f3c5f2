package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/webhook"
)

const (
	key   = "k3y-of-the-tests"
	query = "/?access_key=" + key + "&"

	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func keyring(t testing.TB, keys ...string) *webhook.Keyring {
	t.Helper()
	ring, err := webhook.NewKeyring(map[string][]string{contact.DefaultSite: keys})
	require.NoError(t, err)
	return ring
}

func get(target string) *http.Request { return httptest.NewRequest(http.MethodGet, target, nil) }

func post(target, contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// open parses a request with the key of the tests.
func open(t testing.TB, r *http.Request) (webhook.Hook, error) {
	t.Helper()
	hook, err := webhook.Parse(r, keyring(t, key))
	hook.Site = "" // the same for all; see TestAKeyBelongsToItsSiteAndNoOther
	return hook, err
}

func requireRefused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var refused *webhook.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code)
	require.Equal(t, status, refused.Status)
	require.NotEmpty(t, refused.Message)
	require.NotContains(t, refused.Error(), key)
}

func update(id string) webhook.Hook {
	return webhook.Hook{ID: id, Intent: contact.Intent{Action: contact.Update}}
}

// waits is [update] for contact 5 whose sender waits.
func waits(d time.Duration) webhook.Hook {
	hook := update("5")
	hook.Wait, hook.HasWait = d, true
	return hook
}

func add(role string, notify bool) webhook.Hook {
	return webhook.Hook{ID: "5", Intent: contact.Intent{Action: contact.Add, Role: role, Notify: notify}}
}

func TestHookSaysWhatTheRequestAsksFor(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		request *http.Request
		want    webhook.Hook
	}{
		"query":                   {get(query + "wpf_action=update&contact_id=5"), update("5")},
		"action in capitals":      {get(query + "wpf_action=UPDATE_Tags&contact_id=5"), webhook.Hook{ID: "5", Intent: contact.Intent{Action: contact.UpdateTags}}},
		"test needs no contact":   {get(query + "wpf_action=TEST"), webhook.Hook{Test: true}},
		"any path":                {get("/a/b.php?access_key=" + key + "&wpf_action=update&contact_id=5"), update("5")},
		"async is ignored":        {get(query + "wpf_action=update&contact_id=5&async=true"), update("5")},
		"form":                    {post("/", formType, "wpf_action=update&contact_id=5&access_key="+key), update("5")},
		"form with charset":       {post(query, formType+"; charset=UTF-8", "wpf_action=update&contact_id=5"), update("5")},
		"type with bad parameter": {post(query, formType+"; charset=", "wpf_action=update&contact_id=5"), update("5")},
		"query before form":       {post(query+"wpf_action=update&contact_id=5", formType, "wpf_action=add&contact_id=6"), update("5")},
		"empty form, then query":  {post(query+"wpf_action=update&contact_id=5", formType, "wpf_action=&contact_id="), update("5")},
		"contact_id before id":    {post(query+"wpf_action=update&contact_id=5", formType, "id=6"), update("5")},
		"id of the form":          {post(query+"wpf_action=update", formType, "id=5"), update("5")},
		"id of the query first":   {post(query+"wpf_action=update&id=5", formType, "contact_id=6&id=7"), update("5")},
		"id of no contact":        {post(query+"wpf_action=update&id=hook-7", formType, "contact_id=5"), update("5")},
		"id of the query":         {get(query + "wpf_action=update&id=5"), update("5")},
		"query before JSON":       {post(query+"wpf_action=update&id=5", jsonType, `{"id":6}`), update("5")},
		"JSON":                    {post(query+"wpf_action=update", jsonType, `{"first_name":"x","id":5,"tags":[{"id":7}]}`), update("5")},
		"JSON text":               {post(query+"wpf_action=update", "application/vnd.x+json; charset=utf-8", `{"id":"5"}`), update("5")},
		"JSON of 18 digits":       {post(query+"wpf_action=update", jsonType, `{"id":999999999999999999}`), update("999999999999999999")},
		"JSON with the id twice":  {post(query+"wpf_action=update", jsonType, `{"id":6,"id":5}`), update("5")},
		"JSON with other case":    {post(query+"wpf_action=update", jsonType, `{"id":5,"ID":6,"Id":7}`), update("5")},
		"JSON said to be a form":  {post(query+"wpf_action=update", formType, ` {"id":5}`), update("5")},
		"JSON without a type":     {post(query+"wpf_action=update", "", `{"id":5}`), update("5")},
		"JSON with a fraction":    {post(query+"wpf_action=update", jsonType, `{"id":5.0}`), update("5")},
		"JSON with an exponent":   {post(query+"wpf_action=update", jsonType, `{"id":1.1E+2}`), update("110")},
		"JSON text with zeros":    {post(query+"wpf_action=update", jsonType, `{"id":"007"}`), update("7")},
		"JSON of two spellings":   {post(query+"wpf_action=update", jsonType, `{"id":5,"id":5.0,"x":}`), update("5")},
		"JSON that is not needed": {post(query+"wpf_action=update&contact_id=5", jsonType, `{"id":`), update("5")},
		"JSON by GET":             {withBody(get(query+"wpf_action=update"), jsonType, `{"id":5}`), update("5")},
		"last of repeated":        {get(query + "wpf_action=add&contact_id=x&wpf_action=update&contact_id=5"), update("5")},
		"semicolon elsewhere":     {get(query + "wpf_action=update&contact_id=5&x=1;y=2"), update("5")},
		"escaped names":           {get(query + "wpf%5Faction=update&contact%5fid=%35"), update("5")},
		"empty body of any type":  {post(query+"wpf_action=update&contact_id=5", "text/plain", ""), update("5")},
		"non-UTF-8 elsewhere":     {get(query + "wpf_action=update&contact_id=5&name=%FF%FE"), update("5")},

		"role":                         {get(query + "wpf_action=add&contact_id=5&role=+Shop+Manager%0A"), add("Shop Manager", false)},
		"role of an update":            {get(query + "wpf_action=update&contact_id=5&role=customer"), webhook.Hook{ID: "5", Intent: contact.Intent{Action: contact.Update, Role: "customer"}}},
		"no role for update_tags":      {get(query + "wpf_action=update_tags&contact_id=5&role=customer%00"), webhook.Hook{ID: "5", Intent: contact.Intent{Action: contact.UpdateTags}}},
		"role with blanks in it":       {get(query + "wpf_action=add&contact_id=5&role=Shop%0A+Manager"), add("Shop Manager", false)},
		"role of 100 letters":          {get(query + "wpf_action=add&contact_id=5&role=" + strings.Repeat("%C3%A9", 100)), add(strings.Repeat("é", 100), false)},
		"mail":                         {get(query + "wpf_action=add&contact_id=5&send_notification=true"), add("", true)},
		"mail, whatever the text":      {get(query + "wpf_action=add&contact_id=5&send_notification=1"), add("", true)},
		"no mail":                      {get(query + "wpf_action=add&contact_id=5&send_notification=false"), add("", false)},
		"no mail in capitals":          {get(query + "wpf_action=add&contact_id=5&send_notification=FALSE"), add("", false)},
		"no mail for 0":                {get(query + "wpf_action=add&contact_id=5&send_notification=0"), add("", false)},
		"no mail for an empty text":    {get(query + "wpf_action=add&contact_id=5&send_notification="), add("", false)},
		"no mail without an add":       {get(query + "wpf_action=update&contact_id=5&send_notification=true"), update("5")},
		"wait":                         {get(query + "wpf_action=update&contact_id=5&wait=10"), waits(10 * time.Second)},
		"wait of a fraction":           {get(query + "wpf_action=update&contact_id=5&wait=2.5"), waits(2500 * time.Millisecond)},
		"wait with blanks":             {get(query + "wpf_action=update&contact_id=5&wait=+3%0A"), waits(3 * time.Second)},
		"wait of zero":                 {get(query + "wpf_action=update&contact_id=5&wait=0"), waits(0)},
		"longest wait":                 {get(query + "wpf_action=update&contact_id=5&wait=30"), waits(30 * time.Second)},
		"wait that is too long":        {get(query + "wpf_action=update&contact_id=5&wait=31"), waits(30 * time.Second)},
		"wait beyond any":              {get(query + "wpf_action=update&contact_id=5&wait=" + strings.Repeat("9", 1000)), waits(30 * time.Second)},
		"negative wait":                {get(query + "wpf_action=update&contact_id=5&wait=-1"), update("5")},
		"wait of no number":            {get(query + "wpf_action=update&contact_id=5&wait=long"), update("5")},
		"wait with an exponent":        {get(query + "wpf_action=update&contact_id=5&wait=1e1"), update("5")},
		"wait of two points":           {get(query + "wpf_action=update&contact_id=5&wait=1.2.3"), update("5")},
		"empty wait":                   {get(query + "wpf_action=update&contact_id=5&wait="), update("5")},
		"list of waits":                {get(query + "wpf_action=update&contact_id=5&wait[]=3"), update("5")},
		"role, mail and key by header": {withHeader(get("/?wpf_action=add&contact_id=5&role=x&send_notification=yes"), "X-Access-Key", key), add("x", true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook, err := open(t, c.request)
			require.NoError(t, err)
			require.Equal(t, c.want, hook)
		})
	}
}

func withHeader(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func withBody(r *http.Request, contentType, body string) *http.Request {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return withHeader(r, "Content-Type", contentType)
}

func TestHookRefusesWhatNamesNoContactOrAction(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		request *http.Request
		code    string
	}{
		"no action":              {get(query + "contact_id=5"), "missing_action"},
		"empty action":           {get(query + "wpf_action=&contact_id=5"), "missing_action"},
		"action in JSON only":    {post(query, jsonType, `{"wpf_action":"update","id":5}`), "missing_action"},
		"other action":           {get(query + "wpf_action=delete&contact_id=5"), "unknown_action"},
		"action of two words":    {get(query + "wpf_action=update+tags&contact_id=5"), "unknown_action"},
		"list of actions":        {get(query + "wpf_action[]=update&contact_id=5"), "unknown_action"},
		"no contact":             {get(query + "wpf_action=update"), "missing_contact_id"},
		"empty contact":          {get(query + "wpf_action=update&contact_id=&id="), "missing_contact_id"},
		"empty JSON object":      {post(query+"wpf_action=update", jsonType, `{}`), "missing_contact_id"},
		"JSON null":              {post(query+"wpf_action=update", jsonType, `{"id":null}`), "missing_contact_id"},
		"empty JSON text":        {post(query+"wpf_action=update", jsonType, `{"id":""}`), "missing_contact_id"},
		"contact_id in JSON":     {post(query+"wpf_action=update", jsonType, `{"contact_id":5}`), "missing_contact_id"},
		"JSON list":              {post(query+"wpf_action=update", jsonType, `[{"id":5}]`), "missing_contact_id"},
		"JSON number":            {post(query+"wpf_action=update", jsonType, `5`), "missing_contact_id"},
		"malformed JSON":         {post(query+"wpf_action=update", jsonType, `{"id":5`), "invalid_body"},
		"two JSON values":        {post(query+"wpf_action=update", jsonType, `{"id":5}{"id":6}`), "invalid_body"},
		"deep JSON":              {post(query+"wpf_action=update", jsonType, strings.Repeat("[", 60_000)), "invalid_body"},
		"prose that is JSON":     {post(query+"wpf_action=update", jsonType, "contact 5"), "invalid_body"},
		"no boundary":            {post(query+"wpf_action=update", "multipart/form-data", "x"), "invalid_body"},
		"action lost in a form":  {post(query, "multipart/form-data; boundary=b", "--b\r\nContent-"), "invalid_body"},
		"list of contacts":       {get(query + "wpf_action=update&contact_id[]=5"), "invalid_contact_id"},
		"list after a contact":   {get(query + "wpf_action=update&contact_id=5&contact_id[]=6"), "invalid_contact_id"},
		"last of repeated":       {get(query + "wpf_action=update&contact_id=5&contact_id=x"), "invalid_contact_id"},
		"bad one before a good":  {post(query+"wpf_action=update&contact_id=x", formType, "contact_id=5"), "invalid_contact_id"},
		"bad escape":             {get(query + "wpf_action=update&contact_id=5%zz"), "invalid_contact_id"},
		"semicolon":              {get(query + "wpf_action=update&contact_id=5;x=1"), "invalid_contact_id"},
		"zero":                   {get(query + "wpf_action=update&contact_id=0"), "invalid_contact_id"},
		"negative":               {get(query + "wpf_action=update&contact_id=-5"), "invalid_contact_id"},
		"plus sign":              {get(query + "wpf_action=update&contact_id=%2B5"), "invalid_contact_id"},
		"space within":           {get(query + "wpf_action=update&contact_id=5+5"), "invalid_contact_id"},
		"leading zero":           {get(query + "wpf_action=update&contact_id=05"), "invalid_contact_id"},
		"19 digits":              {get(query + "wpf_action=update&contact_id=1000000000000000000"), "invalid_contact_id"},
		"10,000 digits":          {get(query + "wpf_action=update&contact_id=" + strings.Repeat("9", 10_000)), "invalid_contact_id"},
		"other digits":           {get(query + "wpf_action=update&contact_id=%D9%A3"), "invalid_contact_id"},
		"non-UTF-8":              {get(query + "wpf_action=update&contact_id=5%FF"), "invalid_contact_id"},
		"line break":             {get(query + "wpf_action=update&contact_id=5%0D%0AX-Y:1"), "invalid_contact_id"},
		"placeholder":            {get(query + "wpf_action=update&contact_id=%7B%7Bcontact.id%7D%7D"), "invalid_contact_id"},
		"JSON fraction":          {post(query+"wpf_action=update", jsonType, `{"id":1.5}`), "invalid_contact_id"},
		"JSON exponent":          {post(query+"wpf_action=update", jsonType, `{"id":1e-3}`), "invalid_contact_id"},
		"JSON beyond a float":    {post(query+"wpf_action=update", jsonType, `{"id":9007199254740993.0}`), "invalid_contact_id"},
		"JSON beyond any float":  {post(query+"wpf_action=update", jsonType, `{"id":1e999999999}`), "invalid_contact_id"},
		"JSON zeros":             {post(query+"wpf_action=update", jsonType, `{"id":"000"}`), "invalid_contact_id"},
		"JSON of 19 digits":      {post(query+"wpf_action=update", jsonType, `{"id":1000000000000000000}`), "invalid_contact_id"},
		"JSON zero":              {post(query+"wpf_action=update", jsonType, `{"id":0}`), "invalid_contact_id"},
		"JSON negative":          {post(query+"wpf_action=update", jsonType, `{"id":-5}`), "invalid_contact_id"},
		"JSON boolean":           {post(query+"wpf_action=update", jsonType, `{"id":true}`), "invalid_contact_id"},
		"JSON object for the id": {post(query+"wpf_action=update", jsonType, `{"id":{"id":5}}`), "invalid_contact_id"},
		"JSON text of two":       {post(query+"wpf_action=update", jsonType, `{"id":"5 6"}`), "invalid_contact_id"},
		"long role":              {get(query + "wpf_action=add&contact_id=5&role=" + strings.Repeat("x", 101)), "invalid_role"},
		"control characters":     {get(query + "wpf_action=add&contact_id=5&role=a%00b"), "invalid_role"},
		"non-UTF-8 role":         {get(query + "wpf_action=update&contact_id=5&role=a%FFb"), "invalid_role"},
		"list of roles":          {get(query + "wpf_action=update&contact_id=5&role[]=customer"), "invalid_role"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, c.request)
			requireRefused(t, err, http.StatusBadRequest, c.code)
		})
	}
}

func TestARelaysOwnRequestIsRefused(t *testing.T) {
	t.Parallel()
	for _, target := range []string{query + "wpf_action=update&contact_id=5", query + "wpf_action=test", query} {
		_, err := open(t, withHeader(get(target), webhook.RelayHeader, "any value"))
		requireRefused(t, err, http.StatusLoopDetected, "relay_circle")
	}
	_, err := open(t, withHeader(get("/?access_key=x&wpf_action=update&contact_id=5"), webhook.RelayHeader, "any value"))
	requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
}

func TestMethodsThatCarryNoWebhookAreRefusedWithAKeyOnly(t *testing.T) {
	t.Parallel()

	complete := query + "wpf_action=update&contact_id=5"
	for _, method := range []string{http.MethodDelete, http.MethodConnect, http.MethodTrace, "PRI", "propfind"} {
		_, err := open(t, httptest.NewRequest(method, complete, nil))
		requireRefused(t, err, http.StatusMethodNotAllowed, "method_not_allowed")
		_, err = open(t, httptest.NewRequest(method, "/?wpf_action=update&contact_id=5", nil))
		requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
	}
	for _, method := range []string{http.MethodHead, http.MethodOptions} {
		for _, target := range []string{complete, query, query + "wpf_action=delete&contact_id=x"} {
			hook, err := open(t, httptest.NewRequest(method, target, nil))
			require.NoError(t, err)
			require.Equal(t, webhook.Hook{Test: true}, hook)
		}
		_, err := open(t, httptest.NewRequest(method, "/", nil))
		requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		hook, err := open(t, httptest.NewRequest(method, query+"wpf_action=update", strings.NewReader(`{"id":5}`)))
		require.NoError(t, err)
		require.Equal(t, update("5"), hook)
	}
}
