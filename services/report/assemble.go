package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// notice stands in every report.
const notice = "Screening aid: measures of retinal vessels by an automatic method, to be read by a clinician. It makes no diagnosis and grades no disease."

// part is an image of a study with its documents.
type part struct {
	image      store.Image
	instance   *record.Instance
	result     *record.Result  // of status measured or ungradable
	failure    *record.Failure // of status failed
	superseded bool            // a later revision of the same SOP instance is archived
}

// assemble makes the content of a report: everything but version, status and times of issue. It is pure: the same parts in any
// order give the same content.
func assemble(study store.Study, parts []part, rejected []store.Rejected, expected []store.ExpectedInstance, codeVersion string) *record.Report {
	r := &record.Report{
		Schema: record.ReportSchema, ReportID: study.ReportID, Clinic: study.Clinic, StudyUID: study.StudyUID,
		Images: []record.ReportImage{}, Rejected: []record.ReportRejected{}, CodeVersion: codeVersion, Notice: notice,
	}
	parts = slices.Clone(parts)
	// What is said of patient and study comes from the newest instance that says it.
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(a.instance.ReceivedAt.Compare(b.instance.ReceivedAt), cmp.Compare(a.image.SOPUID, b.image.SOPUID), cmp.Compare(a.image.Sha256, b.image.Sha256))
	})
	for _, p := range parts {
		r.Patient = p.instance.Patient
		r.StudyDate = cmp.Or(p.instance.StudyDate, r.StudyDate)
		r.AccessionNumber = cmp.Or(p.instance.AccessionNumber, r.AccessionNumber)
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(eyeOrder(a.instance.Laterality), eyeOrder(b.instance.Laterality)), cmp.Compare(a.instance.AcquiredAt, b.instance.AcquiredAt),
			cmp.Compare(a.image.SOPUID, b.image.SOPUID), a.instance.ReceivedAt.Compare(b.instance.ReceivedAt), cmp.Compare(a.image.Sha256, b.image.Sha256))
	})
	for _, p := range parts {
		img := reportImage(p)
		r.Images = append(r.Images, img)
		// Of a corrected image the newest revision counts; an older one only holds the report up while it has no outcome.
		if !p.superseded || img.Status == record.ImagePending {
			r.Counts.Images++
			count(&r.Counts, img.Status)
		}
	}
	seen := map[string]bool{}
	for _, q := range rejected {
		finding := q.History().Finding()
		// The same bytes refused for the same reason again are one finding.
		if id := q.Document.Sha256 + finding.Code + q.Document.Member; seen[id] {
			continue
		} else {
			seen[id] = true
		}
		r.Rejected = append(r.Rejected, record.ReportRejected{Code: finding.Code, Reason: finding.Reason, Sha256: q.Document.Sha256,
			SOPUID: q.Document.SOPUID, QuarantineKey: strings.TrimSuffix(q.DocumentKey, documentSuffix)})
	}
	r.Missing = missing(study, expected)
	r.Counts.Rejected = len(r.Rejected)
	r.Models, r.Eyes = models(r), bothEyes(r)
	r.NeedsPerson = needsPerson(r)
	return r
}

// Codes of announced instances that are not here as announced.
const (
	awaitedCode = "instance-awaited"
	missingCode = "instance-missing"
	differsCode = "instance-differs"
)

// missing lists what a manifest announces and what is not here as announced.
func missing(study store.Study, expected []store.ExpectedInstance) (list []record.ReportMissing) {
	for _, i := range expected {
		m := record.ReportMissing{SOPUID: i.SOPUID}
		switch {
		case i.Arrival == store.Arrived:
			continue
		case i.Arrival == store.ArrivedOtherwise:
			m.Code, m.Reason = differsCode, "This picture came with other content than was announced: it was changed or damaged on its way. Compare it with the one at the camera."
		case study.Awaiting():
			m.Code, m.Reason = awaitedCode, "This picture was announced and has not come yet."
		default:
			m.Code, m.Reason = missingCode, "This picture was announced and did not come. Send it again; the report will then be amended."
		}
		list = append(list, m)
	}
	return list
}

// eyeOrder puts the right eye first, as people write OD and OS.
func eyeOrder(l record.Laterality) int {
	switch l {
	case record.RightEye:
		return 0
	case record.LeftEye:
		return 1
	}
	return 2
}

func count(c *record.ReportCounts, status record.ImageStatus) {
	switch status {
	case record.ImageMeasured:
		c.Measured++
	case record.ImageUngradable:
		c.Ungradable++
	case record.ImageNotAnalysed:
		c.NotAnalysed++
	case record.ImageFailed:
		c.Failed++
	default:
		c.Pending++
	}
}

