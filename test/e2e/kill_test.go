package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestManyKillsAndWipes kills the whole program again and again at random moments of a night with good and hostile files, then
// wipes the message store and the index: everything has exactly one outcome all the same, and the buckets give it back.
func TestManyKillsAndWipes(t *testing.T) {
	t.Parallel()
	const kills = 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed) // moments cannot be repeated exactly, but their order of size can
	random := rand.New(rand.NewPCG(seed, 0))
	hostile := shared.Dir(t, "dicom", "hostile")
	entries, err := os.ReadDir(hostile)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	n := startAllInOne(t, data)
	mustCommand(t, "submit", clinicFolder(t), hostile, "--clinic", "north", "--data", data)
	for range kills {
		<-time.After(time.Duration(random.IntN(2500)) * time.Millisecond)
		n.kill()
		n = startAllInOne(t, data)
	}
	check := func(when string, s record.Status) {
		t.Helper()
		if s.Done != clinicImages || s.Quarantined+s.Duplicate != len(entries) || s.Failed != 0 || s.Received != clinicImages+len(entries) ||
			s.Reports == nil || *s.Reports != clinicPatients {
			t.Errorf("%s: %+v", when, s)
		}
	}
	check("after the kills", n.status("--wait"))
	if left := n.files("inbox"); len(left) != 0 {
		t.Errorf("the inbox still holds %v", left)
	}
	results := 0
	for _, f := range n.files("results") {
		if strings.HasSuffix(f, "/result.json") {
			results++
		}
	}
	if results != clinicImages {
		t.Errorf("%d results of %d images", results, clinicImages)
	}
	waitFinal(t, n.web, n.token)
	reported := snapshot(t, n, "reports")
	n.stop()

	if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(filepath.Join(data, "index.sqlite"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	n = startAllInOne(t, data)
	var s record.Status
	eventually(t, readyTimeout, "the index is rebuilt", func() error {
		out, err := command(t, "status", "--data", data, "--json", "--wait") // refused while the index is being rebuilt
		if err == nil {
			readStatus(t, out, &s)
		}
		return err
	})
	check("after the wipe", s)
	if again := snapshot(t, n, "reports"); again != reported {
		t.Error("rebuilding the index changed the reports bucket")
	}
	n.stop()
}
