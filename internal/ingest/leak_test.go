package ingest_test

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind: not one for a sender that waited, nor one
// of the subscription.
func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests are those of the package, and then none of the client's connections.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return t.M.Run()
}
