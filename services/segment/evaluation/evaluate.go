package evaluation

import (
	"context"
	"fmt"
	"image"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Segmentation is what a segmenter says about one picture, on the picture's own pixels.
type Segmentation struct {
	Probability *raster.Plane // of vessel, [0, 1]
	Mask        *raster.Mask  // by the segmenter's own threshold
	FOV         *raster.Mask  // the field of view that the segmenter found
	Density     *Stated       // the vessel area density that the segmenter states, nil where it states none
	Inference   time.Duration // inside the network; 0 where that is not known
	// Ungradable says why the segmenter would give this picture no figures, "" where it would. What it has found is scored all
	// the same.
	Ungradable string
	// Refused says why the segmenter gives no vessels at all, "" where it does. The rest may be nil then.
	Refused string
}

// Stated is a value with its 90 % interval, where it is stated with one.
type Stated struct {
	Value     float64
	Low, High *float64 // both or none
}

// Segmenter finds vessels. It must be safe for concurrent use where Options.Parallel is over 1.
type Segmenter interface {
	Segment(ctx context.Context, picture *raster.RGB) (*Segmentation, error)
}

// Options of Evaluate.
type Options struct {
	Segmenter   Segmenter                               // required
	ReadPicture func(path string) (*raster.RGB, error)  // required
	ReadMask    func(path string) (*raster.Mask, error) // required; foreground where the label is over 127
	// Model names the segmenter in the report.
	Model Model
	// Parallel is the number of pictures under way at once; 0 is 1. Each takes up to about 40 bytes a pixel.
	Parallel int
	// Overlay, when set, takes the overlay of each picture: hits, misses and false vessels on the photograph. It must be safe
	// for concurrent use where Parallel is over 1.
	Overlay func(picture Picture, overlay image.Image) error
	// Sheet keeps small overlays in the report for WriteFigure.
	Sheet bool
	// Progress, when set, is called after each picture, never from two goroutines at once.
	Progress func(done, total int)
}

// Report is the outcome, as `noctua evaluate --json` prints it.
type Report struct {
	Dataset  string `json:"dataset"` // folder
	Layout   Layout `json:"layout"`
	Split    Split  `json:"split"`
	Model    Model  `json:"model"`
	Protocol string `json:"protocol"`
	Images   int    `json:"images"`
	Metrics         // pooled over the pixels of all pictures
	// AUCError bounds what counting probabilities in bins adds to or takes from AUC.
	AUCError    float64     `json:"auc_error"`
	Summary     Summary     `json:"summary"`
	Difference  *Difference `json:"difference,omitempty"` // from the first model, where several are compared
	Calibration Calibration `json:"calibration"`
	Sweep       Sweep       `json:"sweep"`
	PerImage    []Picture   `json:"per_image"` // by name
	Notes       []string    `json:"notes,omitempty"`

	ROC []ROCPoint `json:"-"` // pooled

	sheet []*image.RGBA // small overlays, by picture; nil without Options.Sheet
}

// Model names what was evaluated. The zero value is a segmenter without a name.
type Model struct {
	Name      string  `json:"name"`
	Version   string  `json:"version"`
	SHA256    string  `json:"sha256"`
	Threshold float64 `json:"threshold"`
	Bytes     int64   `json:"bytes"` // of the network's file
}

// Label names the model for people, so that two versions, or two files of one version, can be told apart.
func (m Model) Label() string {
	if m.Name == "" {
		return "unnamed"
	}
	return fmt.Sprintf("%s %s (%.8s)", m.Name, m.Version, m.SHA256)
}

// Picture is the outcome of one picture.
type Picture struct {
	Name    string `json:"name"`
	Split   Split  `json:"split"`
	Metrics        // of this picture
	// FOVDice compares the field of view that the segmenter found with the data set's; undefined where there is none.
	FOVDice      Score   `json:"fov_dice"`
	ClDice       Score   `json:"cldice"`        // Shit et al. 2021, inside the field of view
	FOVPixels    int     `json:"fov_pixels"`    // pixels that count
	LabelDensity float64 `json:"label_density"` // share of vessels among them, by the label
	Density      float64 `json:"density"`       // the same, by the mask
	DensityError Score   `json:"density_error"` // Density − LabelDensity; undefined where the picture was refused
	// StatedDensity is the vessel area density that the segmenter states, with its 90 % interval; undefined where it states none.
	StatedDensity  Score   `json:"stated_density"`
	StatedLow      Score   `json:"stated_low"`
	StatedHigh     Score   `json:"stated_high"`
	IntervalHolds  *bool   `json:"interval_holds"` // whether the interval holds LabelDensity; nil where there is none
	NetworkSeconds float64 `json:"network_seconds,omitempty"`
	Ungradable     string  `json:"ungradable,omitempty"`
	Refused        string  `json:"refused,omitempty"`
}

const protocol = "pixels inside the field of view, native resolution, the model's own threshold; pooled over all pixels of all pictures; " +
	"AUC by 131072 bins of probability, ties counted half; clDice, densities and their errors by picture"

// Evaluate segments every picture of a data set and compares with its labels. A picture that cannot be read, or whose label
// does not fit it, is an error: figures of a part of a set would pass for figures of the set.
func Evaluate(ctx context.Context, d *Dataset, o Options) (*Report, error) {
	if o.Segmenter == nil || o.ReadPicture == nil || o.ReadMask == nil {
		return nil, fault.New(fault.Internal, "evaluation-options", "an evaluation needs a segmenter and readers of pictures and masks")
	}
	r := &Report{
		Dataset: d.Dir, Layout: d.Layout, Split: d.Split, Model: o.Model, Protocol: protocol,
		Images: len(d.Items), PerImage: make([]Picture, len(d.Items)), Notes: append([]string{}, d.Notes...),
	}
	if len(d.Items) == 0 {
		return nil, fault.New(fault.Invalid, "dataset-empty", "%s holds no labelled picture, so that there is nothing to measure", d.Dir)
	}
	if o.Sheet {
		r.sheet = make([]*image.RGBA, len(d.Items))
	}
	sum := newPool()
	var mu sync.Mutex // guards sum and done
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, o.Parallel))
	for i, item := range d.Items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			picture, t, small, err := evaluate(ctx, item, o)
			if err != nil {
				return fmt.Errorf("evaluating %s: %w", item.Name, err)
			}
			if o.Sheet {
				r.sheet[i] = small
			}
			mu.Lock()
			defer mu.Unlock()
			r.PerImage[i] = picture
			sum.add(t)
			done++
			if o.Progress != nil {
				o.Progress(done, len(d.Items))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.Metrics, r.AUCError, r.ROC = sum.metrics(), sum.aucError(), sum.roc()
	r.Summary, r.Calibration, r.Sweep = summarise(r.PerImage), sum.reliability.calibration(), sum.thresholds.sweep()
	trained := 0
	for _, p := range r.PerImage {
		if p.Ungradable != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("%s is ungradable, so that a clinic would get no figures; its vessels are scored all the same: %s", p.Name, p.Ungradable))
		}
		if p.Refused != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("%s was refused and counts as without vessels: %s", p.Name, p.Refused))
		}
		if p.Split == Train {
			trained++
		}
	}
	if trained > 0 && (d.Layout == CHASE || d.Layout == HRF) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of the pictures belong to the training split, which the shipped model has seen; only --split test tells how good it is", trained))
	}
	return r, nil
}

