package dicom_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// reference is what other decoders made of a file (testdata/reference.py).
type reference struct {
	Width, Height int
	SHA256        string   // of the first frame as RGB
	Pixels        [][5]int // x, y, r, g, b
	Error         string   // what the other decoder said instead
}

// jpegTolerance is how far two decoders of lossy JPEG may be apart, in levels: both round the cosine transform, the chroma
// between its samples, and the colours. The largest difference over all pixels of all files here is 5 (reference.py prints it).
const jpegTolerance = 5

// TestReference compares the pixels of public test suites, and of the 15 syntaxes, with those of other decoders. What is
// refused is listed with its reason; none of it is an 8-bit picture but SC_rgb_jpeg.dcm.
func TestReference(t *testing.T) {
	t.Parallel()
	refused := map[string]string{
		"JPEG-lossy.dcm":  pixel.CodeUnsupported, // 12-bit JPEG
		"JPGExtended.dcm": pixel.CodeUnsupported, // 12-bit JPEG
		// 32 bits a sample.
		"SC_rgb_rle_32bit.dcm": dicom.CodePixelFormat, "SC_rgb_rle_32bit_2frame.dcm": dicom.CodePixelFormat,
		"rtdose.dcm": dicom.CodePixelFormat, "rtdose_1frame.dcm": dicom.CodePixelFormat, "rtdose_expb.dcm": dicom.CodePixelFormat,
		"rtdose_expb_1frame.dcm": dicom.CodePixelFormat, "rtdose_rle.dcm": dicom.CodePixelFormat, "rtdose_rle_1frame.dcm": dicom.CodePixelFormat,
		"SC_rgb_jpeg.dcm":                          dicom.CodeMalformed,   // Implicit VR under a transfer syntax of Explicit VR
		"MR_small_padded.dcm":                      dicom.CodePixelLength, // 128 bytes behind the pixels
		"MR_truncated.dcm":                         dicom.CodeTruncated,
		"badVR.dcm":                                dicom.CodeGeometry, // NumberOfFrames 1A
		"nested_priv_SQ.dcm":                       dicom.CodeGeometry, // no Rows and Columns
		"JPEG2000-embedded-sequence-delimiter.dcm": pixel.CodeTooLarge, // a delimiter overwrites the codestream's size
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var references map[string]reference
	if err := json.Unmarshal(raw, &references); err != nil {
		t.Fatal(err)
	}
	root := shared.Dir(t, "dicom")
	outcomes := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(references)) {
		want, base := references[name], filepath.Base(name)
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		suite, _, _ := strings.Cut(strings.TrimPrefix(name, "conformance/"), "/")
		code, sum, worst := decodeFile(data, want)
		if code != refused[base] {
			t.Errorf("%s: %q, want %q (the other decoder: %s)", name, code, refused[base], want.Error)
			continue
		}
		if code == "" {
			if sum != want.SHA256 {
				t.Errorf("%s: other pixels than the other decoder's (%s)", name, want.Error)
			}
			if worst > jpegTolerance {
				t.Errorf("%s: %d levels from pylibjpeg's pixels", name, worst)
			}
			code = "same pixels"
		}
		outcomes[suite+": "+code]++
	}
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%4d %s", outcomes[outcome], outcome)
	}
	if len(references) < 140 {
		t.Errorf("only %d files were compared", len(references))
	}
}

// decodeFile gives the first frame's hash and its largest difference from the reference's single pixels, or a code.
func decodeFile(data []byte, want reference) (code, sum string, worst int) {
	f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		return fault.CodeOf(err), "", 0
	}
	picture, _, err := f.Decode()
	if err != nil {
		return fault.CodeOf(err), "", 0
	}
	for _, p := range want.Pixels {
		r, g, b := picture.At(p[0], p[1])
		for i, v := range [3]uint8{r, g, b} {
			worst = max(worst, int(v)-p[2+i], p[2+i]-int(v))
		}
	}
	digest := sha256.Sum256(picture.Pix)
	return "", hex.EncodeToString(digest[:]), worst
}
