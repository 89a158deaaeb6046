package isolated

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// memoryVariable makes a process a child; its value is how many bytes of address space it may take.
const memoryVariable = "NOCTUA_DICOM_CHILD_BYTES"

// socket is the child's descriptor of the connection to its parent.
const socket = 3

// sharedMemory is the child's descriptor of the memory that takes its pictures.
const sharedMemory = 4

// Serve makes the process a child and does not return, if it was started as one; otherwise it does nothing. It must be the
// first thing that main, and TestMain of a package that reads files, does.
func Serve() {
	value := os.Getenv(memoryVariable)
	if value == "" {
		return
	}
	if err := serve(value); err != nil {
		fmt.Fprintln(os.Stderr, "noctua dicom child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(memory string) error {
	bytes, err := strconv.ParseInt(memory, 10, 64)
	if err != nil || bytes <= 0 {
		return fmt.Errorf("%s is %q", memoryVariable, memory)
	}
	shared, err := mapShared(sharedMemory) // before limit, which counts from there
	if err != nil {
		return err
	}
	if err := limit(bytes); err != nil {
		return err
	}
	var first hello
	if err := lockUp(); err != nil {
		first.Warning = err.Error()
	}
	if err := send(socket, first, nil); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	for {
		var r request
		file, err := receiveFile(socket, &r)
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving a file: %w", err)
		}
		if file == nil {
			return errors.New("a request came without its file")
		}
		a := answerTo(r, file, shared)
		_ = file.Close() // only read
		if err := send(socket, a, nil); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// mapShared maps the memory that the parent handed over, and gives its descriptor up.
func mapShared(fd int) ([]byte, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("asking for the size of the shared memory: %w", err)
	}
	shared, err := unix.Mmap(fd, 0, int(stat.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the shared memory: %w", err)
	}
	if err := unix.Close(fd); err != nil {
		return nil, fmt.Errorf("closing the shared memory: %w", err)
	}
	return shared, nil
}

// limit bounds memory and lets no file be written. Go, glibc and the shared memory reserve more than 1 GiB of address space
// before, so the limit counts from there.
func limit(bytes int64) error {
	reserved, err := addressSpace()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(bytes / 4 * 3) // collect rather than die
	most := reserved + uint64(bytes)    //nolint:gosec // positive
	for resource, value := range map[int]uint64{unix.RLIMIT_AS: most, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limiting resource %d: %w", resource, err)
		}
	}
	return nil
}

// addressSpace is what the process has reserved, bytes.
func addressSpace() (uint64, error) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading the own size: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), " ")
	pages, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the own size: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil //nolint:gosec // positive
}

// answerTo reads one file. The picture lies in shared, at its beginning, when it returns. A panic is not caught: it ends the child, which is what children are for.
func answerTo(r request, file *os.File, shared []byte) answer {
	f, err := dicom.Open(file, r.Size, r.Limits)
	if err != nil {
		return answer{Failed: toWire(err)}
	}
	a := answer{TransferSyntax: f.TransferSyntax}
	if r.Want == Splices && r.Correction != nil {
		if a.Splices, err = f.Correct(*r.Correction); err != nil {
			a.Failed = toWire(err)
		}
		return a
	}
	a.Instance, err = f.Describe()
	a.Refused = toWire(err)
	if r.Want == Judgement && err != nil {
		return a
	}
	if r.Want == Judgement && !photograph(a.Instance) {
		a.hashContent(f)
		return a
	}
	picture, notes, err := f.DecodeInto(shared)
	if err != nil {
		a.Undecoded = toWire(err)
		if r.Want == Judgement {
			a.hashContent(f)
		}
		return a
	}
	digest := sha256.Sum256(picture.Pix)
	a.PixelSHA256, a.Notes = hex.EncodeToString(digest[:]), notes
	if r.Want == Judgement {
		return a
	}
	if len(picture.Pix) > len(shared) { // the limits of the request are those that the memory was made by
		a.Undecoded = toWire(fault.New(fault.Internal, "child-memory", "a picture of %d bytes does not fit into the %d that a child shares", len(picture.Pix), len(shared)))
		return a
	}
	if a.Source, err = f.Source(&a.Instance); err != nil {
		return answer{Failed: toWire(err)}
	}
	copy(shared, picture.Pix) // costs nothing where the picture lies there
	a.Width, a.Height = picture.Width, picture.Height
	return a
}

// hashContent fills in what tells a file that is not decoded from others under its number.
func (a *answer) hashContent(f *dicom.File) {
	content := f.Content()
	if content == nil {
		return
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		a.Failed = toWire(fault.Wrap(fault.Transient, dicom.CodeUnreadable, err, "the file cannot be read to its end"))
		return
	}
	a.ContentSHA256 = hex.EncodeToString(hash.Sum(nil))
}

// photograph tells whether an instance's class is a photograph's, analysed or not.
func photograph(i record.Instance) bool {
	return i.NotAnalysed == nil || !slices.Contains([]string{dicom.CodeNoteDocument, dicom.CodeNoteStereo, dicom.CodeNoteTomography}, i.NotAnalysed.Code)
}
