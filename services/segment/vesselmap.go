package segment

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"math"
	"strconv"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/pkg/vesselmap"
)

// subject is what maps are drawn of. The picture must have been measured.
func (a *Analysis) subject() vesselmap.Subject {
	photo := raster.NewRGB(a.image.Width, a.image.Height)
	plane := a.image.Width * a.image.Height
	for ch := range 3 {
		mean, deviation := a.norm.Mean[ch], max(a.norm.Std[ch], fundus.MinStd)
		for i, v := range a.image.Pix[ch*plane:][:plane] {
			photo.Pix[3*i+ch] = uint8(max(0, min(255, math.Round(float64(v)*deviation+mean))))
		}
	}
	return vesselmap.Subject{Photo: photo, Vessels: a.Vessels, FOV: a.FOVMask, Geometry: a.Geometry, Measured: a.Findings}
}

// vesselMap draws the vessels with their widths and the parts of the field. It shows nothing outside the field of view.
func (a *Analysis) vesselMap() ([]byte, error) {
	drawn, err := vesselmap.Overview(a.subject())
	if err != nil {
		return nil, err
	}
	p := raster.NewRGB(drawn.Bounds().Dx(), drawn.Bounds().Dy())
	for i := range p.Width * p.Height {
		copy(p.Pix[3*i:3*i+3], drawn.Pix[4*i:])
	}
	encoded, err := pixel.EncodeJPEG(p, overlayQuality)
	if err != nil {
		return nil, fmt.Errorf("encoding the map of the vessels: %w", err)
	}
	return encoded, nil
}

// Explain draws one small PNG a measure and a region: which pixels it is made of. Regions that this field does not hold are left out.
func (a *Analysis) Explain() ([]File, error) {
	s := a.subject()
	var files []File
	add := func(name string, drawn *image.RGBA) error {
		var out bytes.Buffer
		if err := png.Encode(&out, drawn); err != nil {
			return fmt.Errorf("encoding the picture of %s: %w", name, err)
		}
		files = append(files, File{name + ".png", "image/png", out.Bytes()})
		return nil
	}
	for _, d := range vessel.Definitions() {
		drawn, err := vesselmap.Measure(s, d.Name)
		if err != nil {
			return nil, err
		}
		if err := add(d.Name, drawn); err != nil {
			return nil, err
		}
	}
	for _, r := range a.Findings.Regions {
		if r.Absent != nil {
			continue
		}
		drawn, err := vesselmap.Region(s, r.Name)
		if err != nil {
			return nil, err
		}
		if err := add(r.Name, drawn); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// segmentTable lists the vessel segments: where they begin and end in pixels of the photograph, what is measured of each, in the
// units of the measures of the same name, and whether the field of view cuts them off. Empty cells have no value.
func (a *Analysis) segmentTable() ([]byte, error) {
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	rows := [][]string{{"segment", "from_x_px", "from_y_px", "from", "to_x_px", "to_y_px", "to", "length_percent", "width_percent", "arc_chord", "curvature_rad", "cut_by_field"}}
	number := func(v float64, digits int) string {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return ""
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	g, diameter := a.Findings.Graph, a.Geometry.FOVDiameterPx
	for i := range g.Segments {
		s := &g.Segments[i]
		row := []string{strconv.Itoa(i + 1)}
		cut := false
		for end, at := range []vessel.Point{s.Points[0], s.Points[len(s.Points)-1]} {
			x, y := a.Canvas.ToSource(at.X, at.Y)
			kind := "ring"
			if n := []int{s.From, s.To}[end]; n >= 0 {
				switch node := &g.Nodes[n]; {
				case node.IsBranch():
					kind = "branch"
				case node.AtEdge:
					kind, cut = "edge", true
				case node.IsEnd():
					kind = "end"
				default:
					kind = "bend"
				}
			}
			row = append(row, number(x, 1), number(y, 1), kind)
		}
		arcChord, curvature := math.NaN(), math.NaN()
		if s.IsLong(a.Geometry) {
			arcChord, curvature = s.LengthPx/s.ChordPx(), s.Turning/s.LengthPx*diameter
		}
		rows = append(rows, append(row, number(100*s.LengthPx/diameter, 3), number(100*s.WidthPx()/diameter, 3), number(arcChord, 4), number(curvature, 3), strconv.FormatBool(cut)))
	}
	if err := table.WriteAll(rows); err != nil {
		return nil, fmt.Errorf("writing the table of segments: %w", err)
	}
	return out.Bytes(), nil
}
