// Package isolatedtest gives tests a reader of DICOM files. TestMain must call isolated.Serve first.
package isolatedtest

import (
	"log/slog"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
)

// New makes a reader that ends with the test.
func New(t testing.TB) *isolated.Reader {
	t.Helper()
	r := isolated.New(isolated.Config{}, slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	return r
}
