package evaluation

import (
	"fmt"
	"math"
	"strconv"
)

// panel is a square with axes.
type panel struct {
	x, y                   int // upper left corner
	fromX, toX, fromY, toY float64
}

// axes draws the grid of a panel with ticks at both sides.
func (c canvas) axes(p panel, ticksX, ticksY int, labelX, labelY string) {
	number := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'g', -1, 64) }
	for i := range ticksX + 1 {
		v := p.fromX + (p.toX-p.fromX)*float64(i)/float64(ticksX)
		px, _ := p.at(v, p.fromY)
		c.Fill(int(px), p.y, int(px)+1, p.y+panelSidePx, grid)
		c.Text(int(px), p.y+panelSidePx+18, centre, ink, number(v))
	}
	for i := range ticksY + 1 {
		v := p.fromY + (p.toY-p.fromY)*float64(i)/float64(ticksY)
		_, py := p.at(p.fromX, v)
		c.Fill(p.x, int(py), p.x+panelSidePx, int(py)+1, grid)
		c.Text(p.x-8, int(py)+4, right, ink, number(v))
	}
	c.Fill(p.x, p.y, p.x+1, p.y+panelSidePx, ink)
	c.Fill(p.x, p.y+panelSidePx, p.x+panelSidePx+1, p.y+panelSidePx+1, ink)
	c.Text(p.x+panelSidePx/2, p.y+panelSidePx+40, centre, ink, labelX)
	c.Text(p.x, p.y-14, left, ink, labelY)
}

// at is where a point of the plot lies.
func (p panel) at(x, y float64) (float64, float64) {
	return float64(p.x) + (x-p.fromX)/(p.toX-p.fromX)*panelSidePx, float64(p.y) + (p.toY-y)/(p.toY-p.fromY)*panelSidePx
}

// stroke draws a line between two points of the plot.
func (c canvas) stroke(p panel, x0, y0, x1, y1, widthPx float64, ink rgb) {
	ax, ay := p.at(x0, y0)
	bx, by := p.at(x1, y1)
	c.Line(ax, ay, bx, by, widthPx, ink)
}

// dot draws a round point.
func (c canvas) dot(p panel, x, y, diameterPx float64, ink rgb) {
	c.stroke(p, x, y, x, y, diameterPx, ink)
}

// roc draws the pooled ROC curve.
func (c canvas) roc(x, y int, r *Report) {
	p := panel{x, y, 0, 1, 0, 1}
	c.axes(p, 5, 5, "false positive rate", "ROC: true positive rate, AUC "+r.AUC.String())
	c.stroke(p, 0, 0, 1, 1, 1, faint)
	for i := 1; i < len(r.ROC); i++ {
		a, b := r.ROC[i-1], r.ROC[i]
		c.stroke(p, a.FalsePositiveRate, a.TruePositiveRate, b.FalsePositiveRate, b.TruePositiveRate, 2, bar)
	}
	if r.Sensitivity.Defined() && r.Specificity.Defined() {
		px, py := p.at(1-float64(r.Specificity), float64(r.Sensitivity))
		c.Line(px-5, py, px+5, py, 2, strong)
		c.Line(px, py-5, px, py+5, 2, strong)
		c.Text(int(px)+12, int(py)+14, left, strong, "the model's threshold")
	}
}

