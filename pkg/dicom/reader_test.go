package dicom_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestEveryTruncationIsNoticed cuts sound files at every byte: none of the pieces may be accepted.
func TestEveryTruncationIsNoticed(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"explicit": native().With(elements{0x00220015: code("409898007")}).Encode(false),
		"implicit": native().Encode(true),
		"jpeg":     writeOP(t, attributes(), photograph(t, 16, 16)),
	} {
		for cut := range len(data) {
			if _, _, err := describe(t, data[:cut]); err == nil {
				t.Fatalf("%s: the first %d of %d bytes were accepted", name, cut, len(data))
			} else if fault.CodeOf(err) == "" {
				t.Fatalf("%s: the first %d bytes: error without code: %v", name, cut, err)
			}
		}
		if _, _, err := describe(t, append(bytes.Clone(data), 0)); err == nil {
			t.Errorf("%s: a byte too many was accepted", name)
		}
	}
}

func TestStructureRefusals(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	sound := native().Encode(false)
	tail := func(raw ...byte) []byte { return append(bytes.Clone(sound), raw...) }
	nested := func(depth int) []byte {
		var open, end []byte
		for range depth {
			open = append(open, 0x08, 0x00, 0x40, 0x11, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF)
			end = append(end, 0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
		}
		return append(append(header(dicom.ExplicitLittleEndian, "1.2.3.4"), append(open, end...)...), native().With(elements{0x00080005: {}, 0x00080008: {}}).Dataset(false)...)
	}
	wide := header(dicom.ExplicitLittleEndian, "1.2.3.4")
	for i := range 100_001 {
		wide = append(wide, encodeElement(uint32(0x00091000+i%0x1000+i/0x1000<<17), raw("LO", nil), false)...)
	}
	tests := []struct {
		name, code string
		data       []byte
	}{
		{"16 sequences deep", "", nested(16)},
		{"17 sequences deep", dicom.CodeTooDeep, nested(17)},
		{"100,001 elements", dicom.CodeTooMany, wide},
		{"an element twice", dicom.CodeRepeated, tail(encodeElement(0x00100020, text("LO", "P2"), false)...)},
		{"an element out of order", "", tail(encodeElement(0x00101010, text("AS", "045Y"), false)...)},
		{"item outside a sequence", dicom.CodeMalformed, tail(0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)},
		{"group 2 in the data set", dicom.CodeMalformed, tail(encodeElement(0x00020010, text("UI", "1.2"), false)...)},
		{"unknown representation", dicom.CodeMalformed, tail(encodeElement(0x00101010, text("ZZ", "045Y"), false)...)},
		{"length of 4 GB", dicom.CodeTruncated, tail(le.AppendUint32([]byte{0x09, 0x00, 0x01, 0x10, 'O', 'B', 0, 0}, 0xFFFFFFF0)...)},
		{"text without length", dicom.CodeMalformed, tail(le.AppendUint32([]byte{0x10, 0x00, 0x00, 0x40, 'U', 'T', 0, 0}, 0xFFFFFFFF)...)},
		{"sequence of no items", dicom.CodeMalformed, tail(encodeElement(0x00400275, raw("SQ", []byte{0x10, 0, 0x10, 0, 0, 0, 0, 0}), false)...)},
		{"item longer than its sequence", dicom.CodeMalformed, tail(append(encodeElement(0x00400275, raw("SQ", []byte{0xFE, 0xFF, 0x00, 0xE0, 99, 0, 0, 0}), false), make([]byte, 200)...)...)},
		{"element longer than its item", dicom.CodeMalformed, tail(append(encodeElement(0x00400275, raw("SQ", append([]byte{0xFE, 0xFF, 0x00, 0xE0, 10, 0, 0, 0}, 0x10, 0, 0x10, 0, 'L', 'O', 40, 0, 'a', 'b')), false), make([]byte, 200)...)...)},
		{"JPEG XL", dicom.CodeTransferSyntax, append(header("1.2.840.10008.1.2.4.110", "1.2"), 1, 2, 3)},
		{"video", dicom.CodeTransferSyntax, append(header("1.2.840.10008.1.2.4.102", "1.2"), 1, 2, 3)},
		{"an unknown encoding", dicom.CodeTransferSyntax, append(header("1.2.3.4", "1.2"), 1, 2, 3)},
		{"no transfer syntax", dicom.CodeMalformed, append(append(make([]byte, 128), "DICM"...), native().Dataset(false)...)},
		{"fragments in an uncompressed file", dicom.CodeEncapsulation, append(append(header(dicom.ExplicitLittleEndian, "1.2.3.4"), native().With(elements{0x7FE00010: {}}).Dataset(false)...),
			0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)},
		{"no fragments in a compressed file", dicom.CodeEncapsulation, append(header(dicom.JPEGBaseline, "1.2.3.4"), native().Dataset(false)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := dicom.Open(bytes.NewReader(test.data), int64(len(test.data)), dicom.Limits{})
			if fault.CodeOf(err) != test.code {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

// encapsulated replaces the pixel data of a JPEG file by other fragments and a number of frames.
func encapsulated(frames string, table []byte, fragments ...[]byte) []byte {
	return compressed(dicom.JPEGBaseline, elements{0x00280008: text("IS", frames), 0x00280010: number(24), 0x00280011: number(40), 0x00280004: text("CS", "YBR_FULL_422")}, table, fragments...)
}

// compressed is a file with changes to native() and fragments for pixel data.
func compressed(syntax string, changes elements, table []byte, fragments ...[]byte) []byte {
	le := binary.LittleEndian
	item := func(b []byte) []byte {
		if len(b)%2 == 1 {
			b = append(bytes.Clone(b), 0)
		}
		return append(le.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(b))), b...)
	}
	out := append(header(syntax, "1.2.3.4"), native().With(elements{0x7FE00010: {}}).With(changes).Dataset(false)...)
	out = append(out, 0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	out = append(out, item(table)...)
	for _, f := range fragments {
		out = append(out, item(f)...)
	}
	return append(out, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func TestFragments(t *testing.T) {
	t.Parallel()
	jpeg := photograph(t, 40, 24)
	if len(jpeg)%2 == 1 {
		jpeg = append(jpeg, 0)
	}
	half := len(jpeg) / 4 * 2
	offsets := func(values ...uint32) (b []byte) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	second := uint32(16 + len(jpeg)) // two fragments, with their headers, before it
	other := photograph(t, 40, 32)   // not the first frame
	extended := func(table []byte, fragments ...[]byte) []byte {
		return compressed(dicom.JPEGBaseline, elements{0x00280008: text("IS", "2"), 0x00280010: number(24), 0x00280011: number(40), 0x00280004: text("CS", "YBR_FULL_422"), 0x7FE00001: raw("OV", table)}, nil, fragments...)
	}
	offsets64 := func(values ...uint64) (b []byte) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	tests := []struct {
		name, code string
		data       []byte
	}{
		{"one fragment", "", encapsulated("1", nil, jpeg)},
		{"one frame in two fragments", "", encapsulated("1", offsets(0), jpeg[:half], jpeg[half:])},
		{"fragment a frame", "", encapsulated("2", nil, jpeg, jpeg)},
		{"two fragments a frame by table", "", encapsulated("2", offsets(0, second), jpeg[:half], jpeg[half:], jpeg)},
		{"table that points between fragments", dicom.CodeEncapsulation, encapsulated("2", offsets(0, second+2), jpeg[:half], jpeg[half:], jpeg)},
		{"table that points far away", dicom.CodeEncapsulation, encapsulated("2", offsets(0, 0xFFFFFFF0), jpeg, jpeg)},
		{"table whose first frame is not the first", dicom.CodeEncapsulation, encapsulated("2", offsets(2, second), jpeg[:half], jpeg[half:], jpeg)},
		{"table of three offsets for two frames", dicom.CodeEncapsulation, encapsulated("2", offsets(0, second, second), jpeg[:half], jpeg[half:], jpeg)},
		{"extended table", "", extended(offsets64(0, uint64(second)), jpeg[:half], jpeg[half:], other)},
		{"extended table that points between fragments", dicom.CodeEncapsulation, extended(offsets64(0, uint64(second)+2), jpeg[:half], jpeg[half:], other)},
		{"extended table that points far away", dicom.CodeEncapsulation, extended(offsets64(0, 1<<63), jpeg[:half], jpeg[half:], other)},
		{"extended table of one offset for two frames", dicom.CodeEncapsulation, extended(offsets64(0), jpeg[:half], jpeg[half:], other)},
		{"split at starts of images", "", encapsulated("2", nil, jpeg[:half], jpeg[half:], other)},
		{"three starts of images, two frames", dicom.CodeFramesUnclear, encapsulated("2", nil, jpeg, other, other)},
		{"one start of an image, two frames", dicom.CodeFramesUnclear, encapsulated("2", nil, jpeg[:half], jpeg[half:half+2], jpeg[half+2:])},
		{"something before the first start", dicom.CodeFramesUnclear, encapsulated("2", nil, jpeg[half:], jpeg, other)},
		{"another size than the header's", dicom.CodePictureConflict, encapsulated("1", nil, photograph(t, 64, 24))},
		{"far too many bytes", dicom.CodePictureConflict, encapsulated("1", nil, append(bytes.Clone(jpeg), make([]byte, 6<<20)...))},
		{"cut off", "picture-corrupt", encapsulated("1", nil, jpeg[:half])},
		{"empty", "picture-corrupt", encapsulated("1", nil, nil)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, _, err := describe(t, test.data)
			if err != nil {
				t.Fatal(err)
			}
			picture, _, err := f.Decode()
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err == nil && (picture.Width != 40 || picture.Height != 24) {
				t.Errorf("%d × %d pixels", picture.Width, picture.Height)
			}
		})
	}
}

func TestNativePixels(t *testing.T) {
	t.Parallel()
	pixels := native()[0x7FE00010].Value
	var sixteen, greys, halved []byte
	for i, v := range pixels {
		sixteen = append(sixteen, 0x5A, v)
		greys = append(greys, v, 128, 128)
		if i < 12 && i%2 == 0 {
			halved = append(halved, byte(i), byte(i+1), 128, 128)
		}
	}
	greys = greys[:36]
	descriptor := raw("US", []byte{2, 0, 0, 0, 8, 0})
	palette := elements{0x00280002: number(1), 0x00280004: text("CS", "PALETTE COLOR"), 0x7FE00010: raw("OB", []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),
		0x00281101: descriptor, 0x00281102: descriptor, 0x00281103: descriptor,
		0x00281201: raw("OW", []byte{10, 11}), 0x00281202: raw("OW", []byte{12, 13}), 0x00281203: raw("OW", []byte{14, 15})}
	tests := []struct {
		name    string
		changes elements
		code    string
		want    func(i int) [3]byte
	}{
		{"interleaved", nil, "", func(i int) [3]byte { return [3]byte(pixels[3*i:]) }},
		{"planar", elements{0x00280006: number(1)}, "", func(i int) [3]byte { return [3]byte{pixels[i], pixels[12+i], pixels[24+i]} }},
		{"grey", elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x7FE00010: raw("OB", pixels[:12])}, "", func(i int) [3]byte { return [3]byte{pixels[i], pixels[i], pixels[i]} }},
		{"inverse grey", elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME1"), 0x7FE00010: raw("OW", pixels[:12])}, "", func(i int) [3]byte { v := 255 - pixels[i]; return [3]byte{v, v, v} }},
		{"16 bit", elements{0x00280100: number(16), 0x00280101: number(16), 0x00280102: number(15), 0x7FE00010: raw("OW", sixteen)}, "", func(i int) [3]byte { return [3]byte(pixels[3*i:]) }},
		{"12 bit, upper", elements{0x00280100: number(16), 0x00280101: number(12), 0x00280102: number(15), 0x7FE00010: raw("OW", sixteen)}, "", func(i int) [3]byte { return [3]byte(pixels[3*i:]) }},
		{"signed", elements{0x00280103: number(1)}, "", func(i int) [3]byte { return [3]byte{pixels[3*i] ^ 0x80, pixels[3*i+1] ^ 0x80, pixels[3*i+2] ^ 0x80} }},
		{"4 bits of 8", elements{0x00280101: number(4), 0x00280102: number(7)}, "", func(i int) [3]byte {
			return [3]byte{pixels[3*i] >> 4 * 17, pixels[3*i+1] >> 4 * 17, pixels[3*i+2] >> 4 * 17}
		}},
		{"YBR without chroma", elements{0x00280004: text("CS", "YBR_FULL"), 0x7FE00010: raw("OB", greys)}, "", func(i int) [3]byte { return [3]byte{greys[3*i], greys[3*i], greys[3*i]} }},
		{"YBR_FULL_422", elements{0x00280004: text("CS", "YBR_FULL_422"), 0x7FE00010: raw("OB", halved)}, "", func(i int) [3]byte { return [3]byte{byte(i), byte(i), byte(i)} }},
		{"YBR_FULL_422 of full length", elements{0x00280004: text("CS", "YBR_FULL_422")}, dicom.CodePixelLength, nil},
		{"1 bit", elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x00280100: number(1), 0x00280101: number(1), 0x00280102: number(0), 0x7FE00010: raw("OB", []byte{0b1010_0110, 0b1001})}, "",
			func(i int) [3]byte { v := byte(int(0b1001_1010_0110)>>i&1) * 255; return [3]byte{v, v, v} }},
		{"two frames", elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x00280008: text("IS", "2"), 0x7FE00010: raw("OB", pixels[:24])}, "", func(i int) [3]byte { return [3]byte{pixels[i], pixels[i], pixels[i]} }},
		{"palette", palette.With(elements{0x00281101: raw("US", []byte{2, 0, 1, 0, 8, 0})}), "", func(i int) [3]byte {
			return [3]byte{byte(10 + min(max(i-1, 0), 1)), byte(12 + min(i, 1)), byte(14 + min(i, 1))}
		}},
		{"palette from a negative value on", palette.With(elements{0x00280103: number(1), 0x00281101: raw("SS", []byte{2, 0, 0xFF, 0xFF, 8, 0}), 0x00281102: raw("SS", []byte{2, 0, 1, 0, 8, 0})}), "",
			func(i int) [3]byte { return [3]byte{11, byte(12 + min(max(i-1, 0), 1)), byte(14 + min(i, 1))} }},
		{"palette of segments", palette.With(elements{0x00281201: {}, 0x00281221: raw("OW", []byte{0, 2, 10, 11})}), "", func(i int) [3]byte { return [3]byte{byte(10 + min(i, 1)), byte(12 + min(i, 1)), byte(14 + min(i, 1))} }},
		{"palette without a descriptor", palette.With(elements{0x00281102: {}}), dicom.CodePalette, nil},
		{"palette without a table", palette.With(elements{0x00281202: {}}), dicom.CodePalette, nil},
		{"palette of no descriptor's length", palette.With(elements{0x00281103: raw("US", []byte{2, 0, 1, 0})}), dicom.CodePalette, nil},
		{"palette of colours", palette.With(elements{0x00280002: number(3), 0x7FE00010: raw("OB", pixels)}), dicom.CodePixelFormat, nil},
		{"32 bit", elements{0x00280100: number(32), 0x00280101: number(32), 0x00280102: number(31), 0x7FE00010: raw("OW", make([]byte, 144))}, dicom.CodePixelFormat, nil},
		{"RGB of one sample", elements{0x00280002: number(1), 0x7FE00010: raw("OB", pixels[:12])}, dicom.CodePixelFormat, nil},
		{"CMYK", elements{0x00280002: number(4), 0x00280004: text("CS", "CMYK"), 0x7FE00010: raw("OB", make([]byte, 48))}, dicom.CodePixelFormat, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, _, err := describe(t, native().With(test.changes).Encode(false))
			if err != nil {
				if fault.CodeOf(err) != test.code {
					t.Fatal(err)
				}
				return
			}
			picture, _, err := f.Decode()
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if test.want == nil {
				return
			}
			for i := range 12 {
				if got := [3]byte(picture.Pix[3*i:]); got != test.want(i) {
					t.Fatalf("pixel %d is %v, want %v", i, got, test.want(i))
				}
			}
		})
	}
}

func TestBitsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]elements{
		"stored over allocated":       {0x00280101: number(12), 0x00280102: number(11)},
		"high bit over allocated":     {0x00280102: number(8)},
		"high bit below stored":       {0x00280102: number(6)},
		"PixelRepresentation 2":       {0x00280103: number(2)},
		"five samples":                {0x00280002: number(5)},
		"planar configuration 2":      {0x00280006: number(2)},
		"bits allocated of two bytes": {0x00280100: raw("UL", []byte{8, 0, 0, 0})},
	} {
		if _, _, err := describe(t, native().With(changes).Encode(false)); fault.CodeOf(err) != dicom.CodeGeometry {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failingReader is a disk that breaks.
type failingReader struct{ data []byte }

func (f failingReader) ReadAt(p []byte, offset int64) (int, error) {
	if offset > 200 {
		return 0, errors.New("input/output error")
	}
	return copy(p, f.data[offset:min(int64(len(f.data)), offset+200)]), errors.New("input/output error")
}

func TestDiskFailureIsTransient(t *testing.T) {
	t.Parallel()
	data := native().Encode(false)
	_, err := dicom.Open(failingReader{data}, int64(len(data)), dicom.Limits{})
	if !fault.Is(err, fault.Transient) || fault.CodeOf(err) != dicom.CodeUnreadable {
		t.Errorf("got %v", err)
	}
}

// FuzzOpen feeds the reader with anything. It must not crash, must name a code, and what it describes must be sane.
func FuzzOpen(f *testing.F) {
	f.Add(native().Encode(false))
	f.Add(native().Encode(true))
	f.Add(native().With(elements{0x00220015: code("409898007")}).Encode(false))
	f.Add(writeOP(f, attributes(), photograph(f, 16, 16)))
	f.Add(encapsulated("2", []byte{0, 0, 0, 0, 9, 0, 0, 0}, []byte{0xFF, 0xD8}, []byte{0xFF, 0xD9}))
	dir := filepath.Join(shared.Root(f), "..", "shared", "dicom", "hostile")
	if entries, err := os.ReadDir(dir); err == nil { // more seeds where the real inputs are
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Size() < 100_000 {
				if data, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
					f.Add(data)
				}
			}
		}
	}
	limits := dicom.Limits{}
	limits.Pixels.MaxPixels = 1 << 16
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), limits)
		if err != nil {
			if fault.CodeOf(err) == "" || fault.Is(err, fault.Internal) || fault.Is(err, fault.Transient) {
				t.Fatalf("refused without a code, or blamed on Noctua: %v", err)
			}
			return
		}
		instance, err := file.Describe()
		if err == nil && (instance.Patient.ID == "" || instance.StudyUID == "" || instance.SOPUID == "" || instance.Analyse && instance.Laterality == "") {
			t.Fatalf("accepted without identity: %+v", instance)
		}
		if err != nil && (fault.CodeOf(err) == "" || fault.Is(err, fault.Internal)) {
			t.Fatalf("refused without a code: %v", err)
		}
		picture, _, err := file.Decode()
		if err != nil && (fault.CodeOf(err) == "" || fault.Is(err, fault.Internal)) {
			t.Fatalf("pixels refused without a code: %v", err)
		}
		if err == nil && picture.Check() != nil {
			t.Fatal(picture.Check())
		}
	})
}
