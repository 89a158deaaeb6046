package report

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// maskPNG is a mask as segmentation writes it.
func maskPNG(t testing.TB, width, height int, on func(x, y int) bool) []byte {
	t.Helper()
	grey := image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			if on(x, y) {
				grey.SetGray(x, y, color.Gray{255})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, grey); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// striped is a picture whose colours say where a pixel lies, coarsely: JPEG keeps that.
func striped(width, height int) *raster.RGB {
	p := raster.NewRGB(width, height)
	for y := range height {
		for x := range width {
			i := 3 * (y*width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(x*255/width), uint8(y*255/height), 128
		}
	}
	return p
}

const ample = 16 << 20

// TestPyramid: levels halve, rounded up, down to one pixel; tiles cover each level without overlap and show what lies there.
func TestPyramid(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{1, 1}, {2, 1}, {1, 700}, {512, 512}, {513, 512}, {1300, 1031}} {
		w, h := size[0], size[1]
		t.Run(fmt.Sprintf("%dx%d", w, h), func(t *testing.T) {
			t.Parallel()
			raw, err := buildPyramid(photoTiles{striped(w, h)}, ample)
			if err != nil {
				t.Fatal(err)
			}
			p := openPyramid(raw)
			full := fullLevel(w, h)
			if p.width != w || p.height != h || p.levels != full+1 || 1<<full < max(w, h) || full > 0 && 1<<(full-1) >= max(w, h) {
				t.Fatalf("%+v, full level %d", p, full)
			}
			for level := range p.levels {
				scale := 1 << (full - level)
				wantW, wantH := int(math.Ceil(float64(w)/float64(scale))), int(math.Ceil(float64(h)/float64(scale)))
				columns, rows := p.levelTiles(level)
				covered := 0
				for row := range rows {
					for column := range columns {
						tile, err := jpeg.Decode(bytes.NewReader(p.tile(level, column, row)))
						if err != nil {
							t.Fatalf("level %d, tile %d, %d: %v", level, column, row, err)
						}
						b := tile.Bounds()
						if b.Dx() != min(tilePx, wantW-column*tilePx) || b.Dy() != min(tilePx, wantH-row*tilePx) {
							t.Errorf("level %d, tile %d, %d has %v", level, column, row, b)
						}
						covered += b.Dx() * b.Dy()
						if b.Dx() < 16 || b.Dy() < 16 { // too small for what JPEG does to colours
							continue
						}
						x, y := b.Dx()/2, b.Dy()/2
						r, g, _, _ := tile.At(x, y).RGBA()
						wantR, wantG := ((column*tilePx+x)*scale+scale/2)*255/w, ((row*tilePx+y)*scale+scale/2)*255/h
						if math.Abs(float64(r>>8)-float64(wantR)) > 6 || math.Abs(float64(g>>8)-float64(wantG)) > 6 {
							t.Errorf("level %d, tile %d, %d shows %d, %d in its middle, want %d, %d", level, column, row, r>>8, g>>8, wantR, wantG)
						}
					}
				}
				if covered != wantW*wantH {
					t.Errorf("level %d: tiles cover %d pixels of %d", level, covered, wantW*wantH)
				}
				for _, beyond := range [][2]int{{columns, 0}, {0, rows}, {-1, 0}, {0, -1}} {
					if p.tile(level, beyond[0], beyond[1]) != nil {
						t.Errorf("level %d has a tile %v", level, beyond)
					}
				}
			}
			if p.tile(full+1, 0, 0) != nil || p.tile(-1, 0, 0) != nil {
				t.Error("there are tiles beyond the levels")
			}
		})
	}
}

// TestPyramidKeepsToItsLimit: the finest levels go first, and what is left is all there.
func TestPyramidKeepsToItsLimit(t *testing.T) {
	t.Parallel()
	whole, err := buildPyramid(photoTiles{striped(1300, 1031)}, ample)
	if err != nil {
		t.Fatal(err)
	}
	limit := len(whole) / 2
	raw, err := buildPyramid(photoTiles{striped(1300, 1031)}, limit)
	if err != nil {
		t.Fatal(err)
	}
	p, all := openPyramid(raw), openPyramid(whole)
	if len(raw) > limit || p.levels >= all.levels || p.levels < 5 {
		t.Errorf("%d bytes of at most %d, %d levels of %d", len(raw), limit, p.levels, all.levels)
	}
	for level := range p.levels {
		if !bytes.Equal(p.tile(level, 0, 0), all.tile(level, 0, 0)) {
			t.Errorf("level %d differs", level)
		}
	}
	if raw, err := buildPyramid(photoTiles{striped(1300, 1031)}, 0); err != nil || openPyramid(raw).levels != 1 {
		t.Errorf("without room: %v", err)
	}
}

// TestMaskTiles: as opaque as the share of the pixel that is vessel, and nothing else.
func TestMaskTiles(t *testing.T) {
	t.Parallel()
	grey := image.NewGray(image.Rect(0, 0, 600, 3))
	for x := 0; x < 600; x += 4 { // a quarter of the columns
		for y := range 3 {
			grey.SetGray(x, y, color.Gray{255})
		}
	}
	raw, err := buildPyramid(maskTiles{grey}, ample)
	if err != nil {
		t.Fatal(err)
	}
	p := openPyramid(raw)
	full := fullLevel(600, 3)
	for level, want := range map[int][]uint8{full: {255, 0, 0, 0}, full - 1: {128, 0, 128, 0}, full - 2: {64, 64, 64, 64}} {
		tile, err := png.Decode(bytes.NewReader(p.tile(level, 0, 0)))
		if err != nil {
			t.Fatal(err)
		}
		for x, alpha := range want {
			c := color.NRGBAModel.Convert(tile.At(x, 0)).(color.NRGBA)
			if c.A != alpha || alpha > 0 && (c.R != 255 || c.G != 255 || c.B != 255) {
				t.Errorf("level %d, column %d: %v, want an opacity of %d", level, x, c, alpha)
			}
		}
	}
}

func TestTileAddress(t *testing.T) {
	t.Parallel()
	if l, c, r, ok := tileAddress("12", "3_40.jpg", ".jpg"); !ok || l != 12 || c != 3 || r != 40 {
		t.Errorf("%d %d %d %v", l, c, r, ok)
	}
	for _, wrong := range [][2]string{{"12", "3_4.png"}, {"12", "3-4.jpg"}, {"12", "3.jpg"}, {"-1", "0_0.jpg"}, {"01", "0_0.jpg"}, {"1", "00_0.jpg"}, {"1", "+1_0.jpg"}, {"x", "0_0.jpg"}, {"1", "1_2_3.jpg"}, {"1", "_.jpg"}, {"1", ""},
		{"99999999999999999999", "0_0.jpg"}} {
		if _, _, _, ok := tileAddress(wrong[0], wrong[1], ".jpg"); ok {
			t.Errorf("%v is taken for an address", wrong)
		}
	}
	if _, _, _, ok := tileAddress("1", "0_0", ""); ok {
		t.Error("a layer that does not exist has tiles")
	}
}

// at is the address of what there is of a picture.
func (p picture) at(file string) string {
	return "/api/images/" + p.sop() + "/" + p.sha()[:16] + "/" + file
}

// putMask leaves the mask of a picture's result.
func (k *kit) putMask(p picture, raw []byte) {
	k.t.Helper()
	prefix, err := blob.ResultPrefix(p.sop(), p.sha(), testModel)
	k.must(err)
	k.must(k.blob.PutBytes(k.t.Context(), k.blob.Buckets().Results, path.Join(prefix, "mask.png"), raw, blob.PutOptions{}))
}

// TestTilesAreServed follows a picture from its archive to its tiles: one decoding, whatever is asked for; view.json says what there is; what is
// not there is not found; the browser's copy counts.
func TestTilesAreServed(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	const width, height = 1500, 1000
	var decoded atomic.Int32
	k.photo = func(context.Context, []byte) (*raster.RGB, error) { decoded.Add(1); return striped(width, height), nil }
	p, unmeasured, odd := picture{1, 1}, picture{1, 2}, picture{1, 3}
	k.tell(k.accept(p), k.accept(unmeasured), k.accept(odd))
	found := func(r *record.Result) {
		r.FOV = &record.FieldOfView{CenterX: 750, CenterY: 500, Radius: 480, Right: width, Bottom: height}
		r.OpticDisc = &record.OpticDisc{CenterX: 1000, CenterY: 500, Diameter: 140, Confidence: .8}
	}
	k.tell(k.segment(p, found), k.segment(odd, func(r *record.Result) { found(r); r.OpticDisc.Confidence = .3 }))
	k.putMask(p, maskPNG(t, width, height, func(x, y int) bool { return y >= 500 && y < 512 && x > 300 && x < 1200 }))
	k.putMask(odd, maskPNG(t, 100, 100, func(x, y int) bool { return x == y }))
	k.quiet()

	view := func(p picture) pictureView {
		t.Helper()
		w := k.get(p.at("view.json"))
		var v pictureView
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return v
	}
	v := view(p)
	if v.Width != width || v.Height != height || v.TilePx != tilePx || v.FullLevel != 11 || v.MaxLevel != 11 || v.Mask == nil || v.Mask.MaxLevel != 11 || len(v.Notes) > 0 ||
		v.Field == nil || *v.Field != (circleView{750, 500, 480}) || v.Disc == nil || *v.Disc != (circleView{1000, 500, 70}) {
		t.Errorf("%+v", v)
	}
	for name, what := range map[string]struct {
		kind          string
		width, height int
	}{"tiles/photo/11/2_1.jpg": {"image/jpeg", 1500 - 1024, 1000 - 512}, "tiles/photo/10/0_0.jpg": {"image/jpeg", 512, 500}, "tiles/photo/0/0_0.jpg": {"image/jpeg", 1, 1}, "tiles/mask/11/2_1.png": {"image/png", 1500 - 1024, 1000 - 512}} {
		w := k.get(p.at(name))
		size, _, err := image.DecodeConfig(w.Body)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != what.kind || err != nil || size.Width != what.width || size.Height != what.height {
			t.Errorf("%s: %d, %s, %d × %d, %v", name, w.Code, w.Header().Get("Content-Type"), size.Width, size.Height, err)
		}
		if again := k.get(p.at(name), "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || w.Header().Get("ETag") == "" {
			t.Errorf("%s again: %d", name, again.Code)
		}
	}
	if n := decoded.Load(); n != 1 {
		t.Errorf("the picture was decoded %d times", n)
	}
	for _, wrong := range []string{"tiles/photo/12/0_0.jpg", "tiles/photo/11/3_0.jpg", "tiles/photo/11/0_2.jpg", "tiles/photo/11/0_0.png", "tiles/mask/11/0_0.jpg", "tiles/vessels/0/0_0.jpg", "tiles/photo/-1/0_0.jpg", "tiles/photo/00/0_0.jpg",
		"tiles/photo/11/00_0.jpg", "tiles/photo/11"} {
		if w := k.get(p.at(wrong)); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", wrong, w.Code)
		}
	}
	if w := k.get("/api/images/1.2.3/" + p.sha()[:16] + "/tiles/photo/0/0_0.jpg"); w.Code != http.StatusNotFound {
		t.Errorf("another picture: %d", w.Code)
	}

	if v := view(unmeasured); v.Mask != nil || v.Field != nil || v.Disc != nil {
		t.Errorf("of a picture that was not measured: %+v", v)
	}
	for _, none := range []string{"tiles/mask/0/0_0.png", "lines.json"} {
		if w := k.get(unmeasured.at(none)); w.Code != http.StatusNotFound {
			t.Errorf("%s of a picture that was not measured: %d", none, w.Code)
		}
	}
	if v := view(odd); v.Mask != nil || v.Disc != nil || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "100 × 100") {
		t.Errorf("a mask of another size: %+v", v)
	}
	k.putMask(odd, []byte("no picture"))
	if v := view(odd); v.Mask != nil {
		t.Errorf("kept from before: %+v", v)
	}

	w := k.get(p.at("lines.json"))
	var lines centreLines
	if err := json.Unmarshal(w.Body.Bytes(), &lines); err != nil || w.Code != http.StatusOK || len(lines.Lines) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	line := lines.Lines[0]
	for i := 0; i < len(line); i += 3 {
		if x, y, width := line[i], line[i+1], line[i+2]; math.Abs(y-506) > 2 || x < 295 || x > 1205 || width >= 0 && math.Abs(width-100*12./960) > .25 {
			t.Errorf("point %d lies at %v, %v and is %v %% wide", i/3, x, y, width)
		}
	}
	if last := line[len(line)-3] - line[0]; math.Abs(last) < 850 {
		t.Errorf("the line is %v px long", last)
	}
}

