package dicom_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

func float32Value(v float32) element {
	return raw("FL", binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

func code(value string) element {
	return sequence(elements{0x00080100: text("SH", value), 0x00080102: text("SH", "SCT")})
}

// TestOutcomes walks through the table "What fundus cameras send": what is refused, with which code, and what is archived only.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const opt, pdf, wide, sc, photo = "1.2.840.10008.5.1.4.1.1.77.1.5.4", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.77.1.5.5",
		"1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.1.4"
	grey := elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x7FE00010: raw("OB", make([]byte, 12)), 0x00280006: {}}
	with := func(base, more elements) elements { return base.With(more) }
	tests := []struct {
		name    string
		changes elements
		refused string // code, or
		archive string // code of NotAnalysed; neither: accepted for analysis
	}{
		{"as it is", nil, "", ""},
		{"secondary capture", elements{0x00080016: text("UI", sc), 0x00080060: text("CS", "OT")}, "", ""},
		{"photograph", elements{0x00080016: text("UI", photo), 0x00080060: text("CS", "XC")}, "", ""},
		{"16 bit", native().Sixteen(16), "", ""},
		{"12 of 16 bit", native().Sixteen(12), "", ""},
		{"16 bit grey", native().Sixteen(16).With(elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x7FE00010: raw("OW", make([]byte, 24)), 0x00280006: {}}), "", dicom.CodeNoteColour},
		{"capture of several frames", elements{0x00080016: text("UI", "1.2.840.10008.5.1.4.1.1.7.4"), 0x00080060: text("CS", "OT")}, "", ""},
		{"one of a stereo pair", elements{0x00080016: text("UI", photo), 0x00080060: text("CS", "XC"), 0x00080008: text("CS", `ORIGINAL\PRIMARY\STEREO L`)}, "", ""},
		{"what makes a stereo pair", elements{0x00080016: text("UI", "1.2.840.10008.5.1.4.1.1.77.1.5.3"), 0x00080060: text("CS", "SMR"), 0x7FE00010: {}, 0x00280010: {}, 0x00200062: {}}, "", dicom.CodeNoteStereo},
		{"capture of a CT", elements{0x00080016: text("UI", sc), 0x00080060: text("CS", "CT")}, dicom.CodeModality, ""},
		{"CT", elements{0x00080016: text("UI", "1.2.840.10008.5.1.4.1.1.2")}, dicom.CodeSOPClass, ""},
		{"no SOP class", elements{0x00080016: {}}, dicom.CodeSOPClass, ""},
		{"no study", elements{0x0020000D: {}}, dicom.CodeStudyUID, ""},
		{"study that climbs", elements{0x0020000D: text("UI", "1..2")}, dicom.CodeStudyUID, ""},
		{"study of dots", elements{0x0020000D: text("UI", "..")}, dicom.CodeStudyUID, ""},
		{"study too long", elements{0x0020000D: text("UI", strings.Repeat("1", 65))}, dicom.CodeStudyUID, ""},
		{"no instance", elements{0x00080018: {}}, dicom.CodeSOPUID, ""},
		{"instance with letters", elements{0x00080018: text("UI", "1.2.x")}, dicom.CodeSOPUID, ""},
		{"no patient", elements{0x00100020: {}}, dicom.CodePatientID, ""},
		{"blank patient", elements{0x00100020: text("LO", "    ")}, dicom.CodePatientID, ""},
		{"two patients", elements{0x00100020: text("LO", `A\B`)}, dicom.CodePatientIDInvalid, ""},
		{"patient with NUL", elements{0x00100020: text("LO", "12\x0034")}, dicom.CodePatientIDInvalid, ""},
		{"patient of 65 letters", elements{0x00100020: text("LO", strings.Repeat("é", 65))}, dicom.CodePatientIDInvalid, ""},
		{"patient with a control of direction", elements{0x00100020: text("LO", "12\u202e34")}, dicom.CodePatientIDInvalid, ""},
		{"patient of invalid UTF-8", elements{0x00100020: text("LO", "\xff\xfe12")}, dicom.CodePatientIDInvalid, ""},
		{"issuer of invalid UTF-8", elements{0x00100021: text("LO", "\xff\xfe12")}, dicom.CodePatientIDInvalid, ""},
		{"no eye", elements{0x00200062: {}}, dicom.CodeLateralityMissing, ""},
		{"both eyes", elements{0x00200062: text("CS", "B")}, dicom.CodeLateralityMissing, ""},
		{"unknown eye", elements{0x00200062: text("CS", "U")}, dicom.CodeLateralityMissing, ""},
		{"eye of the series", elements{0x00200062: {}, 0x00200060: text("CS", "L")}, "", ""},
		{"eyes agree", elements{0x00200060: text("CS", "R")}, "", ""},
		{"eyes disagree", elements{0x00200060: text("CS", "L")}, dicom.CodeLateralityConflict, ""},
		{"fluorescein without eye", elements{0x00080008: text("CS", `ORIGINAL\PRIMARY\\FA`), 0x00200062: {}}, "", dicom.CodeNoteColour},
		{"red-free", elements{0x00080008: text("CS", `ORIGINAL\PRIMARY\\REDFREE`)}, "", dicom.CodeNoteColour},
		{"grey that says nothing", with(grey, elements{0x00080008: text("CS", `ORIGINAL\PRIMARY`)}), "", dicom.CodeNoteColour},
		{"grey that says colour", grey, "", dicom.CodeNoteColour},
		{"montage", elements{0x00080008: text("CS", `DERIVED\PRIMARY\MONTAGE\COLOR`)}, "", dicom.CodeNoteMontage},
		{"external camera", elements{0x00220015: code("409903006")}, "", dicom.CodeNoteExternal},
		{"iris", elements{0x00082218: code("41296002")}, "", dicom.CodeNoteExternal},
		{"fundus camera", elements{0x00220015: code("409898007"), 0x00082218: code("5665001")}, "", ""},
		{"200 degrees", elements{0x0022000C: float32Value(200)}, "", dicom.CodeNoteWide},
		{"90 degrees", elements{0x0022000C: float32Value(90)}, "", ""},
		{"wide field class", elements{0x00080016: text("UI", wide)}, "", dicom.CodeNoteWide},
		{"tomography", elements{0x00080016: text("UI", opt)}, "", dicom.CodeNoteTomography},
		{"PDF", elements{0x00080016: text("UI", pdf), 0x7FE00010: {}, 0x00280010: {}, 0x00200062: {}}, "", dicom.CodeNoteDocument},
		{"obfuscated", elements{0x7FE00010: {}, 0x04071005: raw("OB", []byte{1, 2})}, dicom.CodeObfuscated, ""},
		{"obfuscated beside empty pixels", elements{0x7FE00010: raw("OB", nil), 0x04071006: raw("OB", []byte{1, 2})}, dicom.CodeObfuscated, ""},
		{"no picture", elements{0x7FE00010: {}}, dicom.CodePixelMissing, ""},
		{"unknown character set", elements{0x00080005: text("CS", "LATIN1")}, dicom.CodeCharacterSet, ""},
		{"character set as UN", elements{0x00080005: raw("UN", []byte("ISO_IR 192"))}, "", ""},
		{"no rows", elements{0x00280010: number(0)}, dicom.CodeGeometry, ""},
		{"empty rows", elements{0x00280010: raw("US", nil)}, dicom.CodeGeometry, ""},
		{"rows as text", elements{0x00280010: text("LO", "33")}, dicom.CodeGeometry, ""},
		{"two rows", elements{0x00280010: raw("US", []byte{1, 0, 2, 0})}, dicom.CodeGeometry, ""},
		{"64 samples", elements{0x00280002: number(64)}, dicom.CodeGeometry, ""},
		{"0 bits", elements{0x00280100: number(0)}, dicom.CodeGeometry, ""},
		{"-1 frames", elements{0x00280008: text("IS", "-1")}, dicom.CodeGeometry, ""},
		{"10¹² frames", elements{0x00280008: text("IS", "1000000000000")}, dicom.CodeGeometry, ""},
		{"10⁶ frames", elements{0x00280008: text("IS", "1000000")}, dicom.CodePixelLength, ""},
		{"frames that are none", elements{0x00280008: text("IS", "one")}, dicom.CodeGeometry, ""},
		{"32768² pixels of nothing", elements{0x00280010: number(32768), 0x00280011: number(32768), 0x7FE00010: raw("OB", nil)}, pixel.CodeTooLarge, ""},
		{"one byte short", elements{0x7FE00010: raw("OB", make([]byte, 34))}, dicom.CodePixelLength, ""},
		{"one frame more", elements{0x7FE00010: raw("OB", make([]byte, 72))}, dicom.CodePixelLength, ""},
		{"name that is too long", elements{0x00100010: text("PN", strings.Repeat("x", 5000))}, dicom.CodeValue, ""},
		{"name as a number", elements{0x00100010: number(4)}, dicom.CodeValue, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, implicit := range []bool{false, true} {
				if implicit && (test.name == "rows as text" || test.name == "name as a number" || test.name == "character set as UN") {
					continue // Implicit VR has no representation to get wrong
				}
				data := native().With(test.changes)
				if implicit {
					data = withoutSequences(data)
					if len(data) < len(native().With(test.changes)) {
						continue // the builder encodes items explicitly
					}
				}
				_, got, err := describe(t, data.Encode(implicit))
				if fault.CodeOf(err) != test.refused {
					t.Fatalf("implicit %v: refused %v, want %q", implicit, err, test.refused)
				}
				archived := ""
				if got.NotAnalysed != nil {
					archived = got.NotAnalysed.Code
				}
				if err == nil && (archived != test.archive || got.Analyse != (test.archive == "")) {
					t.Errorf("archived only: %q, analyse %v; want %q", archived, got.Analyse, test.archive)
				}
				if err != nil && got.Analyse {
					t.Error("refused, but to be analysed")
				}
			}
		})
	}
}