// evaluate scores one picture. The small overlay is nil unless the options ask for it.
func evaluate(ctx context.Context, item Item, o Options) (Picture, *tally, *image.RGBA, error) {
	none := func(err error) (Picture, *tally, *image.RGBA, error) { return Picture{}, nil, nil, err }
	picture, err := o.ReadPicture(item.Picture)
	if err != nil {
		return none(fmt.Errorf("reading the picture %s: %w", item.Picture, err))
	}
	label, err := readFitting(o, item.Label, picture)
	if err != nil {
		return none(err)
	}
	found, err := o.Segmenter.Segment(ctx, picture)
	if err != nil {
		return none(err)
	}
	if err := checkSize(found, picture); err != nil {
		return none(err)
	}
	out := Picture{
		Name: item.Name, Split: item.Split, FOVDice: Undefined(), DensityError: Undefined(), NetworkSeconds: found.Inference.Seconds(),
		Ungradable: found.Ungradable, Refused: found.Refused,
	}
	fov := found.FOV
	if item.FOV != "" {
		if fov, err = readFitting(o, item.FOV, picture); err != nil {
			return none(err)
		}
		out.FOVDice = maskDice(found.FOV, fov)
	}
	// Without any field of view, found or given, the whole picture counts: leaving it out would hide a failure.
	mask, truth := inside(found.Mask, fov, picture.Width, picture.Height), inside(label, fov, picture.Width, picture.Height)
	t := newTally()
	for i := range label.Pix {
		if fov != nil && fov.Pix[i] == 0 {
			continue
		}
		var p float32
		if found.Probability != nil {
			p = found.Probability.Pix[i]
			t.reliability.pixel(truth.Pix[i] != 0, p) // no probability is no statement that could be wrong
		}
		t.pixel(truth.Pix[i] != 0, mask.Pix[i] != 0, p)
	}
	single := newPool()
	single.add(t)
	out.Metrics, out.ClDice = single.metrics(), clDice(mask, truth)
	n := t.tp + t.fp + t.tn + t.fn
	out.FOVPixels = int(n)
	if n > 0 {
		out.LabelDensity, out.Density = float64(t.tp+t.fn)/float64(n), float64(t.tp+t.fp)/float64(n)
		if found.Mask != nil {
			out.DensityError = Score(out.Density - out.LabelDensity)
		}
	}
	out.state(found.Density)
	small, err := draws(out, picture, mask, truth, fov, o)
	if err != nil {
		return none(err)
	}
	return out, t, small, nil
}

