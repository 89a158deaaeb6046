package vessel

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// entry is a row of the table: what a measure is, and how it is taken, of the whole field or of a part of it.
type entry struct {
	Definition
	measure func(*material, *part) (float64, *Absence)
}

// material is what measures are taken from. The field of view is not empty.
type material struct {
	inside, fov *raster.Mask // inside: vessels inside the field of view
	graph       *Graph
	geometry    Geometry
}

// Units of UCUM. perDiameter is percent of the diameter of the field of view, which is the unit of lengths where nothing better is
// known.
const perDiameter = "%"

// table is the one list of measures.
func table() []entry {
	width := func(name, display, text string, of func([]float64) float64) entry {
		return entry{
			Definition{
				Name: name, Display: display, Unit: perDiameter, Regional: true,
				Text: text + " of the local widths of the vessels, in percent of the field of view's diameter. A width is taken at each " +
					"point of the centre line outside the branchings, on its normal, between the places where the mask, interpolated " +
					"between pixel centres, falls below one half.",
				Source: "Profile across the centre line; twice the distance to the nearest background, which is often taken instead, comes in steps of the grid",
			},
			func(m *material, p *part) (float64, *Absence) {
				if len(p.widths) == 0 {
					return 0, noWidths()
				}
				return 100 * of(p.widths) / m.geometry.FOVDiameterPx, nil
			},
		}
	}
	count := func(name, display, text string, of func(*part) int) entry {
		return entry{
			Definition{
				Name: name, Display: display, Text: text, Unit: "1", Regional: true,
				Source: "Clusters of pixels of the skeleton, with the branches and bridges of thinning removed; tools that count pixels find up to eight times as many",
			},
			func(_ *material, p *part) (float64, *Absence) { return float64(of(p)), nil },
		}
	}
	return append([]entry{
		{
			Definition{
				Name: AreaDensity, Display: "Vessel area density", Unit: "1", Regional: true,
				Text:   "Vessel pixels inside the field of view divided by all pixels inside the field of view.",
				Source: "Pixel count; the convention of VascX (per field of view, not per picture frame)",
			},
			func(_ *material, p *part) (float64, *Absence) { return p.vesselPx / p.fovPx, nil },
		},
		{
			Definition{
				Name: LengthDensity, Display: "Vessel length density", Unit: "1", Regional: true,
				Text: "Length of the vessels' centre lines, in field-of-view diameters, divided by the area of the field of view, in squared " +
					"field-of-view diameters.",
				Source: "Smoothed centre lines of the vessel graph: counting the steps of a skeleton instead makes a line at 22.5° 8 % longer than one at 0°",
			},
			func(m *material, p *part) (float64, *Absence) {
				// (length / diameter) / (area / diameter²)
				return p.lengthPx * m.geometry.FOVDiameterPx / p.fovPx, nil
			},
		},
		{
			Definition{
				Name: FractalDimension, Display: "Fractal dimension (box counting, full boxes count)", Unit: "1",
				Text: "Slope of log N(s) on log 1/s, where N(s) is the number of boxes with any vessel pixel, for box sides s = 4, 8, 16, … up " +
					"to the largest power of two that fits the picture grid, boxes anchored at the grid's upper left corner; boxes " +
					"full of vessel count.",
				Source: "Box counting, least squares over all sides; AutoMorph differs by leaving full boxes out",
			},
			func(m *material, _ *part) (float64, *Absence) { return BoxDimension(m.inside, FullBoxesCount) },
		},
		{
			Definition{
				Name: FractalDimensionOpen, Display: "Fractal dimension (box counting, full boxes left out)", Unit: "1",
				Text: "As the fractal dimension, but boxes that hold nothing but vessel are not counted, which lowers it on thick " +
					"vessels. Not to be mixed with the other one.",
				Source: "Box counting, least squares over all sides; the convention of AutoMorph",
			},
			func(m *material, _ *part) (float64, *Absence) { return BoxDimension(m.inside, FullBoxesLeftOut) },
		},
		{
			Definition{
				Name: FractalFit, Display: "Fit of the fractal dimension (R²)", Unit: "1",
				Text: "Share of the variance of log N(s) that the line of the fractal dimension (full boxes count) explains; near 1 where " +
					"the vessels look alike at all scales.",
				Source: "Coefficient of determination of the least-squares line",
			},
			func(m *material, _ *part) (float64, *Absence) {
				_, r2, absent := boxFit(m.inside, FullBoxesCount)
				return r2, absent
			},
		},
		{
			Definition{
				Name: AreaDensityFrame, Display: "Vessel area density of the frame", Unit: "1",
				Text: "Vessel pixels inside the field of view divided by all pixels of the square grid that is measured on, which is 3 % " +
					"wider than the field of view. Not to be mixed with the density of the field of view.",
				Source: "Pixel count; the convention of AutoMorph (vessel density), whose frame is about as tight",
			},
			func(m *material, p *part) (float64, *Absence) { return p.vesselPx / float64(len(m.inside.Pix)), nil },
		},
		width(WidthMean, "Mean vessel width", "Mean", mean),
		width(WidthP10, "Vessel width, 10th percentile", "10th percentile", func(w []float64) float64 { return quantile(w, .1) }),
		width(WidthMedian, "Vessel width, median", "Median", func(w []float64) float64 { return quantile(w, .5) }),
		width(WidthP90, "Vessel width, 90th percentile", "90th percentile", func(w []float64) float64 { return quantile(w, .9) }),
		count(SegmentCount, "Vessel segments", "Number of vessel segments: pieces of vessel between branch points, ends, and the edge of the field of view. "+
			"A segment belongs to the part of the field that its middle lies in.",
			func(p *part) int { return len(p.segments) }),
		count(BranchPointCount, "Branch points", "Number of places at which three or more vessel segments meet; where two vessels cross it is one.",
			func(p *part) int { return p.branches }),
		count(EndPointCount, "End points", "Number of free ends of vessels, without those that the edge of the field of view cuts off.",
			func(p *part) int { return p.ends }),
		{
			Definition{
				Name: BranchingAngle, Display: "Mean branching angle", Unit: "deg", Regional: true,
				Text: "Mean over the branch points of exactly three segments of the smallest angle between two of them, directions taken " +
					"along the centre lines between two and five radii of the vessel away from the branch point.",
				Source: "Angle between the daughters of a bifurcation (Zamir et al. 1979), which is the smallest of the three",
			},
			func(_ *material, p *part) (float64, *Absence) {
				if len(p.angles) == 0 {
					return 0, &Absence{ReasonNoBranching, "No vessel branches in two, so that there is no branching angle."}
				}
				return mean(p.angles) * 180 / math.Pi, nil
			},
		},
		{
			Definition{
				Name: Tortuosity, Display: "Tortuosity (arc over chord)", Unit: "1", Regional: true,
				Text: "Length of a segment's centre line divided by the distance between its ends, 1 for a straight one; mean over the " +
					"segments of at least 25/1024 of the field of view's diameter, weighted by length. Rings are left out.",
				Source: "Arc over chord, on the ordered and smoothed points of the centre line; τ₁ of Hart et al. 1999 is less by 1",
			},
			func(m *material, p *part) (float64, *Absence) {
				return m.overSegments(p, func(s *Segment) float64 { return s.LengthPx / s.ChordPx() })
			},
		},
		{
			Definition{
				Name: Curvature, Display: "Tortuosity (integrated curvature)", Unit: "rad", Regional: true,
				Text: "Sum of the absolute changes of direction along a segment's centre line, divided by its length, in radians per " +
					"field-of-view diameter; mean over the same segments as arc over chord, weighted by length. The pixel grid alone " +
					"gives up to 1.4 on a field of 1024 pixels.",
				Source: "Total curvature over arc length (τ₄ of Hart et al. 1999), directions under a Gaussian",
			},
			func(m *material, p *part) (float64, *Absence) {
				return m.overSegments(p, func(s *Segment) float64 { return s.Turning / s.LengthPx * m.geometry.FOVDiameterPx })
			},
		},
	}, scaled()...)
}

