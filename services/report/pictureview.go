package report

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"log/slog"
	"math"
	"net/http"
	"path"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/services/report/store"
)

// pictureView is what a viewer has to know of a picture. Lengths are in pixels of the photograph; the middle of its first pixel is (.5, .5).
type pictureView struct {
	SOPUID string `json:"sop_uid"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	// TilePx is the side of a tile. Level FullLevel is the picture itself, each one below half the size of the next (rounded up); levels
	// from 0 to MaxLevel are there.
	TilePx    int         `json:"tile_px"`
	FullLevel int         `json:"full_level"`
	MaxLevel  int         `json:"max_level"`
	Mask      *layerView  `json:"mask,omitempty"`  // absent: there is none that fits
	Field     *circleView `json:"field,omitempty"` // field of view
	// Rings end at these radii about the middle of the field, in its radii; Zones A, B and C about the disc begin and end at these
	// radii, in its diameters.
	Rings []float64   `json:"rings"`
	Zones []float64   `json:"zones"`
	Disc  *circleView `json:"disc,omitempty"` // absent: not found with confidence
	Notes []string    `json:"notes,omitempty"`
}

type layerView struct {
	MaxLevel int `json:"max_level"`
}

type circleView struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Radius float64 `json:"radius"`
}

// apiPictureView answers GET /api/images/{sop}/{sha}/view.json: how the picture is laid out in tiles, and what lies on it. It makes the tiles.
func (s *Service) apiPictureView(w http.ResponseWriter, r *http.Request) error {
	img, err := s.visibleImage(r)
	if err != nil {
		return err
	}
	photo, err := s.pyramidOf(r.Context(), img, photoLayer)
	if err != nil {
		return err
	}
	v := pictureView{SOPUID: img.SOPUID, Width: photo.width, Height: photo.height, TilePx: tilePx, FullLevel: fullLevel(photo.width, photo.height),
		MaxLevel: photo.levels - 1, Rings: vessel.Rings(), Zones: vessel.Zones()}
	if err := s.addFindings(r.Context(), &v, img); err != nil {
		return err
	}
	if err := s.viewed(r, img); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	s.writeJSON(w, http.StatusOK, "application/json", v)
	return nil
}

// addFindings adds what was found on a picture. A mask that cannot be shown is said, and keeps nobody from the photograph.
func (s *Service) addFindings(ctx context.Context, v *pictureView, img store.Image) error {
	result, err := s.resultOf(ctx, img)
	if err != nil || result == nil {
		return err
	}
	if f := result.FOV; f != nil {
		v.Field = &circleView{f.CenterX, f.CenterY, f.Radius}
	}
	if d := result.OpticDisc; d != nil && d.Confidence >= fundus.DiscConfidence {
		v.Disc = &circleView{d.CenterX, d.CenterY, d.Diameter / 2}
	}
	if result.Files.Mask == "" {
		return nil
	}
	mask, err := s.pyramidOf(ctx, img, maskLayer)
	switch {
	case fault.Is(err, fault.Internal), fault.Is(err, fault.NotFound):
		s.deps.Logger.Warn("the mask of a picture cannot be shown", slog.String("sop_uid", img.SOPUID), slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
		v.Notes = append(v.Notes, "The vessel mask of this picture cannot be read.")
	case err != nil:
		return err
	case mask.width != v.Width || mask.height != v.Height:
		v.Notes = append(v.Notes, fmt.Sprintf("The vessel mask is not shown: it has %d × %d pixels, the photograph %d × %d.", mask.width, mask.height, v.Width, v.Height))
	default:
		v.Mask = &layerView{mask.levels - 1}
	}
	return nil
}

// resultOf reads what was found on an image; nil: it was not analysed, or failed.
func (s *Service) resultOf(ctx context.Context, img store.Image) (*record.Result, error) {
	outcome := outcomeOf(img)
	if outcome == "" || isFailure(outcome) {
		return nil, nil
	}
	return readDocument[record.Result](ctx, s.deps.Blob, s.deps.Blob.Buckets().Results, outcome, record.ResultSchema)
}

// centreLines are the vessels' centre lines with their widths.
type centreLines struct {
	SOPUID string `json:"sop_uid"`
	// WidestPercent is what one in fifty widths exceeds.
	WidestPercent float64 `json:"widest_percent"`
	// Lines are x, y (pixels of the photograph) and local width (percent of the field's diameter; -1 inside a branching, where there is none), point
	// after point.
	Lines [][]float64 `json:"lines"`
}

// apiLines answers GET /api/images/{sop}/{sha}/lines.json: the centre lines of the vessels, traced in the mask on the grid that was measured on.
func (s *Service) apiLines(w http.ResponseWriter, r *http.Request) error {
	img, err := s.visibleImage(r)
	if err != nil {
		return err
	}
	outcome := outcomeOf(img)
	etag := fmt.Sprintf(`"%s-%s-lines"`, img.Sha256[:16], path.Base(path.Dir(outcome)))
	w.Header().Set("Cache-Control", "private, no-cache")
	if matches(r, etag) {
		if err := s.viewed(r, img); err != nil {
			return err
		}
	}
	if notModified(w, r, etag, img.ReceivedAt) {
		return nil
	}
	raw, err := s.pictures.get(r.Context(), "lines/"+outcome, func(ctx context.Context) ([]byte, error) { return s.lines(ctx, img) })
	if err != nil {
		return err
	}
	if err := s.viewed(r, img); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	s.send(w, raw)
	return nil
}

func (s *Service) lines(ctx context.Context, img store.Image) ([]byte, error) {
	result, err := s.resultOf(ctx, img)
	if err != nil {
		return nil, err
	}
	if result == nil || result.FOV == nil || result.Files.Mask == "" {
		return nil, fault.New(fault.NotFound, "picture-missing", "this image was not measured, so that it has no centre lines")
	}
	mask, err := s.mask(ctx, outcomeOf(img))
	if err != nil {
		return nil, err
	}
	f, p := result.FOV, result.Provenance
	canvas, err := fundus.NewCanvas(fundus.FOV{CenterX: f.CenterX, CenterY: f.CenterY, Radius: f.Radius, Left: f.Left, Top: f.Top, Right: f.Right, Bottom: f.Bottom,
		Width: mask.Rect.Dx(), Height: mask.Rect.Dy()}, p.CanvasWidthPx, p.CanvasHeightPx, p.CanvasFOVDiameterPx)
	if err != nil {
		return nil, err
	}
	if canvas.Width > maxCanvasPx || canvas.Height > maxCanvasPx {
		return nil, fault.New(fault.Unsupported, "canvas-too-large", "this image was measured on a grid of more than %d pixels, on which centre lines are not traced for viewing", maxCanvasPx)
	}
	traced, err := trace(mask, canvas)
	if err != nil {
		return nil, err
	}
	traced.SOPUID = img.SOPUID
	raw, err := json.Marshal(traced)
	if err != nil {
		return nil, fmt.Errorf("encoding the centre lines of a picture: %w", err)
	}
	return raw, nil
}

const (
	// maxCanvasPx bounds the grid that lines are traced on; models have some 1000 px.
	maxCanvasPx = 4096
	// linePointEvery is how many points of a centre line lie between two that are shown: they are smooth over that.
	linePointEvery = 3
)

// trace finds the centre lines of a mask. On the canvas it is what was measured, but for pixels of its edge: a mask in the photograph's pixels was
// brought there from the canvas, so that its value under the middle of a canvas pixel is about that pixel's.
func trace(mask *image.Gray, canvas fundus.Canvas) (*centreLines, error) {
	vessels := raster.NewMask(canvas.Width, canvas.Height)
	for y := range canvas.Height {
		for x := range canvas.Width {
			sx, sy := canvas.ToSource(float64(x)+.5, float64(y)+.5)
			if at := image.Pt(int(math.Floor(sx)), int(math.Floor(sy))); at.In(mask.Rect) && mask.GrayAt(at.X, at.Y).Y != 0 {
				vessels.Pix[y*canvas.Width+x] = raster.Foreground
			}
		}
	}
	measured, err := vessel.Measure(vessels, canvas.Mask(), vessel.Geometry{FOVDiameterPx: canvas.DiameterPx})
	if err != nil {
		return nil, fmt.Errorf("tracing the centre lines of a mask: %w", err)
	}
	out := &centreLines{Lines: [][]float64{}}
	var widths []float64
	for i := range measured.Graph.Segments {
		seg := &measured.Graph.Segments[i]
		var line []float64
		for j, p := range seg.Points {
			percent := -1.
			if w := seg.WidthsPx[j]; !math.IsNaN(w) {
				percent = rounded(100*w/canvas.DiameterPx, 3)
				widths = append(widths, percent)
			}
			if j%linePointEvery == 0 || j == len(seg.Points)-1 {
				x, y := canvas.ToSource(p.X, p.Y)
				line = append(line, rounded(x, 1), rounded(y, 1), percent)
			}
		}
		out.Lines = append(out.Lines, line)
	}
	out.WidestPercent = widest(widths)
	return out, nil
}

// widest is what one in fifty widths exceeds, rounded up to a fifth of a percent; 1 where there are none.
func widest(percent []float64) float64 {
	if len(percent) == 0 {
		return 1
	}
	slices.Sort(percent)
	return math.Ceil(percent[len(percent)*49/50]*5) / 5
}

func rounded(v float64, digits int) float64 {
	k := math.Pow10(digits)
	return math.Round(v*k) / k
}
