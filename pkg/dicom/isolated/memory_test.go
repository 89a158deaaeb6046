package isolated

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestPicturesOfOneChild reads pictures of every encoding with one child, whose memory holds the last one each time: they are the
// pixels that this process decodes.
func TestPicturesOfOneChild(t *testing.T) {
	t.Parallel()
	odd := dicomtest.Native().With(dicomtest.Elements{ // 27 bytes in words of big-endian files, without the byte that fills the last
		0x00280010: dicomtest.Number(3), 0x00280011: dicomtest.Number(3), 0x7FE00010: {VR: "OW", Value: bytes.Repeat([]byte{7}, 27)},
	})
	grey := dicomtest.Native().With(dicomtest.Elements{
		0x00280002: dicomtest.Number(1), 0x00280004: dicomtest.Text("CS", "MONOCHROME2"), 0x00280006: {}, 0x7FE00010: {VR: "OB", Value: bytes.Repeat([]byte{9}, 12)},
	})
	files := map[string][]byte{"large": square(300), "JPEG": squareJPEG(t, 200), "grey": grey.Encode(false), "odd": bigEndian(odd)}
	compare(t, files)
}

// TestPicturesOfEverySyntax does the same with files that other programs wrote.
func TestPicturesOfEverySyntax(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom", "syntaxes"), "*.dcm"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, files)
}

func compare(t *testing.T, files map[string][]byte) {
	t.Helper()
	r := newReader(t, Config{Children: 1})
	read := 0
	for range 3 { // in three orders
		for name, data := range files {
			file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want, _, err := file.Decode()
			if err != nil {
				continue // whether it can be decoded is no question here
			}
			got, err := r.ReadBytes(t.Context(), data, Picture)
			if err != nil || got.Undecoded != nil {
				t.Fatalf("%s: %v, %v", name, err, got.Undecoded)
			}
			if got.Picture.Width != want.Width || got.Picture.Height != want.Height || !bytes.Equal(got.Picture.Pix, want.Pix) {
				t.Errorf("%s: the pixels differ", name)
			}
			read++
			r.Recycle(got.Picture) // the next one lies where this one did
		}
	}
	if read < 3*len(files)/2 {
		t.Errorf("only %d pictures of %d files in three rounds could be decoded", read, len(files))
	}
}

// bigEndian encodes a data set whose numbers have two bytes in Explicit VR Big Endian, from its form in Explicit VR Little Endian.
func bigEndian(e dicomtest.Elements) []byte {
	out := dicomtest.Header(dicom.ExplicitBigEndian, "1.2.3.4")
	raw := e.Dataset(false)
	for at := 0; at < len(raw); {
		le := raw[at:]
		out = binary.BigEndian.AppendUint16(out, binary.LittleEndian.Uint16(le))
		out = binary.BigEndian.AppendUint16(out, binary.LittleEndian.Uint16(le[2:]))
		out = append(out, le[4:6]...)
		var header, length int
		if vr := string(le[4:6]); strings.HasPrefix(vr, "O") || vr == "SQ" || vr == "UT" {
			header, length = 12, int(binary.LittleEndian.Uint32(le[8:]))
			out = binary.BigEndian.AppendUint32(append(out, 0, 0), uint32(length))
		} else {
			header, length = 8, int(binary.LittleEndian.Uint16(le[6:]))
			out = binary.BigEndian.AppendUint16(out, uint16(length))
		}
		value := bytes.Clone(le[header : header+length])
		if string(le[4:6]) == "US" {
			value[0], value[1] = value[1], value[0]
		}
		out = append(out, value...)
		at += header + length
	}
	return out
}

// TestPixelMemoryCannotBeResized: its size is that of the largest picture, whoever holds the descriptor.
func TestPixelMemoryCannotBeResized(t *testing.T) {
	t.Parallel()
	m, err := newPixelMemory(dicom.Limits{Pixels: pixel.Limits{MaxPixels: 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	for _, size := range []int64{0, 299, 301, 1 << 40} {
		if err := m.file.Truncate(size); err == nil {
			t.Errorf("the memory was resized to %d bytes", size)
		}
	}
	if _, err := m.file.WriteAt([]byte{1, 2}, 299); err == nil {
		t.Error("it grew by writing")
	}
	if _, err := m.picture(10, 10, dicom.Limits{}, nil); err != nil {
		t.Errorf("the largest picture: %v", err)
	}
	for _, size := range [][2]int{{11, 10}, {-1, 10}, {0, 0}, {1 << 40, 1 << 40}, {8000, 8000}} { // a child may claim what it likes
		if picture, err := m.picture(size[0], size[1], dicom.Limits{}, nil); err == nil {
			t.Errorf("%d × %d pixels: %d bytes", size[0], size[1], len(picture.Pix))
		}
	}
}

// TestIdleChildrenGiveTheirMemoryBack, and read on.
func TestIdleChildrenGiveTheirMemoryBack(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	held := func() int64 {
		var stat unix.Stat_t
		if err := unix.Fstat(int(r.idle[0].pixels.file.Fd()), &stat); err != nil {
			t.Fatal(err)
		}
		return stat.Blocks * 512
	}
	for range 2 {
		got, err := r.ReadBytes(t.Context(), square(500), Picture)
		if err != nil || !bytes.Equal(got.Picture.Pix[100:103], []byte{100 * 7 / 3, 101 * 7 / 3, 102 * 7 / 3}) {
			t.Fatalf("a picture: %v", err)
		}
		if n := held(); n < 3*500*500 || n > 2<<20 {
			t.Errorf("a picture of 750 KB takes %d bytes", n)
		}
		r.releaseIdle()
		if n := held(); n != 0 {
			t.Errorf("an idle child keeps %d bytes", n)
		}
	}
}

// TestRecycledMemoryIsUsedOnce: two pictures never lie in the same place.
func TestRecycledMemoryIsUsedOnce(t *testing.T) {
	t.Parallel()
	r := newReader(t, Config{Children: 1})
	read := func(side int) *raster.RGB {
		got, err := r.ReadBytes(t.Context(), square(side), Picture)
		if err != nil {
			t.Fatal(err)
		}
		return got.Picture
	}
	first := read(30)
	where := &first.Pix[0]
	r.Recycle(first)
	small, other, large := read(20), read(20), read(30)
	if &small.Pix[0] != where || len(small.Pix) != 3*20*20 || &other.Pix[0] == where || &large.Pix[0] == where {
		t.Error("memory that was given back is not used, or used twice")
	}
	r.Recycle(small)
	if again := read(30); &again.Pix[0] != where {
		t.Error("the memory of a large picture shrank with a small one")
	}
	r.Recycle(other)
	r.releaseIdle()
	if later := read(20); &later.Pix[0] == &other.Pix[0] {
		t.Error("idle memory is kept")
	}
}
