package report

import (
	"context"
	"encoding/json"
	"image"
	"image/jpeg"
	"net/http"
	"testing"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// TestBurnedInNamesAreNotShown: where a file says that text is burned in, no size of its photograph shows what lies outside the field
// of view, and a picture without one is not shown at all.
func TestBurnedInNamesAreNotShown(t *testing.T) {
	t.Parallel()
	drawn, err := phantom.Draw(phantom.Options{Seed: 5, Width: 800, Height: 700})
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t)
	none := picture{1, 3}
	k.photo = func(_ context.Context, raw []byte) (*raster.RGB, error) {
		if string(raw) == none.sop() { // no retina, but a name
			p := raster.NewRGB(400, 300)
			paint(p)
			return p, nil
		}
		p := raster.NewRGB(drawn.Picture.Width, drawn.Picture.Height)
		copy(p.Pix, drawn.Picture.Pix)
		paint(p)
		return p, nil
	}
	burned := func(i *record.Instance) { i.BurnedIn = true }
	k.tell(k.accept(picture{1, 1}, burned), k.accept(picture{1, 2}), k.accept(none, burned))
	k.quiet()
	address := func(p picture) string { return "/api/images/" + p.sop() + "/" + p.sha()[:16] + "/photo.jpg" }
	for _, width := range []string{"", "?width=400"} {
		for p, shown := range map[picture]bool{{1, 1}: false, {1, 2}: true} {
			w := k.get(address(p) + width)
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d", p.sop(), w.Code)
			}
			img, err := jpeg.Decode(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if name := bright(img, image.Rect(0, 0, img.Bounds().Dx()/16, img.Bounds().Dy()/16)); (name > 100) != shown || !shown && name > 12 {
				t.Errorf("%s%s: the corner reaches %d", p.sop(), width, name)
			}
			b := img.Bounds()
			if retina := bright(img, image.Rect(b.Dx()*3/8, b.Dy()*3/8, b.Dx()*5/8, b.Dy()*5/8)); retina < 60 {
				t.Errorf("%s%s: the retina reaches %d only", p.sop(), width, retina)
			}
		}
	}
	w := k.get(address(none))
	var answer struct{ Error struct{ Code string } }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusNotFound || answer.Error.Code != "picture-withheld" {
		t.Errorf("without a field of view: %d %s", w.Code, w.Body)
	}
}

// paint writes a white block where cameras write names.
func paint(p *raster.RGB) {
	for y := range p.Height / 16 {
		for x := range 3 * (p.Width / 16) {
			p.Pix[3*y*p.Width+x] = 255
		}
	}
}

// bright is the highest green of a part of a picture, 0 to 255.
func bright(img image.Image, part image.Rectangle) (most uint32) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			_, g, _, _ := img.At(x, y).RGBA()
			most = max(most, g>>8)
		}
	}
	return most
}
