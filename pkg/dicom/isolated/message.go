package isolated

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// request is what the parent asks, with the file as a descriptor.
type request struct {
	Size   int64        `json:"size"`
	Limits dicom.Limits `json:"limits"`
	Want   Want         `json:"want"`
	// Correction comes with Want Splices.
	Correction *record.Correction `json:"correction,omitempty"`
}

// answer is what the child says; the pixels, if there are any, lie at the beginning of the memory that it shares.
type answer struct {
	Failed         *wireFault      `json:"failed,omitempty"` // of dicom.Open, or of File.Correct
	TransferSyntax string          `json:"transfer_syntax,omitempty"`
	Instance       record.Instance `json:"instance"`
	Refused        *wireFault      `json:"refused,omitempty"`   // of Describe
	Undecoded      *wireFault      `json:"undecoded,omitempty"` // of Decode
	Notes          []record.Note   `json:"notes,omitempty"`
	PixelSHA256    string          `json:"pixel_sha256,omitempty"`
	ContentSHA256  string          `json:"content_sha256,omitempty"`
	Width          int             `json:"width,omitempty"`
	Height         int             `json:"height,omitempty"`
	Source         dicom.Source    `json:"source"`
	Splices        []dicom.Splice  `json:"splices,omitempty"`
}

// hello is the child's first message: it is locked up, or why it is less so than it could be.
type hello struct {
	Warning string `json:"warning,omitempty"`
}

// wireFault is a fault on its way between two processes.
type wireFault struct {
	Kind     fault.Kind `json:"kind"`
	Code     string     `json:"code"`
	Sentence string     `json:"sentence"`
}

func toWire(err error) *wireFault {
	if err == nil {
		return nil
	}
	return &wireFault{Kind: fault.KindOf(err), Code: fault.CodeOf(err), Sentence: fault.SentenceOf(err)}
}

func (w *wireFault) err() error {
	if w == nil {
		return nil
	}
	return fault.New(w.Kind, w.Code, "%s", w.Sentence)
}

// maxMessageBytes bounds a message; texts of an instance are a few KB. The kernel's default socket buffer holds it.
const maxMessageBytes = 128 << 10

// send writes one message as one packet, with a descriptor unless file is nil.
func send(fd int, message any, file *os.File) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if len(raw) > maxMessageBytes {
		return fmt.Errorf("a message of %d bytes is longer than %d", len(raw), maxMessageBytes)
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd())) //nolint:gosec // a descriptor fits an int
	}
	for {
		err = unix.Sendmsg(fd, raw, rights, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// errClosed tells that the other side is gone.
var errClosed = errors.New("the other process is gone")

// receive reads one message. A descriptor that comes with it is not taken.
func receive(fd int, message any) error {
	_, err := receiveWith(fd, message, nil)
	return err
}

// receiveFile reads one message, and the descriptor that came with it or nil.
func receiveFile(fd int, message any) (*os.File, error) {
	return receiveWith(fd, message, make([]byte, unix.CmsgSpace(4)))
}

func receiveWith(fd int, message any, rights []byte) (*os.File, error) {
	raw := make([]byte, maxMessageBytes+1)
	var n, nRights int
	var err error
	for {
		n, nRights, _, _, err = unix.Recvmsg(fd, raw, rights, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	file, err := descriptor(rights[:nRights])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return file, errClosed
	}
	if err := json.Unmarshal(raw[:n], message); err != nil {
		if file != nil {
			_ = file.Close() // nothing was read from it
		}
		return nil, fmt.Errorf("a message cannot be read: %w", err)
	}
	return file, nil
}

func descriptor(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("a message came with malformed rights: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("a message came with other than one descriptor: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "received"), nil
}
