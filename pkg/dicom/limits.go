package dicom

import "github.com/noctua-screening/noctua/pkg/dicom/pixel"

// Limits bound what reading one file may cost. The zero value of a field means its default.
type Limits struct {
	// MaxElements is the largest number of elements, items and fragments in a file; default 100,000. Each costs about
	// 100 bytes, so that the structure of a file takes 10 MB at most.
	MaxElements int
	// MaxDepth is the deepest nesting of sequences; default 16. Real files reach 6.
	MaxDepth int
	// MaxInflatedBytes is the largest size of a file that is compressed as a whole (Deflated Explicit VR Little Endian);
	// default 256 MiB, enough for the largest 8-bit colour picture of the default Pixels. Such a file lies in memory from Open on.
	MaxInflatedBytes int64
	// Pixels bounds the decoded picture.
	Pixels pixel.Limits
}

func (l Limits) orDefaults() Limits {
	if l.MaxElements == 0 {
		l.MaxElements = 100_000
	}
	if l.MaxDepth == 0 {
		l.MaxDepth = 16
	}
	if l.MaxInflatedBytes == 0 {
		l.MaxInflatedBytes = 256 << 20
	}
	return l
}
