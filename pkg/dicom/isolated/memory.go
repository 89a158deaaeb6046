package isolated

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// pixelMemory is memory that a child writes pictures to and its parent copies them from. It is used again for every picture of a
// child: the kernel takes several times as long to find new pages as the pixels take to copy. The parent reads it as a file
// and never maps it, so that nothing that a child does to it can be felt but as an error or as other pixels.
type pixelMemory struct{ file *os.File }

// newPixelMemory makes memory for the largest picture that the limits allow. Pages are taken when they are written to.
func newPixelMemory(limits dicom.Limits) (pixelMemory, error) {
	fd, err := unix.MemfdCreate("pixels", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return pixelMemory{}, fmt.Errorf("making memory for pixels: %w", err)
	}
	m := pixelMemory{file: os.NewFile(uintptr(fd), "pixels")} //nolint:gosec // a descriptor is not negative
	err = unix.Ftruncate(fd, 3*limits.Pixels.Most())
	if err == nil { // for good: a child cannot take more
		_, err = unix.FcntlInt(m.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		m.close()
		return pixelMemory{}, fmt.Errorf("sizing memory for pixels: %w", err)
	}
	return m, nil
}

// picture copies the pixels to memory of from, whatever the child may do with them meanwhile.
func (m pixelMemory) picture(width, height int, limits dicom.Limits, from *spare) (*raster.RGB, error) {
	if err := limits.Pixels.Check(width, height); err != nil {
		return nil, fmt.Errorf("a child answered with an impossible picture: %w", err)
	}
	picture := raster.NewRGBIn(from.take(3*width*height), width, height)
	if n, err := m.file.ReadAt(picture.Pix, 0); n < len(picture.Pix) {
		if errors.Is(err, io.EOF) {
			err = errors.New("the memory ends")
		}
		return nil, fmt.Errorf("copying a picture of %d × %d pixels: %w", width, height, err)
	}
	return picture, nil
}

// release gives the pages back. What lay there reads as zeros.
func (m pixelMemory) release() error {
	info, err := m.file.Stat()
	if err == nil {
		err = unix.Fallocate(int(m.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, info.Size()) //nolint:gosec // a descriptor fits an int
	}
	if err != nil {
		return fmt.Errorf("giving memory for pixels back: %w", err)
	}
	return nil
}

func (m pixelMemory) close() { _ = m.file.Close() } // only in memory; closed already where called again

// spare keeps the memory of one picture that nobody needs any more for the next one: memory that the process has not used before takes
// as long to get as the pixels take to copy. A nil *spare has none.
type spare struct {
	mu  sync.Mutex
	pix []byte
}

// take returns memory of at least n bytes, or nil. What is too small is of no use and goes.
func (s *spare) take(n int) []byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pix := s.pix[:cap(s.pix)]
	s.pix = nil
	if len(pix) < n {
		return nil
	}
	return pix
}

func (s *spare) put(pix []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pix = pix
}

// memoryFile holds data in a file that lies in memory and has no name.
func memoryFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), name) //nolint:gosec // a descriptor is not negative
	if _, err := file.Write(data); err != nil {
		_ = file.Close() // nothing to lose
		return nil, fmt.Errorf("filling a file in memory: %w", err)
	}
	return file, nil
}
