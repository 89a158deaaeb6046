package fhir

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Manifest lists files of resources, as the manifest of Bulk Data Access 2.0 does and Bulk Publish publishes it.
type Manifest struct {
	TransactionTime     string           `json:"transactionTime"`
	Request             string           `json:"request"`
	RequiresAccessToken bool             `json:"requiresAccessToken"`
	Output              []ManifestFile   `json:"output"`
	Error               []ManifestFile   `json:"error"`
	Extension           *ManifestDetails `json:"extension,omitempty"`
}

// ManifestFile is a file of resources of one kind, one a line.
type ManifestFile struct {
	Type      string           `json:"type"`
	URL       string           `json:"url"`
	Count     int              `json:"count"`
	Extension *ManifestDetails `json:"extension,omitempty"`
}

// ManifestDetails is what the specification has no property for: of a manifest, the night (the date on which it began); of a set of
// files, its clinic, its number, and the SHA-256 of which reports in which versions are in it.
type ManifestDetails struct {
	Night   string `json:"https://noctua-screening.org/fhir/bulk/night,omitempty"`
	Clinic  string `json:"https://noctua-screening.org/fhir/bulk/clinic,omitempty"`
	Version int    `json:"https://noctua-screening.org/fhir/bulk/version,omitempty"`
	Reports string `json:"https://noctua-screening.org/fhir/bulk/reports-sha256,omitempty"`
}

// BulkReport is a version of a report to be published.
type BulkReport struct {
	Doc    *record.Report
	SHA256 string // of its report.json
}

// BulkFile is a file of resources of one kind, one a line.
type BulkFile struct {
	Type  string
	Lines [][]byte
}

// Bytes are what is in it.
func (f BulkFile) Bytes() []byte { return append(bytes.Join(f.Lines, []byte("\n")), '\n') }

// Publisher makes the files of a set of reports part by part, so that a set may be larger than memory. Each resource is in it once, and the
// same reports in the same parts give the same bytes: what a resource says of its last update is when its report was issued.
type Publisher struct {
	patients map[string]issuedPatient
	devices  map[string]Device
}

type issuedPatient struct {
	Patient
	issued   time.Time
	reportID string
}

// Add makes the files of a part: those of what there is one a report, or of one report alone.
func (p *Publisher) Add(reports []BulkReport) ([]BulkFile, error) {
	if p.patients == nil {
		p.patients, p.devices = map[string]issuedPatient{}, map[string]Device{}
	}
	files := []BulkFile{{Type: "ImagingStudy"}, {Type: "Observation"}, {Type: "DiagnosticReport"}, {Type: "Provenance"}}
	for _, r := range reports {
		set := Convert(r.Doc, r.Doc.IssuedAt, "")
		// The patient is as the report says that was issued last.
		if known, ok := p.patients[set.Patient.ID]; !ok || cmp.Or(known.issued.Compare(r.Doc.IssuedAt), cmp.Compare(known.reportID, r.Doc.ReportID)) < 0 {
			p.patients[set.Patient.ID] = issuedPatient{set.Patient, r.Doc.IssuedAt, r.Doc.ReportID}
		}
		for _, d := range set.Devices {
			p.devices[d.ID] = d
		}
		var observations []any
		for _, o := range set.Observations {
			observations = append(observations, o)
		}
		for n, resources := range [][]any{{set.Study}, observations, {set.Report}, {ConvertProvenance(set, r.Doc, r.SHA256, r.Doc.IssuedAt)}} {
			if err := files[n].add(resources...); err != nil {
				return nil, err
			}
		}
	}
	return slices.DeleteFunc(files, BulkFile.empty), nil
}

// Finish makes the files of what several reports share.
func (p *Publisher) Finish() ([]BulkFile, error) {
	patients, devices := BulkFile{Type: "Patient"}, BulkFile{Type: "Device"}
	for _, id := range slices.Sorted(maps.Keys(p.patients)) {
		if err := patients.add(p.patients[id].Patient); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.devices)) {
		if err := devices.add(p.devices[id]); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc([]BulkFile{patients, devices}, BulkFile.empty), nil
}

func (f BulkFile) empty() bool { return len(f.Lines) == 0 }

func (f *BulkFile) add(resources ...any) error {
	for _, resource := range resources {
		line, err := json.Marshal(resource)
		if err != nil {
			return fmt.Errorf("encoding a %s: %w", f.Type, err)
		}
		f.Lines = append(f.Lines, line)
	}
	return nil
}