// sweep draws Dice by threshold.
func (c canvas) sweep(x, y int, r *Report) {
	lowest := 1.0
	for _, s := range r.Sweep.Points {
		if s.Dice.Defined() {
			lowest = min(lowest, float64(s.Dice))
		}
	}
	// From a round value below the lowest point, so that differences can be seen; 0 to 1 where there is no room to gain.
	p := panel{x, y, 0, 1, math.Floor(lowest*5) / 5, 1}
	if lowest >= 1 {
		p.fromY = 0
	}
	c.axes(p, 5, int(math.Round((p.toY-p.fromY)*10)), "threshold", "pooled Dice by threshold (not for choosing one)")
	for i := 1; i < len(r.Sweep.Points); i++ {
		if a, b := r.Sweep.Points[i-1], r.Sweep.Points[i]; a.Dice.Defined() && b.Dice.Defined() {
			c.stroke(p, a.Threshold, float64(a.Dice), b.Threshold, float64(b.Dice), 2, bar)
		}
	}
	if t := r.Model.Threshold; t > 0 && t < 1 {
		c.stroke(p, t, p.fromY, t, p.toY, 1.5, strong)
		px, py := p.at(t, p.fromY)
		c.Text(int(px)+6, int(py)-12, left, strong, "the model's, "+strconv.FormatFloat(t, 'g', 4, 64))
	}
}

// countShare of the reliability panel's height is given to the number of pixels.
const countShare = .2

// reliability draws observed frequency by predicted probability, and the number of pixels by its logarithm.
func (c canvas) reliability(x, y int, r *Report) {
	p := panel{x, y, 0, 1, 0, 1}
	c.axes(p, 5, 5, "predicted probability (grey: number of pixels, logarithmic)", fmt.Sprintf("observed share of vessel, ECE %s, MCE %s", r.Calibration.ECE, r.Calibration.MCE))
	for _, b := range r.Calibration.Bins {
		if b.Pixels == 0 {
			continue
		}
		x0, y0 := p.at(b.Low, countShare*math.Log(1+float64(b.Pixels))/math.Log(1+float64(r.Calibration.Pixels)))
		x1, y1 := p.at(b.High, 0)
		c.Fill(int(x0)+2, int(y0), int(x1)-1, int(y1), faint)
	}
	c.stroke(p, 0, 0, 1, 1, 1, strong)
	var last *CalibrationBin
	for i := range r.Calibration.Bins {
		b := &r.Calibration.Bins[i]
		if b.Pixels == 0 {
			continue
		}
		if last != nil {
			c.stroke(p, float64(last.Predicted), float64(last.Observed), float64(b.Predicted), float64(b.Observed), 2, bar)
		}
		c.dot(p, float64(b.Predicted), float64(b.Observed), 6, bar)
		last = b
	}
}

// densities draws each picture's density by that of its label, with the interval where one is stated.
func (c canvas) densities(x, y int, r *Report) {
	stated := r.Summary.Stated.Pictures > 0
	highest := .1
	value := func(p Picture) Score {
		switch {
		case stated:
			return p.StatedDensity
		case p.Refused != "":
			return Undefined()
		}
		return Score(p.Density)
	}
	for _, p := range r.PerImage {
		highest = max(highest, p.LabelDensity)
		for _, s := range []Score{value(p), p.StatedHigh} {
			if s.Defined() {
				highest = max(highest, float64(s))
			}
		}
	}
	top := math.Ceil(highest*20) / 20
	p := panel{x, y, 0, top, 0, top}
	ticks := int(math.Round(top * 20))
	if ticks > 6 {
		ticks = 5
	}
	label := "vessel area density, mask"
	switch {
	case r.Summary.Coverage.Pictures > 0:
		label = fmt.Sprintf("density as stated, with 90 %% interval: holds %d of %d", r.Summary.Coverage.Holding, r.Summary.Coverage.Pictures)
	case stated:
		label = "vessel area density as stated (no intervals)"
	}
	c.axes(p, ticks, ticks, "vessel area density by the label", label)
	c.stroke(p, 0, 0, top, top, 1, strong)
	for _, picture := range r.PerImage {
		v := value(picture)
		if !v.Defined() {
			continue
		}
		colour := bar
		if picture.Split == Train {
			colour = barTrain
		}
		if picture.IntervalHolds != nil {
			c.stroke(p, picture.LabelDensity, float64(picture.StatedLow), picture.LabelDensity, float64(picture.StatedHigh), 1.5, colour)
		}
		c.dot(p, picture.LabelDensity, float64(v), 7, colour)
	}
}
