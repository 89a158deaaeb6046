package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/noctua-screening/noctua/test/shared"
)

// TestCameraSends: what storescu was told is stored outlives a power cut, and ends in a report.
func TestCameraSends(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(clinicFolder(t), "chase_01L.dcm")
	storescu := shared.Program(t, "storescu", "dcmtk")
	data := t.TempDir()
	door := []string{"--dicom-listen", "127.0.0.1:0", "--dicom-ae", "CAMERA=north"}
	n := startAllInOne(t, data, door...)
	send := func() {
		t.Helper()
		address := regexp.MustCompile(`AE title NOCTUA at (\S+), from CAMERA`).FindStringSubmatch(n.log.String())
		if address == nil {
			t.Fatal("noctua run does not say where it listens for DICOM")
		}
		host, port, err := net.SplitHostPort(address[1])
		if err != nil {
			t.Fatal(err)
		}
		// JPEG as it is, and only the presentation contexts that it needs.
		if out, err := exec.Command(storescu, "-v", "-aet", "CAMERA", "-aec", "NOCTUA", "-xy", "-R", host, port, picture).CombinedOutput(); err != nil {
			t.Fatalf("storescu: %v\n%s", err, out)
		}
	}
	send()
	n.kill()
	n = startAllInOne(t, data, door...)
	if s := n.status("--wait"); s.Done != 1 || s.Received != 1 || s.Quarantined+s.Failed+s.Duplicate != 0 {
		t.Errorf("after the power cut: %+v", s)
	}
	send()
	eventually(t, nightTimeout, "the duplicate is noted", func() error {
		if s := n.status(); s.Duplicate != 1 || s.Done != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if left := n.files("inbox"); len(left) != 0 {
		t.Errorf("the inbox still holds %v", left)
	}
	n.stop()
}
