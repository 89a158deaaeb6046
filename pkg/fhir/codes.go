package fhir

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Systems of codes and identifiers.
const (
	Root               = "https://noctua-screening.org/fhir/"
	MeasuresSystem     = Root + "CodeSystem/noctua-measures"
	ReasonsSystem      = Root + "CodeSystem/noctua-reasons"
	ReportSystem       = Root + "sid/report"
	ModelSystem        = Root + "sid/model-sha256"
	ClinicSystem       = Root + "sid/clinic"
	patientSystem      = Root + "sid/patient/"
	instanceURL        = Root + "StructureDefinition/sop-instance"
	nameURL            = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
	dicomSystem        = "urn:dicom:uid"
	uriSystem          = "urn:ietf:rfc:3986"
	ucumSystem         = "http://unitsofmeasure.org"
	snomedSystem       = "http://snomed.info/sct"
	loincSystem        = "http://loinc.org"
	absentReasonSystem = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
	categorySystem     = "http://terminology.hl7.org/CodeSystem/observation-category"
	identifierSystem   = "http://terminology.hl7.org/CodeSystem/v2-0203"
)

// ReportCode is the code of every report, in MeasuresSystem.
const ReportCode = "retinal-vessel-screening"

// Displays of codes of MeasuresSystem, the same wherever they stand.
const (
	reportDisplay = "Retinal vessel screening report"
	errorDisplay  = "Half width of the 90 % interval"
	gridDisplay   = "Diameter of the field of view on the grid measured"
	taskDisplay   = "File in quarantine"
)

// Codes of components, in MeasuresSystem.
const (
	errorCode  = "error-bound"
	regionCode = "region"
	gridCode   = "grid-fov-diameter"
	// qualityCode is 0 to 1 and about the photograph; why it is low stands in the notes.
	qualityCode = "image-quality"
	// taskCode is of every Task; why the file is there stands beside it.
	taskCode = "quarantined-file"
)

func concept(system, code, display string) Concept {
	return Concept{Coding: []Coding{{System: system, Code: code, Display: display}}, Text: display}
}

// ReportCategories are the categories of every DiagnosticReport, ObservationCategories of every Observation.
func ReportCategories() []Concept {
	return []Concept{concept(loincSystem, "LP29684-5", "Radiology"), concept(categorySystem, "imaging", "Imaging")}
}

// ObservationCategories are the categories of every Observation.
func ObservationCategories() []Concept {
	return []Concept{concept(categorySystem, "imaging", "Imaging")}
}

// HasCode tells whether a token search parameter ([system|]code) names one of the concepts.
func HasCode(concepts []Concept, token string) bool {
	system, code, qualified := strings.Cut(token, "|")
	if !qualified {
		code = token
	}
	for _, c := range concepts {
		for _, k := range c.Coding {
			if k.Code == code && (!qualified || k.System == system) || qualified && code == "" && k.System == system {
				return true
			}
		}
	}
	return false
}

// idDigits of a hash make an id: 128 bits.
const idDigits = 32

// PatientID is the id of the Patient with a patient key.
func PatientID(patientKey string) string { return patientKey[:min(idDigits, len(patientKey))] }

// DeviceID is the id of the Device that stands for a model.
func DeviceID(modelSHA256 string) string { return modelSHA256[:min(idDigits, len(modelSHA256))] }

// ObservationID is the id of a measure of an image in a report; ReportOf finds the report again.
func ObservationID(reportID string, img record.ReportImage, m record.Measure) string {
	const digits = 24
	sum := sha256.Sum256([]byte(strings.Join([]string{img.SOPUID, img.Sha256, m.Name, m.Region}, "\n")))
	return reportID + "-" + hex.EncodeToString(sum[:])[:digits]
}

// ReportOf returns the id of the report that an Observation belongs to, or "".
func ReportOf(observationID string) string {
	report, rest, ok := strings.Cut(observationID, "-")
	if !ok || rest == "" || len(report) != idDigits {
		return ""
	}
	return report
}

var oidPattern = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)

// IssuerSystem is the identifier system of a patient identifier: the issuer itself where it is a URI or an OID, and
// otherwise a name of Noctua's own made of clinic and issuer, since the same issuer text may mean different things at two clinics.
func IssuerSystem(clinic, issuer string) string {
	switch {
	case oidPattern.MatchString(issuer):
		return "urn:oid:" + issuer
	case strings.HasPrefix(issuer, "urn:"), strings.HasPrefix(issuer, "https://"), strings.HasPrefix(issuer, "http://"):
		if !strings.ContainsAny(issuer, " \t\r\n\"<>") {
			return issuer
		}
	}
	system := patientSystem + url.PathEscape(clinic)
	if issuer != "" {
		system += "/" + url.PathEscape(issuer)
	}
	return system
}

// ParseIssuerSystem reads a system that IssuerSystem made. clinic is "" where the issuer is a URI or an OID of its own.
func ParseIssuerSystem(system string) (clinic, issuer string) {
	if oid, ok := strings.CutPrefix(system, "urn:oid:"); ok {
		return "", oid
	}
	rest, ok := strings.CutPrefix(system, patientSystem)
	if !ok {
		return "", system
	}
	clinicPart, issuerPart, _ := strings.Cut(rest, "/")
	clinic, errClinic := url.PathUnescape(clinicPart)
	issuer, errIssuer := url.PathUnescape(issuerPart)
	if errClinic != nil || errIssuer != nil {
		return "", system // no system of ours: it will match nothing
	}
	return clinic, issuer
}

func eyeText(l record.Laterality) string {
	switch l {
	case record.RightEye:
		return "Retina of the right eye (OD)"
	case record.LeftEye:
		return "Retina of the left eye (OS)"
	}
	return "Retina"
}

func laterality(l record.Laterality) *Concept {
	switch l {
	case record.RightEye:
		c := concept(snomedSystem, "24028007", "Right")
		return &c
	case record.LeftEye:
		c := concept(snomedSystem, "7771000", "Left")
		return &c
	}
	return nil
}