// scaled are width and length density in other units than the field of view's diameter, each where its scale is known.
func scaled() []entry {
	var out []entry
	for _, u := range []struct {
		width, widthUnit, length, lengthUnit string
		display, text, source                string
		perPx                                func(*Geometry) (float64, *Absence) // units a pixel
	}{
		{WidthMicrometres, "um", LengthPerMillimetre, "/mm", "on the retina",
			"where the photograph states a plausible size of its pixels on the retina", "PixelSpacing (0028,0030), checked against the field of view at intake",
			func(g *Geometry) (float64, *Absence) {
				if !(g.MillimetresPerPx > 0) {
					return 0, &Absence{ReasonNoSpacing, "The photograph states no plausible size of its pixels on the retina."}
				}
				return g.MillimetresPerPx, nil
			}},
		{WidthDegrees, "deg", LengthPerDegree, "/deg", "as an angle",
			"where the photograph states the angle of its field of view", "HorizontalFieldOfView (0022,000C), taken to be spread evenly over the width of the field that is seen",
			func(g *Geometry) (float64, *Absence) {
				if !(g.DegreesPerPx > 0) {
					return 0, &Absence{ReasonNoAngle, "The photograph does not state the angle of its field of view."}
				}
				return g.DegreesPerPx, nil
			}},
		{WidthDiscs, "%", LengthPerDisc, "1", "by the optic disc",
			"where the optic disc was found with confidence; its diameter, one of six sizes, is known to about 20 %", "Diameter of the optic disc; discs of healthy eyes differ by as much",
			func(g *Geometry) (float64, *Absence) {
				if g.Disc == nil {
					return 0, noDisc()
				}
				return 1 / g.Disc.DiameterPx, nil
			}},
	} {
		unit := map[string]string{"um": "micrometres", "deg": "degrees", "%": "percent of the disc's diameter"}[u.widthUnit]
		per := map[string]string{"/mm": "millimetres per square millimetre", "/deg": "degrees per square degree", "1": "disc diameters per squared disc diameter"}[u.lengthUnit]
		factor := map[string]float64{"um": 1000, "deg": 1, "%": 100}[u.widthUnit]
		out = append(out, entry{
			Definition{Name: u.width, Display: "Mean vessel width " + u.display, Unit: u.widthUnit,
				Text: "Mean vessel width in " + unit + ", " + u.text + ".", Source: u.source},
			func(m *material, p *part) (float64, *Absence) {
				perPx, absent := u.perPx(&m.geometry)
				switch {
				case absent != nil:
					return 0, absent
				case len(p.widths) == 0:
					return 0, noWidths()
				}
				return factor * perPx * mean(p.widths), nil
			},
		}, entry{
			Definition{Name: u.length, Display: "Vessel length density " + u.display, Unit: u.lengthUnit,
				Text: "Length of the vessels' centre lines in the field of view by its area, in " + per + ", " + u.text + ".", Source: u.source},
			func(m *material, p *part) (float64, *Absence) {
				perPx, absent := u.perPx(&m.geometry)
				if absent != nil {
					return 0, absent
				}
				return p.lengthPx / (p.fovPx * perPx), nil
			},
		})
	}
	return out
}

func noWidths() *Absence {
	return &Absence{ReasonNoVessels, "There is no vessel long enough to take a width of."}
}

// overSegments is the mean over long segments that are no rings, weighted by length.
func (m *material) overSegments(p *part, of func(*Segment) float64) (float64, *Absence) {
	var sum, weight float64
	for _, s := range p.segments {
		if s.IsLong(m.geometry) {
			sum += s.LengthPx * of(s)
			weight += s.LengthPx
		}
	}
	if weight == 0 {
		return 0, &Absence{ReasonNoSegment, "No vessel segment is long enough to tell how tortuous it is."}
	}
	return sum / weight, nil
}

// mean of values, at least one.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// quantile of sorted values, at least one, interpolated between neighbours (Hyndman and Fan 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}
