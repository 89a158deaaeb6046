package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeliverFlags: what is wrong with receivers is said before anything is started, in one sentence that holds no secret.
func TestDeliverFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	good, junk, short := file("good", secret+"\n"+secret+"\n"), file("junk", "hidden"), file("short", "whsec_aGlkZGVu")
	base := []string{"report", "--nats-url", "nats://127.0.0.1:1", "--s3-endpoint", "http://127.0.0.1:1", "--s3-access-key", "a", "--s3-secret-key", "b", "--token", strings.Repeat("t", 32)}
	ehr, hook := []string{"--hl7", "ehr=mllp://127.0.0.1:2575"}, []string{"--webhook", "hook=https://host/hidden"}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no port":                {[]string{"--hl7", "ehr=mllp://127.0.0.1"}, exitUsage, "mllp://host:2575"},
		"in the clear":           {[]string{"--hl7", "ehr=mllp://10.1.2.3:2575"}, exitUsage, "--hl7-insecure"},
		"clinics of nobody":      {append(ehr, "--hl7-clinics", "x=north"), exitUsage, "no --hl7 does"},
		"a clinic":               {append(ehr, "--hl7-clinics", "ehr=no/rth"), exitUsage, "no/rth"},
		"a receiver of nobody":   {append(ehr, "--hl7-receiver", "x=EHR"), exitUsage, "no --hl7 does"},
		"a PDF for nobody":       {append(ehr, "--hl7-without-pdf", "x"), exitUsage, "no --hl7 does"},
		"half a certificate":     {append(ehr, "--hl7-cert", junk), exitUsage, "--hl7-key"},
		"junk for an authority":  {append(ehr, "--hl7-ca-file", junk), exitInput, "[certificate-unusable]"},
		"no secret":              {hook, exitUsage, "--webhook-secret-file hook=FILE"},
		"junk for a secret":      {append(hook, "--webhook-secret-file", "hook="+junk), exitInput, "whsec_"},
		"a short secret":         {append(hook, "--webhook-secret-file", "hook="+short), exitUsage, "24 to 64 bytes"},
		"no secret file":         {append(hook, "--webhook-secret-file", "hook="+junk+"x"), exitInput, "[secret-missing]"},
		"a webhook in the clear": {[]string{"--webhook", "hook=http://host/hidden", "--webhook-secret-file", "hook=" + good}, exitUsage, "https://"},
		"the name of an archive": {append(ehr, "--export-dicom", "ehr=dicom://PACS@127.0.0.1:104"), exitUsage, "name of its own"},
		"the same name twice":    {append(ehr, "--webhook", "ehr=https://host/", "--webhook-secret-file", "ehr="+good), exitUsage, "two receivers"},
		"a secret of nobody":     {[]string{"--webhook-secret-file", "hook=" + good}, exitUsage, "no --webhook does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := want(t, c.exit, append(append([]string{}, base...), c.args...)...)
			if !strings.Contains(errs, c.says) || strings.Contains(errs, "hidden") {
				t.Errorf("says %q, want %q", errs, c.says)
			}
		})
	}
	f := reportFlags{PublicURL: "https://noctua/", deliverFlags: deliverFlags{HL7: map[string]string{"ehr": "mllps://host:2576"}, HL7Sender: "EYES, SITE", HL7Receiver: map[string]string{"ehr": "EPIC"},
		HL7Clinics: map[string]string{"ehr": "north, south"}, Webhook: map[string]string{"hook": "https://host/"}, WebhookSecretFile: map[string]string{"hook": good}}}
	f.ExportTitle = "NOCTUA"
	o, err := f.outward(slog.New(slog.DiscardHandler), "sha")
	if err != nil {
		t.Fatal(err)
	}
	r := o.receivers.Receivers
	if len(r) != 2 || strings.Join(r[0].Clinics, " ") != "north south" || r[0].Header.Sender.Facility != "SITE" || r[0].Header.Receiver.Application != "EPIC" || len(r[1].Secrets) != 2 || len(r[1].Secrets[0]) != 32 ||
		o.receivers.PublicURL != "https://noctua" {
		t.Errorf("%+v", o.receivers)
	}
	if !o.receivers.Receivers[0].Document {
		t.Error("HL7 goes without the PDF, though nobody said so")
	}
	f.HL7WithoutPDF = []string{"ehr"}
	if plain, err := f.outward(slog.New(slog.DiscardHandler), "sha"); err != nil || plain.receivers.Receivers[0].Document {
		t.Errorf("HL7 goes with a PDF that is not wanted, %v", err)
	}
	if specs := o.consumers(); len(specs) != 2 || specs[0].Name != "receiver-ehr" || len(specs[0].Subjects) != 3 || !specs[0].InOrder {
		t.Errorf("consumers %+v", specs)
	}
	if got := f.deliverFlags.announcement(); !strings.Contains(got, "ehr, hook") {
		t.Errorf("announced as %q", got)
	}
	if o, err := (reportFlags{}).outward(slog.New(slog.DiscardHandler), ""); err != nil || len(o.consumers()) != 0 {
		t.Errorf("none: %+v, %v", o, err)
	}
}
