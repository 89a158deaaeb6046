package dicom

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// graphicSet is a character set that ISO 2022 escapes switch to (PS3.3 tables C.12-3 and C.12-4).
type graphicSet struct {
	term   string // number of the defined term ISO 2022 IR …
	escape string // without the escape character
	high   bool   // sits in G1: bytes with the top bit set; else in G0
	double bool   // two bytes a character
	set    encoding.Encoding
	prefix string // what the encoding wants before each character
}

// graphicSets lists the sets that DICOM knows.
func graphicSets() []graphicSet {
	return []graphicSet{
		{"6", "(B", false, false, nil, ""},
		{"13", ")I", true, false, japanese.ShiftJIS, ""}, // half-width katakana
		{"13", "(J", false, false, nil, ""},              // romaji: ASCII but for the yen sign and the overline, which names do not hold
		{"100", "-A", true, false, charmap.ISO8859_1, ""},
		{"101", "-B", true, false, charmap.ISO8859_2, ""},
		{"109", "-C", true, false, charmap.ISO8859_3, ""},
		{"110", "-D", true, false, charmap.ISO8859_4, ""},
		{"144", "-L", true, false, charmap.ISO8859_5, ""},
		{"127", "-G", true, false, charmap.ISO8859_6, ""},
		{"126", "-F", true, false, charmap.ISO8859_7, ""},
		{"138", "-H", true, false, charmap.ISO8859_8, ""},
		{"148", "-M", true, false, charmap.ISO8859_9, ""},
		{"203", "-b", true, false, charmap.ISO8859_15, ""},
		{"166", "-T", true, false, charmap.Windows874, ""},
		{"87", "$B", false, true, japanese.EUCJP, ""},            // JIS X 0208
		{"159", "$(D", false, true, japanese.EUCJP, "\x8F"},      // JIS X 0212
		{"149", "$)C", true, true, korean.EUCKR, ""},             // KS X 1001
		{"58", "$)A", true, true, simplifiedchinese.GB18030, ""}, // GB 2312
	}
}

// codeExtension decodes text that switches between sets by escapes. The zero value is ASCII with any set to switch to.
type codeExtension struct {
	first *graphicSet // what bytes with the top bit set mean before any escape; nil: nothing
}

// readCodeExtension reads the terms of a SpecificCharacterSet with code extensions. ok is false if a term is not known.
func readCodeExtension(terms []string) (c *codeExtension, ok bool) {
	sets := graphicSets()
	c = &codeExtension{}
	for i, term := range terms {
		number := ""
		for _, prefix := range []string{"ISO 2022 IR ", "ISO_IR "} { // the second is wrong here, but unambiguous
			if len(term) > len(prefix) && term[:len(prefix)] == prefix {
				number = term[len(prefix):]
			}
		}
		if i == 0 && term == "" {
			number = "6"
		}
		at := slices.IndexFunc(sets, func(s graphicSet) bool { return s.term == number })
		if at < 0 {
			return nil, false
		}
		if i == 0 && sets[at].high && !sets[at].double {
			c.first = &sets[at]
		}
	}
	return c, true
}

// decode turns bytes into UTF-8. What is in no set becomes U+FFFD.
func (c *codeExtension) decode(raw []byte) string {
	sets := graphicSets()
	var out []byte
	var low *graphicSet // nil: ASCII
	high := c.first
	for i := 0; i < len(raw); {
		b := raw[i]
		if b == 0x1B {
			at := slices.IndexFunc(sets, func(s graphicSet) bool {
				return len(raw)-i > len(s.escape) && string(raw[i+1:i+1+len(s.escape)]) == s.escape
			})
			if at < 0 {
				out = utf8.AppendRune(out, utf8.RuneError)
				i++
				continue
			}
			switch s := &sets[at]; {
			case s.high:
				high = s
			case s.double:
				low = s
			default:
				low = nil
			}
			i += 1 + len(sets[at].escape)
			continue
		}
		current := low
		if b >= 0x80 {
			current = high
		}
		switch {
		case b < 0x21 || b < 0x80 && current == nil:
			out = append(out, b)
			i++
			if low == nil && (b == '^' || b == '=' || b == '\\' || b < 0x20) {
				high = c.first // delimiters and ends of lines bring back what the first term says (PS3.5 6.1.2.5.3)
			}
		case current == nil:
			out = utf8.AppendRune(out, utf8.RuneError)
			i++
		case current.double && (i+1 >= len(raw) || (raw[i+1] >= 0x80) != (b >= 0x80) || raw[i+1]&0x7F < 0x21):
			out = utf8.AppendRune(out, utf8.RuneError) // half a character
			i++
		default:
			n := 1
			if current.double {
				n = 2
			}
			character := []byte(current.prefix)
			for _, v := range raw[i : i+n] {
				character = append(character, v|0x80)
			}
			decoded, err := current.set.NewDecoder().Bytes(character)
			if err != nil {
				decoded = utf8.AppendRune(nil, utf8.RuneError)
			}
			out = append(out, decoded...)
			i += n
		}
	}
	return string(out)
}
