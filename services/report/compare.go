package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// Codes of why a comparison, or that of a measure, is withheld.
const (
	eyeNotMeasuredCode       = "eye-not-measured"
	noStudyDateCode          = "no-study-date"
	noEarlierVisitCode       = "no-earlier-visit"
	eyeNotMeasuredBeforeCode = "eye-not-measured-before"
	otherModelCode           = "other-model"
	otherCameraCode          = "other-camera"
	otherFieldCode           = "other-field-angle"
	otherGridCode            = "other-grid"
	measureMissingCode       = "measure-missing"
	errorNotKnownCode        = "error-not-known"
)

// Codes of warnings about a comparison.
const (
	cameraUnknownCode = "camera-unknown"
	imageWarnedCode   = "image-warned"
)

// compare tells the differences between the eyes of a report, and of each eye since the visit before. previous is the newest version of
// the report on the visit before, or nil. It is pure.
func compare(r, previous *record.Report) []record.ReportComparison {
	right, left := standing(r, record.RightEye), standing(r, record.LeftEye)
	if right == nil && left == nil {
		return nil
	}
	out := []record.ReportComparison{asymmetry(r, right, left)}
	for _, img := range []*record.ReportImage{right, left} {
		if img != nil {
			out = append(out, change(r, previous, img))
		}
	}
	return out
}

func comparedImage(r *record.Report, img *record.ReportImage) *record.ComparedImage {
	if img == nil {
		return nil
	}
	c := &record.ComparedImage{ReportID: r.ReportID, StudyDate: r.StudyDate, SOPUID: img.SOPUID, Sha256: img.Sha256, Laterality: img.Laterality, AcquiredAt: img.AcquiredAt}
	if img.Quality != nil {
		c.QualityScore = &img.Quality.Score
	}
	return c
}

func asymmetry(r *record.Report, right, left *record.ReportImage) record.ReportComparison {
	c := record.ReportComparison{Kind: record.Asymmetry, Image: comparedImage(r, right), Reference: comparedImage(r, left)}
	switch {
	case right == nil:
		c.AbsentReason = &record.Note{Code: eyeNotMeasuredCode, Text: "The right eye has no measured picture in this study, so that the eyes are not compared."}
	case left == nil:
		c.AbsentReason = &record.Note{Code: eyeNotMeasuredCode, Text: "The left eye has no measured picture in this study, so that the eyes are not compared."}
	default:
		fill(&c, right, left, func(verdict record.Verdict, by, bound string) string {
			if verdict == record.WithinError {
				return "No difference between the eyes beyond measurement error."
			}
			return fmt.Sprintf("Right eye %s by %s, beyond the measurement error of %s.", verdict, by, bound)
		})
	}
	return c
}

func change(r, previous *record.Report, img *record.ReportImage) record.ReportComparison {
	c := record.ReportComparison{Kind: record.Change, Image: comparedImage(r, img)}
	switch {
	case r.StudyDate == "":
		c.AbsentReason = &record.Note{Code: noStudyDateCode, Text: "This study has no date, so that it is not known which visit came before."}
		return c
	case previous == nil:
		c.AbsentReason = &record.Note{Code: noEarlierVisitCode, Text: "No earlier visit of this patient has a report."}
		return c
	}
	before := standing(previous, img.Laterality)
	if before == nil {
		c.AbsentReason = &record.Note{Code: eyeNotMeasuredBeforeCode, Text: fmt.Sprintf("The visit before, on %s, has no measured picture of the %s eye.", previous.StudyDate, eyeName(img.Laterality))}
		return c
	}
	c.Reference = comparedImage(previous, before)
	fill(&c, img, before, func(verdict record.Verdict, by, bound string) string {
		if verdict == record.WithinError {
			return fmt.Sprintf("No change beyond measurement error since %s.", previous.StudyDate)
		}
		return fmt.Sprintf("%s by %s than on %s, beyond the measurement error of %s.", upper(string(verdict)), by, previous.StudyDate, bound)
	})
	return c
}

