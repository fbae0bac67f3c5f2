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

	"spillway/internal/lab/wptest"
)

// pluginBatch is how many contacts a request holds under load.
const pluginBatch = 50

// pluginRows measure what a contact costs inside WordPress: alone, and with
// WP Fusion's own functions, for which a stub stands that does what WP Fusion
// does when it stores. The machine's WordPress and the newest that tests have
// take turns, so that the machine's other work falls on both.
func pluginRows(ctx context.Context, s *stage) []Row {
	var rows []Row
	for _, fusion := range []bool{false, true} {
		trials := []*pluginTrial{s.pluginTrial(ctx, "", fusion)}
		newest := wptest.Fetched("sid")
		if newest != "" {
			trials = append(trials, s.pluginTrial(ctx, newest, fusion))
		}
		rounds := pick(s, 8, 4)
		for round := range rounds + 1 {
			for _, t := range trials {
				t.round(ctx, round, round == rounds)
			}
		}
		for _, t := range trials {
			rows = append(rows, t.rows(s)...)
		}
		if newest != "" {
			rows = append(rows, Row{
				What:  "the plugin's time for a new contact on WordPress " + trials[1].version + " against " + trials[0].version + fusionSuffix(fusion),
				Value: median(trials[1].created().inside) / median(trials[0].created().inside), Sense: AtMost, Bound: 2,
			})
		}
	}
	return rows
}

func fusionSuffix(fusion bool) string {
	if fusion {
		return ", with WP Fusion's functions"
	}
	return ""
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

// pluginTrial is one WordPress with its kinds of batches.
type pluginTrial struct {
	site    *wordpress
	version string
	fusion  bool
	cases   []*pluginCase
}

// stored is a batch of contacts that exist and have all that it stores.
func stored(round int, mark string) []wireContact {
	contacts := make([]wireContact, 0, pluginBatch)
	for id := 1; id <= pluginBatch; id++ {
		contacts = append(contacts, wireContactOf(id, "update", mark, []string{"7", idOf(100 + round)}))
	}
	return contacts
}

func (s *stage) pluginTrial(ctx context.Context, wordPressDir string, fusion bool) *pluginTrial {
	t := &pluginTrial{site: s.wordpress("", fusion, wordPressDir), fusion: fusion}
	t.version = t.site.PHP(`echo get_bloginfo( 'version' );`)
	t.site.addUsers(pluginBatch)
	t.site.post(ctx, stored(0, "same"), "")
	t.cases = []*pluginCase{
		{name: "unchanged", bound: 5, want: "unchanged", make: func(int) []wireContact { return stored(0, "same") }},
		{name: "lightly changed (a field and a tag)", bound: 5, want: "updated", make: func(round int) []wireContact {
			return stored(round+1, fmt.Sprintf("edit %d", round+1))
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
	return t
}

// created is the case of new contacts.
func (t *pluginTrial) created() *pluginCase { return t.cases[len(t.cases)-1] }

func (t *pluginTrial) round(ctx context.Context, round int, counted bool) {
	for _, c := range t.cases {
		c.round(ctx, t.site, round, counted)
		if c.want == "updated" {
			t.site.post(ctx, stored(0, "same"), "")
		}
	}
}

func (t *pluginTrial) rows(s *stage) []Row {
	var rows []Row
	for _, c := range t.cases {
		row := Row{
			What:  "the plugin's time per contact, " + c.name + ", WordPress " + t.version + fusionSuffix(t.fusion),
			Value: median(c.inside), Unit: "ms",
			Note: fmt.Sprintf("WordPress's start included %.1f ms; %.1f queries", median(c.whole), median(c.queries)),
		}
		if c.bound > 0 {
			row.Sense, row.Bound = AtMost, c.bound
		} else {
			row.Note += fmt.Sprintf("; WordPress's own hash of a password takes %.1f ms", t.site.hashing())
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
