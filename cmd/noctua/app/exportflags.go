package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/export"
)

// exportFlags name the archives that results are sent to.
type exportFlags struct {
	ExportDICOM        map[string]string `name:"export-dicom" help:"Archive that results (DICOM SEG and SR) are sent to, under a name of your choice: pacs=dicom://TITLE@host:11112, dicoms:// for TLS, or vna=https://host/dicom-web for STOW-RS; repeat it for each." env:"NOCTUA_EXPORT_DICOM" placeholder:"NAME=ADDRESS"`
	ExportClinics      map[string]string `name:"export-clinics" help:"Clinics whose results an archive gets, with commas between them; without it, those of all." env:"NOCTUA_EXPORT_CLINICS" placeholder:"NAME=CLINIC,…"`
	ExportTitle        string            `name:"export-title" help:"AE title by which Noctua calls archives." default:"NOCTUA" env:"NOCTUA_EXPORT_TITLE"`
	ExportTokenFile    map[string]string `name:"export-token-file" help:"File with the bearer token for a STOW-RS archive." env:"NOCTUA_EXPORT_TOKEN_FILE" placeholder:"NAME=FILE"`
	ExportPasswordFile map[string]string `name:"export-password-file" help:"File with USER:PASSWORD for a STOW-RS archive (HTTP Basic)." env:"NOCTUA_EXPORT_PASSWORD_FILE" placeholder:"NAME=FILE"`
	ExportCAFile       string            `name:"export-ca-file" help:"File with the authorities (PEM) that signed the archives' certificates, if not the system's." env:"NOCTUA_EXPORT_CA_FILE" placeholder:"FILE"`
	ExportInsecure     bool              `name:"export-insecure" help:"Allow sending beyond this machine without TLS, as most archives need it for DICOM; only on a network of their own." env:"NOCTUA_EXPORT_INSECURE"`
}

// exports makes the configuration of the flags; whatever is wrong with them is found here, before anything is started. The model's hash may be set
// later.
func (f exportFlags) exports(modelSHA256 string) (export.Config, error) {
	cfg := export.Config{Title: f.ExportTitle, ModelSHA256: modelSHA256}
	for flag, values := range map[string]map[string]string{"export-clinics": f.ExportClinics, "export-token-file": f.ExportTokenFile, "export-password-file": f.ExportPasswordFile} {
		for name := range values {
			if _, ok := f.ExportDICOM[name]; !ok {
				return cfg, usageError{fmt.Errorf("--%s names the archive %s, but no --export-dicom does", flag, name)}
			}
		}
	}
	if len(f.ExportDICOM) == 0 {
		return cfg, nil
	}
	trusted, err := f.authorities()
	if err != nil {
		return cfg, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.ExportDICOM)) {
		a := export.Archive{Name: name, Address: f.ExportDICOM[name], TLS: trusted}
		if clinics, ok := f.ExportClinics[name]; ok {
			for clinic := range strings.SplitSeq(clinics, ",") {
				a.Clinics = append(a.Clinics, strings.TrimSpace(clinic))
			}
		}
		if a.Token, err = secretOf("the token for archive "+name, "", f.ExportTokenFile[name]); err != nil {
			return cfg, err
		}
		pair, err := secretOf("user and password for archive "+name, "", f.ExportPasswordFile[name])
		if err != nil {
			return cfg, err
		}
		if pair != "" {
			var ok bool
			if a.User, a.Password, ok = strings.Cut(pair, ":"); !ok || a.User == "" {
				return cfg, fault.New(fault.Invalid, "secret-missing", "the file %s should hold USER:PASSWORD", f.ExportPasswordFile[name])
			}
		}
		cfg.Archives = append(cfg.Archives, a)
	}
	if err := cfg.WithDefaults().Validate(); err != nil {
		return cfg, usageError{fmt.Errorf("%w; see --export-dicom", err)}
	}
	for _, a := range cfg.Archives {
		if a.InTheClear() && !f.ExportInsecure {
			return cfg, usageError{fmt.Errorf("--export-dicom %s would send patient data over the network without TLS; use dicoms:// or https://, or add --export-insecure if you know what you do", a.Name)}
		}
	}
	return cfg, nil
}

// authorities are those of --export-ca-file; nil: the system's.
func (f exportFlags) authorities() (*tls.Config, error) {
	if f.ExportCAFile == "" {
		return nil, nil // none are named, which is no error
	}
	raw, err := os.ReadFile(f.ExportCAFile)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, "certificate-unusable", err, "the file of --export-ca-file cannot be read")
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(raw) {
		return nil, fault.New(fault.Invalid, "certificate-unusable", "the file of --export-ca-file holds no certificate in PEM")
	}
	return config, nil
}

// announcement tells people where results go; "" if nowhere.
func (f exportFlags) announcement() string {
	if len(f.ExportDICOM) == 0 {
		return ""
	}
	return fmt.Sprintf("  Results       also go to %s\n", strings.Join(slices.Sorted(maps.Keys(f.ExportDICOM)), ", "))
}

// newExports builds the export service where archives are named, and lets the report service know it.
func newExports(b *backbone, cfg export.Config, reports *report.Deps) ([]lifecycle.Component, error) {
	if len(cfg.Archives) == 0 {
		return nil, nil // nothing to run is no error
	}
	service, err := export.New(export.Deps{Blob: b.blobs, Conn: b.conn, Logger: b.logger.With("service", "export"), Clock: time.Now}, cfg)
	if err != nil {
		return nil, err
	}
	reports.Exports = service
	return []lifecycle.Component{{Name: "exports", Run: service.Run}}, nil
}
