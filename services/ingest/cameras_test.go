package ingest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/shared"
)

const classes = "1.2.840.10008.5.1.4.1.1."

// value is one text element as a change.
func value(tag uint32, vr, text string) dicomtest.Elements {
	return dicomtest.Elements{tag: dicomtest.Text(vr, text)}
}

func without(tags ...uint32) dicomtest.Elements {
	out := dicomtest.Elements{}
	for _, t := range tags {
		out[t] = dicomtest.Element{}
	}
	return out
}

// all joins changes, the later ones over the earlier.
func all(changes ...dicomtest.Elements) dicomtest.Elements {
	out := dicomtest.Elements{}
	for _, c := range changes {
		for t, v := range c {
			out[t] = v
		}
	}
	return out
}

// documents reads every instance document of the archive, in the order of their keys.
func (w *world) documents(t *testing.T) (out []record.Instance) {
	t.Helper()
	for _, key := range w.keys(w.Buckets().Archive) {
		if !strings.HasPrefix(key, "images/") || !strings.HasSuffix(key, ".json") {
			continue
		}
		raw, err := w.GetBytes(t.Context(), w.Buckets().Archive, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		i, err := record.Decode[record.Instance](record.InstanceSchema, raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *i)
	}
	return out
}

// TestWhatCamerasSend has a case for every SOP class that fundus cameras send, and for every check of the table in
// docs/dicom-conformance.md ("What is analysed"): a file, or several in turn, go through intake, and each has its outcome, its code
// and its notes.
func TestWhatCamerasSend(t *testing.T) {
	t.Parallel()
	native := dicomtest.Native()
	class := func(uid, modality string) dicomtest.Elements {
		return all(value(0x00080016, "UI", uid), value(0x00080060, "CS", modality))
	}
	noPicture := without(0x7FE00010, 0x00280010, 0x00280011, 0x00200062)
	name := value(0x00100010, "PN", "Right^Name")
	relation := all(class(classes+"77.1.5.3", "SMR"), noPicture)
	document := func(pdf string) dicomtest.Elements {
		return all(class(classes+"104.1", "DOC"), noPicture, dicomtest.Elements{0x00420011: {VR: "OB", Value: []byte(pdf)}})
	}
	grey := dicomtest.Elements{0x00280002: dicomtest.Number(1), 0x00280004: dicomtest.Text("CS", "MONOCHROME2"), 0x00280006: {},
		0x7FE00010: {VR: "OB", Value: make([]byte, 12)}}
	grey16 := all(native.Sixteen(16), grey, dicomtest.Elements{0x7FE00010: {VR: "OW", Value: make([]byte, 24)}})
	frames := func(n string, bytes int) dicomtest.Elements {
		return all(value(0x00280008, "IS", n), dicomtest.Elements{0x7FE00010: {VR: "OB", Value: make([]byte, bytes)}})
	}
	degrees := func(v float32) dicomtest.Elements {
		return dicomtest.Elements{0x0022000C: {VR: "FL", Value: binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))}}
	}
	code := func(tag uint32, value string) dicomtest.Elements {
		return dicomtest.Elements{tag: dicomtest.Sequence(dicomtest.Elements{0x00080100: dicomtest.Text("SH", value), 0x00080102: dicomtest.Text("SH", "SCT")})}
	}
	wide := func(columns int) dicomtest.Elements { return dicomtest.Picture(columns, 3, make([]byte, 9*columns)) }
	imageType := func(v string) dicomtest.Elements { return value(0x00080008, "CS", v) }
	spacing := func(mm string) dicomtest.Elements { return value(0x00280030, "DS", mm+`\`+mm) }
	otherPixels := dicomtest.Elements{0x7FE00010: {VR: "OB", Value: bytes.Repeat([]byte{7}, 36)}}
	deep := all(imageType(`ORIGINAL\PRIMARY\\FA`), grey, dicomtest.Elements{0x00280100: dicomtest.Number(32), 0x00280101: dicomtest.Number(32), 0x00280102: dicomtest.Number(31),
		0x7FE00010: {VR: "OW", Value: make([]byte, 48)}})
	type instance = record.Instance

	for title, test := range map[string]struct {
		files               []dicomtest.Elements // changes to a sound file, in the order in which they are sent
		analysed, archived  int
		quarantined, double int
		code                string // of what is archived only or in quarantine
		kept                string // code of what is archived only, where code is that of quarantine
		notes               string // codes, of the last image
		check               func(instance) bool
	}{
		// SOP classes.
		"OP 8 bit":               {files: []dicomtest.Elements{{}}, analysed: 1},
		"OP 16 bit":              {files: []dicomtest.Elements{native.Sixteen(16)}, analysed: 1, check: func(i instance) bool { return i.SOPClassUID == dicom.ClassOphthalmic16Bit }},
		"OP 16 bit, 12 stored":   {files: []dicomtest.Elements{native.Sixteen(12)}, analysed: 1},
		"OP 16 bit, grey":        {files: []dicomtest.Elements{grey16}, archived: 1, code: dicom.CodeNoteColour},
		"VL photographic of OP":  {files: []dicomtest.Elements{class(classes+"77.1.4", "OP")}, analysed: 1},
		"VL photographic of XC":  {files: []dicomtest.Elements{class(classes+"77.1.4", "XC")}, analysed: 1},
		"VL photographic of ES":  {files: []dicomtest.Elements{class(classes+"77.1.4", "ES")}, quarantined: 1, code: dicom.CodeModality},
		"secondary capture":      {files: []dicomtest.Elements{class(classes+"7", "OT")}, analysed: 1},
		"secondary capture, MR":  {files: []dicomtest.Elements{class(classes+"7", "MR")}, quarantined: 1, code: dicom.CodeModality},
		"true colour SC":         {files: []dicomtest.Elements{class(classes+"7.4", "OP")}, analysed: 1},
		"true colour SC, 2":      {files: []dicomtest.Elements{all(class(classes+"7.4", "OP"), frames("2", 72))}, analysed: 1, notes: dicom.CodeNoteFrames},
		"wide field, stereogr.":  {files: []dicomtest.Elements{class(classes+"77.1.5.5", "OP")}, archived: 1, code: dicom.CodeNoteWide},
		"wide field, 3D":         {files: []dicomtest.Elements{class(classes+"77.1.5.6", "OP")}, archived: 1, code: dicom.CodeNoteWide},
		"stereometric relation":  {files: []dicomtest.Elements{relation}, archived: 1, code: dicom.CodeNoteStereo},
		"tomography":             {files: []dicomtest.Elements{all(class(classes+"77.1.5.4", "OPT"), frames("3", 108), without(0x00200062))}, archived: 1, code: dicom.CodeNoteTomography},
		"encapsulated PDF":       {files: []dicomtest.Elements{document("%PDF")}, archived: 1, code: dicom.CodeNoteDocument},
		"computed tomography":    {files: []dicomtest.Elements{class(classes+"2", "CT")}, quarantined: 1, code: dicom.CodeSOPClass},
		"class that is no UID":   {files: []dicomtest.Elements{class("OP", "OP")}, quarantined: 1, code: dicom.CodeSOPClass},
		"class that is not said": {files: []dicomtest.Elements{without(0x00080016)}, quarantined: 1, code: dicom.CodeSOPClass},

		// Which eye.
		"eye of the image":             {files: []dicomtest.Elements{value(0x00200062, "CS", "L")}, analysed: 1, check: func(i instance) bool { return i.Laterality == record.LeftEye }},
		"eye of the series":            {files: []dicomtest.Elements{all(without(0x00200062), value(0x00200060, "CS", "L"))}, analysed: 1, check: func(i instance) bool { return i.Laterality == record.LeftEye }},
		"eye twice":                    {files: []dicomtest.Elements{value(0x00200060, "CS", "R")}, analysed: 1},
		"eye not said":                 {files: []dicomtest.Elements{without(0x00200062)}, quarantined: 1, code: dicom.CodeLateralityMissing},
		"eye empty":                    {files: []dicomtest.Elements{value(0x00200062, "CS", "")}, quarantined: 1, code: dicom.CodeLateralityMissing},
		"both eyes":                    {files: []dicomtest.Elements{value(0x00200062, "CS", "B")}, quarantined: 1, code: dicom.CodeLateralityMissing},
		"both eyes, one of the series": {files: []dicomtest.Elements{all(value(0x00200062, "CS", "B"), value(0x00200060, "CS", "R"))}, quarantined: 1, code: dicom.CodeLateralityMissing},
		"eyes in conflict":             {files: []dicomtest.Elements{value(0x00200060, "CS", "L")}, quarantined: 1, code: dicom.CodeLateralityConflict},
		"no eye, archived only":        {files: []dicomtest.Elements{all(imageType(`ORIGINAL\PRIMARY\\ICG`), without(0x00200062))}, archived: 1, code: dicom.CodeNoteColour},

		// Who and what.
		"patient missing":                          {files: []dicomtest.Elements{without(0x00100020)}, quarantined: 1, code: dicom.CodePatientID},
		"patient empty":                            {files: []dicomtest.Elements{value(0x00100020, "LO", " ")}, quarantined: 1, code: dicom.CodePatientID},
		"patient with NUL":                         {files: []dicomtest.Elements{value(0x00100020, "LO", "1\x002")}, quarantined: 1, code: dicom.CodePatientIDInvalid},
		"patient that turns text":                  {files: []dicomtest.Elements{value(0x00100020, "LO", "1\u202e2")}, quarantined: 1, code: dicom.CodePatientIDInvalid},
		"patient too long":                         {files: []dicomtest.Elements{value(0x00100020, "LO", strings.Repeat("1", 65))}, quarantined: 1, code: dicom.CodePatientIDInvalid},
		"study missing":                            {files: []dicomtest.Elements{without(0x0020000D)}, quarantined: 1, code: dicom.CodeStudyUID},
		"study malformed":                          {files: []dicomtest.Elements{value(0x0020000D, "UI", "1.2/../3")}, quarantined: 1, code: dicom.CodeStudyUID},
		"study too long":                           {files: []dicomtest.Elements{value(0x0020000D, "UI", "1."+strings.Repeat("2", 63))}, quarantined: 1, code: dicom.CodeStudyUID},
		"instance missing":                         {files: []dicomtest.Elements{without(0x00080018)}, quarantined: 1, code: dicom.CodeSOPUID},
		"instance malformed":                       {files: []dicomtest.Elements{value(0x00080018, "UI", "1..2")}, quarantined: 1, code: dicom.CodeSOPUID},
		"same bytes":                               {files: []dicomtest.Elements{{}, {}}, analysed: 1, double: 1},
		"corrected name":                           {files: []dicomtest.Elements{{}, value(0x00100010, "PN", "Right^Name")}, analysed: 2},
		"corrected patient":                        {files: []dicomtest.Elements{{}, value(0x00100020, "LO", "P2")}, analysed: 2},
		"other depth, same pixels":                 {files: []dicomtest.Elements{{}, native.Sixteen(12)}, analysed: 2},
		"other pixels":                             {files: []dicomtest.Elements{{}, otherPixels}, analysed: 1, quarantined: 1, code: CodeIdentity},
		"other pixels, other patient":              {files: []dicomtest.Elements{{}, all(otherPixels, value(0x00100020, "LO", "P2"))}, analysed: 1, quarantined: 1, code: CodeIdentity},
		"other study":                              {files: []dicomtest.Elements{{}, value(0x0020000D, "UI", "1.2.4")}, analysed: 1, quarantined: 1, code: CodeIdentity},
		"two patients in one study":                {files: []dicomtest.Elements{{}, all(value(0x00080018, "UI", "1.2.3.5"), value(0x00100020, "LO", "P2"))}, analysed: 2},
		"two issuers of one number":                {files: []dicomtest.Elements{{}, all(value(0x00080018, "UI", "1.2.3.5"), value(0x00100021, "LO", "ELSEWHERE"))}, analysed: 2},
		"document, corrected":                      {files: []dicomtest.Elements{document("%PDF"), all(document("%PDF"), name)}, archived: 2, code: dicom.CodeNoteDocument},
		"other document":                           {files: []dicomtest.Elements{document("%PDF"), document("%PDG")}, archived: 1, quarantined: 1, code: CodeIdentity, kept: dicom.CodeNoteDocument},
		"tomography, corrected":                    {files: []dicomtest.Elements{class(classes+"77.1.5.4", "OPT"), all(class(classes+"77.1.5.4", "OPT"), name)}, archived: 2, code: dicom.CodeNoteTomography},
		"other tomography":                         {files: []dicomtest.Elements{class(classes+"77.1.5.4", "OPT"), all(class(classes+"77.1.5.4", "OPT"), otherPixels)}, archived: 1, quarantined: 1, code: CodeIdentity, kept: dicom.CodeNoteTomography},
		"relation, corrected":                      {files: []dicomtest.Elements{relation, all(relation, name)}, archived: 1, quarantined: 1, code: CodeIdentity, kept: dicom.CodeNoteStereo},
		"angiography of 32 bits, again, corrected": {files: []dicomtest.Elements{deep, deep, all(deep, name)}, archived: 2, double: 1, code: dicom.CodeNoteColour},

		// What it shows.
		"colour not said, RGB":        {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY`)}, analysed: 1},
		"type not said, RGB":          {files: []dicomtest.Elements{without(0x00080008)}, analysed: 1},
		"colour not said, grey":       {files: []dicomtest.Elements{all(grey, imageType(`ORIGINAL\PRIMARY`))}, archived: 1, code: dicom.CodeNoteColour},
		"grey that is called colour":  {files: []dicomtest.Elements{grey}, archived: 1, code: dicom.CodeNoteColour},
		"fluorescein":                 {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY\\FA`)}, archived: 1, code: dicom.CodeNoteColour},
		"indocyanine green":           {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY\\ICG`)}, archived: 1, code: dicom.CodeNoteColour},
		"red-free":                    {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY\\REDFREE`)}, archived: 1, code: dicom.CodeNoteColour},
		"red":                         {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY\\RED`)}, archived: 1, code: dicom.CodeNoteColour},
		"blue":                        {files: []dicomtest.Elements{imageType(`ORIGINAL\PRIMARY\\BLUE`)}, archived: 1, code: dicom.CodeNoteColour},
		"montage":                     {files: []dicomtest.Elements{imageType(`DERIVED\PRIMARY\MONTAGE\COLOR`)}, archived: 1, code: dicom.CodeNoteMontage},
		"one of a stereo pair":        {files: []dicomtest.Elements{all(class(classes+"77.1.4", "XC"), imageType(`ORIGINAL\PRIMARY\STEREO L`))}, analysed: 1},
		"external camera":             {files: []dicomtest.Elements{code(0x00220015, "409903006")}, archived: 1, code: dicom.CodeNoteExternal},
		"slit lamp":                   {files: []dicomtest.Elements{code(0x00220015, "397247004")}, archived: 1, code: dicom.CodeNoteExternal},
		"cornea":                      {files: []dicomtest.Elements{code(0x00082218, "28726007")}, archived: 1, code: dicom.CodeNoteExternal},
		"fundus camera, retina":       {files: []dicomtest.Elements{all(code(0x00220015, "409898007"), code(0x00082218, "5665001"))}, analysed: 1},
		"field of view 90":            {files: []dicomtest.Elements{degrees(90)}, analysed: 1, check: func(i instance) bool { return *i.HorizontalFOVDeg == 90 }},
		"field of view over 90":       {files: []dicomtest.Elements{degrees(90.5)}, archived: 1, code: dicom.CodeNoteWide},
		"field of view that is none":  {files: []dicomtest.Elements{degrees(float32(math.NaN()))}, analysed: 1, check: func(i instance) bool { return i.HorizontalFOVDeg == nil }},
		"two frames":                  {files: []dicomtest.Elements{frames("2", 72)}, analysed: 1, notes: dicom.CodeNoteFrames, check: func(i instance) bool { return i.Frames == 2 }},
		"stereo pair in two frames":   {files: []dicomtest.Elements{all(frames("2", 72), value(0x00220028, "CS", "YES"))}, analysed: 1, notes: dicom.CodeNoteFrames, check: func(i instance) bool { return strings.Contains(i.Notes[0].Text, "left one") }},
		"no stereo pair, two frames":  {files: []dicomtest.Elements{all(frames("2", 72), value(0x00220028, "CS", "NO"))}, analysed: 1, notes: dicom.CodeNoteFrames, check: func(i instance) bool { return !strings.Contains(i.Notes[0].Text, "left") }},
		"stereo pair in one frame":    {files: []dicomtest.Elements{value(0x00220028, "CS", "YES")}, archived: 1, code: dicom.CodeNoteMontage},
		"two frames of angiography":   {files: []dicomtest.Elements{all(frames("2", 72), imageType(`ORIGINAL\PRIMARY\\FA`))}, archived: 1, code: dicom.CodeNoteColour},
		"two frames of both eyes":     {files: []dicomtest.Elements{all(frames("2", 72), value(0x00200062, "CS", "B"))}, quarantined: 1, code: dicom.CodeLateralityMissing},
		"frames that are not there":   {files: []dicomtest.Elements{frames("3", 72)}, quarantined: 1, code: dicom.CodePixelLength},
		"obfuscated":                  {files: []dicomtest.Elements{all(without(0x7FE00010), dicomtest.Elements{0x04071005: dicomtest.Sequence(dicomtest.Elements{0x04071006: {VR: "OB", Value: []byte{1, 2}}})})}, quarantined: 1, code: dicom.CodeObfuscated},
		"obfuscated beside a picture": {files: []dicomtest.Elements{{0x04071005: {VR: "OB", Value: []byte{1, 2}}}}, analysed: 1},
		"no picture":                  {files: []dicomtest.Elements{without(0x7FE00010)}, quarantined: 1, code: dicom.CodePixelMissing},

		// What is left out or hidden.
		"spacing":                         {files: []dicomtest.Elements{all(wide(2000), spacing("0.006"))}, analysed: 1, check: func(i instance) bool { return *i.PixelSpacingMm == .006 }},
		"spacing too small":               {files: []dicomtest.Elements{all(wide(3000), spacing("0.0029"))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"spacing too large":               {files: []dicomtest.Elements{all(wide(500), spacing("0.031"))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"spacing of oblong pixels":        {files: []dicomtest.Elements{all(wide(2000), value(0x00280030, "DS", `0.006\0.007`))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"spacing that is no number":       {files: []dicomtest.Elements{all(wide(2000), spacing("NaN"))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"spacing of a wide field":         {files: []dicomtest.Elements{all(wide(2000), spacing("0.012"), degrees(120))}, archived: 1, code: dicom.CodeNoteWide, notes: dicom.CodeNoteSpacing},
		"spacing from before a resize":    {files: []dicomtest.Elements{all(wide(1000), spacing("0.004"), degrees(45))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"spacing, no field of view":       {files: []dicomtest.Elements{all(wide(500), spacing("0.004"))}, analysed: 1, notes: dicom.CodeNoteSpacing},
		"study date 19000101":             {files: []dicomtest.Elements{value(0x00080020, "DA", "19000101")}, analysed: 1, check: func(i instance) bool { return i.StudyDate == "" }},
		"study date 00010101":             {files: []dicomtest.Elements{value(0x00080020, "DA", "00010101")}, analysed: 1, check: func(i instance) bool { return i.StudyDate == "" }},
		"birth date 19000101":             {files: []dicomtest.Elements{value(0x00100030, "DA", "19000101")}, analysed: 1, check: func(i instance) bool { return i.Patient.BirthDate == "" }},
		"acquired 00010101":               {files: []dicomtest.Elements{value(0x0008002A, "DT", "00010101000000")}, analysed: 1, check: func(i instance) bool { return i.AcquiredAt == "" }},
		"date that is none":               {files: []dicomtest.Elements{value(0x00080020, "DA", "20261399")}, analysed: 1, notes: dicom.CodeNoteDate},
		"burned in":                       {files: []dicomtest.Elements{value(0x00280301, "CS", "YES")}, analysed: 1, check: func(i instance) bool { return i.BurnedIn }},
		"not burned in":                   {files: []dicomtest.Elements{value(0x00280301, "CS", "NO")}, analysed: 1, check: func(i instance) bool { return !i.BurnedIn }},
		"name that is not in its set":     {files: []dicomtest.Elements{value(0x00100010, "PN", "M\xfcller")}, analysed: 1, notes: dicom.CodeNoteText, check: func(i instance) bool { return i.Patient.Name == "M\uFFFDller" }},
		"character set that nobody knows": {files: []dicomtest.Elements{value(0x00080005, "CS", "LATIN1")}, quarantined: 1, code: dicom.CodeCharacterSet},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			for n, changes := range test.files {
				w.drop("north/"+strings.Repeat("x", n+1), native.With(changes).Encode(false))
				drain(t, w)
			}
			w.check(t, title, test.analysed+test.archived, test.quarantined, test.double)
			if test.quarantined > 0 {
				if got := w.reasons(t); !slices.Equal(got, []string{test.code}) {
					t.Errorf("in quarantine for %v, want %s", got, test.code)
				}
			}
			documents := w.documents(t)
			keys := map[string]string{} // the key of each patient
			archivedFor := cmp.Or(test.kept, test.code)
			for _, i := range documents {
				if i.Analyse != (i.NotAnalysed == nil) || i.Analyse != (test.archived == 0) || !i.Analyse && i.NotAnalysed.Code != archivedFor {
					t.Errorf("analysed %v, %+v; want %q", i.Analyse, i.NotAnalysed, archivedFor)
				}
				who := i.Patient.Issuer + "\x00" + i.Patient.ID
				for other, key := range keys {
					if (other == who) != (key == i.Patient.Key) {
						t.Errorf("patients %q and %q share a key, or one has two", other, who)
					}
				}
				keys[who] = i.Patient.Key
			}
			if len(documents) > 0 {
				last := documents[len(documents)-1]
				var notes []string
				for _, n := range last.Notes {
					notes = append(notes, n.Code)
				}
				if strings.Join(notes, " ") != test.notes {
					t.Errorf("notes %v, want %q", notes, test.notes)
				}
				if test.check != nil && !test.check(last) {
					t.Errorf("%+v", last)
				}
			}
		})
	}
}

// TestAnotherClinicChangesNoReport: a corrected header from another clinic would change the report of the first one; the same bytes do
// not.
func TestAnotherClinicChangesNoReport(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/1", dicomtest.Native().Encode(false))
	drain(t, w)
	w.drop("south/1", dicomtest.Native().Encode(false))
	drain(t, w)
	w.check(t, "the same bytes from another clinic", 1, 0, 1)
	corrected := dicomtest.Native().With(value(0x00100010, "PN", "Right^Name")).Encode(false)
	w.drop("south/2", corrected)
	drain(t, w)
	if got := w.reasons(t); len(got) != 1 || got[0] != CodeOtherClinic {
		t.Fatalf("a corrected header from another clinic: %v, want %s", got, CodeOtherClinic)
	}
	w.drop("north/2", corrected)
	drain(t, w)
	w.check(t, "and then from its own", 2, 1, 1)
}

// TestIdentityOfAWholeFile: what an earlier version wrote down of a file that is not decoded, the hash of all its bytes, still names it.
func TestIdentityOfAWholeFile(t *testing.T) {
	t.Parallel()
	tomography := dicomtest.Native().With(value(0x00080016, "UI", classes+"77.1.5.4"))
	file := tomography.Encode(false)
	w := newWorld()
	key, err := blob.SOPKey("1.2.3.4")
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(file)
	earlier, err := record.Encode(record.IdentitySchema, record.Identity{Schema: record.IdentitySchema, SOPUID: "1.2.3.4", StudyUID: "1.2.3", ContentSha256: hex.EncodeToString(digest[:])})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.PutBytes(t.Context(), w.Buckets().Archive, key, earlier, storeOptions()); err != nil {
		t.Fatal(err)
	}
	w.drop("north/1", file)
	w.drop("north/2", tomography.With(value(0x00100010, "PN", "Right^Name")).Encode(false))
	drain(t, w)
	w.check(t, "the same file and another", 1, 1, 0)
}

// TestPreambleIsKeptAndNoted: the archive holds the bytes as they came, which their hash proves; the note says what they begin with.
func TestPreambleIsKeptAndNoted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	data := dicomtest.Native().Encode(false)
	copy(data, "MZ")
	w.drop("north/1", data)
	drain(t, w)
	i := readOne[record.Instance](t, w, record.InstanceSchema, w.Buckets().Archive, "images/")
	if len(i.Notes) != 1 || i.Notes[0].Code != dicom.CodeNotePreamble {
		t.Errorf("notes %v", i.Notes)
	}
	raw, err := w.GetBytes(t.Context(), w.Buckets().Archive, i.ArchiveKey, 1<<20)
	if err != nil || !bytes.Equal(raw, data) {
		t.Errorf("the archived bytes differ, %v", err)
	}
}

// TestNamesOfFilesAreText: what a ZIP calls its members reaches documents as text only.
func TestNamesOfFilesAreText(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/x\u202ezip", archiveOf(t, "a\x00b\u202ecd", []byte("no picture")))
	drain(t, w)
	q := readOne[record.Quarantine](t, w, record.QuarantineSchema, w.Buckets().Quarantine, "")
	if q.Member != "a\uFFFDb\uFFFDcd" || q.InboxKey != "north/x\uFFFDzip" {
		t.Errorf("member %q of %q", q.Member, q.InboxKey)
	}
}

// TestEncodingsOfOneInstance: of the 15 files of one photograph all but j2k-lossy.dcm have one SOPInstanceUID. Whatever has the pixels of
// the one that came first is a revision of it; what has others, because of lossy compression, is a conflict.
func TestEncodingsOfOneInstance(t *testing.T) {
	t.Parallel()
	folder := shared.Dir(t, "dicom", "syntaxes")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for first, revisions := range map[string]int{"rle.dcm": 9, "jpeg-baseline.dcm": 4, "jpegls-near.dcm": 1} {
		w := newWorld()
		drop := func(name string) {
			data, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			w.drop("north/"+name, data)
		}
		drop(first)
		drain(t, w)
		for _, e := range entries {
			if e.Name() != first {
				drop(e.Name())
			}
		}
		drain(t, w)
		w.check(t, first+" first", revisions+1, len(entries)-revisions-1, 0)
		for _, code := range w.reasons(t) {
			if code != CodeIdentity {
				t.Errorf("in quarantine for %s", code)
			}
		}
	}
}
