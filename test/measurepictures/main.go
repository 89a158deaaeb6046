// Command measurepictures draws the pictures of docs/measures.md: what each measure and region of a phantom is made of. The phantom
// is segmented by the shipped model, so that the whole chain from photograph to picture is the product's.
//
//	go run ./test/measurepictures -out docs/images/measures
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"image"
	"image/jpeg"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/image/draw"

	"github.com/noctua-screening/noctua/models"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/segment"
)

// sidePx is the width of a picture in the document, and quality its JPEG quality: all of them take half a megabyte.
const sidePx, quality = 300, 78

func main() {
	out := flag.String("out", "docs/images/measures", "folder to write")
	seed := flag.Uint64("seed", 7, "of the phantom")
	flag.Parse()
	if err := run(context.Background(), *out, *seed); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out string, seed uint64) (err error) {
	eye, err := phantom.Draw(phantom.Options{Seed: seed, FOVDeg: 45, Eye: phantom.Right})
	if err != nil {
		return err
	}
	shipped, err := models.Files()
	if err != nil {
		return err
	}
	engine, err := segment.OpenEngine(ctx, segment.EngineConfig{Model: shipped})
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, engine.Close()) }()
	analyser, err := segment.NewAnalyser(engine, time.Now, "measurepictures")
	if err != nil {
		return err
	}
	degrees := 45.
	subject := segment.Subject{StudyUID: "2.25.1", SOPUID: "2.25.2", SHA256: strings.Repeat("0", 64), Laterality: record.RightEye, HorizontalFOVDeg: &degrees}
	analysis, err := analyser.Analyse(ctx, eye.Picture, subject)
	if err != nil {
		return err
	}
	files, err := analysis.Explain()
	if err != nil {
		return err
	}
	rendered, err := analysis.Render(eye.Picture, false)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, f := range rendered {
		if f.Name == segment.VesselMapFile {
			if err := os.WriteFile(filepath.Join(out, f.Name), f.Data, 0o644); err != nil {
				return err
			}
		}
	}
	for _, f := range files {
		full, err := png.Decode(bytes.NewReader(f.Data))
		if err != nil {
			return err
		}
		small := image.NewRGBA(image.Rect(0, 0, sidePx, sidePx))
		draw.CatmullRom.Scale(small, small.Bounds(), full, full.Bounds(), draw.Src, nil)
		var encoded bytes.Buffer
		if err := jpeg.Encode(&encoded, small, &jpeg.Options{Quality: quality}); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, strings.TrimSuffix(f.Name, ".png")+".jpg"), encoded.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
