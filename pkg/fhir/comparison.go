package fhir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Code of the component that says whether a difference is beyond its error, and its values, in MeasuresSystem.
const (
	verdictCode = "comparison-verdict"

	withinErrorCode = "within-error"
	lowerCode       = "lower-beyond-error"
	higherCode      = "higher-beyond-error"
)

// comparisonCode is the code of a difference in a measure. It is not that of the measure: who looks for densities must not find
// differences of densities.
func comparisonCode(kind record.ComparisonKind, measure string) string {
	return measure + "-" + string(kind)
}

// kindText says what is subtracted from what, after the name of a measure.
func kindText(kind record.ComparisonKind) string {
	if kind == record.Asymmetry {
		return "right eye less left eye"
	}
	return "change since the visit before"
}

// comparisonID is the id of a comparison in a report: the same whatever is compared with, so that a corrected earlier visit gives the
// resource a new version and not a new name. ReportOf finds the report again.
func comparisonID(reportID string, c record.ReportComparison, m record.ComparedMeasure) string {
	const digits = 24
	side := record.Laterality("")
	if c.Kind == record.Change {
		side = c.Image.Laterality
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{string(c.Kind), string(side), m.Name, m.Region}, "\n")))
	return reportID + "-" + hex.EncodeToString(sum[:])[:digits]
}

// comparisons are the differences that have a verdict. Why others have none stands in the canonical report.
func comparisons(r *record.Report, meta Meta) []Observation {
	var out []Observation
	for _, c := range r.Comparisons {
		for _, m := range c.Measures {
			if c.Image != nil && c.Reference != nil && m.Difference != nil && m.Error != nil {
				out = append(out, comparison(r, c, m, meta))
			}
		}
	}
	return out
}

func comparison(r *record.Report, c record.ReportComparison, m record.ComparedMeasure, meta Meta) Observation {
	display := m.Display + ", " + kindText(c.Kind)
	o := Observation{
		ResourceType: "Observation", ID: comparisonID(r.ReportID, c, m), Meta: meta, Status: observationStatus(r),
		Category: ObservationCategories(), Code: concept(MeasuresSystem, comparisonCode(c.Kind, m.Name), display),
		EffectiveDateTime: r.StudyDate, Issued: Instant(r.IssuedAt),
		ValueQuantity: quantity(*m.Difference, m.Unit), Note: []Annotation{{Text: m.Text}},
		BodySite: &Concept{Coding: []Coding{{System: snomedSystem, Code: "5665001", Display: "Retinal structure"}}, Text: "Retina of both eyes"},
		Method:   &Concept{Text: comparisonMethod(c.Kind)},
	}
	for _, img := range r.Images { // both images were measured by its model, or they would not be compared
		if img.SOPUID == c.Image.SOPUID && img.Sha256 == c.Image.Sha256 && img.Provenance != nil {
			o.Device = device(img)
		}
	}
	for _, w := range c.Warnings {
		o.Note = append(o.Note, Annotation{Text: w.Text})
	}
	for _, img := range []*record.ComparedImage{c.Image, c.Reference} {
		id := ObservationID(img.ReportID, record.ReportImage{SOPUID: img.SOPUID, Sha256: img.Sha256}, record.Measure{Name: m.Name, Region: m.Region})
		text := eye(img.Laterality)
		if img.StudyDate != "" {
			text += ", " + img.StudyDate
		}
		o.DerivedFrom = append(o.DerivedFrom, Reference{Reference: "Observation/" + id, Type: "Observation", Display: text})
	}
	if c.Kind == record.Change {
		o.BodySite.Text = eyeText(c.Image.Laterality)
		if side := laterality(c.Image.Laterality); side != nil {
			o.Component = append(o.Component, Component{Code: concept(snomedSystem, "272741003", "Laterality"), ValueCodeableConcept: side})
		}
	}
	region := concept(MeasuresSystem, m.Region, regionDisplay(m.Region))
	verdict := verdictConcept(m.Verdict)
	o.Component = append(o.Component,
		Component{Code: concept(MeasuresSystem, regionCode, "Region measured"), ValueCodeableConcept: &region},
		Component{Code: concept(MeasuresSystem, errorCode, errorDisplay), ValueQuantity: quantity(*m.Error, m.Unit)},
		Component{Code: concept(MeasuresSystem, verdictCode, "Verdict of the comparison"), ValueCodeableConcept: &verdict})
	return o
}

func comparisonMethod(kind record.ComparisonKind) string {
	const rule = " Its error is the root of the sum of the squares of both values' errors. A difference within its error is none."
	if kind == record.Asymmetry {
		return "Value of the right eye less value of the left eye." + rule
	}
	return "Value of this study less value of the same eye in the study before." + rule
}

func verdictConcept(v record.Verdict) Concept {
	switch v {
	case record.Lower:
		return concept(MeasuresSystem, lowerCode, "Lower, beyond measurement error")
	case record.Higher:
		return concept(MeasuresSystem, higherCode, "Higher, beyond measurement error")
	case record.WithinError:
	}
	return concept(MeasuresSystem, withinErrorCode, "No difference beyond measurement error")
}

// beyondError says in words which differences are beyond their error, or "".
func beyondError(r *record.Report) string {
	text := ""
	for _, c := range r.Comparisons {
		for _, m := range c.Measures {
			if m.Verdict != record.Lower && m.Verdict != record.Higher {
				continue
			}
			name := m.Display
			if c.Kind == record.Change {
				name += ", " + eye(c.Image.Laterality)
			}
			text += fmt.Sprintf(" %s: %s", name, sentence(m.Text))
		}
	}
	return text
}
