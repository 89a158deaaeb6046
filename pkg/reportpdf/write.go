package reportpdf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Pictures are those of one eye, as JPEG; nil where there is none. Some 700 pixels wide they are sharp in print.
type Pictures struct{ Photo, Overlay []byte }

// Input is what a page is made of.
type Input struct {
	Report *record.Report
	// Eyes are the pictures of the images that Shown names.
	Eyes map[record.Laterality]Pictures
	// Location is the time zone of the times shown; nil: UTC.
	Location *time.Location
}

// Writer writes pages. It may be used by many at a time.
type Writer struct{ fonts *pdf.Fonts }

// New reads the fonts.
func New() (*Writer, error) {
	fonts, err := pdf.LoadFonts()
	if err != nil {
		return nil, err
	}
	return &Writer{fonts}, nil
}

// Geometry of the page, in points.
const (
	margin      = 34.0
	contentWide = pdf.A4Width - 2*margin
	gutter      = 14.0 // between the columns of the eyes
	columnWide  = (contentWide - gutter) / 2
	sectionGap  = 6.0
	// The pictures take what the rest leaves, but no less than this height.
	leastPicture = 70.0
)

// Write makes the document. Faults: Invalid "picture-unusable"; Internal "page-too-full", which no report should cause.
func (w *Writer) Write(in Input) ([]byte, error) {
	if in.Location == nil {
		in.Location = time.UTC
	}
	// Where not all has room, less is said, until it has.
	for level := range levels {
		s := &sheet{Input: in, page: w.fonts.NewPage(pdf.A4Width, pdf.A4Height), budget: budgets[level]}
		blocks := s.blocks()
		footer := s.footer()
		free := pdf.A4Height - 2*margin - footer.height
		for _, b := range blocks {
			free -= b.height
		}
		if free < leastPicture+captionHigh {
			continue
		}
		s.frame = s.frameFor(free)
		// What the pictures have no use for goes to the diagrams.
		if spare := free - s.frame.total() - sectionGap; spare > 0 && s.budget.trends > 0 {
			const tallest = 95.0
			s.budget.chart = min(s.budget.chart+spare, tallest)
			blocks = s.blocks()
		}
		y := margin
		for _, b := range blocks {
			if err := b.draw(y); err != nil {
				return nil, err
			}
			y += b.height
			if b.stretches {
				y += s.frame.total()
			}
		}
		if err := footer.draw(pdf.A4Height - margin - footer.height); err != nil {
			return nil, err
		}
		return s.page.Write(s.about())
	}
	return nil, fault.New(fault.Internal, "page-too-full", "the report does not fit on a page, however little is said")
}

// budget is how much is said where much is to be said.
type budget struct {
	remarks int     // lines below the pictures of an eye
	rows    int     // measures
	notes   int     // lines below the table
	tasks   int     // things for a person to do
	trends  int     // small diagrams an eye
	words   int     // lines about them an eye
	chart   float64 // height of a diagram, points
}

const levels = 4

var budgets = [levels]budget{{8, 10, 6, 4, 3, 7, 50}, {6, 9, 4, 3, 3, 4, 40}, {4, 8, 3, 2, 3, 2, 36}, {2, 6, 2, 1, 0, 1, 0}}

// block is a part of the page, from edge to edge.
type block struct {
	height float64
	// stretches tells that the height of the pictures comes on top.
	stretches bool
	draw      func(y float64) error
}

// sheet is a page at work.
type sheet struct {
	Input
	page   *pdf.Page
	budget budget
	frame  frame
}

func (s *sheet) blocks() []block {
	all := []block{s.heading(), s.status(), s.identity()}
	for _, b := range []block{s.tasks(), s.eyes(), s.measures(), s.trends(), s.rest()} {
		if b.height > 0 {
			b.height += sectionGap
			inner := b.draw
			b.draw = func(y float64) error { return inner(y + sectionGap) }
			all = append(all, b)
		}
	}
	return all
}

func (s *sheet) about() pdf.About {
	r := s.Report
	return pdf.About{
		Title:   fmt.Sprintf("Retinal vessel screening report, study of %s, version %d, %s", orUnknown(r.StudyDate), r.Version, r.Status),
		Subject: "Report " + r.ReportID + ", study " + r.StudyUID, Author: "Noctua " + r.CodeVersion + " for " + r.Clinic, Producer: "Noctua " + r.CodeVersion,
		Language: "en", Created: r.IssuedAt,
	}
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown date"
	}
	return text
}

// moment writes a time in the reader's zone, with that zone.
func (s *sheet) moment(t time.Time) string { return t.In(s.Location).Format("2006-01-02 15:04 MST") }

// Shown returns the image that the page shows of an eye: the one that stands for it, and where none was measured the best that there
// is of those that count; nil: there is none.
func Shown(r *record.Report, side record.Laterality) *record.ReportImage {
	for _, e := range r.Eyes {
		for n := range r.Images {
			if img := &r.Images[n]; e.Laterality == side && e.SOPUID != "" && img.SOPUID == e.SOPUID && img.Sha256 == e.Sha256 {
				return img
			}
		}
	}
	// Reports of programs that did not say which picture stands for an eye, and eyes without a measured one.
	for _, status := range []record.ImageStatus{record.ImageMeasured, record.ImageUngradable, record.ImagePending, record.ImageFailed, record.ImageNotAnalysed} {
		var best *record.ReportImage
		for n := range r.Images {
			img := &r.Images[n]
			if img.Laterality == side && img.Status == status && !img.Superseded() && (best == nil || quality(img) > quality(best)) {
				best = img
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

func quality(img *record.ReportImage) float64 {
	if img.Quality == nil {
		return 0
	}
	return img.Quality.Score
}

// lines sets sentences below each other in at most most lines, each beginning anew, and says how many sentences had no room.
func (s *sheet) lines(sentences []string, style pdf.Style, width float64, most, each int) (texts []pdf.Text, left int) {
	var said []string
	for _, sentence := range sentences {
		if strings.TrimSpace(sentence) != "" && !slices.Contains(said, sentence) {
			said = append(said, sentence)
		}
	}
	used := 0
	for n, sentence := range said {
		room := most - used
		if n < len(said)-1 {
			room-- // for how many are left out
		}
		if room < 1 {
			left = len(said) - n
			texts = append(texts, s.page.Set(fmt.Sprintf("And %d more: see the report.", left), style, width, 1))
			return texts, left
		}
		text := s.page.Set(sentence, style, width, min(each, room))
		used += text.Lines()
		texts = append(texts, text)
	}
	return texts, 0
}

func height(texts []pdf.Text) (h float64) {
	for _, t := range texts {
		h += t.Height()
	}
	return h
}

// stack draws texts below each other and returns where they end.
func (s *sheet) stack(texts []pdf.Text, x, y, width float64) float64 {
	for _, t := range texts {
		align := pdf.Left
		if t.RightToLeft {
			align = pdf.Right
		}
		s.page.Text(t, x, y, width, align)
		y += t.Height()
	}
	return y
}
