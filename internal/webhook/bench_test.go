package webhook_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"spillway/internal/webhook"
)

// BenchmarkParse reads webhooks in the forms in which CRMs send most of them.
// Nothing of a body costs anything where the URL is complete.
func BenchmarkParse(b *testing.B) {
	record := `{"first_name":"x","note":"` + strings.Repeat("a long note ", 100) + `","id":123,"tags":[{"id":1},{"id":2}]}`
	for name, c := range map[string]struct{ target, contentType, body string }{
		"complete URL":           {query + "wpf_action=update&contact_id=123", "", ""},
		"complete URL with JSON": {query + "wpf_action=update&contact_id=123", jsonType, record},
		"all in a form":          {"/", formType, "wpf_action=add&contact_id=123&role=customer&access_key=" + key},
		"id in JSON":             {query + "wpf_action=update", jsonType, record},
	} {
		b.Run(name, func(b *testing.B) {
			ring, r := keyring(b, key), post(c.target, c.contentType, c.body)
			body := strings.NewReader(c.body)
			r.Body = io.NopCloser(body)
			if c.body == "" {
				r.Body = http.NoBody
			}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(c.body)
				if hook, err := webhook.Parse(r, ring); err != nil || hook.ID != "123" {
					b.Fatal(hook, err)
				}
			}
		})
	}
}
