package derived

import (
	"strings"
	"unicode"

	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Scheme is the designator of Noctua's own codes: the names of measures, regions, classes and reasons, as they are in its documents.
// No standard has codes for them: LOINC and SNOMED CT know no vessel density, and DCM 126050 "Fractal Dimension" is that of a grey
// level texture. Designators that begin with 99 are private (PS3.16, 8.2).
const Scheme = "99NOCTUA"

// schemeUID names the coding scheme wherever its designator might clash.
var schemeUID = dicom.UID("coding scheme", Scheme)

func sct(value, meaning string) element.Code {
	return element.Code{Value: value, Scheme: "SCT", Meaning: meaning}
}
func dcm(value, meaning string) element.Code {
	return element.Code{Value: value, Scheme: "DCM", Meaning: meaning}
}

// own is a code of Noctua's; without a meaning the value says it.
func own(value, meaning string) element.Code {
	if meaning == "" && value != "" {
		words := []rune(strings.ReplaceAll(value, "-", " "))
		words[0] = unicode.ToUpper(words[0])
		meaning = string(words)
	}
	return element.Code{Value: value, Scheme: Scheme, Meaning: meaning}
}

var (
	codeRetina      = sct("5665001", "Retina")
	codeBloodVessel = sct("59820001", "Blood vessel")
	codeAnatomical  = sct("91723000", "Anatomical structure")
	codeAI          = dcm("123110", "Artificial Intelligence")
)

// eyes are the codes of laterality.
var eyes = map[record.Laterality]element.Code{
	record.RightEye: sct("24028007", "Right"),
	record.LeftEye:  sct("7771000", "Left"),
}

// propertyType is what a segment of a model's class shows: a standard code where the class has one.
func propertyType(class string) element.Code {
	switch class {
	case Vessel:
		return codeBloodVessel
	case "artery":
		return sct("51114001", "Artery")
	case "vein":
		return sct("29092000", "Vein")
	case "optic-disc":
		return sct("81016008", "Optic nerve head")
	}
	return own(class, "")
}

// unit is a UCUM unit with its name.
func unit(ucum string) element.Code {
	meaning := map[string]string{"1": "no units", "%": "percent", "deg": "degree", "rad": "radian"}[ucum]
	if meaning == "" {
		meaning = ucum
	}
	return element.Code{Value: ucum, Scheme: "UCUM", Meaning: meaning}
}

// addScheme identifies the coding scheme (PS3.3, C.12.1).
func addScheme(s *element.Set) {
	item := &element.Set{}
	item.Text(tag.CodingSchemeDesignator, Scheme)
	item.Text(tag.CodingSchemeUID, schemeUID)
	item.Text(tag.CodingSchemeName, "Noctua measures, regions, classes and reasons")
	item.Text(tag.CodingSchemeResponsibleOrganization, "Noctua")
	s.Sequence(tag.CodingSchemeIdentificationSequence, item)
}