// fill compares the whole-field measures of two images, unless the images cannot be compared. say puts a verdict into words.
func fill(c *record.ReportComparison, img, reference *record.ReportImage, say func(verdict record.Verdict, by, bound string) string) {
	// The version too: with it come thresholds, errors, and definitions that changed (ADR 20).
	a, b := img.Provenance.Model, reference.Provenance.Model
	if a != b {
		c.AbsentReason = &record.Note{Code: otherModelCode, Text: fmt.Sprintf("The pictures were measured by different models (%s and %s), which err differently.", a, b)}
		return
	}
	switch cameraA, cameraB := camera(img), camera(reference); {
	case cameraA == "" || cameraB == "":
		c.Warnings = append(c.Warnings, record.Note{Code: cameraUnknownCode, Text: "It is not known whether both pictures are from the same kind of camera. Between cameras measures differ by more than their error."})
	case cameraA != cameraB:
		c.AbsentReason = &record.Note{Code: otherCameraCode, Text: fmt.Sprintf("The pictures are from different cameras (%s and %s), between which measures differ by more than their error.", cameraA, cameraB)}
		return
	}
	if x, y := img.HorizontalFOVDeg, reference.HorizontalFOVDeg; x != nil && y != nil && math.Abs(*x-*y) > sameFieldDeg {
		c.AbsentReason = &record.Note{Code: otherFieldCode, Text: fmt.Sprintf("The pictures show fields of %.0f° and %.0f°; lengths and widths are in parts of the field, and a narrower one shows thicker vessels.", *x, *y)}
		return
	}
	if len(img.Warnings)+len(reference.Warnings) > 0 {
		c.Warnings = append(c.Warnings, record.Note{Code: imageWarnedCode, Text: "There is a warning about at least one of the pictures, so that the difference may be greater than the errors say."})
	}
	for _, m := range img.Measures {
		if m.Region == vessel.RegionField {
			c.Measures = append(c.Measures, compareMeasure(m, measureOf(reference.Measures, m), say))
		}
	}
}

// sameFieldDeg is by how much the field angles of two pictures may differ: cameras round them.
const sameFieldDeg = 1

// camera is manufacturer and model, as what errors depend on; "" if either is not known.
func camera(img *record.ReportImage) string {
	d := img.Device
	if d == nil || strings.TrimSpace(d.Manufacturer) == "" || strings.TrimSpace(d.Model) == "" {
		return ""
	}
	return strings.TrimSpace(d.Manufacturer) + " " + strings.TrimSpace(d.Model)
}

// measureOf finds the measure of the same name and region, or nil.
func measureOf(measures []record.Measure, m record.Measure) *record.Measure {
	at := slices.IndexFunc(measures, func(other record.Measure) bool { return other.Name == m.Name && other.Region == m.Region })
	if at < 0 {
		return nil
	}
	return &measures[at]
}

func compareMeasure(m record.Measure, reference *record.Measure, say func(verdict record.Verdict, by, bound string) string) record.ComparedMeasure {
	c := record.ComparedMeasure{Name: m.Name, Display: m.Display, Unit: m.Unit, Region: m.Region}
	if c.AbsentReason = incomparable(m, reference); c.AbsentReason != nil {
		c.Text = c.AbsentReason.Text
		return c
	}
	// The errors of two pictures are taken as independent, so that their squares add. What both share, such as the bias of the model,
	// makes a difference smaller than that, never greater.
	difference, bound := *m.Value-*reference.Value, math.Hypot(*m.Error, *reference.Error)
	c.Difference, c.Error, c.Verdict = &difference, &bound, record.WithinError
	switch {
	case difference < -bound:
		c.Verdict = record.Lower
	case difference > bound:
		c.Verdict = record.Higher
	}
	by, plusMinus := written(math.Abs(difference), bound, m.Unit)
	c.Text = say(c.Verdict, by, plusMinus)
	return c
}

// incomparable tells why two values have no verdict, or nil.
func incomparable(m record.Measure, reference *record.Measure) *record.Note {
	if reference == nil || reference.Unit != m.Unit {
		return &record.Note{Code: measureMissingCode, Text: "The other picture has no such measure."}
	}
	for _, v := range []*record.Measure{&m, reference} {
		if v.Value == nil && v.AbsentReason != nil {
			return v.AbsentReason
		}
		if v.Value == nil {
			return &record.Note{Code: measureMissingCode, Text: "One of the pictures has no value of this measure."}
		}
	}
	for _, v := range []*record.Measure{&m, reference} {
		if v.Error == nil && v.ErrorAbsentReason != nil {
			return v.ErrorAbsentReason
		}
		if v.Error == nil {
			return &record.Note{Code: errorNotKnownCode, Text: "The error of this measure is not known."}
		}
	}
	if m.GridFOVPx == nil || reference.GridFOVPx == nil || *m.GridFOVPx != *reference.GridFOVPx {
		return &record.Note{Code: otherGridCode, Text: "The pictures were measured on different grids, which this measure depends on."}
	}
	return nil
}

// written writes a difference to the last place of its error (GUM 7.2.6), both with their unit.
func written(difference, bound float64, unit string) (by, plusMinus string) {
	plusMinus = string(fhir.RoundDecimal(bound, errorDigits))
	_, fraction, _ := strings.Cut(plusMinus, ".")
	by = strconv.FormatFloat(difference, 'f', len(fraction), 64)
	if unit != "1" {
		by, plusMinus = by+" "+unit, plusMinus+" "+unit
	}
	return by, plusMinus
}

func eyeName(l record.Laterality) string {
	if l == record.RightEye {
		return "right"
	}
	return "left"
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
