package fhir

import (
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

type object = map[string]any

// Terms are the CodeSystems and ValueSets that are served.
type Terms struct {
	// ID and URL name it; Resource is it.
	ID, URL  string
	Resource any
}

// termsDate is when what a CodeSystem or ValueSet says last changed.
const termsDate = "2026-11-26"

func conformance(kind, id, name, title, text string) object {
	return object{
		"resourceType": kind, "id": id, "url": Root + kind + "/" + id, "name": name, "title": title, "status": "active", "experimental": false,
		"date": termsDate, "publisher": "Noctua", "description": text,
	}
}

// CodeSystems are the code systems of Noctua's own.
func CodeSystems() []Terms {
	reasons := conformance("CodeSystem", "noctua-reasons", "NoctuaReasons", "Reasons of Noctua",
		"Why a value is absent, or a file in quarantine: stable codes of small letters, digits and hyphens. Which there are depends on what is examined, and grows; a sentence stands beside every one.")
	reasons["caseSensitive"], reasons["content"] = true, "not-present"
	return []Terms{{"noctua-measures", MeasuresSystem, MeasuresCodeSystem()}, {"noctua-reasons", ReasonsSystem, reasons}}
}

// ValueSets are the value sets of Noctua's own.
func ValueSets() []Terms {
	set := func(id, name, title, text string, codes []string) Terms {
		var concepts []object
		for _, code := range codes {
			concepts = append(concepts, object{"code": code})
		}
		v := conformance("ValueSet", id, name, title, text)
		v["compose"] = object{"include": []object{{"system": MeasuresSystem, "concept": concepts}}}
		return Terms{id, Root + "ValueSet/" + id, v}
	}
	var measures, comparisons []string
	for _, d := range vessel.Definitions() {
		measures = append(measures, d.Name)
	}
	for _, kind := range []record.ComparisonKind{record.Asymmetry, record.Change} {
		for _, d := range vessel.Definitions() {
			if d.Region == vessel.RegionField {
				comparisons = append(comparisons, comparisonCode(kind, d.Name))
			}
		}
	}
	regions := []string{vessel.RegionField}
	for _, r := range vessel.Regions() {
		regions = append(regions, r.Name)
	}
	return []Terms{
		set("noctua-measure-codes", "NoctuaMeasureCodes", "Codes of measures", "Observation.code of the measures of one photograph.", measures),
		set("noctua-comparison-codes", "NoctuaComparisonCodes", "Codes of comparisons", "Observation.code of the differences between two photographs.", comparisons),
		set("noctua-regions", "NoctuaRegions", "Parts of the picture", "Values of the component region, and codes of the components that hold a measure in a part of the picture.", regions),
		set("noctua-verdicts", "NoctuaVerdicts", "Verdicts of comparisons", "Values of the component comparison-verdict.", []string{withinErrorCode, lowerCode, higherCode}),
	}
}

// otherCode is a code of MeasuresSystem that is no measure.
type otherCode struct{ code, display, text string }

// otherCodes are all of them. Their displays are those that resources use: a validator compares them.
func otherCodes() []otherCode {
	codes := []otherCode{{vessel.RegionField, regionDisplay(vessel.RegionField), "Region: the whole field of view of the photograph."}}
	for _, r := range vessel.Regions() {
		codes = append(codes, otherCode{r.Name, r.Display, "Region: " + strings.ToLower(r.Text[:1]) + r.Text[1:]})
	}
	return append(codes, []otherCode{
		{ReportCode, reportDisplay, "Report of the measures of retinal vessels in the photographs of one study."},
		{regionCode, "Region measured", "Part of the picture that a measure was taken in."},
		{errorCode, errorDisplay, "Half width of the interval that holds the true value in 90 of 100 cases."},
		{gridCode, gridDisplay, "Diameter of the field of view in pixels on the grid that a measure was taken on."},
		{verdictCode, "Verdict of the comparison", "Whether a difference is beyond its error, which is the root of the sum of the squares of both values' errors."},
		{withinErrorCode, verdictConcept(record.WithinError).Text, "Verdict: no difference beyond measurement error."},
		{lowerCode, verdictConcept(record.Lower).Text, "Verdict: lower, by more than the error of the difference."},
		{higherCode, verdictConcept(record.Higher).Text, "Verdict: higher, by more than the error of the difference."},
		{qualityCode, "Image quality score", "How well the photograph can be read, 0 (not at all) to 1, judged from the picture alone."},
		{taskCode, taskDisplay, "Task: somebody should say what becomes of a file that Noctua does not take as it is."},
	}...)
}

// regionDisplay is the display of a region.
func regionDisplay(name string) string {
	for _, r := range vessel.Regions() {
		if r.Name == name {
			return r.Display
		}
	}
	return strings.ReplaceAll(name, "-", " ")
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
		concepts = append(concepts, object{"code": c.code, "display": c.display, "definition": c.text})
	}
	system := conformance("CodeSystem", "noctua-measures", "NoctuaMeasures", "Measures of Noctua",
		"Measures of retinal vessels by Noctua. No LOINC code states them. Every Observation carries the definition of its measure in full.")
	// A fragment: reports of earlier versions may have codes that this one does not measure any more.
	system["caseSensitive"], system["content"], system["concept"] = true, "fragment", concepts
	return system
}
