package segment

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math"

	"github.com/noctua-screening/noctua/pkg/dicom/derived"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Names of the files beside result.json.
const (
	MaskFile      = "mask.png"
	OverlayFile   = "overlay.jpg"
	VesselMapFile = "vessels.jpg"
	SegmentsFile  = "segments.csv"
	SEGFile       = "seg.dcm"
	SRFile        = "sr.dcm"
	ResultFile    = "result.json"
	FailureFile   = "failure.json"
)

// File is a file as it lies beside result.json.
type File struct {
	Name, ContentType string
	Data              []byte
}

// Look of the overlay. Green-cyan is the complement of a retina's red; vessels are filled so lightly that what lies under
// them stays visible, and outlined so that their edge can be judged.
const (
	overlayQuality = 85
	overlayRed     = 0
	overlayGreen   = 255
	overlayBlue    = 170
	fillPercent    = 30
	linePercent    = 90
	// overlayLineShare is the diameter of the field of view in line widths, so that the line is as wide on any camera.
	overlayLineShare = 900
)

// Render makes the files that the result names. Of a measured picture: the vessel mask (PNG, grey, 0 and 255, the photograph's size),
// the overlay (JPEG, the photograph with the mask laid over it and the optic disc ringed where it was found with confidence, its size),
// a mask for each further class, the map of the vessels (JPEG, on the canvas), the table of their segments (CSV), and of a DICOM
// instance the masks as SEG and the measures as SR. Of an ungradable one: the SR, which says why. p is used up: the overlay is drawn
// into it. burnedIn blanks what lies outside the field of view, where cameras write names.
func (a *Analysis) Render(p *raster.RGB, burnedIn bool) ([]File, error) {
	if !a.Measured() {
		return a.dicomResults(nil)
	}
	mask, err := a.Mask()
	if err != nil {
		return nil, err
	}
	encoded, err := encodeMask(mask)
	if err != nil {
		return nil, err
	}
	linePx := max(1, int(2*a.Canvas.FOV.Radius/overlayLineShare+.5))
	drawOverlay(p, mask, linePx)
	if disc := a.Result.OpticDisc; disc != nil && disc.Confidence >= fundus.DiscConfidence {
		drawCircle(p, disc.CenterX, disc.CenterY, disc.Diameter/2, float64(linePx))
	}
	if burnedIn {
		a.Canvas.FOV.BlankOutside(p)
	}
	overlay, err := pixel.EncodeJPEG(p, overlayQuality)
	if err != nil {
		return nil, fmt.Errorf("encoding the overlay: %w", err)
	}
	files := []File{{MaskFile, maskType, encoded}, {OverlayFile, "image/jpeg", overlay}}
	segments := []derived.Segment{{Class: derived.Vessel, Mask: mask}}
	for _, c := range a.Classes {
		if mask, err = a.Canvas.MaskFromCanvas(c.Probability, classThreshold); err != nil {
			return nil, err
		}
		if encoded, err = encodeMask(mask); err != nil {
			return nil, err
		}
		files = append(files, File{c.maskFile(), maskType, encoded})
		segments = append(segments, derived.Segment{Class: c.Name, Mask: mask})
	}
	if a.Findings != nil {
		vessels, err := a.vesselMap()
		if err != nil {
			return nil, err
		}
		table, err := a.segmentTable()
		if err != nil {
			return nil, err
		}
		files = append(files, File{VesselMapFile, "image/jpeg", vessels}, File{SegmentsFile, "text/csv", table})
	}
	results, err := a.dicomResults(segments)
	return append(files, results...), err
}

const maskType = "image/png"

func encodeMask(m *raster.Mask) ([]byte, error) {
	var out bytes.Buffer
	// Fastest compression: a mask is mostly runs, the best one saves a few KB and takes several times as long.
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&out, &image.Gray{Pix: m.Pix, Stride: m.Width, Rect: image.Rect(0, 0, m.Width, m.Height)}); err != nil {
		return nil, fmt.Errorf("encoding the mask: %w", err)
	}
	return out.Bytes(), nil
}

// drawOverlay lays the mask over the picture: a light fill, and a line of linePx pixels along the edge inside the mask.
func drawOverlay(p *raster.RGB, m *raster.Mask, linePx int) {
	w, h := m.Width, m.Height
	for y := range h {
		row := m.Pix[y*w : (y+1)*w]
		above, below := m.Pix[max(0, y-linePx)*w:][:w], m.Pix[min(h-1, y+linePx)*w:][:w]
		for x, v := range row {
			if v == 0 {
				continue
			}
			percent := fillPercent
			if row[max(0, x-linePx)] == 0 || row[min(w-1, x+linePx)] == 0 || above[x] == 0 || below[x] == 0 {
				percent = linePercent
			}
			pix := p.Pix[3*(y*w+x):][:3]
			for ch, colour := range [3]int{overlayRed, overlayGreen, overlayBlue} {
				pix[ch] = uint8((int(pix[ch])*(100-percent) + colour*percent + 50) / 100)
			}
		}
	}
}

// drawCircle draws a white line of linePx pixels along a circle.
func drawCircle(p *raster.RGB, cx, cy, radius, linePx float64) {
	reach := radius + linePx
	for y := max(0, int(cy-reach)); y <= min(p.Height-1, int(cy+reach)); y++ {
		for x := max(0, int(cx-reach)); x <= min(p.Width-1, int(cx+reach)); x++ {
			if math.Abs(math.Hypot(float64(x)+.5-cx, float64(y)+.5-cy)-radius) > linePx/2 {
				continue
			}
			pix := p.Pix[3*(y*p.Width+x):][:3]
			for ch := range pix {
				pix[ch] = uint8((int(pix[ch])*(100-linePercent) + 255*linePercent + 50) / 100)
			}
		}
	}
}
