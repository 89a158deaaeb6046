package fhir

import (
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// Param is a search parameter.
type Param struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// SearchParams are the search parameters of each resource type, beside those of every type (CommonParams).
func SearchParams() map[string][]Param {
	patient := []Param{{"patient", "reference"}, {"subject", "reference"}}
	return map[string][]Param{
		"DiagnosticReport": append(slices.Clone(patient), Param{"identifier", "token"}, Param{"status", "token"}, Param{"category", "token"},
			Param{"code", "token"}, Param{"date", "date"}, Param{"issued", "date"}),
		"Observation": append(slices.Clone(patient), Param{"status", "token"}, Param{"category", "token"}, Param{"code", "token"}, Param{"date", "date"}),
		"Patient":     {{"identifier", "token"}, {"name", "string"}},
	}
}

// CommonParams are the search parameters of every resource type that can be searched.
func CommonParams() []Param { return []Param{{"_id", "token"}, {"_lastUpdated", "date"}} }

type object = map[string]any

// Capability is the CapabilityStatement of a Noctua of a version. released is the date of the statement, yyyy-mm-dd.
func Capability(version, released string) any {
	search := SearchParams()
	var resources []object
	for _, name := range []string{"CodeSystem", "Device", "DiagnosticReport", "ImagingStudy", "Observation", "Patient"} {
		res := object{"type": name, "interaction": []object{{"code": "read"}}, "versioning": "no-version"}
		if name == "DiagnosticReport" || name == "Observation" {
			res["versioning"] = "versioned"
		}
		if params, ok := search[name]; ok {
			res["interaction"] = []object{{"code": "read"}, {"code": "search-type"}}
			all := append(slices.Clone(CommonParams()), params...)
			if name == "Patient" {
				all = append([]Param{{"_id", "token"}}, params...)
			}
			res["searchParam"] = all
		}
		if name == "DiagnosticReport" {
			res["searchInclude"] = []string{"DiagnosticReport:result", "DiagnosticReport:patient", "DiagnosticReport:subject"}
		}
		resources = append(resources, res)
	}
	return object{
		"resourceType": "CapabilityStatement", "status": "active", "date": released, "kind": "instance", "fhirVersion": "4.0.1",
		"format":         []string{"json"},
		"software":       object{"name": "Noctua", "version": version},
		"implementation": object{"description": "Noctua: screening of retinal photographs. A screening aid that makes no diagnosis."},
		"rest": []object{{"mode": "server", "resource": resources,
			"security": object{"description": "Bearer token in the Authorization header; only this statement is open."}}},
	}
}

// otherCodes are the codes of MeasuresSystem that are no measures, with what they mean.
func otherCodes() []record.Note {
	notes := []record.Note{{Code: vessel.RegionField, Text: "Region: the whole field of view of the photograph."}}
	for _, r := range vessel.Regions() {
		notes = append(notes, record.Note{Code: r.Name, Text: "Region: " + strings.ToLower(r.Text[:1]) + r.Text[1:]})
	}
	return append(notes, []record.Note{
		{Code: ReportCode, Text: "Report of the measures of retinal vessels in the photographs of one study."},
		{Code: regionCode, Text: "Part of the picture that a measure was taken in."},
		{Code: errorCode, Text: "Half width of the interval that holds the true value in 90 of 100 cases."},
		{Code: gridCode, Text: "Diameter of the field of view in pixels on the grid that a measure was taken on."},
		{Code: verdictCode, Text: "Whether a difference is beyond its error, which is the root of the sum of the squares of both values' errors."},
		{Code: withinErrorCode, Text: "Verdict: no difference beyond measurement error."},
		{Code: lowerCode, Text: "Verdict: lower, by more than the error of the difference."},
		{Code: higherCode, Text: "Verdict: higher, by more than the error of the difference."},
		{Code: qualityCode, Text: "How well the photograph can be read, 0 (not at all) to 1, judged from the picture alone."},
	}...)
}

// MeasuresCodeSystem is the CodeSystem resource of MeasuresSystem: what an integrator reads before the first report comes.
func MeasuresCodeSystem() any {
	var concepts []object
	for _, d := range vessel.Definitions() {
		concepts = append(concepts, object{"code": d.Name, "display": d.Display, "definition": d.Text})
	}
	for _, kind := range []record.ComparisonKind{record.Asymmetry, record.Change} {
		for _, d := range vessel.Definitions() {
			if d.Region == vessel.RegionField {
				concepts = append(concepts, object{"code": comparisonCode(kind, d.Name), "display": d.Display + ", " + kindText(kind), "definition": comparisonMethod(kind)})
			}
		}
	}
	for _, c := range otherCodes() {
		display := strings.ReplaceAll(c.Code, "-", " ")
		concepts = append(concepts, object{"code": c.Code, "display": strings.ToUpper(display[:1]) + display[1:], "definition": c.Text})
	}
	return object{
		"resourceType": "CodeSystem", "id": "noctua-measures", "url": MeasuresSystem, "name": "NoctuaMeasures", "title": "Measures of Noctua",
		"status": "active", "experimental": false, "caseSensitive": true, "content": "fragment",
		"description": "Measures of retinal vessels by Noctua. No LOINC code states them. Every Observation carries the definition of its measure in full.",
		"concept":     concepts,
	}
}
