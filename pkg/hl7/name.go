package hl7

import (
	"strings"
	"unicode"
)

// representations are the component groups of a DICOM person name (PS3.5, 6.2.1.2) as name representation codes (HL7 table 0465):
// alphabetic, ideographic, phonetic.
var representations = [3]string{"A", "I", "P"}

// names makes PID-5 of a DICOM person name: a repetition (XPN) for each component group that says something. Without any the field, which must
// not be empty, says that the name is not known (type U).
func names(dicom string) string {
	var all []string
	for i, group := range strings.SplitN(dicom, "=", len(representations)+1) {
		if i == len(representations) {
			break // there are no more
		}
		parts := strings.Split(group, "^")
		for len(parts) < 5 {
			parts = append(parts, "")
		}
		for j := range parts {
			parts[j] = strings.TrimSpace(parts[j])
		}
		if strings.Join(parts[:5], "") == "" {
			continue
		}
		representation := representations[i]
		if i == 0 && !isLatin(group) {
			representation = "" // old files hold other scripts in the first group
		}
		// DICOM: family, given, middle, prefix, suffix. XPN: family, given, middle, suffix, prefix, degree, type, representation.
		all = append(all, components(parts[0], parts[1], parts[2], parts[4], parts[3], "", "L", representation))
	}
	if len(all) == 0 {
		return components("", "", "", "", "", "", "U")
	}
	return strings.Join(all, repetitionMark)
}

func isLatin(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r) })
}
