package pixel

import "image/color"

// straight returns the upper 8 bits of a colour, without transparency applied.
func straight(c color.Color) (r, g, b uint8) {
	switch c := c.(type) {
	case color.NRGBA64:
		return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
	case color.Gray16:
		return uint8(c.Y >> 8), uint8(c.Y >> 8), uint8(c.Y >> 8)
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA) // the type of this model by definition
	return n.R, n.G, n.B
}
