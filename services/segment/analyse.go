package segment

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// network is what the analyser uses of an Engine.
type network interface {
	Segment(ctx context.Context, in unet.Input) (unet.Output, error)
	Info() unet.Info
	Model() *unet.Model
}

var _ network = (*Engine)(nil)

// Codes of warnings and reasons.
const (
	codeFillsFrame        = "field-of-view-fills-frame"
	codeVesselsNotFound   = "vessels-not-found"
	codeVesselsImplausile = "vessels-implausible"
)

// Shares of the field of view that vessels take at least and at most. Observers mark 5 to 15 %; a network that is shown
// something else than a readable retina marks next to nothing or very much.
const (
	minVesselShare = .01
	maxVesselShare = .35
)

// AnalyserConfig says how pictures are judged. The zero value is the default.
type AnalyserConfig struct {
	// MinQuality is the quality score, 0 to 1, below which a picture is ungradable: its measures are withheld. 0: none is.
	// Default fundus.DefaultMinScore.
	MinQuality *float64
	// Unsteady also gives the values that are withheld because they move too much between photographs of one eye (vessel.Repeatable).
	Unsteady bool
}

// Validate says in a sentence what is wrong.
func (c AnalyserConfig) Validate() error {
	if c.MinQuality != nil && !(*c.MinQuality >= 0 && *c.MinQuality <= 1) {
		return fault.New(fault.Invalid, "segment-config", "the least quality is %v: choose 0 (every picture is measured) to 1 (--min-quality)", *c.MinQuality)
	}
	return nil
}

func (c AnalyserConfig) minQuality() float64 {
	if c.MinQuality != nil {
		return *c.MinQuality
	}
	return fundus.DefaultMinScore
}

// Analyser turns pictures into results. It is safe for concurrent use.
type Analyser struct {
	network    network
	clock      func() time.Time
	version    string
	minQuality float64
	unsteady   bool
}

// NewAnalyser makes an analyser on a network with the default configuration. clock gives the times of the provenance,
// codeVersion names this Noctua.
func NewAnalyser(n network, clock func() time.Time, codeVersion string) (*Analyser, error) {
	return NewConfiguredAnalyser(n, clock, codeVersion, AnalyserConfig{})
}

// NewConfiguredAnalyser is NewAnalyser with a configuration.
func NewConfiguredAnalyser(n network, clock func() time.Time, codeVersion string, config AnalyserConfig) (*Analyser, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if n == nil || clock == nil || codeVersion == "" {
		return nil, fault.New(fault.Internal, "segment-config", "an analyser needs a network, a clock and the version of Noctua")
	}
	return &Analyser{network: n, clock: clock, version: codeVersion, minQuality: config.minQuality(), unsteady: config.Unsteady}, nil
}

// Subject says which picture is analysed; all of it goes into the result unchanged.
type Subject struct {
	StudyUID, SOPUID string
	SHA256           string // of the file as it came, lower-case hexadecimal
	Clinic           string // "" outside a service
	Laterality       record.Laterality
	Decoder          string        // what made RGB of the file
	BurnedIn         bool          // text may be burned into the margin: the overlay must not show it
	Notes            []record.Note // of the decoder; they become warnings
	// What the photograph states of its scale, checked at intake; nil where it does not.
	PixelSpacingMm, HorizontalFOVDeg *float64
	// Source is what DICOM results say of the DICOM instance that the picture is of; nil: it is of none, and has no such results.
	Source *dicom.Source
}

// describe takes what an instance document says of the picture.
func (s *Subject) describe(i *record.Instance) {
	s.Laterality, s.BurnedIn = i.Laterality, i.BurnedIn
	s.PixelSpacingMm, s.HorizontalFOVDeg = i.PixelSpacingMm, i.HorizontalFOVDeg
}

// Analysis is what is known about one picture.
type Analysis struct {
	Result record.Result
	// The rest is nil or zero where no field of view was found. It is there for an ungradable picture that has one, so that
	// the network can be judged on it.
	Canvas      fundus.Canvas
	FOVMask     *raster.Mask  // on the canvas
	Probability *raster.Plane // of vessel, on the canvas
	Vessels     *raster.Mask  // on the canvas, inside the field of view: what is measured
	Geometry    vessel.Geometry
	Findings    *vessel.Measurement // on the canvas; nil where nothing was measured
	Classes     []Class             // of the model, beyond background and vessel
	Timings     Timings
	image       *fundus.Image // the photograph on the canvas, normalised
	norm        fundus.Normalisation
	source      *dicom.Source // of the DICOM results; nil: there are none
}

// Class is what a model says of one of its classes.
type Class struct {
	Name        string
	Probability *raster.Plane // on the canvas
}

// classThreshold is the probability from which a pixel belongs to a class beyond vessel: more likely than all others together.
const classThreshold = .5

