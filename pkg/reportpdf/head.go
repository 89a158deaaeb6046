package reportpdf

import (
	"fmt"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Colours. Each has a contrast of 4.5 and more with the text on it; nothing is told by colour alone.
var (
	paleGrey   = pdf.Colour{0.94, 0.94, 0.94}
	paleYellow = pdf.Colour{1, 0.90, 0.60}
	paleViolet = pdf.Colour{0.90, 0.85, 0.98}
	paleRed    = pdf.Colour{1, 0.90, 0.88}
	ruleGrey   = pdf.Colour{0.70, 0.70, 0.70}
)

const softGrey = 0.30 // of text beside the main one

func (s *sheet) heading() block {
	title := s.page.Set("Retinal vessel screening report", pdf.Style{Size: 15, Bold: true}, contentWide*0.62, 1)
	clinic := s.page.Set("Clinic "+s.Report.Clinic, pdf.Style{Size: 10}, contentWide*0.36, 1)
	return block{height: title.Height() + 3, draw: func(y float64) error {
		s.page.Text(title, margin, y, contentWide, pdf.Left)
		s.page.Text(clinic, margin, y+title.Height()-clinic.Height()-1.5, contentWide, pdf.Right)
		return nil
	}}
}

// status says large what must not be taken for final, or for all that there was.
func (s *sheet) status() block {
	r := s.Report
	issued := fmt.Sprintf("Version %d, issued %s", r.Version, s.moment(r.IssuedAt))
	word, size, fill, more := "FINAL", 10.0, paleGrey, ""
	switch r.Status {
	case record.Preliminary:
		word, size, fill = "PRELIMINARY", 16, paleYellow
		more = "Pictures of this study are still on their way. A later version will take the place of this one."
	case record.Amended:
		word, size, fill = "AMENDED", 16, paleViolet
		more = fmt.Sprintf("This version takes the place of those before. The first was issued %s.", s.moment(r.FirstIssuedAt))
	case record.Final:
	}
	const pad = 3.0
	big := s.page.Set(word, pdf.Style{Size: size, Bold: true}, contentWide/3, 1)
	beside := contentWide - 4*pad - big.Width() - 8
	texts := []pdf.Text{s.page.Set(issued, pdf.Style{Size: 9}, beside, 1)}
	if more != "" {
		texts = append(texts, s.page.Set(more, pdf.Style{Size: 8}, beside, 2))
	}
	high := max(big.Height(), height(texts)) + 2*pad
	return block{height: high + 4, draw: func(y float64) error {
		s.page.Rectangle(margin, y, contentWide, high, fill)
		s.page.Text(big, margin+2*pad, y+(high-big.Height())/2, contentWide, pdf.Left)
		s.stack(texts, margin+2*pad+big.Width()+8, y+(high-height(texts))/2, beside)
		return nil
	}}
}

// people are the names of a patient, a line a group.
func people(dicom string) []string {
	var all []string
	for _, n := range fhir.ConvertPatient(record.PatientIdentity{Name: dicom}, "", time.Time{}).Name {
		all = append(all, n.Text)
	}
	return all
}

// name sets a name as large as has room: on one line, else smaller on two.
func (s *sheet) name(text string, size, width float64) pdf.Text {
	if set := s.page.Set(text, pdf.Style{Size: size, Bold: true, Leading: 1.4}, width, 1); !set.Cut {
		return set
	}
	const smaller = 0.7
	return s.page.Set(text, pdf.Style{Size: size * smaller, Bold: true, Leading: 1.4}, width, 2)
}

func (s *sheet) identity() block {
	r, p := s.Report, s.Report.Patient
	const leftPart, nameSize, factSize = 0.56, 14, 8.5
	wide := contentWide*leftPart - 10
	var left []pdf.Text
	names := people(p.Name)
	if len(names) == 0 {
		names = []string{"Name not stated"}
	}
	for _, n := range names {
		left = append(left, s.name(n, nameSize, wide))
	}
	style := pdf.Style{Size: factSize, Leading: 1.35}
	id := "Patient ID " + p.ID
	if p.Issuer != "" {
		id += " (issued by " + p.Issuer + ")"
	}
	// The first strong character decides the direction of a paragraph: it is that of the label.
	left = append(left, s.page.Set(id, style, wide, 2))
	born := "Born " + p.BirthDate
	if p.BirthDate == "" {
		born = "Date of birth not stated"
	}
	sex := map[record.Sex]string{"F": "female", "M": "male", "O": "other"}[p.Sex]
	if sex == "" {
		sex = "sex not stated"
	}
	left = append(left, s.page.Set(born+", "+sex, style, wide, 1))
	if was := r.PatientAsIssued; was != nil {
		left = append(left, s.page.Set("The pictures came under patient ID "+was.ID+"; a person decided that they are of this patient.", style, wide, 2))
	}
	var right [][2]pdf.Text
	const labelWide = 62.0
	factsAt := margin + contentWide*leftPart
	factsWide := contentWide*(1-leftPart) - labelWide
	for _, f := range [][2]string{{"Study date", orNot(r.StudyDate)}, {"Accession", orNot(r.AccessionNumber)}, {"Pictures", pictureCount(r)}, {"Report", r.ReportID}, {"Study UID", r.StudyUID}} {
		label := style
		label.Grey = softGrey
		right = append(right, [2]pdf.Text{s.page.Set(f[0], label, labelWide, 1), s.page.Set(f[1], style, factsWide, 2)})
	}
	factsHigh := 0.0
	for _, f := range right {
		factsHigh += f[1].Height()
	}
	high := max(height(left), factsHigh)
	return block{height: high + 2, draw: func(y float64) error {
		at := y
		for _, t := range left { // at the left also where they are read from the right: that is where names stand
			s.page.Text(t, margin, at, wide, pdf.Left)
			at += t.Height()
		}
		at = y
		for _, f := range right {
			s.page.Text(f[0], factsAt, at, labelWide, pdf.Left)
			s.page.Text(f[1], factsAt+labelWide, at, factsWide, pdf.Left)
			at += f[1].Height()
		}
		s.page.Line([]pdf.Point{{X: margin, Y: y + high + 2}, {X: margin + contentWide, Y: y + high + 2}}, 0.5, ruleGrey, 0)
		return nil
	}}
}

func orNot(text string) string {
	if text == "" {
		return "not stated"
	}
	return text
}

// pictureCount tells what became of the pictures.
func pictureCount(r *record.Report) string {
	c := r.Counts
	parts := []string{fmt.Sprintf("%d, of which measured %d", c.Images, c.Measured)}
	for _, p := range []struct {
		n    int
		name string
	}{{c.Ungradable, "ungradable"}, {c.NotAnalysed, "not analysed"}, {c.Failed, "failed"}, {c.Pending, "pending"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", p.name, p.n))
		}
	}
	return strings.Join(parts, ", ")
}

// tasks is what waits for a person.
func (s *sheet) tasks() block {
	var sentences []string
	for _, t := range s.Report.NeedsPerson {
		sentences = append(sentences, t.Text)
	}
	if len(sentences) == 0 {
		return block{}
	}
	const pad = 3.0
	title := s.page.Set("Waits for a person", pdf.Style{Size: 9, Bold: true}, contentWide, 1)
	texts, _ := s.lines(sentences, pdf.Style{Size: 8.5}, contentWide-4*pad, s.budget.tasks, 2)
	high := title.Height() + height(texts) + 2*pad
	return block{height: high, draw: func(y float64) error {
		s.page.Rectangle(margin, y, contentWide, high, paleRed)
		s.page.Text(title, margin+2*pad, y+pad, contentWide, pdf.Left)
		s.stack(texts, margin+2*pad, y+pad+title.Height(), contentWide-4*pad)
		return nil
	}}
}
