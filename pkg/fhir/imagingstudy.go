package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// ImagingStudy is the FHIR resource.
type ImagingStudy struct {
	ResourceType      string       `json:"resourceType"`
	ID                string       `json:"id"`
	Meta              Meta         `json:"meta"`
	Identifier        []Identifier `json:"identifier"`
	Status            string       `json:"status"`
	Modality          []Coding     `json:"modality,omitempty"`
	Subject           Reference    `json:"subject"`
	Started           string       `json:"started,omitempty"`
	NumberOfSeries    *int         `json:"numberOfSeries,omitempty"`
	NumberOfInstances int          `json:"numberOfInstances"`
	ProcedureCode     []Concept    `json:"procedureCode,omitempty"`
	Series            []Series     `json:"series,omitempty"`
}

// Series is a series of an ImagingStudy.
type Series struct {
	UID               string     `json:"uid"`
	Modality          Coding     `json:"modality"`
	NumberOfInstances int        `json:"numberOfInstances"`
	BodySite          *Coding    `json:"bodySite,omitempty"`
	Laterality        *Coding    `json:"laterality,omitempty"`
	Instance          []Instance `json:"instance,omitempty"`
}

// Instance is a SOP instance of a Series.
type Instance struct {
	UID      string `json:"uid"`
	SOPClass Coding `json:"sopClass"`
	Title    string `json:"title,omitempty"`
}

// modalities are the displays of DICOM's codes (PS3.16 CID 29) of photographs of the eye.
var modalities = map[string]string{"OP": "Ophthalmic Photography", "XC": "External-camera Photography", "OT": "Other"}

func modalityCoding(code string) Coding {
	return Coding{System: dcmSystem, Code: code, Display: modalities[code]}
}

// ConvertStudy makes the ImagingStudy of a report. Series are given where the report says which instance is of which; a file may lack
// its SeriesInstanceUID, and older reports do not say it.
func ConvertStudy(r *record.Report, updated time.Time) ImagingStudy {
	s := ImagingStudy{
		ResourceType: "ImagingStudy", ID: r.ReportID, Meta: versionMeta(r, updated), Status: "available",
		Subject: Reference{Reference: "Patient/" + PatientID(r.Patient.Key), Type: "Patient"}, Started: r.StudyDate,
		Identifier:    []Identifier{{System: dicomSystem, Value: "urn:oid:" + r.StudyUID}},
		ProcedureCode: []Concept{concept(snomedSystem, "314971001", "Camera fundoscopy")},
	}
	if r.AccessionNumber != "" {
		s.Identifier = append(s.Identifier, accession(r.AccessionNumber))
	}
	type member struct{ series, sop string }
	seen := map[member]bool{}
	instances := map[string]bool{}
	at := map[string]int{}
	for _, img := range r.Images {
		if !instances[img.SOPUID] { // revisions of one instance are one
			instances[img.SOPUID] = true
			s.NumberOfInstances++
		}
		if modality := strings.TrimSpace(img.Modality); modality != "" && !slices.Contains(s.Modality, modalityCoding(modality)) {
			s.Modality = append(s.Modality, modalityCoding(modality))
		}
		key := member{img.SeriesUID, img.SOPUID}
		if img.SeriesUID == "" || img.SOPClassUID == "" || strings.TrimSpace(img.Modality) == "" || seen[key] {
			continue
		}
		seen[key] = true
		n, ok := at[img.SeriesUID]
		if !ok {
			n = len(s.Series)
			at[img.SeriesUID] = n
			series := Series{UID: img.SeriesUID, Modality: modalityCoding(strings.TrimSpace(img.Modality)), BodySite: &Coding{System: snomedSystem, Code: "5665001", Display: "Retinal structure"}}
			if side := laterality(img.Laterality); side != nil {
				series.Laterality = &side.Coding[0]
			}
			s.Series = append(s.Series, series)
		}
		series := &s.Series[n]
		series.NumberOfInstances++
		if side := laterality(img.Laterality); series.Laterality != nil && (side == nil || side.Coding[0] != *series.Laterality) {
			series.Laterality = nil // both eyes are in one series
		}
		series.Instance = append(series.Instance, Instance{UID: img.SOPUID, SOPClass: Coding{System: uriSystem, Code: "urn:oid:" + img.SOPClassUID}, Title: eye(img.Laterality)})
	}
	if len(s.Series) > 0 {
		count := len(s.Series)
		s.NumberOfSeries = &count
	}
	return s
}
