package pixel

import "github.com/noctua-screening/noctua/pkg/fault"

// Limits bound what a picture may cost. The zero value of a field means its default.
type Limits struct {
	// MaxPixels is the largest width × height; default 64 Mi (67,108,864): the largest fundus montage that cameras make,
	// and at most 600 MB of memory while a progressive JPEG of that size is decoded.
	MaxPixels int64
	// MaxDimension is the largest width or height in pixels; default 16,384.
	MaxDimension int
}

const (
	defaultMaxPixels    = 64 << 20
	defaultMaxDimension = 16384
)

// Check tells whether a picture of this size may be decoded: fault.Invalid "picture-too-large" or "picture-corrupt" if not.
func (l Limits) Check(width, height int) error {
	l.MaxPixels = l.Most()
	if l.MaxDimension == 0 {
		l.MaxDimension = defaultMaxDimension
	}
	switch {
	case width < 1 || height < 1:
		return fault.New(fault.Invalid, CodeCorrupt, "the picture's size is %d × %d pixels, but both must be at least 1", width, height)
	case width > l.MaxDimension || height > l.MaxDimension || int64(width)*int64(height) > l.MaxPixels:
		return fault.New(fault.Invalid, CodeTooLarge,
			"the picture has %d × %d pixels, more than the limit of %d a side and %d in all", width, height, l.MaxDimension, l.MaxPixels)
	}
	return nil
}

// Most is how many pixels a picture may have.
func (l Limits) Most() int64 {
	if l.MaxPixels == 0 {
		return defaultMaxPixels
	}
	return l.MaxPixels
}

// Codes of the faults of this package.
const (
	CodeTooLarge    = "picture-too-large"        // over Limits
	CodeCorrupt     = "picture-corrupt"          // not what it claims to be, damaged, or cut off
	CodeUnsupported = "picture-unsupported"      // sound, but of a kind that is not decoded here
	CodeFormat      = "pixel-format-unsupported" // samples of a kind that cannot be shown as colours here
	CodePalette     = "palette-malformed"
)