func withoutSequences(e elements) elements {
	out := elements{}
	for t, v := range e {
		if v.VR != "SQ" {
			out[t] = v
		}
	}
	return out
}

// TestInstanceFitsItsSchema completes what was read and checks it as ingest will.
func TestInstanceFitsItsSchema(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]elements{
		"plain":   nil,
		"hostile": {0x00100010: text("PN", "\xff\xfeA\x00B"), 0x00100040: text("CS", "X"), 0x00100030: text("DA", "20261399"), 0x00080020: text("DA", "19000101"), 0x0008002A: {}},
		"PDF":     {0x00080016: text("UI", "1.2.840.10008.5.1.4.1.1.104.1"), 0x7FE00010: {}, 0x00280010: {}},
	} {
		_, got, err := describe(t, native().With(changes).Encode(false))
		if err != nil {
			t.Fatal(name, err)
		}
		got.Clinic, got.ReceiptID, got.Sha256, got.ArchiveKey = "north", strings.Repeat("a", 32), strings.Repeat("a", 64), "x"
		got.Patient.Key = strings.Repeat("b", 64)
		if _, err := record.Encode(record.InstanceSchema, got); err != nil {
			t.Error(name, err)
		}
	}
}

// TestNotes looks at what is let through with a note.
func TestNotes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		changes elements
		note    string // "" for none
		check   func(record.Instance) bool
	}{
		{"invalid UTF-8 in the name", elements{0x00100010: text("PN", "\xff\xfeA^\x00B")}, dicom.CodeNoteText, func(i record.Instance) bool { return i.Patient.Name == "\uFFFDA^\uFFFDB" }},
		{"Latin 1 without a character set", elements{0x00080005: {}, 0x00100010: text("PN", "M\xfcller")}, dicom.CodeNoteText, func(i record.Instance) bool { return i.Patient.Name == "M\uFFFDller" }},
		{"Latin 1", elements{0x00080005: text("CS", "ISO_IR 100"), 0x00100010: text("PN", "M\xfcller^Zo\xeb")}, "", func(i record.Instance) bool { return i.Patient.Name == "Müller^Zoë" }},
		{"Latin 9", elements{0x00080005: text("CS", "ISO_IR 203"), 0x00100010: text("PN", "\xa4")}, "", func(i record.Instance) bool { return i.Patient.Name == "€" }},
		{"GB18030", elements{0x00080005: text("CS", "GB18030"), 0x00100010: text("PN", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab")}, "", func(i record.Instance) bool { return i.Patient.Name == "Wang^XiaoDong=王^小东" }},
		{"no date", elements{0x00080020: text("DA", "20261399")}, dicom.CodeNoteDate, func(i record.Instance) bool { return i.StudyDate == "" }},
		{"placeholder dates", elements{0x00080020: text("DA", "19000101"), 0x00100030: text("DA", "00010101"), 0x0008002A: {}}, "", func(i record.Instance) bool {
			return i.StudyDate == "" && i.Patient.BirthDate == "" && i.AcquiredAt == ""
		}},
		{"acquisition from date and time", elements{0x0008002A: {}, 0x00080022: text("DA", "20260301"), 0x00080032: text("TM", "0911")}, "", func(i record.Instance) bool { return i.AcquiredAt == "2026-03-01T09:11:00" }},
		{"acquisition after a placeholder", elements{0x0008002A: text("DT", "19000101000000"), 0x00080023: text("DA", "20260228"), 0x00080033: text("TM", "")}, "", func(i record.Instance) bool { return i.AcquiredAt == "2026-02-28" }},
		{"burned in", elements{0x00280301: text("CS", "YES")}, "", func(i record.Instance) bool { return i.BurnedIn && i.Analyse }},
		{"unknown sex", elements{0x00100040: text("CS", "D")}, dicom.CodeNotePatientAttribute, func(i record.Instance) bool { return i.Patient.Sex == "" }},
		{"spacing", broad(2000).With(elements{0x00280030: text("DS", `0.006\0.006`)}), "", func(i record.Instance) bool { return i.PixelSpacingMm != nil && *i.PixelSpacingMm == 0.006 }},
		{"spacing of another organ", elements{0x00280030: text("DS", `0.5\0.5`)}, dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"oblong pixels", elements{0x00280030: text("DS", `0.006\0.007`)}, dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"spacing from before a resize", elements{0x00280030: text("DS", `0.006\0.006`), 0x0022000C: float32Value(45)}, dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"spacing that fits the field of view", broad(2000).With(elements{0x00280030: text("DS", `0.006\0.006`), 0x0022000C: float32Value(45)}), "", func(i record.Instance) bool { return *i.PixelSpacingMm == 0.006 }},
		{"spacing from before a resize, field of view not said", broad(500).With(elements{0x00280030: text("DS", `0.004\0.004`)}), dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"spacing from after an enlargement, field of view not said", broad(4000).With(elements{0x00280030: text("DS", `0.02\0.02`)}), dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"least spacing", broad(3000).With(elements{0x00280030: text("DS", `0.003\0.003`)}), "", func(i record.Instance) bool { return *i.PixelSpacingMm == 0.003 }},
		{"less spacing", broad(3000).With(elements{0x00280030: text("DS", `0.0029\0.0029`)}), dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"most spacing", broad(500).With(elements{0x00280030: text("DS", `0.03\0.03`)}), "", func(i record.Instance) bool { return *i.PixelSpacingMm == 0.03 }},
		{"more spacing", broad(500).With(elements{0x00280030: text("DS", `0.031\0.031`)}), dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"spacing of a wide field", broad(2000).With(elements{0x00280030: text("DS", `0.012\0.012`), 0x0022000C: float32Value(100)}), dicom.CodeNoteSpacing, func(i record.Instance) bool { return i.PixelSpacingMm == nil }},
		{"field of view as text", elements{0x0022000C: text("DS", "45.0")}, "", func(i record.Instance) bool { return i.HorizontalFOVDeg == nil }},
		{"two frames of angiography", elements{0x00080008: text("CS", `ORIGINAL\PRIMARY\\FA`), 0x00280008: text("IS", "2"), 0x7FE00010: raw("OB", make([]byte, 72))}, "", func(i record.Instance) bool { return i.Frames == 2 && !i.Analyse }},
		{"name that turns the text around it", elements{0x00100010: text("PN", "A\u202eB\u2066C\u200fD\u2028E\ufeffF")}, dicom.CodeNoteText, func(i record.Instance) bool { return i.Patient.Name == "A\uFFFDB\uFFFDC\uFFFDD\uFFFDE\uFFFDF" }},
		{"name with joiners", elements{0x00100010: text("PN", "می\u200cخواهم")}, "", func(i record.Instance) bool { return i.Patient.Name == "می\u200cخواهم" }},
		{"two frames", elements{0x00280008: text("IS", "2"), 0x7FE00010: raw("OB", make([]byte, 72))}, dicom.CodeNoteFrames, func(i record.Instance) bool { return i.Frames == 2 && i.Analyse }},
		{"odd length", elements{0x00100010: raw("PN", []byte("A^B"))}, "", func(i record.Instance) bool { return i.Patient.Name == "A^B" }},
		{"several software versions", elements{0x00181020: text("LO", `1.0\2.0`)}, "", func(i record.Instance) bool { return i.Device.Software == "1.0, 2.0" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, got, err := describe(t, native().With(test.changes).Encode(false))
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(got) {
				t.Errorf("%+v", got)
			}
			codes := make([]string, 0, len(got.Notes))
			for _, n := range got.Notes {
				codes = append(codes, n.Code)
			}
			if strings.Join(codes, " ") != test.note {
				t.Errorf("notes %v, want %q", codes, test.note)
			}
		})
	}
}

// broad is a picture of three rows of so many columns.
func broad(columns int) elements { return dicomtest.Picture(columns, 3, make([]byte, 9*columns)) }

func TestPreambleAndHeaderAreNoted(t *testing.T) {
	t.Parallel()
	data := native().Encode(false)
	copy(data, "MZ")
	copy(data[132:], header(dicom.ExplicitLittleEndian, "1.2.9.9")[132:])
	_, got, err := describe(t, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Notes) != 2 || got.Notes[0].Code != dicom.CodeNoteMeta || got.Notes[1].Code != dicom.CodeNotePreamble {
		t.Errorf("notes %v", got.Notes)
	}
}
