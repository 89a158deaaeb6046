package derived

import (
	"math"

	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Report is what a structured report says.
type Report struct {
	Source       dicom.Source
	Algorithm    Algorithm
	Measures     []record.Measure // in the order of the report; those of a region are a group
	Warnings     []record.Note
	Segmentation *Reference // of the SEG that the measures were taken on, its first segment; nil: there is none
}

// The concepts of the report (PS3.16), as far as they are used more than once or their name says nothing.
var (
	codeFindingSite      = sct("363698007", "Finding Site")
	codeLaterality       = sct("272741003", "Laterality")
	codeTopographical    = sct("106233006", "Topographical modifier")
	codeUncertainty      = sct("371884006", "+/-, range of measurement uncertainty")
	codeComment          = dcm("121106", "Comment")
	codeDerivation       = dcm("121401", "Derivation")
	codeFailure          = dcm("114006", "Measurement failure")
	codeNotAttempted     = dcm("114007", "Measurement not attempted")
	codeReason           = own("absent-reason", "Reason for the absence of a value")
	codeHalfWidth        = own("half-width-90", "Half width of the 90 % interval")
	codeReferencedSeg    = dcm("121191", "Referenced Segment")
	codeSegmentSource    = dcm("121233", "Source image for segmentation")
	codeMeasurementFrom  = dcm("121112", "Source of Measurement")
	codeQualitative      = element.Code{Value: "C0034375", Scheme: "UMLS", Meaning: "Qualitative Evaluations"}
	codeEnglish          = element.Code{Value: "en", Scheme: "RFC5646", Meaning: "English"}
	codeCameraFundoscopy = sct("314971001", "Camera fundoscopy")
)

// SR writes a Comprehensive SR that follows TID 1500 "Measurement Report": the picture in the image library, a measurement group (TID 1501)
// for each region, and the warnings as qualitative evaluations. A measure without a value is there without one, with the reason.
//
// Faults: Invalid reference-missing if no object can refer to the source; Internal dicom-writer if a measure is no number.
func SR(r Report) ([]byte, Reference, error) {
	if err := r.Source.Referable(); err != nil {
		return nil, Reference{}, err
	}
	for _, m := range r.Measures {
		for _, v := range []*float64{m.Value, m.Error} {
			if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
				return nil, Reference{}, fault.New(fault.Internal, codeWriter, "the measure %s is no number", m.Name)
			}
		}
	}
	r.Algorithm = r.Algorithm.clean()
	uid, err := contentUID("structured report", r, nil)
	if err != nil {
		return nil, Reference{}, err
	}
	ref := reference(uid)
	b := r.content()
	addHeader(b, ClassComprehensiveSR, ref, &r.Source, &r.Algorithm)
	addScheme(b)
	b.Text(tag.Modality, "SR")
	b.Text(tag.SeriesNumber, seriesNumberSR)
	b.Text(tag.SeriesDescription, "Noctua measures")
	b.Sequence(tag.ReferencedPerformedProcedureStepSequence)
	b.Sequence(tag.PerformedProcedureCodeSequence)
	b.Text(tag.CompletionFlag, "COMPLETE")
	b.Text(tag.VerificationFlag, "UNVERIFIED") // nobody has looked at it
	r.addEvidence(b)
	data, err := write(b, "structured report")
	return data, ref, err
}

// addEvidence lists what the report refers to, by study and series.
func (r *Report) addEvidence(b *element.Set) {
	series := func(uid, class, sop string) *element.Set {
		instance, s := &element.Set{}, &element.Set{}
		addSOP(instance, class, sop)
		s.Text(tag.SeriesInstanceUID, uid)
		s.Sequence(tag.ReferencedSOPSequence, instance)
		return s
	}
	all := []*element.Set{series(r.Source.SeriesUID, r.Source.SOPClassUID, r.Source.SOPUID)}
	if seg := r.Segmentation; seg != nil {
		all = append(all, series(seg.SeriesUID, ClassSegmentation, seg.SOPUID))
	}
	study := &element.Set{}
	study.Text(tag.StudyInstanceUID, r.Source.StudyUID)
	study.Sequence(tag.ReferencedSeriesSequence, all...)
	b.Sequence(tag.CurrentRequestedProcedureEvidenceSequence, study)
}

