package app

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWhereFlagsComeFrom: a flag beats the environment, and the environment beats the file. Mappings are YAML mappings in the
// file, and pairs with semicolons in the environment. Values that are refused show which one counted. It is not parallel,
// since it sets the environment.
func TestWhereFlagsComeFrom(t *testing.T) {
	config := filepath.Join(t.TempDir(), "noctua.yaml")
	text := "dicom-listen: 127.0.0.1:0\nnats-url: nats://127.0.0.1:1\ns3-endpoint: http://127.0.0.1:1\ns3-access-key: a\ndicom_ae:\n  CAMERA 1: north\n  OTHER: so/uth\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := want(t, exitUsage, "ingest", "--config", config)
	contains(t, errs, `"so/uth" of AE title "OTHER"`)
	t.Setenv("NOCTUA_DICOM_AE", "CAMERA 1=north;OTHER=we/st")
	_, errs = want(t, exitUsage, "ingest", "--config", config)
	contains(t, errs, `"we/st" of AE title "OTHER"`)
	_, errs = want(t, exitUsage, "ingest", "--config", config, "--dicom-ae", "OTHER=ea/st")
	contains(t, errs, `"ea/st" of AE title "OTHER"`)
}
