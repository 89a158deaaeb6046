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
)

// RegionField is the whole field of view, the region of every measure so far.
const RegionField = "field-of-view"

// Reasons for which a value is absent: stable, kebab-case.
const (
	ReasonEmptyField   = "field-of-view-empty"
	ReasonNoVessels    = "no-vessels"
	ReasonGridTooSmall = "grid-too-small"
	ReasonNoBranching  = "no-branch-points"
	ReasonNoSegment    = "no-long-segment"
)

// segmentPartOfField is how long a segment must be, in diameters of the field of view, to have a tortuosity: 25 px of 1024.
const segmentPartOfField = 25.0 / 1024

// Definition says what a measure is. It travels with every value.
type Definition struct {
	Name    string // stable, kebab-case
	Display string // for people
	Text    string // one sentence
	Unit    string // UCUM; "1" is a pure number
	Region  string // where it is taken
	Source  string // of the formula
}

// Definitions returns the table of measures, in the order in which Measure returns their values.
func Definitions() []Definition {
	rows := table()
	out := make([]Definition, len(rows))
	for i := range rows {
		out[i] = rows[i].Definition
	}
	return out
}

// Geometry is the scale of the grid that the masks lie on.
type Geometry struct {
	FOVDiameterPx float64 // diameter of the full field-of-view circle, pixels of the grid; also when the circle is cut
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

// Measure takes every measure of Definitions, in that order, on the grid of the two masks, which must have the same size.
// Vessel pixels outside fov are ignored. The error is about arguments that do not fit; pictures never cause one.
func Measure(vessels, fov *raster.Mask, geometry Geometry) ([]Value, error) {
	if err := check(vessels, fov, geometry); err != nil {
		return nil, err
	}
	inside := raster.NewMask(fov.Width, fov.Height)
	var vesselPx, fovPx int
	for i, f := range fov.Pix {
		if f == 0 {
			continue
		}
		fovPx++
		if vessels.Pix[i] != 0 {
			vesselPx++
			inside.Pix[i] = raster.Foreground
		}
	}

	skeleton := Skeleton(inside)
	m := &material{
		inside: inside, skeleton: skeleton, graph: NewGraph(inside, fov, skeleton),
		vesselPx: float64(vesselPx), fovPx: float64(fovPx), diameterPx: geometry.FOVDiameterPx,
	}
	var values []Value
	for _, row := range table() {
		v := Value{Definition: row.Definition}
		if fovPx == 0 {
			v.Absent = &Absence{ReasonEmptyField, "The field of view holds no pixel, so that nothing can be measured in it."}
		} else {
			v.Value, v.Absent = row.measure(m)
		}
		values = append(values, v)
	}
	return values, nil
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
	return nil
}
