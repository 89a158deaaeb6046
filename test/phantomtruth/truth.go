package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/noctua-screening/noctua/models"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/services/segment"
)

// shot is how the phantom with a number is photographed: wide and narrow fields, both eyes, three sizes, and every second one with
// something in the way.
func shot(seed uint64) phantom.Options {
	o := phantom.Options{Seed: seed, FOVDeg: []float64{45, 30}[seed%2], Eye: []phantom.Eye{phantom.Right, phantom.Left}[seed/2%2]}
	size := [][2]int{{1024, 960}, {1440, 1200}, {2048, 1536}}[seed%3]
	o.Width, o.Height = size[0], size[1]
	switch seed / 2 % 6 {
	case 1:
		o.Flare = true
	case 3:
		o.Lashes = true
	case 5:
		o.Flare, o.Lashes, o.Caption = true, true, fmt.Sprintf("%s %.0f", o.Eye, o.FOVDeg)
	}
	return o
}

// pair is a measure of a phantom as the product states it and as it was drawn.
type pair struct {
	found, drawn float64
	half         *float64 // stated half width of the 90 % interval
	seed         uint64   // of the phantom
}

// screener runs the whole chain of the product.
type screener struct {
	engine   *segment.Engine
	analyser *segment.Analyser
}

func openScreener(ctx context.Context) (*screener, error) {
	shipped, err := models.Files()
	if err != nil {
		return nil, err
	}
	engine, err := segment.OpenEngine(ctx, segment.EngineConfig{Model: shipped})
	if err != nil {
		return nil, err
	}
	analyser, err := segment.NewAnalyser(engine, time.Now, "phantomtruth")
	if err != nil {
		return nil, err
	}
	return &screener{engine, analyser}, nil
}

func (s *screener) close() error { return s.engine.Close() }

// compare draws a phantom, lets the product measure it, and measures the drawn tree on the canvas of the drawn field of view, so that an
// error in finding the field counts. reason says why the product refused; then there are no pairs.
func (s *screener) compare(ctx context.Context, o phantom.Options) (pairs map[string]pair, reason string, err error) {
	p, err := phantom.Draw(o)
	if err != nil {
		return nil, "", err
	}
	analysis, err := s.analyser.Analyse(ctx, p.Picture, segment.Subject{Decoder: "phantom"})
	if err != nil {
		return nil, "", err
	}
	if !analysis.Measured() {
		for _, w := range analysis.Result.Warnings {
			reason += w.Code + " "
		}
		return nil, reason, nil
	}
	drawn, err := measureDrawn(p, analysis.Canvas)
	if err != nil {
		return nil, "", err
	}
	pairs = map[string]pair{}
	for _, m := range analysis.Result.Measures {
		if d, ok := drawn[m.Name]; ok && m.Region == vessel.RegionField && m.Value != nil {
			pairs[m.Name] = pair{*m.Value, d, m.Error, o.Seed}
		}
	}
	return pairs, "", nil
}

// measureDrawn takes the whole-field measures of the drawn tree on a canvas like the product's.
func measureDrawn(p *phantom.Photograph, like fundus.Canvas) (map[string]float64, error) {
	w, h := p.Picture.Width, p.Picture.Height
	fov := fundus.FOV{CenterX: p.CenterX, CenterY: p.CenterY, Radius: p.Radius, Right: float64(w), Bottom: float64(h), Width: w, Height: h}
	canvas, err := fundus.NewCanvas(fov, like.Width, like.Height, like.DiameterPx)
	if err != nil {
		return nil, err
	}
	// A mask is brought to the canvas as a grey picture: half covered is vessel.
	grey := raster.NewRGB(w, h)
	for i, v := range p.Vessels.Pix {
		grey.Pix[3*i] = v
	}
	image, err := canvas.ToCanvas(grey)
	if err != nil {
		return nil, err
	}
	vessels := raster.NewMask(canvas.Width, canvas.Height)
	for i := range vessels.Pix {
		if float64(image.Pix[i]) >= float64(raster.Foreground)/2 {
			vessels.Pix[i] = raster.Foreground
		}
	}
	measured, err := vessel.Measure(vessels, canvas.Mask(), vessel.Geometry{FOVDiameterPx: canvas.DiameterPx})
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, v := range measured.Values {
		if v.Absent == nil {
			out[v.Name] = v.Value
		}
	}
	return out, nil
}

// figures are what is said of a measure.
type figures struct {
	n                    int
	drawn                float64 // mean of the drawn values
	bias, meanError      float64 // mean of found − drawn, and of its absolute value
	correlation          float64 // Pearson's; NaN where nothing varies
	within, withInterval int     // phantoms whose stated interval holds the drawn value, of those with one
	worst                pair    // the one with the largest error
	drawnSpread          float64 // sample standard deviation of the drawn values
}

func summarise(pairs []pair) figures {
	f := figures{n: len(pairs)}
	if f.n == 0 {
		return f
	}
	n := float64(f.n)
	var found float64
	for _, p := range pairs {
		f.drawn += p.drawn / n
		found += p.found / n
		f.bias += (p.found - p.drawn) / n
		f.meanError += math.Abs(p.found-p.drawn) / n
		if math.Abs(p.found-p.drawn) >= math.Abs(f.worst.found-f.worst.drawn) {
			f.worst = p
		}
		if p.half != nil {
			f.withInterval++
			if math.Abs(p.found-p.drawn) <= *p.half {
				f.within++
			}
		}
	}
	var both, dd, ff float64
	for _, p := range pairs {
		d, e := p.drawn-f.drawn, p.found-found
		both, dd, ff = both+d*e, dd+d*d, ff+e*e
	}
	f.correlation = both / math.Sqrt(dd*ff)
	f.drawnSpread = math.Sqrt(dd / max(1, n-1))
	return f
}