// TestHugePictures: what claims to be larger than can be shown is refused by its header; the photograph is shown without it.
func TestHugePictures(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	p := picture{1, 1}
	k.photo = func(context.Context, []byte) (*raster.RGB, error) { return striped(40, 30), nil }
	k.tell(k.accept(p), k.segment(p))
	header := binary.BigEndian.AppendUint32([]byte("IHDR"), 20_000)
	header = append(binary.BigEndian.AppendUint32(header, 20_000), 8, 0, 0, 0, 0)
	huge := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	k.putMask(p, binary.BigEndian.AppendUint32(huge, crc32.ChecksumIEEE(header)))
	k.quiet()
	w := k.get(p.at("view.json"))
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"mask"`) || !strings.Contains(w.Body.String(), "cannot be read") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := k.get(p.at("tiles/mask/0/0_0.png")); w.Code != http.StatusInternalServerError {
		t.Errorf("its tile: %d %s", w.Code, w.Body)
	}
}

// TestBurnedInNamesAreNotInTiles: no tile of any level shows what lies outside the field of view.
func TestBurnedInNamesAreNotInTiles(t *testing.T) {
	t.Parallel()
	drawn, err := phantom.Draw(phantom.Options{Seed: 5, Width: 800, Height: 700})
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t)
	none := picture{1, 3}
	k.photo = func(_ context.Context, raw []byte) (*raster.RGB, error) {
		p := raster.NewRGB(drawn.Picture.Width, drawn.Picture.Height)
		if string(raw) != none.sop() {
			copy(p.Pix, drawn.Picture.Pix)
		}
		paint(p)
		return p, nil
	}
	burned := func(i *record.Instance) { i.BurnedIn = true }
	k.tell(k.accept(picture{1, 1}, burned), k.accept(picture{1, 2}), k.accept(none, burned))
	k.quiet()
	for p, shown := range map[picture]bool{{1, 1}: false, {1, 2}: true} {
		for _, level := range []int{8, 9, 10} {
			w := k.get(p.at(fmt.Sprintf("tiles/photo/%d/0_0.jpg", level)))
			img, err := jpeg.Decode(w.Body)
			if err != nil {
				t.Fatalf("%d %v", w.Code, err)
			}
			scale := 1 << (10 - level)
			if name := bright(img, image.Rect(0, 0, 800/16/scale, 700/16/scale)); (name > 100) != shown || !shown && name > 12 {
				t.Errorf("%s, level %d: the corner reaches %d", p.sop(), level, name)
			}
		}
	}
	for _, file := range []string{"tiles/photo/0/0_0.jpg", "view.json"} {
		if w := k.get(none.at(file)); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "picture-withheld") {
			t.Errorf("%s without a field of view: %d %s", file, w.Code, w.Body)
		}
	}
}

// TestOneEntryForALook: dozens of tiles are one look of one caller at one picture; after its time it is another one, and so it is of
// another caller, at another picture.
func TestOneEntryForALook(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.photo = func(context.Context, []byte) (*raster.RGB, error) { return striped(700, 600), nil }
	p, q := picture{1, 1}, picture{1, 2}
	k.tell(k.accept(p), k.accept(q))
	k.quiet()
	other := k.grant("other", "report.read", 0)
	entries := func(n int, what string) {
		t.Helper()
		if got := len(k.readings()); got != n {
			t.Errorf("%s: %d entries, want %d", what, got, n)
		}
	}
	before := len(k.readings())
	k.get(p.at("view.json"))
	w := k.get(p.at("tiles/photo/10/0_0.jpg"))
	k.get(p.at("tiles/photo/10/1_0.jpg"))
	k.get(p.at("tiles/photo/10/0_0.jpg"), "If-None-Match", w.Header().Get("ETag"))
	entries(before+1, "a look")
	k.get(p.at("tiles/photo/99/0_0.jpg"))
	entries(before+1, "what is not there")
	k.get(q.at("tiles/photo/10/0_0.jpg"))
	entries(before+2, "another picture")
	k.get(p.at("tiles/photo/10/0_0.jpg"), "Authorization", "Bearer "+other)
	entries(before+3, "another caller")
	k.move(viewingSpan)
	k.get(p.at("tiles/photo/10/0_0.jpg"), "If-None-Match", w.Header().Get("ETag"))
	entries(before+4, "later, from the browser's memory")
	last := k.readings()[before+3]
	if last.Entity.Kind != record.EntityPicture || last.Entity.Resource != p.sop()+"/"+p.sha()[:16]+"/view" || last.Entity.PatientKey != shaOf("patient", 1) {
		t.Errorf("%+v", last.Entity)
	}
}

// TestViewingsAreBounded: the oldest are forgotten.
func TestViewingsAreBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	v := newViewings(k.now)
	key := func(n int) viewingKey { return viewingKey{sop: fmt.Sprint(n)} }
	for n := range maxViewings + 5 {
		v.note(key(n))
		v.note(key(n)) // twice is once
	}
	if v.order.Len() != maxViewings || len(v.byKey) != maxViewings || v.open(key(4)) || !v.open(key(5)) || !v.open(key(maxViewings+4)) {
		t.Errorf("%d and %d are kept", v.order.Len(), len(v.byKey))
	}
}

// TestLinesAreThoseThatWereMeasured: traced in the mask in the photograph's pixels, the tree is the one on the canvas.
func TestLinesAreThoseThatWereMeasured(t *testing.T) {
	t.Parallel()
	drawn, err := phantom.Draw(phantom.Options{Seed: 11, Width: 2000, Height: 1600})
	if err != nil {
		t.Fatal(err)
	}
	fov, err := fundus.FindFOV(drawn.Picture)
	if err != nil {
		t.Fatal(err)
	}
	canvas, err := fundus.NewCanvas(fov, 1056, 1056, 1024)
	if err != nil {
		t.Fatal(err)
	}
	// A map on the canvas, brought to the photograph as segmentation does, and back.
	plane := raster.NewPlane(canvas.Width, canvas.Height)
	on := 0
	for y := range canvas.Height {
		for x := range canvas.Width {
			if sx, sy := canvas.ToSource(float64(x)+.5, float64(y)+.5); sx >= 0 && sy >= 0 && int(sx) < 2000 && int(sy) < 1600 && drawn.Vessels.On(int(sx), int(sy)) {
				plane.Pix[y*canvas.Width+x] = 1
				on++
			}
		}
	}
	mask, err := canvas.MaskFromCanvas(plane, .5)
	if err != nil {
		t.Fatal(err)
	}
	grey := &image.Gray{Pix: mask.Pix, Stride: mask.Width, Rect: image.Rect(0, 0, mask.Width, mask.Height)}
	traced, err := trace(grey, canvas)
	if err != nil {
		t.Fatal(err)
	}
	inside, points := 0, 0
	for _, line := range traced.Lines {
		for i := 0; i < len(line); i += 3 {
			points++
			if drawn.Vessels.On(int(line[i]), int(line[i+1])) {
				inside++
			}
		}
	}
	if points < 500 || inside < points*97/100 || traced.WidestPercent < .5 || traced.WidestPercent > 6 {
		t.Errorf("%d lines, %d points, of which %d lie in vessels; widest %v %%", len(traced.Lines), points, inside, traced.WidestPercent)
	}
}