// state records what the segmenter states about the density.
func (p *Picture) state(s *Stated) {
	p.StatedDensity, p.StatedLow, p.StatedHigh = Undefined(), Undefined(), Undefined()
	if s == nil {
		return
	}
	p.StatedDensity = Score(s.Value)
	if s.Low == nil || s.High == nil {
		return
	}
	p.StatedLow, p.StatedHigh = Score(*s.Low), Score(*s.High)
	holds := *s.Low <= p.LabelDensity && p.LabelDensity <= *s.High
	p.IntervalHolds = &holds
}

// draws makes the overlays that the options ask for.
func draws(p Picture, picture *raster.RGB, mask, truth, fov *raster.Mask, o Options) (small *image.RGBA, err error) {
	if o.Overlay != nil {
		drawn, err := captioned(p, overlayOf(picture, mask, truth, fov, overlaySidePx))
		if err != nil {
			return nil, err
		}
		if err := o.Overlay(p, drawn); err != nil {
			return nil, fmt.Errorf("keeping the overlay: %w", err)
		}
	}
	if o.Sheet {
		small = overlayOf(picture, mask, truth, fov, sheetSidePx)
	}
	return small, nil
}

func readFitting(o Options, path string, picture *raster.RGB) (*raster.Mask, error) {
	mask, err := o.ReadMask(path)
	if err != nil {
		return nil, fmt.Errorf("reading the mask %s: %w", path, err)
	}
	if mask.Width != picture.Width || mask.Height != picture.Height {
		return nil, fault.New(fault.Invalid, "label-size-mismatch", "The mask %s has %d × %d pixels, but its picture %d × %d: they must be the same.",
			path, mask.Width, mask.Height, picture.Width, picture.Height)
	}
	return mask, nil
}

func checkSize(s *Segmentation, picture *raster.RGB) error {
	n := picture.Width * picture.Height
	if s == nil || s.Refused == "" && (s.Probability == nil || s.Mask == nil || s.FOV == nil) ||
		s.Probability != nil && len(s.Probability.Pix) != n || s.Mask != nil && len(s.Mask.Pix) != n || s.FOV != nil && len(s.FOV.Pix) != n {
		return fault.New(fault.Internal, "segmentation-size-mismatch", "the segmenter's planes do not have the picture's %d × %d pixels", picture.Width, picture.Height)
	}
	return nil
}

// maskDice compares two masks of one size; a missing one is empty.
func maskDice(a, b *raster.Mask) Score {
	if a == nil {
		a = raster.NewMask(b.Width, b.Height)
	}
	both, sum := 0.0, 0.0
	for i := range a.Pix {
		if a.Pix[i] != 0 {
			sum++
		}
		if b.Pix[i] != 0 {
			sum++
			if a.Pix[i] != 0 {
				both++
			}
		}
	}
	return ratio(2*both, sum)
}