// content is the tree of the report.
func (r *Report) content() *element.Set {
	root := container("", dcm("126000", "Imaging Measurement Report"), "1500")
	root.with(
		codeItem(hasConceptMod, dcm("121049", "Language of Content Item and Descendants"), codeEnglish),
		codeItem(hasObsContext, dcm("121005", "Observer Type"), dcm("121007", "Device")),
		uidItem(hasObsContext, dcm("121012", "Device Observer UID"), dicom.UID("device", r.Algorithm.SHA256, r.Algorithm.Software)),
		textItem(hasObsContext, dcm("121013", "Device Observer Name"), "Noctua "+r.Algorithm.Software),
		textItem(hasObsContext, dcm("121014", "Device Observer Manufacturer"), manufacturer),
		textItem(hasObsContext, dcm("121015", "Device Observer Model Name"), r.Algorithm.Name),
		codeItem(hasConceptMod, dcm("121058", "Procedure reported"), codeCameraFundoscopy),
		r.library(),
	)
	measurements := container(contains, dcm("126010", "Imaging Measurements"), "")
	for _, region := range r.regions() {
		measurements.with(r.group(region))
	}
	root.with(measurements)
	if len(r.Warnings) > 0 {
		evaluations := container(contains, codeQualitative, "")
		for _, w := range r.Warnings {
			evaluations.with(textItem(contains, codeComment, w.Text))
		}
		root.with(evaluations)
	}
	return root.finish()
}

// library is the image library (TID 1600) with the picture and its eye.
func (r *Report) library() *content {
	picture := imageItem(contains, nil, func(s *element.Set) { addSource(s, &r.Source) })
	if eye, ok := eyes[r.Source.Laterality]; ok {
		picture.with(codeItem(hasAcqContext, dcm("111027", "Image Laterality"), eye))
	}
	return container(contains, dcm("111028", "Image Library"), "1600").with(
		container(contains, dcm("126200", "Image Library Group"), "").with(picture))
}

// regions are those of the measures, in the order of their first measure.
func (r *Report) regions() []string {
	var regions []string
	seen := map[string]bool{}
	for _, m := range r.Measures {
		if !seen[m.Region] {
			seen[m.Region] = true
			regions = append(regions, m.Region)
		}
	}
	return regions
}

// group is the measurement group (TID 1501) of a region.
func (r *Report) group(region string) *content {
	site := codeItem(hasConceptMod, codeFindingSite, codeRetina)
	if eye, ok := eyes[r.Source.Laterality]; ok {
		site.with(codeItem(hasConceptMod, codeLaterality, eye))
	}
	site.with(codeItem(hasConceptMod, codeTopographical, own(region, "")))
	group := container(contains, dcm("125007", "Measurement Group"), "1501").with(
		textItem(hasObsContext, dcm("112039", "Tracking Identifier"), trackingID(Vessel, region)),
		uidItem(hasObsContext, dcm("112040", "Tracking Unique Identifier"), trackingUID(&r.Source, Vessel, region)),
		codeItem(contains, dcm("121071", "Finding"), codeBloodVessel),
		site,
		// TID 4019
		textItem(hasConceptMod, dcm("111001", "Algorithm Name"), r.Algorithm.Name),
		textItem(hasConceptMod, dcm("111003", "Algorithm Version"), r.Algorithm.Version),
		textItem(hasConceptMod, dcm("111002", "Algorithm Parameters"), r.Algorithm.Parameters),
	)
	for _, m := range r.Measures {
		if m.Region == region {
			group.with(measure(&m, r.Segmentation != nil))
		}
	}
	picture := func(s *element.Set) { addSource(s, &r.Source) }
	if r.Segmentation == nil {
		return group.with(imageItem(contains, &codeMeasurementFrom, picture))
	}
	return group.with(
		imageItem(contains, &codeReferencedSeg, func(s *element.Set) {
			addSOP(s, ClassSegmentation, r.Segmentation.SOPUID)
			s.Numbers(tag.ReferencedSegmentNumber, 1) // no frame number: a segment is more than one of its frames
		}),
		imageItem(contains, &codeSegmentSource, picture))
}

// measure is a measure with its error, or with the reason why it has no value. Where the picture was not measured, none was tried.
func measure(m *record.Measure, measured bool) *content {
	name := own(m.Name, m.Display)
	if m.Value == nil {
		qualifier := codeFailure
		if !measured {
			qualifier = codeNotAttempted
		}
		absent := absentItem(contains, name, qualifier)
		if m.AbsentReason != nil {
			absent.with(
				codeItem(hasProperties, codeReason, own(m.AbsentReason.Code, "")),
				textItem(hasProperties, codeComment, m.AbsentReason.Text))
		}
		return absent
	}
	number := numberItem(contains, name, *m.Value, m.Unit)
	switch {
	case m.Error != nil:
		number.with(numberItem(hasProperties, codeUncertainty, *m.Error, m.Unit).with(
			codeItem(hasConceptMod, codeDerivation, codeHalfWidth)))
	case m.ErrorAbsentReason != nil:
		number.with(textItem(hasProperties, codeComment, m.ErrorAbsentReason.Text))
	}
	return number
}
