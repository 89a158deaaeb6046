package dicom_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("pixel", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const uidJPEG = "1.2.840.10008.1.2.4."

// packed is an RLE frame of literal runs.
func packed(planes ...[]byte) []byte {
	out := make([]byte, 64)
	binary.LittleEndian.PutUint32(out, uint32(len(planes)))
	for i, p := range planes {
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		for ; len(p) > 0; p = p[min(128, len(p)):] {
			n := min(128, len(p))
			out = append(append(out, byte(n-1)), p[:n]...)
		}
	}
	return out
}

func plane(interleaved []byte, first, step int) (out []byte) {
	for i := first; i < len(interleaved); i += step {
		out = append(out, interleaved[i])
	}
	return out
}

// TestCompressed decodes each compressed syntax and each way to say what its colours are.
func TestCompressed(t *testing.T) {
	t.Parallel()
	rgb, grey16 := vector(t, "crop.rgb"), vector(t, "crop16.grey")
	var upper []byte // of 16-bit grey, as RGB
	for _, v := range plane(grey16, 1, 2) {
		upper = append(upper, v, v, v)
	}
	inverse := bytes.Clone(upper)
	for i := range inverse {
		inverse[i] ^= 0xFF
	}
	// What YBR samples with the numbers of the RGB picture look like.
	samples := &pixel.Samples{Width: 45, Height: 33, Components: 3, Bytes: 1, Data: rgb}
	asYBR, err := samples.RGB(pixel.Format{Photometric: "YBR_FULL", StoredBits: 8})
	if err != nil {
		t.Fatal(err)
	}
	colour := func(photometric string) elements {
		return elements{0x00280010: number(33), 0x00280011: number(45), 0x00280004: text("CS", photometric)}
	}
	grey := elements{0x00280010: number(33), 0x00280011: number(45), 0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x00280006: {},
		0x00280100: number(16), 0x00280101: number(16), 0x00280102: number(15)}
	sixteen := func(photometric string, stored uint16) elements {
		return colour(photometric).With(elements{0x00080016: text("UI", dicom.ClassOphthalmic16Bit), 0x00280100: number(16), 0x00280101: number(stored), 0x00280102: number(stored - 1)})
	}
	rleRGB := packed(plane(rgb, 0, 3), plane(rgb, 1, 3), plane(rgb, 2, 3))
	adobe := func(transform byte) []byte {
		data := vector(t, "lossless-p4.jpg")
		segment := []byte{0xFF, 0xEE, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform}
		return append(append([]byte{0xFF, 0xD8}, segment...), data[bytes.Index(data, []byte{0xFF, 0xC3}):]...)
	}
	bare := append([]byte{0xFF, 0xD8}, vector(t, "lossless-p4.jpg")[bytes.Index(vector(t, "lossless-p4.jpg"), []byte{0xFF, 0xC3}):]...)

	tests := []struct {
		name, syntax string
		changes      elements
		data         []byte
		code         string
		want         []byte
		noted        string // code
	}{
		{"RLE RGB", dicom.RLELossless, colour("RGB"), rleRGB, "", rgb, ""},
		{"RLE YBR", dicom.RLELossless, colour("YBR_FULL"), rleRGB, "", asYBR.Pix, ""},
		{"RLE planar configuration means nothing", dicom.RLELossless, colour("RGB").With(elements{0x00280006: number(1)}), rleRGB, "", rgb, ""},
		{"RLE 16 bit", dicom.RLELossless, grey, packed(plane(grey16, 1, 2), plane(grey16, 0, 2)), "", upper, ""},
		{"RLE 32 bit", dicom.RLELossless, grey.With(elements{0x00280100: number(32)}), packed(nil, nil, nil, nil), dicom.CodePixelFormat, nil, ""},
		{"RLE 1 bit", dicom.RLELossless, grey.With(elements{0x00280100: number(1), 0x00280101: number(1), 0x00280102: number(0)}), packed(nil), dicom.CodePixelFormat, nil, ""},
		{"RLE damaged", dicom.RLELossless, colour("RGB"), rleRGB[:300], pixel.CodeCorrupt, nil, ""},

		{"JPEG Lossless, declared RGB", uidJPEG + "57", colour("RGB"), bare, "", rgb, ""},
		{"JPEG Lossless, declared YBR", uidJPEG + "57", colour("YBR_FULL"), bare, "", asYBR.Pix, ""},
		{"JPEG Lossless, APP14 says RGB", uidJPEG + "70", colour("YBR_FULL"), adobe(0), "", rgb, dicom.CodeNotePhotometric},
		{"JPEG Lossless, APP14 says YBR", uidJPEG + "70", colour("RGB"), adobe(1), "", asYBR.Pix, dicom.CodeNotePhotometric},
		{"JPEG Lossless 16 bit", uidJPEG + "70", grey, vector(t, "lossless16-p1.jpg"), "", upper, ""},
		{"JPEG Lossless 16 bit inverse", uidJPEG + "70", grey.With(elements{0x00280004: text("CS", "MONOCHROME1")}), vector(t, "lossless16-p1.jpg"), "", inverse, ""},
		{"JPEG Lossless in JPEG Baseline's syntax", dicom.JPEGBaseline, colour("RGB"), bare, "", rgb, ""},
		{"JPEG Lossless of 16 bit in 8", uidJPEG + "70", grey.With(elements{0x00280100: number(8), 0x00280101: number(8), 0x00280102: number(7)}), vector(t, "lossless16-p1.jpg"), dicom.CodePictureConflict, nil, ""},
		{"JPEG Lossless of another size", uidJPEG + "70", colour("RGB").With(elements{0x00280011: number(46)}), bare, dicom.CodePictureConflict, nil, ""},
		{"JPEG Lossless of other components", uidJPEG + "70", grey, bare, dicom.CodePictureConflict, nil, ""},

		{"JPEG-LS", uidJPEG + "80", colour("RGB"), vector(t, "lossless.jls"), "", rgb, ""},
		{"JPEG-LS YBR", uidJPEG + "80", colour("YBR_FULL"), vector(t, "lossless-planes.jls"), "", asYBR.Pix, ""},
		{"JPEG-LS near", uidJPEG + "81", colour("RGB"), vector(t, "near-lines.jls"), "", vector(t, "near-lines.rgb"), ""},
		{"JPEG-LS 16 bit", uidJPEG + "80", grey, vector(t, "lossless16.jls"), "", upper, ""},
		{"JPEG-LS of another size", uidJPEG + "80", colour("RGB").With(elements{0x00280010: number(34)}), vector(t, "lossless.jls"), dicom.CodePictureConflict, nil, ""},

		{"JPEG 2000", uidJPEG + "90", colour("YBR_RCT"), vector(t, "lossless.j2k"), "", rgb, ""},
		{"JPEG 2000, transform of what is declared RGB", uidJPEG + "90", colour("RGB"), vector(t, "lossless.j2k"), "", rgb, ""},
		{"JPEG 2000, transform of what is declared YBR", uidJPEG + "90", colour("YBR_FULL"), vector(t, "lossless.j2k"), "", rgb, dicom.CodeNotePhotometric},
		{"JPEG 2000 in a JP2 file", uidJPEG + "91", colour("YBR_RCT"), vector(t, "lossless.jp2"), "", rgb, ""},
		{"JPEG 2000 16 bit", uidJPEG + "90", grey, vector(t, "lossless16.j2k"), "", upper, ""},
		{"JPEG 2000 of another size", uidJPEG + "90", colour("RGB").With(elements{0x00280010: number(34)}), vector(t, "lossless.j2k"), dicom.CodePictureConflict, nil, ""},
		{"HTJ2K lossless", uidJPEG + "201", colour("YBR_RCT"), vector(t, "lossless.j2c"), "", rgb, ""},
		{"HTJ2K lossless RPCL", uidJPEG + "202", colour("YBR_RCT"), vector(t, "lossless.j2c"), "", rgb, ""},
		{"HTJ2K", uidJPEG + "203", colour("YBR_RCT"), vector(t, "lossless.j2c"), "", rgb, ""},
		{"HTJ2K 16 bit", uidJPEG + "203", grey, vector(t, "lossless16.j2c"), "", upper, ""},

		{"JPEG Lossless, colour of 12 bits in a stream of 16", uidJPEG + "70", sixteen("RGB", 12), vector(t, "colour12.jpg"), "", rgb, ""},
		{"JPEG-LS, colour of 12 bits", uidJPEG + "80", sixteen("RGB", 12), vector(t, "colour12.jls"), "", rgb, ""},
		{"JPEG 2000, colour of 12 bits", uidJPEG + "90", sixteen("YBR_RCT", 12), vector(t, "colour12.j2k"), "", rgb, ""},
		{"JPEG-LS, 12 bits called 16", uidJPEG + "80", sixteen("RGB", 16), vector(t, "colour12.jls"), "", rgb, dicom.CodeNoteDepth},
		{"JPEG 2000, 12 bits called 16", uidJPEG + "90", sixteen("YBR_RCT", 16), vector(t, "colour12.j2k"), "", rgb, dicom.CodeNoteDepth},
		{"JPEG Lossless, 8 bits called 16", uidJPEG + "57", sixteen("RGB", 16), bare, "", rgb, dicom.CodeNoteDepth},
		{"HTJ2K, colour of 16 bits", uidJPEG + "201", sixteen("YBR_RCT", 16), vector(t, "colour16.j2c"), "", rgb, ""},

		{"colours from a palette in lossy JPEG", dicom.JPEGBaseline, elements{0x00280002: number(1), 0x00280004: text("CS", "PALETTE COLOR"), 0x00280006: {},
			0x00281101: raw("US", []byte{1, 0, 0, 0, 8, 0}), 0x00281102: raw("US", []byte{1, 0, 0, 0, 8, 0}), 0x00281103: raw("US", []byte{1, 0, 0, 0, 8, 0}),
			0x00281201: raw("OW", []byte{1, 0}), 0x00281202: raw("OW", []byte{1, 0}), 0x00281203: raw("OW", []byte{1, 0})}, greyJPEG(), dicom.CodePixelFormat, nil, ""},
		{"12-bit JPEG", uidJPEG + "51", grey, []byte{0xFF, 0xD8, 0xFF, 0xC1, 0, 11, 12, 0, 33, 0, 45, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2}, pixel.CodeUnsupported, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := compressed(test.syntax, test.changes, nil, test.data)
			f, _, err := describe(t, file)
			if err != nil {
				t.Fatal(err)
			}
			picture, notes, err := f.Decode()
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(picture.Pix, test.want) {
				t.Error("other pixels")
			}
			var codes []string
			for _, n := range notes {
				codes = append(codes, n.Code)
			}
			if strings.Join(codes, " ") != test.noted {
				t.Errorf("notes %v, want %q", codes, test.noted)
			}
		})
	}
}

