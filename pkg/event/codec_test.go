package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

var (
	now      = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	hash     = strings.Repeat("ab", 32)
	accepted = event.ImageAccepted{StudyUID: "1.2", SOPUID: "1.2.3", Sha256: hash, ArchiveKey: "images/1.2/1.2.3/abab.dcm", SizeBytes: 10, Analyse: true}
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, "1.2.3", hash), "north", now, accepted)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := event.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.DataOf[event.ImageAccepted](back, event.TypeImageAccepted)
	if err != nil {
		t.Fatal(err)
	}
	if got != accepted || back.ID != "image.accepted:1.2.3:"+hash || !back.Time.Equal(now) {
		t.Errorf("got %+v in %+v", got, back)
	}
	if got := event.Subject(back.Type, back.Clinic); got != "noctua.image.accepted.north" {
		t.Errorf("subject is %s", got)
	}
}

func TestProducersAreStrict(t *testing.T) {
	t.Parallel()
	bad := accepted
	bad.SOPUID = "../../etc"
	if _, err := event.New(event.TypeImageAccepted, "x", "north", now, bad); !fault.Is(err, fault.Internal) || err == nil {
		t.Errorf("a wrong UID passed: %v", err)
	}
	withName := map[string]any{"sha256": hash, "code": "not-dicom", "quarantine_key": "k", "patient_name": "Doe^Jane"}
	if _, err := event.New(event.TypeImageRejected, "x", "north", now, withName); err == nil {
		t.Error("an unknown property, here a name, passed")
	}
	e, err := event.New(event.TypeImageAccepted, "x", "north", now, accepted)
	if err != nil {
		t.Fatal(err)
	}
	e.Clinic = "north.*"
	if _, err := event.Encode(e); err == nil {
		t.Error("a clinic that would break the subject passed")
	}
}

func TestConsumersAreTolerant(t *testing.T) {
	t.Parallel()
	raw := `{"type":"inbox.changed.v1","id":"x","time":"2026-11-23T02:00:00Z","clinic":"north","new":1,"data":{"objects":2,"new":true}}`
	e, err := event.Decode([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.DataOf[event.InboxChanged](e, event.TypeInboxChanged)
	if err != nil || got.Objects != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := event.DataOf[event.ImageAccepted](e, event.TypeImageAccepted); !fault.Is(err, fault.Invalid) {
		t.Errorf("the wrong type passed: %v", err)
	}
	e.Data = json.RawMessage(`{"objects":0}`)
	if _, err := event.DataOf[event.InboxChanged](e, event.TypeInboxChanged); !fault.Is(err, fault.Invalid) {
		t.Errorf("a value outside the schema passed: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `[]`, `{}`, `{"type":"a.b.v1","id":"x","clinic":"no dots.","data":{}}`} {
		if _, err := event.Decode([]byte(raw)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q passed: %v", raw, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"type":"inbox.changed.v1","id":"x","time":"2026-11-23T02:00:00Z","clinic":"north","data":{"objects":2}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Decode(raw)
		if err == nil && !event.ValidClinic(e.Clinic) {
			t.Errorf("clinic %q passed", e.Clinic)
		}
	})
}
