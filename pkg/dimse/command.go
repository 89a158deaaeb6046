package dimse

import (
	"encoding/binary"
	"slices"
	"strings"
)

// VerificationClass is the SOP class of C-ECHO.
const VerificationClass = "1.2.840.10008.1.1"

// maxCommandBytes bounds a command set; those of C-STORE have about 250 bytes.
const maxCommandBytes = 16 << 10

// Command fields (PS3.7, E.1).
const (
	commandStore    = 0x0001
	commandEcho     = 0x0030
	commandCancel   = 0x0FFF
	commandResponse = 0x8000 // set in answers
)

// Command Data Set Types: of a message without data set, and of one with.
const (
	noDataSet   = 0x0101
	someDataSet = 0x0000
)

// Elements of command sets, all of group 0 (PS3.7, E.1).
const (
	elementGroupLength     = 0x0000
	elementClass           = 0x0002
	elementField           = 0x0100
	elementMessageID       = 0x0110
	elementRespondedTo     = 0x0120
	elementPriority        = 0x0700
	elementDataSetType     = 0x0800
	elementStatus          = 0x0900
	elementErrorComment    = 0x0902
	elementInstance        = 0x1000
	maxErrorCommentLetters = 64
)

// Status is the outcome of a message (PS3.7 annex C, PS3.4 B.2.3).
type Status uint16

// Statuses that are answered, and those of other archives that are told apart.
const (
	Success               Status = 0x0000
	AttributeList         Status = 0x0107 // warning: stored, some attributes were ignored
	ProcessingFailure     Status = 0x0110
	DuplicateInstance     Status = 0x0111 // the instance is there already
	AttributeOutOfRange   Status = 0x0116 // warning: stored, a value was out of range
	InvalidInstance       Status = 0x0117 // the instance UID is none
	ClassNotSupported     Status = 0x0122 // the class is not the one of the presentation context
	NotAuthorised         Status = 0x0124
	UnrecognisedOperation Status = 0x0211
	OutOfResources        Status = 0xA700 // the sender should try again
	DataSetMismatch       Status = 0xA900 // the data set is not of the class or instance that the command names
	CannotUnderstand      Status = 0xC000
)

// Stored tells that the instance is with whoever answered: success, a warning (Bxxx, 0001, 0107, 0116; PS3.7 annex C), or it was there
// before.
func (s Status) Stored() bool {
	return slices.Contains([]Status{Success, 0x0001, AttributeList, DuplicateInstance, AttributeOutOfRange}, s) || s>>12 == 0xB
}

// Response is the answer to a message.
type Response struct {
	Status Status
	// Comment says what is wrong, for the people at the sender; ASCII, cut to 64 letters.
	Comment string
}

// command is a command set as far as it is used here.
type command struct {
	field, messageID uint16
	hasDataSet       bool
	class, instance  string // not checked

	// Of answers alone. answered tells that respondedTo and status are there.
	answered    bool
	respondedTo uint16
	status      Status
	comment     string
}

// parseCommand reads a command set, which is always Implicit VR Little Endian.
func parseCommand(b []byte) (command, error) {
	le := binary.LittleEndian
	var c command
	found := map[uint16]bool{}
	for last := -1; len(b) > 0; {
		if len(b) < 8 {
			return c, broken(abortInvalidValue, "a command set ends in the middle of an element")
		}
		group, element, length := le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:])
		b = b[8:]
		if group != 0 || int(element) <= last || int64(length) > int64(len(b)) {
			return c, broken(abortInvalidValue, "element (%04X,%04X) of a command set is out of place or longer than the set", group, element)
		}
		value := b[:length]
		b, last = b[length:], int(element)
		var number uint16
		switch element {
		case elementField, elementMessageID, elementDataSetType:
			if length != 2 {
				return c, broken(abortInvalidValue, "element (0000,%04X) of a command set should have 2 bytes, but has %d", element, length)
			}
			number = le.Uint16(value)
			found[element] = true
		case elementRespondedTo, elementStatus: // of answers; in requests they mean nothing
			if length == 2 {
				number = le.Uint16(value)
				found[element] = true
			}
		}
		switch element {
		case elementField:
			c.field = number
		case elementMessageID:
			c.messageID = number
		case elementDataSetType:
			c.hasDataSet = number != noDataSet
		case elementRespondedTo:
			c.respondedTo = number
		case elementStatus:
			c.status = Status(number)
		case elementErrorComment:
			c.comment = strings.Trim(string(value), "\x00 ")
		case elementClass:
			c.class = strings.TrimRight(string(value), "\x00 ")
		case elementInstance:
			c.instance = strings.TrimRight(string(value), "\x00 ")
		}
	}
	c.answered = found[elementRespondedTo] && found[elementStatus]
	isRequest := c.field&commandResponse == 0 && c.field != commandCancel
	if !found[elementField] || !found[elementDataSetType] || isRequest && !found[elementMessageID] {
		return c, broken(abortInvalidValue, "a command set lacks its field, message ID or data set type")
	}
	return c, nil
}

// commandSet gathers the elements of a command set, which come in the order of their numbers.
type commandSet struct{ elements []byte }

func (s *commandSet) add(element uint16, value []byte) {
	le := binary.LittleEndian
	s.elements = le.AppendUint16(le.AppendUint16(s.elements, 0), element)
	s.elements = append(le.AppendUint32(s.elements, uint32(len(value))), value...)
}

func (s *commandSet) number(element, value uint16) {
	s.add(element, binary.LittleEndian.AppendUint16(nil, value))
}

func (s *commandSet) uid(element uint16, value string) {
	if validUID(value) {
		s.add(element, padded(value, 0))
	}
}

// bytes puts the group length (0000,0000) in front.
func (s *commandSet) bytes() []byte {
	head := []byte{0, 0, 0, 0, 4, 0, 0, 0}
	return append(binary.LittleEndian.AppendUint32(head, uint32(len(s.elements))), s.elements...)
}

// response makes the command set that answers c.
func (c command) response(r Response) []byte {
	var s commandSet
	s.uid(elementClass, c.class)
	s.number(elementField, c.field|commandResponse)
	s.number(elementRespondedTo, c.messageID)
	s.number(elementDataSetType, noDataSet)
	s.number(elementStatus, uint16(r.Status))
	if r.Comment != "" {
		s.add(elementErrorComment, padded(r.Comment[:min(len(r.Comment), maxErrorCommentLetters)], ' '))
	}
	s.uid(elementInstance, c.instance)
	return s.bytes()
}

// request makes the command set of c: C-ECHO or C-STORE at medium priority (PS3.7, 9.3.1 and 9.3.5).
func (c command) request() []byte {
	var s commandSet
	s.uid(elementClass, c.class)
	s.number(elementField, c.field)
	s.number(elementMessageID, c.messageID)
	if !c.hasDataSet {
		s.number(elementDataSetType, noDataSet)
		return s.bytes()
	}
	s.number(elementPriority, 0)
	s.number(elementDataSetType, someDataSet)
	s.uid(elementInstance, c.instance)
	return s.bytes()
}

func padded(s string, padding byte) []byte {
	if len(s)%2 == 1 {
		return append([]byte(s), padding)
	}
	return []byte(s)
}
