// Command phantomset writes a labelled data set of phantoms, photographs of eyes that do not exist, in the plain layout that
// `noctua evaluate` and the training read: images/, manual1/ and fov/. Its pictures may go anywhere.
package main

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
)

func main() {
	out := flag.String("out", "out/phantoms", "folder to write")
	n := flag.Int("n", 6, "number of phantoms")
	seed := flag.Uint64("seed", 100, "of the first phantom; the others follow")
	flag.Parse()
	for i := range *n {
		o := phantom.Options{Seed: *seed + uint64(i), FOVDeg: []float64{45, 30}[i%2], Eye: []phantom.Eye{phantom.Right, phantom.Left}[i%2]}
		p, err := phantom.Draw(o)
		if err == nil {
			err = write(*out, fmt.Sprintf("phantom%02d", i+1), p)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("%d phantoms in %s\n", *n, *out)
}

// write puts a phantom's picture, its drawn vessels and its field of view into the folders of the plain layout.
func write(dir, name string, p *phantom.Photograph) error {
	size := image.Rect(0, 0, p.Picture.Width, p.Picture.Height)
	picture := image.NewNRGBA(size)
	for i := range p.Picture.Width * p.Picture.Height {
		rgb := p.Picture.Pix[3*i:]
		picture.SetNRGBA(i%p.Picture.Width, i/p.Picture.Width, color.NRGBA{R: rgb[0], G: rgb[1], B: rgb[2], A: 255})
	}
	grey := func(m *raster.Mask) image.Image { return &image.Gray{Pix: m.Pix, Stride: m.Width, Rect: size} }
	for folder, content := range map[string]image.Image{"images": picture, "manual1": grey(p.Vessels), "fov": grey(p.FOV)} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(dir, folder, name+".png"))
		if err != nil {
			return err
		}
		err = png.Encode(f, content)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
