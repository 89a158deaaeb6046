package pdf

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestShapedAsHarfBuzzDoes: words of each script that needs shaping are of the same glyphs as by HarfBuzz itself (testdata/shape.py). Not every font is: the
// Noto Sans Arabic of 2022 takes letters apart by context, and go-text 0.3.5 leaves a third of its words unjoined.
func TestShapedAsHarfBuzzDoes(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/shaping.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string][]uint16
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	fonts, err := LoadFonts()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for font, words := range want {
		for word, glyphs := range words {
			set := fonts.NewPage(A4Width, A4Height).Set(word, Style{Size: 10}, 500, 1)
			var got []uint16
			for _, g := range set.lines[0].glyphs {
				if g.face.name != font {
					t.Errorf("%q is in %s", word, g.face.name)
				}
				if !g.hidden {
					got = append(got, g.id)
				}
			}
			if total++; !slices.Equal(got, glyphs) {
				t.Errorf("%q in %s: glyphs %v, want %v", word, font, got, glyphs)
			}
		}
	}
	if total < 500 {
		t.Errorf("%d words only", total)
	}
}
