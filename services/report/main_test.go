package report

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a goroutine of the service, or of what the tests started, outlives them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
