package record_test

import (
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

func failure() record.Failure {
	return record.Failure{
		Schema: record.FailureSchema, StudyUID: "1.2", SOPUID: "1.2.3", Sha256: strings.Repeat("ab", 32), Clinic: "north",
		Code: "inference-failed", Reason: "The network could not be run.", Attempts: 5,
		Model: record.ModelReference{Name: "noctua-vessel-2", Version: "1.0.0", Sha256: strings.Repeat("cd", 32)}, FailedAt: time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC),
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	raw, err := record.Encode(record.FailureSchema, failure())
	if err != nil {
		t.Fatal(err)
	}
	// A newer version may have added something.
	raw = []byte(strings.Replace(string(raw), "{", `{"added_later":true,`, 1))
	got, err := record.Decode[record.Failure](record.FailureSchema, raw)
	if err != nil {
		t.Fatal(err)
	}
	if *got != failure() {
		t.Errorf("got %+v", got)
	}
}

func TestEncodeIsStrict(t *testing.T) {
	t.Parallel()
	bad := failure()
	bad.Attempts = 0
	if _, err := record.Encode(record.FailureSchema, bad); err == nil || fault.CodeOf(err) != "document-invalid" || !fault.Is(err, fault.Internal) {
		t.Errorf("a document that breaks its schema was written: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `[]`, `{}`, `{"schema":"noctua.result.v1"}`, `{"schema":"noctua.failure.v1","attempts":"five"}`} {
		if _, err := record.Decode[record.Failure](record.FailureSchema, []byte(raw)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q was read: %v", raw, err)
		}
	}
}
