package reportpdf

import (
	"fmt"
	"math"
	"strings"

	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
)

// sides are the eyes as the page shows them, as one looks at the patient: right at the left.
var sides = []record.Laterality{record.RightEye, record.LeftEye}

func abbreviation(side record.Laterality) (short, long string) {
	if side == record.RightEye {
		return "OD", "right eye"
	}
	return "OS", "left eye"
}

// stateOf says in words what became of an eye.
func stateOf(img *record.ReportImage) string {
	if img == nil {
		return "no photograph"
	}
	switch img.Status {
	case record.ImageMeasured:
		return "measured"
	case record.ImageUngradable:
		return "UNGRADABLE, not measured"
	case record.ImageNotAnalysed:
		return "NOT ANALYSED"
	case record.ImageFailed:
		return "FAILED, not measured"
	case record.ImagePending:
	}
	return "WAITING to be measured"
}

// remarks say of an eye what a reader must know to take its picture and figures right, the most important first.
func (s *sheet) remarks(side record.Laterality, img *record.ReportImage) (all []string) {
	for _, e := range s.Report.Eyes {
		if e.Laterality == side {
			all = append(all, e.Text)
		}
	}
	if img == nil {
		return all
	}
	if img.Reason != nil {
		all = append(all, img.Reason.Text)
	}
	var facts []string
	if img.AcquiredAt != "" {
		facts = append(facts, "Taken "+strings.Replace(img.AcquiredAt, "T", " ", 1)+", the camera's time")
	}
	if q := img.Quality; q != nil {
		const percent = 100
		text := fmt.Sprintf("quality %.0f of 100", math.Round(percent*q.Score))
		if q.Limit > 0 {
			text += fmt.Sprintf(" (ungradable below %.0f)", math.Round(percent*q.Limit))
		}
		facts = append(facts, text)
	}
	if d := img.Device; d != nil && strings.TrimSpace(d.Manufacturer+d.Model) != "" {
		facts = append(facts, strings.TrimSpace(d.Manufacturer+" "+d.Model))
	}
	if len(facts) > 0 {
		all = append(all, strings.Join(facts, "; ")+".")
	}
	for _, w := range img.Warnings {
		all = append(all, "Warning: "+w.Text)
	}
	if q := img.Quality; q != nil {
		for _, reason := range q.Reasons {
			if (img.Reason == nil || reason.Text != img.Reason.Text) && !hasNote(img.Warnings, reason) {
				all = append(all, reason.Text)
			}
		}
	}
	for _, n := range img.Notes {
		all = append(all, n.Text)
	}
	return all
}

func hasNote(list []record.Note, n record.Note) bool {
	for _, other := range list {
		if other == n {
			return true
		}
	}
	return false
}

// eyes is the row of both eyes: photograph, vessels, and what is to say of them.
func (s *sheet) eyes() block {
	type column struct {
		head, state, remarks []pdf.Text
		draw                 func(x, y float64) error
	}
	const captionHigh, headHigh = 10.0, 17.0
	var columns []column
	remarksHigh := 0.0
	for _, side := range sides {
		img := Shown(s.Report, side)
		short, long := abbreviation(side)
		stateStyle := pdf.Style{Size: 9, Bold: img == nil || img.Status != record.ImageMeasured}
		c := column{
			head:  []pdf.Text{s.page.Set(short, pdf.Style{Size: 13, Bold: true, Leading: 1.3}, columnWide, 1), s.page.Set(long, pdf.Style{Size: 10, Leading: 1.6}, columnWide, 1)},
			state: []pdf.Text{s.page.Set(stateOf(img), stateStyle, columnWide*0.62, 1)},
		}
		c.remarks, _ = s.lines(s.remarks(side, img), pdf.Style{Size: 7.5}, columnWide, s.budget.remarks, 3)
		remarksHigh = max(remarksHigh, height(c.remarks))
		c.draw = func(x, y float64) error { return s.pictures(side, img, x, y) }
		columns = append(columns, c)
	}
	return block{height: headHigh + captionHigh + remarksHigh, stretches: true, draw: func(y float64) error {
		for n, c := range columns {
			x := margin + float64(n)*(columnWide+gutter)
			s.page.Text(c.head[0], x, y, columnWide, pdf.Left)
			s.page.Text(c.head[1], x+c.head[0].Width()+5, y, columnWide, pdf.Left)
			s.page.Text(c.state[0], x, y+2.5, columnWide, pdf.Right)
			if err := c.draw(x, y+headHigh); err != nil {
				return err
			}
			s.stack(c.remarks, x, y+headHigh+s.pictureHigh+captionHigh, columnWide)
		}
		return nil
	}}
}

// pictures draws the photograph and the vessels of an eye beside each other, with what they are below.
func (s *sheet) pictures(side record.Laterality, img *record.ReportImage, x, y float64) error {
	const gap = 5.0
	wide := (columnWide - gap) / 2
	given := s.Eyes[side]
	for n, p := range []struct {
		jpeg             []byte
		caption, missing string
	}{{given.Photo, "Photograph", photoMissing(img)}, {given.Overlay, "Vessels found, on the photograph", overlayMissing(img)}} {
		left := x + float64(n)*(wide+gap)
		caption := p.caption
		if p.jpeg != nil {
			s.page.Rectangle(left, y, wide, s.pictureHigh, pdf.Colour{0, 0, 0})
			if err := s.page.Picture(p.jpeg, left, y, wide, s.pictureHigh); err != nil {
				return err
			}
		} else {
			s.page.Rectangle(left, y, wide, s.pictureHigh, paleGrey)
			text := s.page.Set(p.missing, pdf.Style{Size: 8, Grey: softGrey}, wide-12, 4)
			s.page.Text(text, left+6, y+(s.pictureHigh-text.Height())/2, wide-12, pdf.Centre)
		}
		s.page.Text(s.page.Set(caption, pdf.Style{Size: 6.8, Grey: softGrey}, wide, 1), left, y+s.pictureHigh+0.5, wide, pdf.Left)
	}
	return nil
}

func photoMissing(img *record.ReportImage) string {
	if img == nil {
		return "No photograph of this eye"
	}
	if img.Status == record.ImagePending {
		return "Shown when it is measured"
	}
	return "The photograph cannot be shown here"
}

func overlayMissing(img *record.ReportImage) string {
	if img == nil || img.Status != record.ImageMeasured {
		return "Not measured"
	}
	return "The vessels cannot be shown here"
}
