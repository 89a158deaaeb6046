package hl7

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Bytes of a frame (MLLP Release 1, 2): start block, message, end block, carriage return.
const (
	startBlock = 0x0B
	endBlock   = 0x1C
	frameEnd   = 0x0D
)

// Bounds of an answer. An acknowledgement has some 200 bytes, with an ERR for each complaint some thousands.
const (
	MaxAnswerBytes = 64 << 10
	maxSegments    = 200
	maxFields      = 100
)

// CodeAnswer is the code of an answer that is no acknowledgement.
const CodeAnswer = "hl7-answer"

// Frame wraps a message for the wire.
func Frame(message []byte) []byte {
	return append(append([]byte{startBlock}, message...), endBlock, frameEnd)
}

// ReadFrame reads the next frame and returns what is in it, of at most MaxAnswerBytes. Bytes before the start block count for the limit and are
// ignored, as the specification says. Errors: those of r; io.ErrUnexpectedEOF within a frame; a fault of kind Invalid for one that is too long.
func ReadFrame(r *bufio.Reader) ([]byte, error) {
	var message []byte
	inside := false
	for range MaxAnswerBytes {
		b, err := r.ReadByte()
		if err != nil {
			if inside && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading an HL7 frame: %w", err)
		}
		switch {
		case b == startBlock:
			inside, message = true, message[:0]
		case !inside:
		case b == endBlock:
			// The carriage return that should follow is left for the next frame to skip: waiting for it could hang on receivers that leave it out.
			return message, nil
		default:
			message = append(message, b)
		}
	}
	return nil, fault.New(fault.Invalid, CodeAnswer, "the receiver sends more than %d bytes that are no acknowledgement", MaxAnswerBytes)
}

// Verdict is what an acknowledgement says.
type Verdict int

// Verdicts.
const (
	Accepted Verdict = iota // AA, CA
	Errored                 // AE, CE: not processed; may be sent again
	Rejected                // AR, CR: will not be processed
)

// Ack is an acknowledgement.
type Ack struct {
	Verdict   Verdict
	Code      string // MSA-1
	ControlID string // MSA-2: of the message that is acknowledged
	// ErrorCode is ERR-3.1 (or MSA-6.1), "" where there is none: at most 20 letters, digits and hyphens.
	ErrorCode string
}

// ParseAck reads an acknowledgement in whatever delimiters it declares. A fault of kind Invalid says that it is none.
func ParseAck(raw []byte) (Ack, error) {
	var a Ack
	bad := func(what string) (Ack, error) {
		return Ack{}, fault.New(fault.Invalid, CodeAnswer, "the receiver's answer is no HL7 acknowledgement: %s", what)
	}
	if len(raw) > MaxAnswerBytes {
		return bad("it is too long")
	}
	text := strings.TrimLeft(string(raw), "\r\n ")
	if !strings.HasPrefix(text, "MSH") || len(text) < 5 {
		return bad("it does not begin with MSH")
	}
	field, component := text[3:4], text[4:5]
	// Some receivers end segments by line feeds, against the standard.
	segments := strings.SplitN(strings.NewReplacer("\r\n", "\r", "\n", "\r").Replace(text), segmentEnd, maxSegments+1)
	found := false
	for _, s := range segments[:min(len(segments), maxSegments)] {
		fields := strings.SplitN(s, field, maxFields)
		get := func(n int) string {
			if n >= len(fields) {
				return ""
			}
			return strings.TrimSpace(fields[n])
		}
		switch fields[0] {
		case "MSA":
			if found {
				return bad("it has several MSA")
			}
			found = true
			a.Code, a.ControlID = get(1), get(2)
			a.ErrorCode = plain(first(get(6), component))
		case "ERR":
			if c := plain(first(get(3), component)); c != "" {
				a.ErrorCode = c
			}
		}
	}
	if !found {
		return bad("it has no MSA")
	}
	switch a.Code {
	case "AA", "CA":
		a.Verdict = Accepted
	case "AE", "CE":
		a.Verdict = Errored
	case "AR", "CR":
		a.Verdict = Rejected
	default:
		return bad("its MSA-1 is none of AA, AE and AR")
	}
	return a, nil
}

func first(field, component string) string {
	head, _, _ := strings.Cut(field, component)
	return head
}

// plain keeps what is a code and drops what could be a text, which may quote a patient. The codes of HL7 table 0357 have three digits.
func plain(code string) string {
	const longest = 20
	if len(code) > longest || strings.ContainsFunc(code, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
	}) {
		return ""
	}
	return code
}