// classMaskPattern matches the names of the masks of classes; * is the class.
const classMaskPattern = "mask-*.png"

// maskFile is the name of the class's mask beside result.json.
func (c Class) maskFile() string { return strings.Replace(classMaskPattern, "*", c.Name, 1) }

// Timings are where the time went.
type Timings struct {
	FieldOfView, Quality, Canvas, Network, Inference, Measures time.Duration // Network includes waiting for a run, Inference does not
}

// Measured tells whether the picture has measures, and so a mask, an overlay and, if it came as DICOM, a SEG.
func (a *Analysis) Measured() bool { return a.Result.Status == record.Measured }

// ProbabilityMap returns the vessel probability on the photograph's own pixels, 0 outside the field of view.
func (a *Analysis) ProbabilityMap() (*raster.Plane, error) {
	if a.Probability == nil {
		return nil, fault.New(fault.Invalid, fundus.CodeNotFound, "the picture has no field of view, and so no map")
	}
	return a.Canvas.FromCanvas(a.Probability)
}

// Mask returns the vessel mask on the photograph's own pixels.
func (a *Analysis) Mask() (*raster.Mask, error) {
	if a.Probability == nil {
		return nil, fault.New(fault.Invalid, fundus.CodeNotFound, "the picture has no field of view, and so no mask")
	}
	return a.Canvas.MaskFromCanvas(a.Probability, a.Result.Provenance.Threshold)
}

// Analyse runs the whole chain on one picture. A picture in which nothing can be measured is not an error: its status is
// ungradable, and every measure says why it is absent.
func (a *Analyser) Analyse(ctx context.Context, p *raster.RGB, subject Subject) (*Analysis, error) {
	manifest := a.network.Model().Manifest
	info := a.network.Info()
	out := &Analysis{Result: record.Result{
		Schema: record.ResultSchema, StudyUID: subject.StudyUID, SOPUID: subject.SOPUID, Sha256: subject.SHA256,
		Clinic: subject.Clinic, Laterality: subject.Laterality, Rows: p.Height, Columns: p.Width,
		Status: record.Measured, Warnings: append([]record.Note{}, subject.Notes...),
		Provenance: record.Provenance{
			InputSha256: subject.SHA256, Model: a.network.Model().Reference(), Threshold: manifest.Threshold,
			CanvasWidthPx: manifest.Input.WidthPx, CanvasHeightPx: manifest.Input.HeightPx, CanvasFOVDiameterPx: manifest.Input.FOVDiameterPx,
			Resampling: manifest.Input.Resampling, Normalisation: manifest.Input.Normalisation,
			ChannelMean: []float64{}, ChannelStd: []float64{},
			OnnxruntimeVersion: info.RuntimeVersion, ExecutionProvider: string(info.Provider),
			CodeVersion: a.version, Decoder: subject.Decoder, StartedAt: a.clock().UTC(),
		},
	}}
	if info.Note != "" {
		// The provider was not the one that was asked for: the reader of a number must be able to see it.
		out.Result.Provenance.ExecutionProvider += " (" + string(info.Requested) + ")"
	}
	absent, err := a.measure(ctx, p, subject, out)
	if err != nil {
		return nil, err
	}
	if subject.Source != nil {
		if err := subject.Source.Referable(); err != nil {
			out.Result.Warnings = append(out.Result.Warnings, record.Note{Code: codeOf(err), Text: sentence(err)})
		} else {
			out.source, out.Result.Files.Sr = subject.Source, SRFile
		}
	}
	if len(absent) > 0 {
		out.Result.Status = record.Ungradable
		out.Result.Warnings = append(out.Result.Warnings, absent...)
		out.Result.Measures = withheld(manifest.Input.FOVDiameterPx, absent[0])
	} else {
		out.Result.Files.Mask, out.Result.Files.Overlay = MaskFile, OverlayFile
		out.Result.Files.VesselMap, out.Result.Files.Segments = VesselMapFile, SegmentsFile
		if out.source != nil {
			out.Result.Files.Seg = SEGFile
		}
		for _, c := range out.Classes {
			out.Result.Files.Classes = append(out.Result.Files.Classes, record.ClassMask{Class: c.Name, Mask: c.maskFile()})
		}
	}
	out.Result.Provenance.FinishedAt = a.clock().UTC()
	return out, nil
}

