package reportpdf

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
)

// rest counts what the page does not show.
func (s *sheet) rest() block {
	r := s.Report
	shown := 0
	unnamed := 0
	for _, side := range sides {
		if Shown(r, side) != nil {
			shown++
		}
	}
	earlier := 0
	for n := range r.Images {
		img := &r.Images[n]
		switch {
		case img.Superseded():
			earlier++
		case img.Laterality != record.RightEye && img.Laterality != record.LeftEye:
			unnamed++
		}
	}
	var sentences []string
	if more := len(r.Images) - earlier - shown; more > 0 {
		sentences = append(sentences, fmt.Sprintf("And %d more %s of this study: see the report.", more, plural(more, "picture", "pictures")))
	}
	if unnamed > 0 {
		sentences = append(sentences, fmt.Sprintf("%d of the pictures %s not say which eye %s.", unnamed, plural(unnamed, "does", "do"), plural(unnamed, "it shows", "they show")))
	}
	if earlier > 0 {
		sentences = append(sentences, fmt.Sprintf("%d earlier %s of corrected pictures %s not count.", earlier, plural(earlier, "revision", "revisions"), plural(earlier, "does", "do")))
	}
	if n := len(r.Rejected); n > 0 {
		sentences = append(sentences, fmt.Sprintf("%d %s of this study %s in quarantine.", n, plural(n, "file", "files"), plural(n, "is", "are")))
	}
	if n := len(r.Missing); n > 0 {
		sentences = append(sentences, fmt.Sprintf("%d announced %s not here as announced.", n, plural(n, "picture is", "pictures are")))
	}
	if len(sentences) == 0 {
		return block{}
	}
	text := s.page.Set("Also: "+strings.Join(sentences, " "), pdf.Style{Size: 8}, contentWide, 2)
	return block{height: text.Height(), draw: func(y float64) error {
		s.page.Text(text, margin, y, contentWide, pdf.Left)
		return nil
	}}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func lowerFirst(text string) string {
	c, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(c)) + text[size:]
}

// shaDigits of hashes are shown: enough to tell one from another by eye.
const shaDigits = 12

// footer says what the page is, what it is not, and what made it.
func (s *sheet) footer() block {
	r := s.Report
	var made []string
	const most = 2
	for n, m := range r.Models {
		if n == most {
			made = append(made, fmt.Sprintf("and %d more", len(r.Models)-most))
			break
		}
		made = append(made, fmt.Sprintf("%s (SHA-256 %s)", m, clip(m.Sha256)))
	}
	if len(r.Models) == 0 {
		made = append(made, modelsOf(r)...)
	}
	algorithm := "Algorithm: none was used on these pictures"
	if len(made) > 0 {
		algorithm = "Algorithm: " + strings.Join(made, ", ")
	}
	algorithm += ". Noctua " + r.CodeVersion + ". Report " + r.ReportID + fmt.Sprintf(", version %d", r.Version) + ", issued " + s.moment(r.IssuedAt) + "."
	var shown []string
	for _, side := range sides {
		if img := Shown(r, side); img != nil {
			short, _ := abbreviation(side)
			shown = append(shown, fmt.Sprintf("%s SOP instance %s (SHA-256 %s)", short, img.SOPUID, clip(img.Sha256)))
		}
	}
	pictures := ""
	if len(shown) > 0 {
		pictures = "Pictures shown: " + strings.Join(shown, ", ") + "."
	}
	notice := s.page.Set(r.Notice, pdf.Style{Size: 8, Bold: true}, contentWide, 3)
	soft := pdf.Style{Size: 6.8, Grey: softGrey}
	texts := []pdf.Text{notice, s.page.Set(algorithm, soft, contentWide, 3), s.page.Set(pictures, soft, contentWide, 2)}
	bottom := s.page.Set("Page 1 of 1", soft, contentWide, 1)
	high := 4 + height(texts)
	return block{height: high, draw: func(y float64) error {
		s.page.Line([]pdf.Point{{X: margin, Y: y}, {X: margin + contentWide, Y: y}}, 0.5, ruleGrey, 0)
		s.stack(texts, margin, y+4, contentWide)
		s.page.Text(bottom, margin, pdf.A4Height-margin+4, contentWide, pdf.Right)
		return nil
	}}
}

// modelsOf are the models of the pictures shown, for reports that do not list them.
func modelsOf(r *record.Report) (all []string) {
	for _, side := range sides {
		img := Shown(r, side)
		if img == nil || img.Provenance == nil {
			continue
		}
		text := fmt.Sprintf("%s (SHA-256 %s)", img.Provenance.Model, clip(img.Provenance.Model.Sha256))
		if len(all) == 0 || all[0] != text {
			all = append(all, text)
		}
	}
	return all
}

func clip(sha string) string {
	if len(sha) > shaDigits {
		return sha[:shaDigits] + "…"
	}
	return sha
}
