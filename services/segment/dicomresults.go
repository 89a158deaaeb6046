package segment

import (
	"fmt"
	"slices"

	"github.com/noctua-screening/noctua/pkg/dicom/derived"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

const dicomType = "application/dicom"

// dicomResults makes the SEG of the segments, vessel first, and the SR; nothing of a picture that came as no DICOM instance, and no SEG
// without segments.
func (a *Analysis) dicomResults(segments []derived.Segment) ([]File, error) {
	if a.source == nil {
		return nil, nil
	}
	p := a.Result.Provenance
	report := derived.Report{
		Source: *a.source, Measures: everywhere(a.Result.Measures, a.Result.Regions), Warnings: a.Result.Warnings,
		Algorithm: derived.Algorithm{
			Name: p.Model.Name, Version: p.Model.Version, SHA256: p.Model.Sha256, Software: p.CodeVersion,
			Parameters: fmt.Sprintf("model SHA-256 %s; threshold %v; measured on a field of view of %v pixels", p.Model.Sha256, p.Threshold, p.CanvasFOVDiameterPx),
		},
	}
	var files []File
	if len(segments) > 0 {
		data, ref, err := derived.SEG(derived.Segmentation{Source: *a.source, Algorithm: report.Algorithm, Segments: segments})
		if err != nil {
			return nil, err
		}
		files = append(files, File{SEGFile, dicomType, data})
		report.Segmentation = &ref
	}
	data, _, err := derived.SR(report)
	if err != nil {
		return nil, err
	}
	return append(files, File{SRFile, dicomType, data}), nil
}

// everywhere lists the measures of the whole field and, after them, those of its parts. A part without values is said of its first
// measure, the area density, alone.
func everywhere(measures []record.Measure, regions []record.Region) []record.Measure {
	out := slices.Clone(measures)
	display := map[string]string{}
	for _, m := range measures {
		display[m.Name] = m.Display
	}
	for _, r := range regions {
		if r.AbsentReason != nil {
			out = append(out, record.Measure{Name: vessel.AreaDensity, Display: display[vessel.AreaDensity], Unit: "1", Region: r.Name, AbsentReason: r.AbsentReason})
		}
		for _, m := range r.Measures {
			out = append(out, record.Measure{Name: m.Name, Display: display[m.Name], Unit: m.Unit, Region: r.Name, Value: m.Value, AbsentReason: m.AbsentReason})
		}
	}
	return out
}