// measure fills out with everything that can be known. Notes instead of an error, the leading one first, say why there are no
// measures.
func (a *Analyser) measure(ctx context.Context, p *raster.RGB, subject Subject, out *Analysis) ([]record.Note, error) {
	manifest := a.network.Model().Manifest
	took := stopwatch()
	fov, err := fundus.FindFOV(p)
	out.Timings.FieldOfView = took()
	if fundus.Refused(err) {
		out.Result.Quality = a.quality(fundus.Unfound(err))
		return []record.Note{{Code: codeOf(err), Text: sentence(err)}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding the field of view: %w", err)
	}
	out.Result.FOV = &record.FieldOfView{
		CenterX: fov.CenterX, CenterY: fov.CenterY, Radius: fov.Radius,
		Left: fov.Left, Top: fov.Top, Right: fov.Right, Bottom: fov.Bottom, Coverage: fov.Coverage(),
	}
	if fov.FillsFrame {
		out.Result.Warnings = append(out.Result.Warnings, record.Note{Code: codeFillsFrame, Text: "The photograph shows no edge of its field of view, so its scale is estimated and the measures are less certain."})
	}

	quality, err := fundus.Assess(p, fov)
	if err != nil {
		return nil, fmt.Errorf("judging the quality: %w", err)
	}
	out.Result.Quality = a.quality(quality)
	out.Timings.Quality = took()

	canvas, err := fundus.NewCanvas(fov, manifest.Input.WidthPx, manifest.Input.HeightPx, manifest.Input.FOVDiameterPx)
	if err != nil {
		return nil, err
	}
	image, err := canvas.ToCanvas(p)
	if err != nil {
		return nil, err
	}
	mask := canvas.Mask()
	norm, err := fundus.Normalise(image, mask)
	if err != nil {
		return nil, err
	}
	out.Canvas, out.FOVMask, out.image, out.norm = canvas, mask, image, norm
	out.Result.Provenance.ChannelMean, out.Result.Provenance.ChannelStd = norm.Mean[:], norm.Std[:]
	out.Timings.Canvas = took()

	probabilities, err := a.network.Segment(ctx, unet.Input{Width: image.Width, Height: image.Height, Data: image.Pix})
	if err != nil {
		return nil, fmt.Errorf("running the network: %w", err)
	}
	out.Timings.Network, out.Timings.Inference = took(), probabilities.Inference
	out.Result.Provenance.InferenceMs = float64(probabilities.Inference) / float64(time.Millisecond)
	plane := probabilities.Vessel()
	out.Probability = plane
	for _, name := range manifest.Output.Classes {
		if name == unet.BackgroundClass || name == unet.VesselClass {
			continue
		}
		if p, ok := probabilities.Class(name); ok {
			out.Classes = append(out.Classes, Class{name, p})
		}
	}
	out.Vessels = fundus.Threshold(plane, manifest.Threshold)
	fundus.And(out.Vessels, mask)

	var absent []record.Note
	if quality.Score < a.minQuality {
		absent = append(absent, out.Result.Quality.Reasons...)
	}
	if note := implausible(out.Vessels, mask); note != nil {
		absent = append(absent, *note)
	}
	if len(absent) > 0 {
		return absent, nil
	}
	disc, err := fundus.FindDisc(image, norm, out.Vessels, mask, canvas.DiameterPx)
	if err != nil {
		return nil, fmt.Errorf("finding the optic disc: %w", err)
	}
	if disc.DiameterPx > 0 {
		x, y := canvas.ToSource(disc.CenterX, disc.CenterY)
		out.Result.OpticDisc = &record.OpticDisc{CenterX: x, CenterY: y, Diameter: disc.DiameterPx / canvas.Scale(), Confidence: disc.Confidence}
	}
	out.Geometry = geometry(canvas, disc, subject)
	measured, err := vessel.Measure(out.Vessels, mask, out.Geometry)
	if err != nil {
		return nil, fmt.Errorf("measuring the vessels: %w", err)
	}
	out.Findings = measured
	out.Result.Measures = measures(measured.Values, canvas.DiameterPx)
	out.Result.Regions = regions(measured.Regions, a.unsteady)
	addErrors(out.Result.Measures, manifest.Errors, meanVariance(plane, mask))
	out.Result.Warnings = append(out.Result.Warnings, outsideTraining(manifest.TrainingRange, norm, canvas.Scale(), out.Result.Measures)...)
	out.Timings.Measures = took()
	return nil, nil
}

// implausible says why a mask cannot be that of a retina's vessels, nil where it can.
func implausible(vessels, fov *raster.Mask) *record.Note {
	share := float64(vessels.Count()) / float64(max(1, fov.Count()))
	switch {
	case share < minVesselShare:
		return &record.Note{Code: codeVesselsNotFound, Text: fmt.Sprintf("Vessels take only %.1f %% of the field of view, less than on any readable retina: check the photograph's sharpness and light.", 100*share)}
	case share > maxVesselShare:
		return &record.Note{Code: codeVesselsImplausile, Text: fmt.Sprintf("Vessels would take %.0f %% of the field of view, more than on any retina: check that this is a fundus photograph.", 100*share)}
	}
	return nil
}

// stopwatch returns a function that tells the time since it was called last. It measures durations only, so it needs no
// injected clock.
func stopwatch() func() time.Duration {
	last := time.Now()
	return func() time.Duration {
		now := time.Now()
		d := now.Sub(last)
		last = now
		return d
	}
}
