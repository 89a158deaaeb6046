package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// eyeNone is the status of an eye of which there is no picture.
const eyeNone = "none"

// qualityStep is how far quality scores may lie apart and still count as the same: then the field decides.
const qualityStep = 0.1

// standing returns the image that stands for an eye: of the measured ones that are not superseded the one that can be read best; of those
// that can be read alike one whose field has the optic disc with the zones about it, since more can be measured there; then the one with
// the better score, the one acquired first, and by UID and bytes. nil: there is none.
func standing(r *record.Report, side record.Laterality) *record.ReportImage {
	var found *record.ReportImage
	for n := range r.Images {
		img := &r.Images[n]
		if img.Laterality != side || img.Status != record.ImageMeasured || img.Provenance == nil || isSuperseded(*img) {
			continue
		}
		if found == nil || compareStanding(img, found) < 0 {
			found = img
		}
	}
	return found
}

// compareStanding orders images by how well they stand for their eye, the best first.
func compareStanding(a, b *record.ReportImage) int {
	step := func(i *record.ReportImage) float64 { return math.Floor(score(i)/qualityStep + 1e-9) }
	return cmp.Or(cmp.Compare(step(b), step(a)), -compareBool(showsDisc(a), showsDisc(b)), cmp.Compare(score(b), score(a)),
		cmp.Compare(a.AcquiredAt, b.AcquiredAt), cmp.Compare(a.SOPUID, b.SOPUID), cmp.Compare(a.Sha256, b.Sha256))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// score is the quality of an image; 0 where it was not judged.
func score(i *record.ReportImage) float64 {
	if i.Quality == nil {
		return 0
	}
	return i.Quality.Score
}

// showsDisc tells whether the zone about the optic disc in which vessels are usually measured lies in the field of an image.
func showsDisc(i *record.ReportImage) bool {
	return slices.ContainsFunc(i.Regions, func(r record.Region) bool { return r.Name == vessel.RegionZoneB && r.AbsentReason == nil })
}

// bothEyes tells of both eyes which picture stands for each, and why.
func bothEyes(r *record.Report) []record.ReportEye {
	var out []record.ReportEye
	for _, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		out = append(out, eye(r, side))
	}
	return out
}

func eye(r *record.Report, side record.Laterality) record.ReportEye {
	e := record.ReportEye{Laterality: side, Status: eyeNone}
	by := map[record.ImageStatus][]*record.ReportImage{}
	for n := range r.Images {
		if img := &r.Images[n]; img.Laterality == side && !isSuperseded(*img) {
			e.Images++
			by[img.Status] = append(by[img.Status], img)
		}
	}
	name := eyeName(side)
	if img := standing(r, side); img != nil {
		e.Status, e.SOPUID, e.Sha256 = string(record.ImageMeasured), img.SOPUID, img.Sha256
		switch measured := by[record.ImageMeasured]; {
		case len(measured) == 1:
			e.Text = fmt.Sprintf("The only measured picture of the %s eye.", name)
		default:
			e.Text = fmt.Sprintf("Of %d measured pictures of the %s eye %s.", len(measured), name, whyStanding(img, measured))
		}
		return e
	}
	for _, s := range []struct {
		status record.ImageStatus
		text   string
	}{
		{record.ImagePending, "The %s eye waits to be measured."},
		{record.ImageUngradable, "No picture of the %s eye could be read well enough to be measured."},
		{record.ImageFailed, "The pictures of the %s eye could not be analysed."},
		{record.ImageNotAnalysed, "The pictures of the %s eye are of a kind that is not measured."},
	} {
		if len(by[s.status]) > 0 {
			e.Status, e.Text = string(s.status), fmt.Sprintf(s.text, name)
			return e
		}
	}
	e.Text = fmt.Sprintf("There is no picture of the %s eye in this study.", name)
	return e
}

// whyStanding says what the image that stands for an eye has before the next best one.
func whyStanding(img *record.ReportImage, measured []*record.ReportImage) string {
	others := slices.DeleteFunc(slices.Clone(measured), func(o *record.ReportImage) bool { return o == img })
	next := slices.MinFunc(others, compareStanding)
	switch {
	case math.Floor(score(img)/qualityStep+1e-9) != math.Floor(score(next)/qualityStep+1e-9):
		return "the one that can be read best"
	case showsDisc(img) != showsDisc(next):
		return "one that can be read as well as any and has the optic disc in its field"
	case score(img) != score(next):
		return "the one that can be read best"
	}
	return "the one that was taken first; they can be read alike"
}

// Codes of what waits for a person.
const (
	taskUngradable = "eye-ungradable"
	taskFailed     = "eye-failed"
	taskQuarantine = "file-in-quarantine"
	taskMissing    = "picture-missing"
)

// needsPerson lists what a person should do about a study, the most urgent first. Eyes are in it only where no picture of them was measured.
func needsPerson(r *record.Report) (list []record.ReportTask) {
	for _, e := range r.Eyes {
		name := eyeName(e.Laterality)
		switch record.ImageStatus(e.Status) {
		case record.ImageUngradable:
			list = append(list, record.ReportTask{Code: taskUngradable, Laterality: e.Laterality, Text: fmt.Sprintf("Photograph the %s eye again: %s.", name, ungradableBecause(r, e.Laterality))})
		case record.ImageFailed:
			list = append(list, record.ReportTask{Code: taskFailed, Laterality: e.Laterality, Text: fmt.Sprintf("The pictures of the %s eye could not be analysed; send them again, or photograph the eye again.", name)})
		case record.ImagePending, record.ImageMeasured, record.ImageNotAnalysed: // nothing to do
		}
	}
	if n := len(r.Rejected); n > 0 {
		list = append(list, record.ReportTask{Code: taskQuarantine, Text: fmt.Sprintf("%d %s of this study %s in quarantine; the page Quarantine says why and what to do.", n, choose(n, "file", "files"), choose(n, "is", "are"))})
	}
	n := 0
	for _, m := range r.Missing {
		if m.Code != awaitedCode {
			n++
		}
	}
	if n > 0 {
		list = append(list, record.ReportTask{Code: taskMissing, Text: fmt.Sprintf("%d announced %s of this study did not come as announced; send %s again.", n, choose(n, "picture", "pictures"), choose(n, "it", "them"))})
	}
	return list
}

// ungradableBecause is what the best of the pictures of an eye lacks, as a part of a sentence.
func ungradableBecause(r *record.Report, side record.Laterality) string {
	var best *record.ReportImage
	for n := range r.Images {
		img := &r.Images[n]
		if img.Laterality == side && img.Status == record.ImageUngradable && !isSuperseded(*img) && (best == nil || compareStanding(img, best) < 0) {
			best = img
		}
	}
	if best == nil || best.Reason == nil {
		return "no picture could be read"
	}
	return lowerFirst(trimPoint(best.Reason.Text))
}

// models are those that measured, or judged, the images of a report, each once.
func models(r *record.Report) (list []record.ModelReference) {
	for _, img := range r.Images {
		if img.Provenance != nil && !slices.Contains(list, img.Provenance.Model) {
			list = append(list, img.Provenance.Model)
		}
	}
	slices.SortFunc(list, func(a, b record.ModelReference) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Sha256, b.Sha256))
	})
	return list
}
