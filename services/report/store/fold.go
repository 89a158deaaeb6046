package store

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold makes text comparable for search: case, accents and DICOM's name separators do not matter, so that "nguyen" finds
// NGUYỄN^THỊ. Scripts without case stay as they are.
func Fold(text string) string {
	text = strings.NewReplacer("^", " ", "=", " ", "Đ", "D", "đ", "d", "ı", "i").Replace(text)
	var b strings.Builder
	for _, r := range norm.NFKD.String(cases.Fold().String(text)) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	// Composed again, so that scripts whose letters decompose (Hangul) still match part by part.
	return strings.Join(strings.Fields(norm.NFC.String(b.String())), " ")
}
