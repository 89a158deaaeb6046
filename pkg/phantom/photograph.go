package phantom

import (
	"math"
	"math/rand/v2"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Eye is a right or left eye, by DICOM's letters.
type Eye string

// The eyes.
const (
	Right Eye = "R"
	Left  Eye = "L"
)

// Defect is what makes a photograph ungradable.
type Defect string

// The defects.
const (
	NoDefect Defect = ""
	Dark     Defect = "dark"    // the flash did not fire
	Blurred  Defect = "blurred" // out of focus, through a cloudy lens
)

// Options say which eye is drawn and how it is photographed. The zero value of a field means its default.
type Options struct {
	Seed          uint64  // of the eye, and of the photograph if Take is 0
	Take          uint64  // of the photograph: another one of the same eye has another light and other noise
	Lost          float64 // share of the branches that the eye has lost, with what left them, 0 to 0.9: more is lost of the same
	Width, Height int     // pixels, 64 to 8192; default 1024 × 960
	FOVDeg        float64 // horizontal field of view, 20 to 60 degrees; default 45
	Eye           Eye     // default Right
	Defect        Defect  // default none
	Flare         bool    // light of the flash that never reached the retina
	Lashes        bool    // eyelashes hang into the light
	Caption       string  // text that the camera burns into the margin, at most 64 characters; basic Latin
}

// Limits of the options.
const (
	minSidePx, maxSidePx = 64, 8192
	minFOVDeg, maxFOVDeg = 20, 60
	maxCaption           = 64
	maxLost              = .9
	fovShareOfSide       = .95 // diameter of the field of view / shorter side of the picture
)

func (o Options) withDefaults() Options {
	if o.Width == 0 && o.Height == 0 {
		o.Width, o.Height = 1024, 960
	}
	if o.FOVDeg == 0 {
		o.FOVDeg = 45
	}
	if o.Eye == "" {
		o.Eye = Right
	}
	return o
}

// Validate says in a sentence what is wrong with the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case min(o.Width, o.Height) < minSidePx || max(o.Width, o.Height) > maxSidePx:
		return fault.New(fault.Invalid, "phantom-options", "A phantom has sides of %d to %d pixels, but %d × %d were asked for.", minSidePx, maxSidePx, o.Width, o.Height)
	case !(o.FOVDeg >= minFOVDeg && o.FOVDeg <= maxFOVDeg):
		return fault.New(fault.Invalid, "phantom-options", "A phantom shows %d to %d degrees, but %v were asked for.", minFOVDeg, maxFOVDeg, o.FOVDeg)
	case o.Eye != Right && o.Eye != Left:
		return fault.New(fault.Invalid, "phantom-options", "An eye is R or L, but %q was asked for.", o.Eye)
	case o.Defect != NoDefect && o.Defect != Dark && o.Defect != Blurred:
		return fault.New(fault.Invalid, "phantom-options", "A defect is dark, blurred or empty, but %q was asked for.", o.Defect)
	case !(o.Lost >= 0 && o.Lost <= maxLost):
		return fault.New(fault.Invalid, "phantom-options", "An eye loses 0 to %v of its branches, but %v were asked for.", maxLost, o.Lost)
	case len(o.Caption) > maxCaption:
		return fault.New(fault.Invalid, "phantom-options", "A caption has at most %d characters, but one of %d was asked for.", maxCaption, len(o.Caption))
	}
	return nil
}

// Photograph is a phantom and the truth about it, on the same pixels.
type Photograph struct {
	Picture *raster.RGB
	// Vessels holds the drawn tree inside the field of view: pixels whose centre lies on a vessel. Arteries and Veins are
	// its two parts; where they cross, a pixel is in both.
	Vessels, Arteries, Veins *raster.Mask
	FOV                      *raster.Mask
	// The field of view's circle and the landmarks, in pixels; pixel j covers [j, j+1).
	CenterX, CenterY, Radius    float64
	DiscX, DiscY, DiscRadiusPx  float64
	FoveaX, FoveaY, PxPerDegree float64
}

// Draw makes a phantom.
func Draw(o Options) (*Photograph, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	// The eye and the photograph have random numbers of their own: a dark picture of an eye shows the same eye.
	eye := rand.New(rand.NewPCG(o.Seed, 1))
	take := o.Seed
	if o.Take != 0 {
		take = o.Take
	}
	camera := rand.New(rand.NewPCG(take, 2))

	v := newView(o, eye)
	tree := prune(grow(eye, v.reachDeg()), rand.New(rand.NewPCG(o.Seed, 4)), o.Lost)
	return paint(o, v, tree, eye, camera), nil
}

// Anatomy of an average right eye, degrees of visual angle, the fovea at the origin, x to the nose, y down.
// Hogan, Alvarado and Weddell, Histology of the Human Eye, 1971; 1° is about .29 mm.
const (
	discXDeg      = 15.5
	discYDeg      = -1.5
	discRadiusDeg = 2.7
)

type point struct{ x, y float64 }

func (p point) distance(q point) float64 { return math.Hypot(p.x-q.x, p.y-q.y) }

// view maps degrees of the eye to pixels of the picture.
type view struct {
	centre      point   // of the field of view, degrees
	pxPerDegree float64 // pixels
	cx, cy, r   float64 // field of view, pixels
	mirror      float64 // −1 in a left eye, whose nose is on the other side
}

func newView(o Options, random *rand.Rand) view {
	diameter := fovShareOfSide * float64(min(o.Width, o.Height))
	v := view{
		pxPerDegree: diameter / o.FOVDeg,
		r:           diameter / 2,
		cx:          float64(o.Width)/2 + diameter*.008*random.NormFloat64(),
		cy:          float64(o.Height)/2 + diameter*.004*random.NormFloat64(),
		mirror:      1,
	}
	// Cameras with a wide field are aimed at the macula, those with a narrow one between macula and disc.
	v.centre = point{discXDeg - .28*o.FOVDeg + .6*random.NormFloat64(), discYDeg/2 + .6*random.NormFloat64()}
	if o.Eye == Left {
		v.mirror = -1
	}
	return v
}

// pixel returns where a point of the eye lies in the picture.
func (v view) pixel(p point) (x, y float64) {
	return v.cx + v.mirror*(p.x-v.centre.x)*v.pxPerDegree, v.cy + (p.y-v.centre.y)*v.pxPerDegree
}

// degrees is the inverse of pixel.
func (v view) degrees(x, y float64) point {
	return point{v.centre.x + v.mirror*(x-v.cx)/v.pxPerDegree, v.centre.y + (y-v.cy)/v.pxPerDegree}
}

// reachDeg is how far from the fovea the tree has to grow to leave the field of view on every side.
func (v view) reachDeg() float64 {
	return math.Hypot(v.centre.x, v.centre.y) + v.r/v.pxPerDegree + 1
}
