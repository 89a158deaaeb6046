package pdf

import (
	"bytes"
	"slices"
	"testing"

	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"
)

// TestSpoken: every character of a cluster is said once, by glyphs with a width, in the order in which the text is read.
func TestSpoken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		advances    []int // from the left
		text        string
		rightToLeft bool
		want        []string
	}{
		{[]int{600}, "a", false, []string{"a"}},
		{[]int{600, 0}, "é", false, []string{"é", ""}},
		{[]int{0, 600}, "אָ", true, []string{"", "אָ"}},
		{[]int{900}, "لا", true, []string{"لا"}},
		{[]int{300, 600}, "لا", true, []string{"ا", "ل"}},
		{[]int{600, 0, 0, 500}, "น้ำ", false, []string{"น้", "", "", "ำ"}},
		{[]int{0}, "\u0301", false, []string{"\u0301"}},
		{[]int{600, 500}, "a", false, []string{"a", ""}},
	} {
		var cluster []shaping.Glyph
		for _, a := range c.advances {
			cluster = append(cluster, shaping.Glyph{Advance: fixed.I(a)})
		}
		if got := spoken(cluster, []rune(c.text), c.rightToLeft); !slices.Equal(got, c.want) {
			t.Errorf("%q by glyphs of %v: %q, want %q", c.text, c.advances, got, c.want)
		}
	}
}

// TestCodeZero is for what is missing, and for nothing else: readers draw it where a code has no glyph.
func TestCodeZero(t *testing.T) {
	t.Parallel()
	fonts, err := LoadFonts()
	if err != nil {
		t.Fatal(err)
	}
	p := fonts.NewPage(A4Width, A4Height)
	p.Text(p.Set("abc", Style{Size: 10}, 100, 1), 0, 0, 100, Left)
	if len(p.embedded) != 1 || p.embedded[0].ids[0] != 0 || p.embedded[0].texts[0] != "" || len(p.embedded[0].ids) != 4 {
		t.Errorf("%+v", p.embedded[0].ids)
	}
}

// TestEveryCodeSaysSomething: readers make up characters for codes without a meaning (pdfium takes the code for one), so that there are none.
func TestEveryCodeSaysSomething(t *testing.T) {
	t.Parallel()
	fonts, err := LoadFonts()
	if err != nil {
		t.Fatal(err)
	}
	shapes, blanks := 0, 0
	for _, text := range []string{"قباني لنزار مُحَمَّد", "صلاح", "ศรีสุข น้ำทิพย์", "Nguyễn Thị Ánh", "שָׁלוֹם", "Nguye\u0302\u0303n"} {
		p := fonts.NewPage(A4Width, A4Height)
		set := p.Set(text, Style{Size: 10}, 400, 1)
		for _, g := range set.lines[0].glyphs {
			if g.hidden {
				if blanks++; len(g.face.outline.glyph(g.id)) > 0 {
					t.Errorf("%s: what stands for %q is drawn", text, g.text)
				}
			}
		}
		p.Text(set, 0, 0, 400, Left)
		for _, e := range p.embedded {
			for code, said := range e.texts {
				if code > 0 && said == "" {
					t.Errorf("%s: code %d of %s says nothing", text, code, e.face.name)
				}
			}
		}
		shapes += bytes.Count(p.content.Bytes(), []byte("\nf\n"))
	}
	if shapes < 10 || blanks != 2 {
		t.Errorf("%d marks are drawn, %d letters are hidden", shapes, blanks)
	}
}
