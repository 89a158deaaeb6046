package report

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
)

// readings are the entries of the audit log, which is whole, but for what was denied.
func (k *kit) readings() (all []record.Audit) {
	k.t.Helper()
	_, err := audit.Check(k.t.Context(), k.blob, k.blob.Buckets().Audit, nil, func(e record.Audit) error {
		if e.Outcome == record.AuditSuccess {
			all = append(all, e)
		}
		return nil
	})
	k.must(err)
	return all
}

// TestReadingQuarantineIsRecorded: each way to see a file of a patient leaves one entry, before it is shown.
func TestReadingQuarantineIsRecorded(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	key := k.quarantined(picture{1, 2}, "laterality-missing")
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Quarantine, key, []byte("DICOM"), blob.PutOptions{}))
	id := quarantineID(key)
	list := record.AuditEntity{Kind: record.EntityQuarantineList, Files: 1}
	file, photo := record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: key}, record.AuditEntity{Kind: record.EntityQuarantinePicture, QuarantineKey: key}
	var want []record.AuditEntity
	for _, test := range []struct {
		address string
		entity  record.AuditEntity
	}{
		{"/quarantine", list}, {"/api/quarantine", list}, {"/api/quarantine?state=all", list},
		{"/quarantine/" + id, file}, {"/api/quarantine/" + id, file},
		{"/api/quarantine/" + id + "/photo.jpg", photo}, {"/api/quarantine/" + id + "/photo.jpg", photo}, // once from memory
	} {
		if w := k.get(test.address, "Accept", "text/html"); w.Code != http.StatusOK {
			t.Fatalf("%s: %d", test.address, w.Code)
		}
		want = append(want, test.entity)
	}
	var got []record.AuditEntity
	for _, e := range k.readings() {
		got = append(got, e.Entity)
		if e.Agent != (record.AuditAgent{Via: "token", Name: token.OperatorName, Address: "192.0.2.1"}) || !e.RecordedAt.Equal(k.now()) {
			t.Errorf("entry %+v", e)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%+v\nwant\n%+v", got, want)
	}

	// A form that is shown again shows the file again.
	refused := url.Values{"id": {id}, "by": {""}, "reason": {"x"}}
	if w := k.ask(http.MethodPost, "/quarantine/release", refused.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `id="release-by-wrong"`) {
		t.Errorf("a form without a name: %d %s", w.Code, w.Body)
	}
	if all := k.readings(); len(all) != len(want)+1 || all[len(want)].Entity != file {
		t.Errorf("after a refused form: %+v", all)
	}
	// What is not shown is not recorded.
	before := len(k.readings())
	for address, token := range map[string]string{"/quarantine/" + id: "Bearer wrong", "/api/quarantine/north/2026-11-23/ffffffff": "Bearer " + testToken, "/api/quarantine/x/y": "Bearer " + testToken} {
		if w := k.get(address, "Authorization", token); w.Code < 400 {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	if n := len(k.readings()); n != before {
		t.Errorf("%d entries about nothing", n-before)
	}
	for _, raw := range k.blob.keys(k.blob.Buckets().Audit) {
		entry, err := k.blob.GetBytes(t.Context(), k.blob.Buckets().Audit, raw, 0)
		k.must(err)
		for _, secret := range []string{"山田", "P1", testToken} {
			if strings.Contains(string(entry), secret) {
				t.Errorf("the log holds %q: %s", secret, entry)
			}
		}
	}
}

// TestSessionsAreToldApart: people who signed in are known by their session, and not by its secret.
func TestSessionsAreToldApart(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	ask := func(session, authorization string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/quarantine", nil)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: session})
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		if k.Handler().ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("%d", w.Code)
		}
	}
	one, two := k.sessions.start(token.Hash(testToken)), k.sessions.start(token.Hash(testToken))
	ask(one, "")
	ask(two, "")
	ask(one, "Basic x") // no token
	ask(one, "Bearer "+testToken)
	all := k.readings()
	if len(all) != 4 || all[0].Agent.Session == "" || all[0].Agent.Session == all[1].Agent.Session || all[2].Agent != all[0].Agent || all[3].Agent.Via != "token" || all[3].Agent.Session != "" {
		t.Errorf("entries %+v", all)
	}
	if strings.Contains(one, all[0].Agent.Session) {
		t.Error("the log holds the secret of a session")
	}
}

// TestWhatCannotBeRecordedIsNotShown: without the log there is nothing to see, and with it again there is.
func TestWhatCannotBeRecordedIsNotShown(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	key := k.quarantined(picture{1, 2}, "laterality-missing")
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Quarantine, key, []byte("DICOM"), blob.PutOptions{}))
	addresses := []string{"/quarantine", "/quarantine/" + quarantineID(key), "/api/quarantine", "/api/quarantine/" + quarantineID(key), "/api/quarantine/" + quarantineID(key) + "/photo.jpg"}
	k.blob.fail = func(op, at string) error {
		if op == "put" && strings.HasPrefix(at, "0000") {
			return errors.New("the bucket is full")
		}
		return nil
	}
	for _, address := range addresses {
		w := k.get(address, "Accept", "text/html")
		if body := w.Body.String(); w.Code != http.StatusServiceUnavailable || strings.Contains(body, "P1") || strings.Contains(body, "山田") || w.Header().Get("Content-Type") == "image/jpeg" || !strings.Contains(body, "recorded that you saw it") {
			t.Errorf("%s: %d %s", address, w.Code, body)
		}
	}
	k.blob.fail = nil
	for _, address := range addresses {
		if w := k.get(address); w.Code != http.StatusOK {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
}
