package vessel

import (
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// entry is a row of the table: what a measure is, and how it is taken.
type entry struct {
	Definition
	measure func(*material) (float64, *Absence)
}

// material is what measures are taken from. The field of view is not empty.
type material struct {
	inside, skeleton *raster.Mask // vessels inside the field of view
	graph            *Graph
	vesselPx, fovPx  float64
	diameterPx       float64 // of the field of view

	sortedWidths []float64 // made at need
}

// perDiameter is the unit of lengths: percent of the diameter of the field of view, since no millimetre scale is assumed.
const perDiameter = "%"

// table is the one list of measures.
func table() []entry {
	width := func(name, display, text string, measure func([]float64) float64) entry {
		return entry{
			Definition{
				Name: name, Display: display, Unit: perDiameter, Region: RegionField,
				Text: text + " of the local widths of the vessels, in percent of the field of view's diameter. A width is taken at each " +
					"point of the centre line outside the branchings, on its normal, between the places where the mask, interpolated " +
					"between pixel centres, falls below one half.",
				Source: "Profile across the centre line; twice the distance to the nearest background, which is often taken instead, comes in steps of the grid",
			},
			func(m *material) (float64, *Absence) {
				widths := m.widths()
				if len(widths) == 0 {
					return 0, &Absence{ReasonNoVessels, "There is no vessel long enough to take a width of."}
				}
				return 100 * measure(widths) / m.diameterPx, nil
			},
		}
	}
	count := func(name, display, text string, of func(*Graph) int) entry {
		return entry{
			Definition{
				Name: name, Display: display, Text: text, Unit: "1", Region: RegionField,
				Source: "Clusters of pixels of the skeleton, with the branches and bridges of thinning removed; tools that count pixels find up to eight times as many",
			},
			func(m *material) (float64, *Absence) { return float64(of(m.graph)), nil },
		}
	}
	return []entry{
		{
			Definition{
				Name:    AreaDensity,
				Display: "Vessel area density",
				Text:    "Vessel pixels inside the field of view divided by all pixels inside the field of view.",
				Unit:    "1",
				Region:  RegionField,
				Source:  "Pixel count; the convention of VascX (per field of view, not per picture frame)",
			},
			func(m *material) (float64, *Absence) { return m.vesselPx / m.fovPx, nil },
		},
		{
			Definition{
				Name:    LengthDensity,
				Display: "Vessel length density",
				Text: "Length of the vessel skeleton, in field-of-view diameters, divided by the area of the field of view, in squared " +
					"field-of-view diameters; a diagonal step counts √2; no millimetre scale is assumed.",
				Unit:   "1",
				Region: RegionField,
				Source: "Skeleton: Zhang and Suen 1984 with the corrections of Lü and Wang 1986 and Holt et al. 1987; steps: Freeman 1970",
			},
			func(m *material) (float64, *Absence) {
				// (length / diameter) / (area / diameter²)
				return SkeletonLength(m.skeleton) * m.diameterPx / m.fovPx, nil
			},
		},
		{
			Definition{
				Name:    FractalDimension,
				Display: "Fractal dimension (box counting, full boxes count)",
				Text: "Slope of log N(s) on log 1/s, where N(s) is the number of boxes with any vessel pixel, for box sides s = 4, 8, 16, … up " +
					"to the largest power of two that fits the picture grid, boxes anchored at the grid's upper left corner; boxes " +
					"full of vessel count.",
				Unit:   "1",
				Region: RegionField,
				Source: "Box counting, least squares over all sides; AutoMorph differs by leaving full boxes out",
			},
			func(m *material) (float64, *Absence) { return BoxDimension(m.inside, FullBoxesCount) },
		},
		{
			Definition{
				Name:    FractalDimensionOpen,
				Display: "Fractal dimension (box counting, full boxes left out)",
				Text: "As the fractal dimension, but boxes that hold nothing but vessel are not counted, which lowers it on thick " +
					"vessels. Not to be mixed with the other one.",
				Unit:   "1",
				Region: RegionField,
				Source: "Box counting, least squares over all sides; the convention of AutoMorph",
			},
			func(m *material) (float64, *Absence) { return BoxDimension(m.inside, FullBoxesLeftOut) },
		},
		{
			Definition{
				Name:    FractalFit,
				Display: "Fit of the fractal dimension (R²)",
				Text: "Share of the variance of log N(s) that the line of the fractal dimension (full boxes count) explains; near 1 where " +
					"the vessels look alike at all scales.",
				Unit:   "1",
				Region: RegionField,
				Source: "Coefficient of determination of the least-squares line",
			},
			func(m *material) (float64, *Absence) {
				_, r2, absent := boxFit(m.inside, FullBoxesCount)
				return r2, absent
			},
		},
		{
			Definition{
				Name:    AreaDensityFrame,
				Display: "Vessel area density of the frame",
				Text: "Vessel pixels inside the field of view divided by all pixels of the square grid that is measured on, which is 3 % " +
					"wider than the field of view. Not to be mixed with the density of the field of view.",
				Unit:   "1",
				Region: RegionField,
				Source: "Pixel count; the convention of AutoMorph (vessel density), whose frame is about as tight",
			},
			func(m *material) (float64, *Absence) { return m.vesselPx / float64(len(m.inside.Pix)), nil },
		},
		width(WidthMean, "Mean vessel width", "Mean", func(w []float64) float64 {
			sum := 0.0
			for _, x := range w {
				sum += x
			}
			return sum / float64(len(w))
		}),
		width(WidthP10, "Vessel width, 10th percentile", "10th percentile", func(w []float64) float64 { return quantile(w, .1) }),
		width(WidthMedian, "Vessel width, median", "Median", func(w []float64) float64 { return quantile(w, .5) }),
		width(WidthP90, "Vessel width, 90th percentile", "90th percentile", func(w []float64) float64 { return quantile(w, .9) }),
		count(SegmentCount, "Vessel segments", "Number of vessel segments: pieces of vessel between branch points, ends, and the edge of the field of view.",
			func(g *Graph) int { return len(g.Segments) }),
		count(BranchPointCount, "Branch points", "Number of places at which three or more vessel segments meet; where two vessels cross it is one.",
			(*Graph).BranchPoints),
		count(EndPointCount, "End points", "Number of free ends of vessels, without those that the edge of the field of view cuts off.",
			(*Graph).EndPoints),
		{
			Definition{
				Name:    BranchingAngle,
				Display: "Mean branching angle",
				Text: "Mean over the branch points of exactly three segments of the smallest angle between two of them, directions taken " +
					"along the centre lines between two and five radii of the vessel away from the branch point.",
				Unit:   "deg",
				Region: RegionField,
				Source: "Angle between the daughters of a bifurcation (Zamir et al. 1979), which is the smallest of the three",
			},
			func(m *material) (float64, *Absence) {
				angles := m.graph.branchingAngles()
				if len(angles) == 0 {
					return 0, &Absence{ReasonNoBranching, "No vessel branches in two, so that there is no branching angle."}
				}
				sum := 0.0
				for _, a := range angles {
					sum += a
				}
				return sum / float64(len(angles)) * 180 / math.Pi, nil
			},
		},
		{
			Definition{
				Name:    Tortuosity,
				Display: "Tortuosity (arc over chord)",
				Text: "Length of a segment's centre line divided by the distance between its ends, 1 for a straight one; mean over the " +
					"segments of at least 25/1024 of the field of view's diameter, weighted by length. Rings are left out.",
				Unit:   "1",
				Region: RegionField,
				Source: "Arc over chord, on the ordered and smoothed points of the centre line; τ₁ of Hart et al. 1999 is less by 1",
			},
			func(m *material) (float64, *Absence) {
				return m.overSegments(func(s *Segment) float64 { return s.LengthPx / s.ChordPx() })
			},
		},
		{
			Definition{
				Name:    Curvature,
				Display: "Tortuosity (integrated curvature)",
				Text: "Sum of the absolute changes of direction along a segment's centre line, divided by its length, in radians per " +
					"field-of-view diameter; mean over the same segments as arc over chord, weighted by length. The pixel grid alone " +
					"gives up to 1.4 on a field of 1024 pixels.",
				Unit:   "rad",
				Region: RegionField,
				Source: "Total curvature over arc length (τ₄ of Hart et al. 1999), directions under a Gaussian",
			},
			func(m *material) (float64, *Absence) {
				return m.overSegments(func(s *Segment) float64 { return s.Turning / s.LengthPx * m.diameterPx })
			},
		},
	}
}

// widths are all local widths, px, sorted.
func (m *material) widths() []float64 {
	if m.sortedWidths == nil {
		for _, s := range m.graph.Segments {
			m.sortedWidths = append(m.sortedWidths, s.WidthsPx...)
		}
		slices.Sort(m.sortedWidths)
	}
	return m.sortedWidths
}

// overSegments is the mean over long segments that are no rings, weighted by length.
func (m *material) overSegments(of func(*Segment) float64) (float64, *Absence) {
	var sum, weight float64
	for i := range m.graph.Segments {
		s := &m.graph.Segments[i]
		if s.From != s.To && s.LengthPx >= segmentPartOfField*m.diameterPx {
			sum += s.LengthPx * of(s)
			weight += s.LengthPx
		}
	}
	if weight == 0 {
		return 0, &Absence{ReasonNoSegment, "No vessel segment is long enough to tell how tortuous it is."}
	}
	return sum / weight, nil
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
