package segment

import (
	"fmt"

	"github.com/noctua-screening/noctua/pkg/dicom/derived"
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
		Source: *a.source, Measures: a.Result.Everywhere(), Warnings: a.Result.Warnings,
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
