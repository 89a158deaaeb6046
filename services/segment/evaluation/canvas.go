package evaluation

import "github.com/noctua-screening/noctua/pkg/drawing"

type (
	canvas struct{ *drawing.Canvas }
	rgb    = drawing.Colour
)

const (
	left   = drawing.Left
	centre = drawing.Centre
	right  = drawing.Right
)

// Colours of the figure; the two strong ones differ in brightness too, for readers who do not tell their hues apart.
const (
	paper    rgb = 0xffffff
	ink      rgb = 0x282830
	faint    rgb = 0xcdd0d7
	grid     rgb = 0xe8eaee
	bar      rgb = 0x3f6fa8
	barTrain rgb = 0xbec8d4
	strong   rgb = 0xb43c28
)
