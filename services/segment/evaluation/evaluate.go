package evaluation

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Segmentation is what a segmenter says about one picture, on the picture's own pixels.
type Segmentation struct {
	Probability *raster.Plane // of vessel, [0, 1]
	Mask        *raster.Mask  // by the segmenter's own threshold
	FOV         *raster.Mask  // the field of view that the segmenter found
	// Refused says why the segmenter gives no vessels, "" where it does. The rest may be nil then.
	Refused string
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
	// Parallel is the number of pictures under way at once; 0 is 1. Each takes up to about 20 bytes a pixel.
	Parallel int
	// Progress, when set, is called after each picture, never from two goroutines at once.
	Progress func(done, total int)
}

// Report is the outcome, as `noctua evaluate --json` prints it.
type Report struct {
	Dataset  string `json:"dataset"` // folder
	Layout   Layout `json:"layout"`
	Split    Split  `json:"split"`
	Protocol string `json:"protocol"`
	Images   int    `json:"images"`
	Metrics         // pooled over the pixels of all pictures
	// AUCError bounds what counting probabilities in bins adds to or takes from AUC.
	AUCError float64   `json:"auc_error"`
	PerImage []Picture `json:"per_image"` // by name
	Notes    []string  `json:"notes,omitempty"`

	ROC []ROCPoint `json:"-"` // pooled
}

// Picture is the outcome of one picture.
type Picture struct {
	Name    string `json:"name"`
	Split   Split  `json:"split"`
	Metrics        // of this picture
	// FOVDice compares the field of view that the segmenter found with the data set's; undefined where there is none.
	FOVDice      Score   `json:"fov_dice"`
	FOVPixels    int     `json:"fov_pixels"`    // pixels that count
	LabelDensity float64 `json:"label_density"` // share of vessels among them, by the label
	Density      float64 `json:"density"`       // the same, by the mask
	Refused      string  `json:"refused,omitempty"`
}

const protocol = "pixels inside the field of view, native resolution, the model's own threshold; pooled over all pixels of all pictures; " +
	"AUC by 131072 bins of probability, ties counted half"

// Evaluate segments every picture of a data set and compares with its labels. A picture that cannot be read, or whose label
// does not fit it, is an error: figures of a part of a set would pass for figures of the set.
func Evaluate(ctx context.Context, d *Dataset, o Options) (*Report, error) {
	if o.Segmenter == nil || o.ReadPicture == nil || o.ReadMask == nil {
		return nil, fault.New(fault.Internal, "evaluation-options", "an evaluation needs a segmenter and readers of pictures and masks")
	}
	r := &Report{
		Dataset: d.Dir, Layout: d.Layout, Split: d.Split, Protocol: protocol,
		Images: len(d.Items), PerImage: make([]Picture, len(d.Items)), Notes: append([]string{}, d.Notes...),
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
			picture, t, err := evaluate(ctx, item, o)
			if err != nil {
				return fmt.Errorf("evaluating %s: %w", item.Name, err)
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
	trained := 0
	for _, p := range r.PerImage {
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

func evaluate(ctx context.Context, item Item, o Options) (Picture, *tally, error) {
	none := func(err error) (Picture, *tally, error) { return Picture{}, nil, err }
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
	out := Picture{Name: item.Name, Split: item.Split, FOVDice: Undefined(), Refused: found.Refused}
	fov := found.FOV
	if item.FOV != "" {
		if fov, err = readFitting(o, item.FOV, picture); err != nil {
			return none(err)
		}
		out.FOVDice = maskDice(found.FOV, fov)
	}
	t := newTally()
	for i := range label.Pix {
		// Without any field of view, found or given, the whole picture counts: leaving it out would hide a failure.
		if fov != nil && fov.Pix[i] == 0 {
			continue
		}
		var p float32
		if found.Probability != nil {
			p = found.Probability.Pix[i]
		}
		t.pixel(label.Pix[i] != 0, found.Mask != nil && found.Mask.Pix[i] != 0, p)
	}
	single := newPool()
	single.add(t)
	out.Metrics = single.metrics()
	n := t.tp + t.fp + t.tn + t.fn
	out.FOVPixels = int(n)
	if n > 0 {
		out.LabelDensity, out.Density = float64(t.tp+t.fn)/float64(n), float64(t.tp+t.fp)/float64(n)
	}
	return out, t, nil
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
