package dicom

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// characterSet decodes the text attributes of one data set (PS3.3 C.12.1.1.2). The zero value is the default repertoire.
type characterSet struct {
	utf8    bool
	decoder encoding.Encoding // of a set without escapes
	escapes *codeExtension    // of sets with escapes
}

// readCharacterSet reads SpecificCharacterSet (0008,0005). Names that are not in the standard are refused: a name read in the
// wrong set is a wrong name.
func readCharacterSet(value string) (characterSet, error) {
	terms := strings.Split(value, `\`)
	for i := range terms {
		terms[i] = strings.TrimSpace(terms[i])
	}
	if len(terms) > 1 || strings.HasPrefix(terms[0], "ISO 2022 ") {
		escapes, ok := readCodeExtension(terms)
		if !ok {
			return characterSet{}, unsupported(CodeCharacterSet, "the file mixes the character sets %q, one of which is not known or cannot be mixed; send it in UTF-8 (ISO_IR 192)", Printable(value))
		}
		return characterSet{escapes: escapes}, nil
	}
	switch terms[0] {
	case "", "ISO_IR 6":
		return characterSet{}, nil
	case "ISO_IR 192":
		return characterSet{utf8: true}, nil
	}
	for _, s := range []struct {
		term string
		set  encoding.Encoding
	}{
		{"ISO_IR 100", charmap.ISO8859_1}, {"ISO_IR 101", charmap.ISO8859_2}, {"ISO_IR 109", charmap.ISO8859_3},
		{"ISO_IR 110", charmap.ISO8859_4}, {"ISO_IR 144", charmap.ISO8859_5}, {"ISO_IR 127", charmap.ISO8859_6},
		{"ISO_IR 126", charmap.ISO8859_7}, {"ISO_IR 138", charmap.ISO8859_8}, {"ISO_IR 148", charmap.ISO8859_9},
		{"ISO_IR 203", charmap.ISO8859_15}, {"ISO_IR 166", charmap.Windows874}, {"ISO_IR 13", japanese.ShiftJIS},
		{"GB18030", simplifiedchinese.GB18030}, {"GBK", simplifiedchinese.GBK},
	} {
		if terms[0] == s.term {
			return characterSet{decoder: s.set}, nil
		}
	}
	return characterSet{}, unsupported(CodeCharacterSet, "the file names the character set %q, which is not known; send it in UTF-8 (ISO_IR 192)", Printable(terms[0]))
}

// decode turns bytes into UTF-8 without control characters. What is no text becomes U+FFFD; clean tells whether nothing did.
func (c characterSet) decode(raw []byte) (text string, clean bool) {
	switch {
	case c.utf8:
		text = string(raw)
	case c.escapes != nil:
		text = c.escapes.decode(raw)
	case c.decoder != nil:
		decoded, err := c.decoder.NewDecoder().Bytes(raw)
		if err != nil {
			decoded = nil // cannot happen: these decoders replace what they cannot read
		}
		text = string(decoded)
	default:
		b := make([]byte, 0, len(raw))
		for _, v := range raw {
			if v < 0x80 {
				b = append(b, v)
			} else {
				b = utf8.AppendRune(b, utf8.RuneError)
			}
		}
		text = string(b)
	}
	text = Printable(text)
	return text, !strings.ContainsRune(text, utf8.RuneError)
}

// Printable replaces what must not reach SQL, JSON or a page by U+FFFD: invalid UTF-8; control characters, NUL among them; and
// what changes how the text beside it is shown without being seen itself, so that one name could pass for another: controls of
// the writing direction, separators of lines, and spaces without width. Joiners stay, since Persian and Indic names need them.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		const zeroWidthSpace, byteOrderMark = 0x200B, 0xFEFF
		if r < 0x20 || r >= 0x7F && r < 0xA0 || r == zeroWidthSpace || r == byteOrderMark || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
