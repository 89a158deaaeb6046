package hl7

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Delimiters of all messages that are written, as MSH-1 and MSH-2 declare them.
const (
	fieldSeparator   = "|"
	componentMark    = "^"
	repetitionMark   = "~"
	subcomponentMark = "&"
	encoding         = `^~\&`
	segmentEnd       = "\r"
)

// escape makes any text safe within a component (HL7 2.5.1, 2.7): delimiters by their letters, control characters, C1 and the Unicode line
// ends too, by their UTF-8 bytes (\Xdd..\). Invalid UTF-8 becomes U+FFFD.
func escape(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '|':
			out.WriteString(`\F\`)
		case r == '^':
			out.WriteString(`\S\`)
		case r == '&':
			out.WriteString(`\T\`)
		case r == '~':
			out.WriteString(`\R\`)
		case r == '\\':
			out.WriteString(`\E\`)
		case r < 0x20, r >= 0x7F && r < 0xA0, r == 0x2028, r == 0x2029:
			fmt.Fprintf(&out, `\X%X\`, utf8.AppendRune(nil, r))
		default:
			out.WriteRune(r) // of a byte that is no UTF-8, U+FFFD
		}
	}
	return out.String()
}

// components joins raw texts to a field.
func components(parts ...string) string { return join(componentMark, parts) }

// join joins raw texts by a delimiter, without empty ones at the end.
func join(mark string, parts []string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = escape(p)
	}
	return trimJoin(mark, escaped)
}

func trimJoin(mark string, encoded []string) string {
	end := len(encoded)
	for end > 0 && encoded[end-1] == "" {
		end--
	}
	return strings.Join(encoded[:end], mark)
}

// segment is a segment under construction: fields by their number, encoded.
type segment struct {
	name   string
	fields []string
}

// set puts an encoded field at its number, from 1.
func (s *segment) set(number int, encoded string) {
	for len(s.fields) < number {
		s.fields = append(s.fields, "")
	}
	s.fields[number-1] = encoded
}

func (s *segment) write(out *strings.Builder) {
	out.WriteString(s.name)
	if fields := trimJoin(fieldSeparator, s.fields); fields != "" {
		out.WriteString(fieldSeparator + fields)
	}
	out.WriteString(segmentEnd)
}
