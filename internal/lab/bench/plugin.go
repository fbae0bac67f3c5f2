package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// pluginBatch is how many contacts a request holds under load.
const pluginBatch = 50

// pluginRows measure what a contact costs inside WordPress: alone, and with
// WP Fusion's own functions, for which a stub stands that does what WP Fusion
// does when it stores.
func pluginRows(ctx context.Context, s *stage) []Row {
	return append(s.plugin(ctx, false), s.plugin(ctx, true)...)
}

// wireContact is a contact as the connector's protocol has it.
type wireContact struct {
	ID        string            `json:"contact_id"`
	Action    string            `json:"action"`
	AsOf      int64             `json:"as_of"`
	RequestID string            `json:"request_id,omitempty"`
	Email     string            `json:"email"`
	Fields    map[string]string `json:"fields"`
	Tags      []string          `json:"tags"`
	Password  string            `json:"user_pass,omitempty"`
	Generated bool              `json:"generated_pass,omitempty"`
}

// pluginCase is a kind of batch and what its requests cost.
type pluginCase struct {
	name  string
	bound float64 // ms per contact; 0: none
	make  func(round int) []wireContact
	want  string // outcome of each contact

	inside, whole, queries []float64 // per contact: ms, ms, count
	asked                  map[string][2]float64
}

func (s *stage) plugin(ctx context.Context, fusion bool) []Row {
	site := s.wordpress("", fusion)
	// The contacts 1 to 50 exist and have all that a batch stores.
	update := func(round int, mark string) []wireContact {
		contacts := make([]wireContact, 0, pluginBatch)
		for id := 1; id <= pluginBatch; id++ {
			contacts = append(contacts, wireContactOf(id, "update", mark, []string{"7", idOf(100 + round)}))
		}
		return contacts
	}
	site.addUsers(pluginBatch)
	site.post(ctx, update(0, "same"), "")
	cases := []*pluginCase{
		{name: "unchanged", bound: 5, want: "unchanged", make: func(int) []wireContact { return update(0, "same") }},
		{name: "lightly changed (a field and a tag)", bound: 5, want: "updated", make: func(round int) []wireContact {
			return update(round+1, fmt.Sprintf("edit %d", round+1))
		}},
		{name: "new", want: "created", make: func(round int) []wireContact {
			// Fewer, since a creation takes many times as long and a request works
			// for a bounded time.
			contacts := make([]wireContact, 0, pluginBatch/5)
			for n := range pluginBatch / 5 {
				contact := wireContactOf(1000+round*pluginBatch+n, "add", "new", []string{"7"})
				contact.RequestID, contact.Password, contact.Generated = fmt.Sprintf("r%d-%d", round, n), "a password of 20 let", true
				contacts = append(contacts, contact)
			}
			return contacts
		}},
	}
	rounds := pick(s, 8, 4)
	for round := range rounds + 1 {
		for _, c := range cases {
			c.round(ctx, site, round, round == rounds)
			if c.want == "updated" {
				site.post(ctx, update(0, "same"), "")
			}
		}
	}
	var rows []Row
	suffix := ""
	if fusion {
		suffix = ", with WP Fusion's functions"
	}
	for _, c := range cases {
		row := Row{
			What: "the plugin's time per contact, " + c.name + suffix, Value: median(c.inside), Unit: "ms",
			Note: fmt.Sprintf("WordPress's start included %.1f ms; %.1f queries", median(c.whole), median(c.queries)),
		}
		if c.bound > 0 {
			row.Sense, row.Bound = AtMost, c.bound
		} else {
			hashing := site.hashing()
			row.Note += fmt.Sprintf("; hashing the password %.1f ms of it", hashing)
		}
		rows = append(rows, row)
		if s.options.Verbose {
			c.explain(s)
		}
	}
	return rows
}