func reportImage(p part) record.ReportImage {
	i := p.instance
	img := record.ReportImage{
		SOPUID: i.SOPUID, Sha256: i.Sha256, ArchiveKey: i.ArchiveKey, Laterality: i.Laterality, AcquiredAt: i.AcquiredAt,
		Status: p.image.Status, ResultKey: p.image.OutcomeKey, Notes: slices.Clone(i.Notes), Device: i.Device,
		HorizontalFOVDeg: i.HorizontalFOVDeg, SOPClassUID: i.SOPClassUID, SeriesUID: i.SeriesUID,
	}
	if modalityPattern.MatchString(i.Modality) {
		img.Modality = i.Modality
	}
	if i.Rows > 0 && i.Columns > 0 {
		img.Rows, img.Columns = &i.Rows, &i.Columns
	}
	if p.superseded {
		img.Notes = append(img.Notes, record.Note{Code: supersededCode, Text: "A later revision of this image is archived; its measures are the ones that count."})
	}
	switch {
	case p.image.Status == record.ImageNotAnalysed:
		img.Reason = i.NotAnalysed
	case p.failure != nil:
		img.Reason = &record.Note{Code: p.failure.Code, Text: p.failure.Reason}
	case p.result != nil:
		res := p.result
		img.Measures, img.Warnings, img.Provenance, img.Quality = res.Measures, res.Warnings, &res.Provenance, res.Quality
		img.Regions = res.Regions
		img.MaskKey, img.OverlayKey = beside(p.image.OutcomeKey, res.Files.Mask), beside(p.image.OutcomeKey, res.Files.Overlay)
		img.VesselMapKey, img.SegmentsKey = beside(p.image.OutcomeKey, res.Files.VesselMap), beside(p.image.OutcomeKey, res.Files.Segments)
		img.SegKey, img.SrKey = beside(p.image.OutcomeKey, res.Files.Seg), beside(p.image.OutcomeKey, res.Files.Sr)
		if p.image.Status == record.ImageUngradable {
			img.Reason = ungradableReason(res)
		}
	}
	return img
}

// modalityPattern is that of DICOM's code strings (PS3.5 6.2): what is no such code is no modality.
var modalityPattern = regexp.MustCompile(`^[A-Z0-9 _]{1,16}$`)

// supersededCode marks an image that has a later revision.
const supersededCode = "superseded-revision"

// beside returns the key of a file that lies beside a document. A name that is no plain name is no file.
func beside(key, name string) string {
	if name == "" || name != path.Base(name) {
		return ""
	}
	return path.Join(path.Dir(key), name)
}

// ungradableReason is what withheld the measures. A warning may be about something else, and stand before it.
func ungradableReason(res *record.Result) *record.Note {
	for _, m := range res.Measures {
		if m.AbsentReason != nil {
			return m.AbsentReason
		}
	}
	if len(res.Warnings) > 0 {
		return &res.Warnings[0]
	}
	return &record.Note{Code: "ungradable", Text: "The picture could not be measured."}
}

// sameContent tells whether two reports say the same of their study. Version, status and times of issue are about the report,
// and the code version about the program: a new program alone issues nothing again. a is the older one.
func sameContent(a, b *record.Report) (bool, error) {
	// A report by a program that did not compare, or that did not tell of eyes and series, is not issued again for these alone: a new program
	// would amend every report.
	if a.Comparisons == nil {
		a, b = uncompared(a), uncompared(b)
	}
	if a.Eyes == nil {
		a, b = withoutEyes(a), withoutEyes(b)
	}
	rawA, err := content(a)
	if err != nil {
		return false, err
	}
	rawB, err := content(b)
	return bytes.Equal(rawA, rawB), err
}

// uncompared is a report without its comparisons and what was added for them.
func uncompared(r *record.Report) *record.Report {
	c := *r
	c.Comparisons, c.Images = nil, slices.Clone(r.Images)
	for n := range c.Images {
		c.Images[n].HorizontalFOVDeg = nil
	}
	return &c
}

// withoutEyes is a report without what is derived of its images, and of the visits before the last one.
func withoutEyes(r *record.Report) *record.Report {
	c := *r
	c.Eyes, c.Series, c.NeedsPerson, c.Models = nil, nil, nil, nil
	return &c
}

func content(r *record.Report) ([]byte, error) {
	c := *r
	c.Version, c.Status, c.IssuedAt, c.FirstIssuedAt, c.CodeVersion, c.Notice = 0, "", time.Time{}, time.Time{}, "", ""
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("comparing reports: %w", err)
	}
	return raw, nil
}

// decision says what is to be done with assembled content.
type decision int

const (
	leave decision = iota // the newest version says it all
	hold                  // a worse version must not be issued; wait for the next change
	issue
)

// decide compares assembled content with the newest version (nil: none) and chooses the status of a new version.
func decide(prev, next *record.Report, study store.Study, at time.Time, quiet time.Duration) (decision, record.ReportStatus, error) {
	// A manifest says what there is: then nothing is guessed from silence.
	isQuiet := next.Counts.Pending == 0 && !study.Awaiting() && (study.Expected > 0 || !at.Before(study.ChangedAt.Add(quiet)))
	settled := record.Preliminary
	if isQuiet {
		settled = record.Final
	}
	if prev == nil {
		return issue, settled, nil
	}
	same, err := sameContent(prev, next)
	if err != nil {
		return leave, "", err
	}
	switch {
	case same && prev.Status == record.Preliminary && isQuiet:
		return issue, record.Final, nil
	case same:
		return leave, "", nil
	case unlearns(prev, next):
		return hold, "", nil
	case prev.Status == record.Preliminary:
		return issue, settled, nil
	}
	return issue, record.Amended, nil
}

// unlearns tells whether next calls an image pending of which prev knows the outcome: a new model is at work. The report keeps
// speaking for the old one until the new one has spoken.
func unlearns(prev, next *record.Report) bool {
	known := map[string]bool{}
	for _, i := range prev.Images {
		known[i.SOPUID+i.Sha256] = i.Status != record.ImagePending
	}
	return slices.ContainsFunc(next.Images, func(i record.ReportImage) bool {
		return i.Status == record.ImagePending && known[i.SOPUID+i.Sha256]
	})
}
