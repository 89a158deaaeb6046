package dimse

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// MaxPDUBytes is the largest PDU that is taken, not counting its header of 6 bytes; it is what senders are told.
const MaxPDUBytes = 1 << 20

// Types of PDUs (PS3.8, 9.3).
const (
	pduAssociateRequest = 0x01
	pduAssociateAccept  = 0x02
	pduAssociateReject  = 0x03
	pduData             = 0x04
	pduReleaseRequest   = 0x05
	pduReleaseReply     = 0x06
	pduAbort            = 0x07

	pduHeaderBytes = 6
	shortPDUBytes  = 4 // of all but A-ASSOCIATE and P-DATA-TF
)

// Reasons of the provider's A-ABORT (PS3.8, 9.3.8).
const (
	abortUnspecified    = 0
	abortUnrecognised   = 1
	abortUnexpected     = 2
	abortInvalidValue   = 6
	abortSourceProvider = 2
)

// violation is how a sender breaks the protocol, and the reason to abort with.
type violation struct {
	reason byte
	text   string
}

func (v *violation) Error() string { return v.text }

func broken(reason byte, format string, args ...any) error {
	return &violation{reason, fmt.Sprintf(format, args...)}
}

// pdu puts the header in front of a PDU's body.
func pdu(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body)))
	return append(b, body...)
}

// Rejection is why an association is refused: result, source and reason of A-ASSOCIATE-RJ (PS3.8, 9.3.4), a byte each. The zero
// value refuses nothing.
type Rejection uint32

// Reasons to refuse an association.
const (
	RejectApplicationContext Rejection = 0x010102 // permanent; application context name not supported
	RejectCallingTitle       Rejection = 0x010103 // permanent; calling AE title not recognised
	RejectCalledTitle        Rejection = 0x010107 // permanent; called AE title not recognised
	RejectProtocolVersion    Rejection = 0x010202 // permanent; protocol version not supported
	RejectBusy               Rejection = 0x020302 // transient; local limit exceeded
)

// String says it in words.
func (r Rejection) String() string {
	switch r {
	case RejectApplicationContext:
		return "application context name not supported"
	case RejectCallingTitle:
		return "calling AE title not recognised"
	case RejectCalledTitle:
		return "called AE title not recognised"
	case RejectProtocolVersion:
		return "protocol version not supported"
	case RejectBusy:
		return "too many associations"
	}
	if r&0xFFFF == 0x0101 {
		return "no reason given"
	}
	return fmt.Sprintf("rejection %06X", uint32(r))
}

// Permanent tells that asking again will not help until something is changed (result 1; PS3.8, 9.3.4).
func (r Rejection) Permanent() bool { return r>>16 == 1 }

func (r Rejection) pdu() []byte {
	return pdu(pduAssociateReject, []byte{0, byte(r >> 16), byte(r >> 8), byte(r)})
}

// fields takes values off the body of a PDU. What does not fit makes short true and everything after it empty.
type fields struct {
	left  []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.left) {
		f.left, f.short = nil, true
		return make([]byte, min(n, shortPDUBytes))
	}
	taken := f.left[:n]
	f.left = f.left[n:]
	return taken
}

// item takes an item: type, reserved byte, length of 16 bits, value.
func (f *fields) item() (kind byte, value fields) {
	head := f.take(4)
	value = fields{left: f.take(int(binary.BigEndian.Uint16(head[2:])))}
	return head[0], value
}

// text returns what is left without padding.
func (f *fields) text() string { return strings.Trim(string(f.left), "\x00 ") }

// appendItem appends an item.
func appendItem(b []byte, kind byte, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, kind, 0), uint16(len(value)))
	return append(b, value...)
}

// validUID tells whether s may name a class, an instance or a syntax: 1 to 64 digits and dots.
func validUID(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && strings.Trim(s, "0123456789.") == ""
}
