package vessel

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Names of the measures: stable, kebab-case.
const (
	AreaDensity      = "vessel-area-density"
	LengthDensity    = "vessel-length-density"
	FractalDimension = "fractal-dimension"
)

// RegionField is the whole field of view, the region of every measure so far.
const RegionField = "field-of-view"

// Reasons for which a value is absent: stable, kebab-case.
const (
	ReasonEmptyField   = "field-of-view-empty"
	ReasonNoVessels    = "no-vessels"
	ReasonGridTooSmall = "grid-too-small"
)

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
	return []Definition{
		{
			Name:    AreaDensity,
			Display: "Vessel area density",
			Text:    "Vessel pixels inside the field of view divided by all pixels inside the field of view.",
			Unit:    "1",
			Region:  RegionField,
			Source:  "Pixel count; the convention of VascX (per field of view, not per picture frame)",
		},
		{
			Name:    LengthDensity,
			Display: "Vessel length density",
			Text: "Length of the vessel skeleton, in field-of-view diameters, divided by the area of the field of view, in squared " +
				"field-of-view diameters; a diagonal step counts √2; no millimetre scale is assumed.",
			Unit:   "1",
			Region: RegionField,
			Source: "Skeleton: Zhang and Suen 1984 with the corrections of Lü and Wang 1986 and Holt et al. 1987; steps: Freeman 1970",
		},
		{
			Name:    FractalDimension,
			Display: "Fractal dimension (box counting, full boxes count)",
			Text: "Slope of log N(s) on log 1/s, where N(s) is the number of boxes with any vessel pixel, for box sides s = 4, 8, 16, … up " +
				"to the largest power of two that fits the picture grid, boxes anchored at the grid's upper left corner; boxes " +
				"full of vessel count.",
			Unit:   "1",
			Region: RegionField,
			Source: "Box counting, least squares over all sides; AutoMorph differs by leaving full boxes out",
		},
	}
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

	values := make([]Value, 0, 3)
	for _, d := range Definitions() {
		v := Value{Definition: d}
		switch {
		case fovPx == 0:
			v.Absent = &Absence{ReasonEmptyField, "The field of view holds no pixel, so that nothing can be measured in it."}
		case d.Name == AreaDensity:
			v.Value = float64(vesselPx) / float64(fovPx)
		case d.Name == LengthDensity:
			// (length / diameter) / (area / diameter²)
			v.Value = SkeletonLength(Skeleton(inside)) * geometry.FOVDiameterPx / float64(fovPx)
		case d.Name == FractalDimension:
			v.Value, v.Absent = BoxDimension(inside, FullBoxesCount)
		default:
			return nil, fault.New(fault.Internal, "measure-unknown", "The measure %s is defined but not computed; this is a defect of Noctua.", d.Name)
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
