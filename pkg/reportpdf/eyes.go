package reportpdf

import (
	"bytes"
	"fmt"
	"image/jpeg"
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
	const headHigh = 17.0
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
	return block{height: headHigh + remarksHigh, stretches: true, draw: func(y float64) error {
		for n, c := range columns {
			x := margin + float64(n)*(columnWide+gutter)
			s.page.Text(c.head[0], x, y, columnWide, pdf.Left)
			s.page.Text(c.head[1], x+c.head[0].Width()+5, y, columnWide, pdf.Left)
			s.page.Text(c.state[0], x, y+2.5, columnWide, pdf.Right)
			if err := c.draw(x, y+headHigh); err != nil {
				return err
			}
			s.stack(c.remarks, x, y+headHigh+s.frame.total(), columnWide)
		}
		return nil
	}}
}

// Room about a picture, in points.
const (
	captionHigh = 10.0
	pictureGap  = 5.0
)

// frame is how the two pictures of an eye lie.
type frame struct {
	stacked    bool // below each other, else side by side
	wide, high float64
}

// total is the height of both with what stands below them.
func (f frame) total() float64 {
	if f.stacked {
		return 2 * (f.high + captionHigh)
	}
	return f.high + captionHigh
}

// frameFor lays the pictures so that they are as large as may be in a height.
func (s *sheet) frameFor(free float64) frame {
	tallest := 0.0 // height over width
	for _, eye := range s.Eyes {
		for _, raw := range [][]byte{eye.Photo, eye.Overlay} {
			if head, err := jpeg.DecodeConfig(bytes.NewReader(raw)); err == nil && head.Width > 0 { // one that is none is found when it is drawn
				tallest = max(tallest, float64(head.Height)/float64(head.Width))
			}
		}
	}
	beside := frame{wide: (columnWide - pictureGap) / 2}
	if tallest == 0 { // there is none: room for the words in its place
		beside.high = leastPicture
		return beside
	}
	beside.high = min(free-captionHigh, beside.wide*tallest)
	below := frame{stacked: true, wide: columnWide, high: min(free/2-captionHigh, columnWide*tallest)}
	const worth = 1.1 // of the change: side by side is easier to compare
	if below.high > worth*beside.high {
		return below
	}
	return beside
}

// pictures draws the photograph and the vessels of an eye, with what they are below.
func (s *sheet) pictures(side record.Laterality, img *record.ReportImage, x, y float64) error {
	given := s.Eyes[side]
	for n, p := range []struct {
		jpeg             []byte
		caption, missing string
	}{{given.Photo, "Photograph", photoMissing(img)}, {given.Overlay, "Vessels found, on the photograph", overlayMissing(img)}} {
		left, top := x+float64(n)*(s.frame.wide+pictureGap), y
		if s.frame.stacked {
			left, top = x, y+float64(n)*(s.frame.high+captionHigh)
		}
		if p.jpeg == nil {
			s.page.Rectangle(left, top, s.frame.wide, s.frame.high, paleGrey)
			text := s.page.Set(p.missing, pdf.Style{Size: 8, Grey: softGrey}, s.frame.wide-12, 4)
			s.page.Text(text, left+6, top+(s.frame.high-text.Height())/2, s.frame.wide-12, pdf.Centre)
			continue
		}
		s.page.Rectangle(left, top, s.frame.wide, s.frame.high, pdf.Colour{0, 0, 0})
		if err := s.page.Picture(p.jpeg, left, top, s.frame.wide, s.frame.high); err != nil {
			return err
		}
		s.page.Text(s.page.Set(p.caption, pdf.Style{Size: 6.8, Grey: softGrey}, s.frame.wide, 1), left, top+s.frame.high+0.5, s.frame.wide, pdf.Left)
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