func wireContactOf(id int, action, mark string, tags []string) wireContact {
	email := fmt.Sprintf("contact%d@example.com", id)
	if id%5 == 0 {
		email = fmt.Sprintf("contact%d@example.org", id)
	}
	return wireContact{
		ID: idOf(id), Action: action, Email: email, Tags: tags,
		Fields: map[string]string{
			"user_email": email, "first_name": "First " + idOf(id), "last_name": "Last " + idOf(id),
			"billing_company": "Company " + idOf(id) + " " + mark, "billing_city": "City", "billing_phone": "+1 555 0100",
		},
	}
}

// round sends one batch; the last one also counts its queries, which costs time.
func (c *pluginCase) round(ctx context.Context, site *wordpress, round int, counted bool) {
	contacts := c.make(round)
	count := float64(len(contacts))
	header := ""
	if counted {
		header = "yes"
	}
	from := time.Now().Add(-time.Millisecond)
	elapsed := site.post(ctx, contacts, header, c.want)
	var requests []request
	site.s.eventually(ctx, 10*time.Second, time.Millisecond, "the request's line", func() bool {
		requests = site.requests("spillway", from, time.Now())
		return len(requests) == 1
	})
	if !counted {
		c.inside = append(c.inside, elapsed/count)
		c.whole = append(c.whole, requests[0].Seconds*1000/count)
		return
	}
	total := 0.0
	for _, query := range requests[0].Queries {
		total += query[0]
	}
	c.queries = append(c.queries, total/count)
	c.asked = requests[0].Queries
}

// explain shows what a batch asked of the database.
func (c *pluginCase) explain(s *stage) {
	s.Logf("%s: %.2f ms per contact; queries of a batch, with their time in ms:", c.name, median(c.inside))
	for _, text := range slices.SortedFunc(maps.Keys(c.asked), func(a, b string) int { return cmp.Compare(c.asked[b][1], c.asked[a][1]) }) {
		s.Logf("  %4.0f  %6.1f  %s", c.asked[text][0], c.asked[text][1]*1000, text)
	}
}

// post sends a batch and returns the plugin's own time in ms. All contacts must
// have one of the outcomes, if any is given.
func (w *wordpress) post(ctx context.Context, contacts []wireContact, countQueries string, outcomes ...string) float64 {
	for i := range contacts {
		contacts[i].AsOf = time.Now().UnixMicro()
	}
	body, err := json.Marshal(map[string]any{"contacts": contacts, "roles_allowed": []string{"subscriber"}})
	require.NoError(w.s, err)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL()+"/wp-json/spillway/v1/contacts", bytes.NewReader(body))
	require.NoError(w.s, err)
	user, password := w.Credentials()
	request.SetBasicAuth(user, password)
	request.Header.Set("Content-Type", "application/json")
	if countQueries != "" {
		request.Header.Set("X-Bench-Queries", countQueries)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.s, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(w.s, err)
	var answer struct {
		Results []struct {
			Outcome string          `json:"outcome"`
			Error   json.RawMessage `json:"error"`
		} `json:"results"`
		Elapsed float64 `json:"elapsed_ms"`
	}
	require.NoError(w.s, json.Unmarshal(text, &answer), "%.300s", text)
	require.Len(w.s, answer.Results, len(contacts), "%.300s", text)
	for _, result := range answer.Results {
		if len(outcomes) > 0 {
			require.Contains(w.s, outcomes, result.Outcome, string(result.Error))
		}
	}
	return answer.Elapsed
}

// hashing is what WordPress takes to hash a password, in ms.
func (w *wordpress) hashing() float64 {
	var took float64
	text := w.PHP(`
$began = microtime( true );
for ( $i = 0; $i < 20; $i++ ) { wp_hash_password( 'a password of 20 let' ); }
echo wp_json_encode( ( microtime( true ) - $began ) * 1000 / 20 );`)
	require.NoError(w.s, json.Unmarshal([]byte(strings.TrimSpace(text)), &took))
	return took
}