// greyJPEG is the header of a grey baseline JPEG of 4 × 3 pixels; its data are never looked at.
func greyJPEG() []byte {
	return []byte{0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 3, 0, 4, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2}
}

// TestSecondFrameIsNotRead: of several RLE frames the first is decoded, whatever the others hold.
func TestSecondFrameIsNotRead(t *testing.T) {
	t.Parallel()
	pixels := native()[0x7FE00010].Value
	first := packed(plane(pixels, 0, 3), plane(pixels, 1, 3), plane(pixels, 2, 3))
	f, instance, err := describe(t, compressed(dicom.RLELossless, elements{0x00280008: text("IS", "3")}, nil, first, []byte("not"), []byte("RLE!")))
	if err != nil || instance.Frames != 3 || len(instance.Notes) != 1 || instance.Notes[0].Code != dicom.CodeNoteFrames {
		t.Fatalf("%v, %+v", err, instance)
	}
	if picture, _, err := f.Decode(); err != nil || !bytes.Equal(picture.Pix, pixels) {
		t.Errorf("%v, %v", picture, err)
	}
}

// FuzzFrames cuts a stream into fragments at random and assigns them to frames by random tables: no crash, a code for what is
// refused, and no bytes but those of the fragments from the first on.
func FuzzFrames(f *testing.F) {
	pixels := native()[0x7FE00010].Value
	frame := packed(plane(pixels, 0, 3), plane(pixels, 1, 3), plane(pixels, 2, 3))
	f.Add(uint16(1), []byte{}, []byte{}, frame, []byte{20, 40})
	f.Add(uint16(2), []byte{0, 0, 0, 0, 108, 0, 0, 0}, []byte{}, append(bytes.Clone(frame), frame...), []byte{100})
	f.Add(uint16(2), []byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0, 0, 0, 0, 0, 0}, append(bytes.Clone(frame), frame...), []byte{100})
	f.Add(uint16(2), []byte{}, []byte{}, []byte{0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 0xFF, 0xD8, 0xFF, 0xE0, 0xFF, 0x4F, 0xFF, 0x51}, []byte{6, 4})
	f.Add(uint16(65535), []byte{1}, []byte{2}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, frames uint16, table, extended, data, cuts []byte) {
		if len(extended)%2 == 1 {
			extended = append(extended, 0)
		}
		for _, syntax := range []string{dicom.RLELossless, dicom.JPEGBaseline} {
			var fragments [][]byte
			rest := data
			for _, cut := range cuts {
				n := min(int(cut), len(rest))
				fragments, rest = append(fragments, rest[:n]), rest[n:]
			}
			fragments = append(fragments, rest)
			file := compressed(syntax, elements{0x00280008: text("IS", strconv.Itoa(int(frames))), 0x7FE00001: raw("OV", extended)}, table, fragments...)
			d, err := dicom.Open(bytes.NewReader(file), int64(len(file)), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			picture, _, err := d.Decode()
			if err != nil && (fault.CodeOf(err) == "" || fault.Is(err, fault.Internal) || fault.Is(err, fault.Transient)) {
				t.Fatalf("refused without a code: %v", err)
			}
			if err == nil && (picture.Width != 4 || picture.Height != 3) {
				t.Fatalf("%d × %d pixels", picture.Width, picture.Height)
			}
		}
	})
}
