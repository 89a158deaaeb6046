package evaluation

import (
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// clDice is the centreline Dice of a mask against a label of the same size (Shit et al., clDice, CVPR 2021, eq. 1 and 2): the
// harmonic mean of the share of the mask's skeleton that lies on the label and the share of the label's skeleton that lies
// on the mask. Unlike Dice it counts a vessel by its length, not by its area. Undefined where neither has a skeleton, 0 where
// only one has.
func clDice(mask, label *raster.Mask) Score {
	maskOn, maskAll := onOther(vessel.Skeleton(mask), label)
	labelOn, labelAll := onOther(vessel.Skeleton(label), mask)
	switch {
	case maskAll == 0 && labelAll == 0:
		return Undefined()
	case maskOn == 0 || labelOn == 0:
		return 0
	}
	precision, sensitivity := float64(maskOn)/float64(maskAll), float64(labelOn)/float64(labelAll)
	return Score(2 * precision * sensitivity / (precision + sensitivity))
}

// onOther counts the foreground of a, and how much of it is foreground of b.
func onOther(a, b *raster.Mask) (both, all int) {
	for i, v := range a.Pix {
		if v == 0 {
			continue
		}
		all++
		if b.Pix[i] != 0 {
			both++
		}
	}
	return both, all
}

// inside returns the part of a mask that lies in fov; nil fields of view and masks are the whole picture and nothing.
func inside(m, fov *raster.Mask, width, height int) *raster.Mask {
	out := raster.NewMask(width, height)
	if m == nil {
		return out
	}
	for i, v := range m.Pix {
		if v != 0 && (fov == nil || fov.Pix[i] != 0) {
			out.Pix[i] = raster.Foreground
		}
	}
	return out
}
