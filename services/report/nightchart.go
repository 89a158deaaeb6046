package report

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// courseStep is the width of a bar.
	courseStep = 10 * time.Minute
	// courseLeast is drawn at least, so that the first minutes of a night are no wall.
	courseLeast = 3 * time.Hour
	// Sizes of the drawing, in its own units, which are pixels on a usual screen.
	courseWidth, courseHeight = 640.0, 180.0
	courseLeft, courseRight   = 44.0, 616.0
	courseTop, courseBase     = 12.0, 152.0
	courseHours               = 8 // labels at most
)

// course draws the course of a night up to a moment; nil: nothing happened.
func (s *Service) course(ctx context.Context, clinics []string, night, until time.Time) (*web.Course, error) {
	if end := night.AddDate(0, 0, 1); until.After(end) {
		until = end
	}
	pulses, err := s.deps.Store.Course(ctx, clinics, store.Span{From: night, To: until}, courseStep)
	if err != nil {
		return nil, err
	}
	return drawCourse(pulses, night, s.cfg.Location), nil
}

// drawCourse draws pulses from the first to the last hour with one; nil: there is none.
func drawCourse(pulses []store.Pulse, night time.Time, zone *time.Location) *web.Course {
	first, last := -1, 0
	for n, p := range pulses {
		if p.Received+p.Dealt == 0 {
			continue
		}
		if first < 0 {
			first = n
		}
		last = n
	}
	if first < 0 {
		return nil
	}
	const perHour = int(time.Hour / courseStep)
	first = first / perHour * perHour // nights begin on the hour
	last = max((last/perHour+1)*perHour, first+int(courseLeast/courseStep))
	c := &web.Course{Width: courseWidth, Height: courseHeight, Left: courseLeft, Right: courseRight, StepMinutes: int(courseStep.Minutes())}
	most, mostReceived, mostDealt := 1, 0, 0
	at := func(n int) (p store.Pulse) {
		if n < len(pulses) {
			p = pulses[n]
		}
		return p
	}
	for n := first; n < last; n++ {
		if at(n).Received > at(mostReceived).Received {
			mostReceived = n
		}
		if at(n).Dealt > at(mostDealt).Dealt {
			mostDealt = n
		}
		most = max(most, at(n).Received, at(n).Dealt)
	}
	top := niceAbove(most)
	width := (courseRight - courseLeft) / float64(last-first)
	y := func(n int) float64 { return tenth(courseBase - (courseBase-courseTop)*float64(n)/float64(top)) }
	var line strings.Builder
	for n := first; n < last; n++ {
		x, p := courseLeft+width*float64(n-first), at(n)
		if p.Received > 0 {
			c.Bars = append(c.Bars, web.Bar{X: tenth(x), Y: y(p.Received), Width: tenth(width * 0.86), Height: tenth(courseBase - y(p.Received))})
		}
		if n < len(pulses) {
			fmt.Fprintf(&line, "%s,%s ", number(x+width/2), number(y(p.Dealt)))
		}
		if n%perHour == 0 {
			c.Table = append(c.Table, web.CourseRow{From: night.Add(time.Duration(n) * courseStep)})
		}
		row := &c.Table[len(c.Table)-1]
		row.Received, row.Dealt = row.Received+p.Received, row.Dealt+p.Dealt
	}
	c.Line = strings.TrimSpace(line.String())
	every := ((last-first)/perHour + courseHours - 1) / courseHours
	for n := first; n <= last; n += perHour * every {
		c.Hours = append(c.Hours, web.Tick{At: tenth(courseLeft + width*float64(n-first)), Text: night.Add(time.Duration(n) * courseStep).In(zone).Format("15:04")})
	}
	c.Levels = []web.Tick{{At: courseBase, Text: "0"}, {At: y(top), Text: strconv.Itoa(top)}}
	if top%2 == 0 {
		c.Levels = append(c.Levels, web.Tick{At: y(top / 2), Text: strconv.Itoa(top / 2)})
	}
	clock := func(n int) string { return night.Add(time.Duration(n) * courseStep).In(zone).Format("15:04") }
	c.Label = fmt.Sprintf("Pictures in each ten minutes. Most came from %s on: %d. Most were dealt with from %s on: %d. The numbers by the hour are in the table below.",
		clock(mostReceived), at(mostReceived).Received, clock(mostDealt), at(mostDealt).Dealt)
	return c
}

// niceAbove is the least of 2, 4, 6, 10, 20, 40, 60, 100 … that is not below n.
func niceAbove(n int) int {
	for scale := 1; ; scale *= 10 {
		for _, step := range []int{2, 4, 6, 10} {
			if step*scale >= n {
				return step * scale
			}
		}
	}
}

func tenth(v float64) float64 { return math.Round(10*v) / 10 }

func number(v float64) string { return strconv.FormatFloat(tenth(v), 'f', -1, 64) }
