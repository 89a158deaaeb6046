package vessel

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Names of the measures: stable, kebab-case.
const (
	AreaDensity          = "vessel-area-density"
	LengthDensity        = "vessel-length-density"
	FractalDimension     = "fractal-dimension"
	AreaDensityFrame     = "vessel-area-density-frame"
	FractalDimensionOpen = "fractal-dimension-open-boxes"
	FractalFit           = "fractal-dimension-fit"
	WidthMean            = "vessel-width-mean"
	WidthP10             = "vessel-width-p10"
	WidthMedian          = "vessel-width-median"
	WidthP90             = "vessel-width-p90"
	SegmentCount         = "vessel-segment-count"
	BranchPointCount     = "branch-point-count"
	EndPointCount        = "end-point-count"
	BranchingAngle       = "branching-angle-mean"
	Tortuosity           = "tortuosity-arc-chord"
	Curvature            = "tortuosity-curvature"
	WidthMicrometres     = "vessel-width-mean-retina"
	LengthPerMillimetre  = "vessel-length-density-retina"
	WidthDegrees         = "vessel-width-mean-angle"
	LengthPerDegree      = "vessel-length-density-angle"
	WidthDiscs           = "vessel-width-mean-disc"
	LengthPerDisc        = "vessel-length-density-disc"
)

// Reasons for which a value is absent: stable, kebab-case.
const (
	ReasonEmptyField   = "field-of-view-empty"
	ReasonNoVessels    = "no-vessels"
	ReasonGridTooSmall = "grid-too-small"
	ReasonNoBranching  = "no-branch-points"
	ReasonNoSegment    = "no-long-segment"
	ReasonNoDisc       = "optic-disc-not-found"
	ReasonEyeUnknown   = "eye-not-stated"
	ReasonRegionCut    = "region-outside-field-of-view"
	ReasonNoSpacing    = "pixel-size-not-stated"
	ReasonNoAngle      = "field-angle-not-stated"
	ReasonUnsteady     = "measure-not-repeatable"
)

// segmentPartOfField is how long a segment must be, in diameters of the field of view, to have a tortuosity: 25 px of 1024.
const segmentPartOfField = 25.0 / 1024

// Definition says what a measure is. It travels with every value.
type Definition struct {
	Name     string // stable, kebab-case
	Display  string // for people
	Text     string // one sentence
	Unit     string // UCUM; "1" is a pure number
	Region   string // where it is taken: the Name of a Region
	Source   string // of the formula
	Regional bool   // taken in every region, and not of the whole field alone
}

// Definitions returns the measures of the whole field of view, in the order in which Measure returns their values.
func Definitions() []Definition {
	rows := table()
	out := make([]Definition, len(rows))
	for i := range rows {
		out[i] = rows[i].Definition
		out[i].Region = RegionField
	}
	return out
}

// Geometry is the scale of the grid that the masks lie on. Only the diameter is required.
type Geometry struct {
	FOVDiameterPx    float64 // diameter of the full field-of-view circle, pixels of the grid; also when the circle is cut. It is in the grid's middle
	Disc             *Circle // the optic disc; nil where it was not found with confidence
	Eye              Eye
	MillimetresPerPx float64 // on the retina; 0: not known
	DegreesPerPx     float64 // 0: not known
}

// Absence says why there is no value.
type Absence struct {
	Code     string // stable, kebab-case
	Sentence string
}

// Value is one measure of one picture: a number, or the reason why there is none.
type Value struct {
	Definition
	Value  float64  // in Unit; 0 where Absent is set
	Absent *Absence // nil where there is a value
}

// Measurement is what Measure finds.
type Measurement struct {
	Values  []Value          // of the whole field of view: those of Definitions, in that order
	Regions []RegionalValues // those of Regions, in that order
	Graph   *Graph
}

// RegionalValues are the measures of one region.
type RegionalValues struct {
	Region
	Absent *Absence // why nothing was measured here; nil where something was
	Values []Value  // those of Definitions that are Regional, in that order; none where Absent is set
}

// Measure takes every measure of the whole field of view and of its regions, on the grid of the two masks, which must have the same
// size. Vessel pixels outside fov are ignored. The error is about arguments that do not fit; pictures never cause one.
func Measure(vessels, fov *raster.Mask, geometry Geometry) (*Measurement, error) {
	if err := check(vessels, fov, geometry); err != nil {
		return nil, err
	}
	inside := raster.NewMask(fov.Width, fov.Height)
	for i, f := range fov.Pix {
		if f != 0 && vessels.Pix[i] != 0 {
			inside.Pix[i] = raster.Foreground
		}
	}
	m := &material{inside: inside, fov: fov, graph: orientationOf(inside).graph(inside, fov), geometry: geometry}
	parts := m.parts()
	if parts[0].fovPx == 0 {
		empty := &Absence{ReasonEmptyField, "The field of view holds no pixel, so that nothing can be measured in it."}
		for i := range parts {
			parts[i].absent = empty
		}
	}
	out := &Measurement{Graph: m.graph}
	rows := table()
	for _, row := range rows {
		out.Values = append(out.Values, row.value(m, &parts[0], RegionField))
	}
	for i, region := range Regions() {
		p := &parts[1+i]
		r := RegionalValues{Region: region, Absent: p.absent}
		for _, row := range rows {
			if row.Regional && p.absent == nil {
				r.Values = append(r.Values, row.value(m, p, region.Name))
			}
		}
		out.Regions = append(out.Regions, r)
	}
	return out, nil
}

func (e *entry) value(m *material, p *part, region string) Value {
	v := Value{Definition: e.Definition, Absent: p.absent}
	v.Region = region
	if v.Absent == nil {
		v.Value, v.Absent = e.measure(m, p)
	}
	return v
}

func check(vessels, fov *raster.Mask, geometry Geometry) error {
	if vessels.Width != fov.Width || vessels.Height != fov.Height || len(vessels.Pix) != len(fov.Pix) || len(fov.Pix) != fov.Width*fov.Height {
		return fault.New(fault.Internal, "mask-size-mismatch",
			"The vessel mask (%d × %d) and the mask of the field of view (%d × %d) must lie on the same grid.",
			vessels.Width, vessels.Height, fov.Width, fov.Height)
	}
	if !(geometry.FOVDiameterPx > 0) || math.IsInf(geometry.FOVDiameterPx, 0) {
		return fault.New(fault.Internal, "field-of-view-diameter-invalid",
			"The diameter of the field of view must be a positive number of pixels, but is %v.", geometry.FOVDiameterPx)
	}
	if d := geometry.Disc; d != nil && (!(d.DiameterPx > 0) || math.IsInf(d.DiameterPx+d.X+d.Y, 0) || math.IsNaN(d.X+d.Y)) {
		return fault.New(fault.Internal, "optic-disc-invalid", "The optic disc must be a circle on the grid, but is %v.", *d)
	}
	return nil
}
