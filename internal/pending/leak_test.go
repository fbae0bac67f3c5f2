package pending_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind, of the intake or of the subscription.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
