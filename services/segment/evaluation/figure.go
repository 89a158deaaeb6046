package evaluation

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/noctua-screening/noctua/pkg/drawing"
)

// Sizes of the figure, pixels.
const (
	fontSizePx    = 13
	minBarPitchPx = 20
	maxBarPitchPx = 34
	barShare      = .66 // of the pitch
	valueWidthPx  = 44  // a bar that is shorter has its value outside
	barLengthPx   = 340
	nameWidthPx   = 150
	panelSidePx   = 300
	panelGapPx    = 92
	headHeightPx  = 84
	footHeightPx  = 56 // below an axis
	panelPitchPx  = panelSidePx + footHeightPx + 44
	marginPx      = 28
	linePitchPx   = 20
	sheetGapPx    = 20
	figureWidthPx = marginPx + nameWidthPx + barLengthPx + panelGapPx + 2*panelSidePx + panelGapPx + marginPx
)

// WriteFigure writes a PNG: Dice by picture with the pooled value as a line and the summary below, the pooled ROC curve, Dice by
// threshold, the reliability diagram, the densities, and, where the report has overlays, the worst, the median and the best
// picture.
func WriteFigure(w io.Writer, r *Report) error {
	summary := summaryLines(r)
	pitch := barPitch(len(r.PerImage))
	barsHeight := max(pitch*len(r.PerImage), maxBarPitchPx)
	summaryTop := headHeightPx + barsHeight + footHeightPx + linePitchPx
	bottom := max(headHeightPx+2*panelPitchPx, summaryTop+linePitchPx*len(summary)+marginPx)
	sheet := chosen(r)
	height := bottom
	for _, s := range sheet {
		height = max(height, bottom+2*linePitchPx+s.overlay.Bounds().Dy()+linePitchPx+marginPx)
	}
	drawn, err := drawing.New(figureWidthPx, height, fontSizePx)
	if err != nil {
		return err
	}
	c := canvas{drawn}
	draw.Draw(c.RGBA, c.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	c.Text(marginPx, 28, left, ink, fmt.Sprintf("%s on %s, split %s: %d pictures, pixels inside the field of view, native resolution", r.Model.Label(), r.Layout, r.Split, r.Images))
	c.Text(marginPx, 48, left, ink, fmt.Sprintf("pooled: Dice %s   AUC %s   sensitivity %s   specificity %s   MCC %s", r.Dice, r.AUC, r.Sensitivity, r.Specificity, r.MCC))
	c.bars(marginPx+nameWidthPx, headHeightPx, pitch, barsHeight, r)
	for i, line := range summary {
		c.Text(marginPx, summaryTop+i*linePitchPx+linePitchPx, left, ink, c.Fitted(line, nameWidthPx+barLengthPx+panelGapPx-40))
	}
	first, second := marginPx+nameWidthPx+barLengthPx+panelGapPx, marginPx+nameWidthPx+barLengthPx+2*panelGapPx+panelSidePx
	c.roc(first, headHeightPx, r)
	c.sweep(second, headHeightPx, r)
	c.reliability(first, headHeightPx+panelPitchPx, r)
	c.densities(second, headHeightPx+panelPitchPx, r)
	c.sheet(marginPx, bottom, sheet)
	return png.Encode(w, c.RGBA)
}

func barPitch(pictures int) int {
	return max(minBarPitchPx, min(maxBarPitchPx, 2*panelSidePx/max(1, pictures)))
}

// bars draws Dice by picture, 0 at x.
func (c canvas) bars(x, y, pitch, height int, r *Report) {
	at := func(v float64) int { return x + int(math.Round(v*barLengthPx)) }
	for tick := 0; tick <= 10; tick += 2 {
		v := float64(tick) / 10
		c.Fill(at(v), y, at(v)+1, y+height, grid)
		c.Text(at(v), y+height+18, centre, ink, strconv.FormatFloat(v, 'f', 1, 64))
	}
	trained := false
	thick := int(barShare * float64(pitch))
	for i, p := range r.PerImage {
		top := y + i*pitch + (pitch-thick)/2
		baseline := top + thick/2 + fontSizePx*2/5
		c.Text(x-10, baseline, right, ink, c.Fitted(p.Name, nameWidthPx-12))
		if !p.Dice.Defined() {
			c.Text(x+4, baseline, left, ink, "no vessels, in label or mask")
			continue
		}
		colour, textColour := bar, paper
		if p.Split == Train {
			colour, textColour, trained = barTrain, ink, true
		}
		end := at(float64(p.Dice))
		c.Fill(x, top, end, top+thick, colour)
		if value := strconv.FormatFloat(float64(p.Dice), 'f', 3, 64); end-x > valueWidthPx {
			c.Text(x+8, baseline, left, textColour, value)
		} else {
			c.Text(end+6, baseline, left, ink, value)
		}
	}
	c.Fill(x, y, x+1, y+height, ink)
	if r.Dice.Defined() {
		c.Fill(at(float64(r.Dice)), y, at(float64(r.Dice))+2, y+height, strong)
		c.Text(at(float64(r.Dice)), y-8, centre, strong, "pooled "+strconv.FormatFloat(float64(r.Dice), 'f', 3, 64))
	}
	label := "Dice"
	if trained {
		label += " (grey: training split)"
	}
	c.Text(x+barLengthPx/2, y+height+40, centre, ink, label)
}

// shown is a picture of the contact sheet.
type shown struct {
	title   string
	overlay *image.RGBA
}

// chosen are the worst, the median and the best picture by Dice, fewer where there are fewer pictures.
func chosen(r *Report) []shown {
	var order []int
	for i, p := range r.PerImage {
		if p.Dice.Defined() && i < len(r.sheet) && r.sheet[i] != nil {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch d := r.PerImage[a].Dice - r.PerImage[b].Dice; {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	if len(order) == 0 {
		return nil
	}
	var out []shown
	for _, pick := range []struct {
		what string
		at   int
	}{{"worst", 0}, {"median", (len(order) - 1) / 2}, {"best", len(order) - 1}} {
		p := r.PerImage[order[pick.at]]
		title := fmt.Sprintf("%s: %s, Dice %.3f, clDice %s", pick.what, p.Name, float64(p.Dice), short(p.ClDice))
		if s := (shown{title, r.sheet[order[pick.at]]}); len(out) == 0 || out[len(out)-1].overlay != s.overlay {
			out = append(out, s)
		}
	}
	return out
}

// sheet draws the chosen pictures side by side.
func (c canvas) sheet(x, y int, pictures []shown) {
	if len(pictures) == 0 {
		return
	}
	c.legend(x, y+linePitchPx/2, fontSizePx, ink)
	for _, p := range pictures {
		b := p.overlay.Bounds()
		c.Text(x, y+2*linePitchPx, left, ink, c.Fitted(p.title, sheetSidePx))
		at := image.Pt(x, y+2*linePitchPx+linePitchPx/2)
		draw.Draw(c.RGBA, b.Add(at), p.overlay, b.Min, draw.Src)
		x += sheetSidePx + sheetGapPx
	}
}

// short writes three digits after the point, or a dash.
func short(s Score) string {
	if !s.Defined() {
		return Undefined().String()
	}
	return strconv.FormatFloat(float64(s), 'f', 3, 64)
}
