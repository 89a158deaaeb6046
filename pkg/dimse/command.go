package dimse

import (
	"encoding/binary"
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

// noDataSet is the Command Data Set Type of a message without data set.
const noDataSet = 0x0101

// Elements of command sets, all of group 0 (PS3.7, E.1).
const (
	elementGroupLength     = 0x0000
	elementClass           = 0x0002
	elementField           = 0x0100
	elementMessageID       = 0x0110
	elementRespondedTo     = 0x0120
	elementDataSetType     = 0x0800
	elementStatus          = 0x0900
	elementErrorComment    = 0x0902
	elementInstance        = 0x1000
	maxErrorCommentLetters = 64
)

// Status is the outcome of a message (PS3.7 annex C, PS3.4 B.2.3).
type Status uint16

// Statuses that are answered.
const (
	Success               Status = 0x0000
	InvalidInstance       Status = 0x0117 // the instance UID is none
	ClassNotSupported     Status = 0x0122 // the class is not the one of the presentation context
	UnrecognisedOperation Status = 0x0211
	OutOfResources        Status = 0xA700 // the sender should try again
	DataSetMismatch       Status = 0xA900 // the data set is not of the class or instance that the command names
	CannotUnderstand      Status = 0xC000
)

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
		}
		switch element {
		case elementField:
			c.field = number
		case elementMessageID:
			c.messageID = number
		case elementDataSetType:
			c.hasDataSet = number != noDataSet
		case elementClass:
			c.class = strings.TrimRight(string(value), "\x00 ")
		case elementInstance:
			c.instance = strings.TrimRight(string(value), "\x00 ")
		}
	}
	isRequest := c.field&commandResponse == 0 && c.field != commandCancel
	if !found[elementField] || !found[elementDataSetType] || isRequest && !found[elementMessageID] {
		return c, broken(abortInvalidValue, "a command set lacks its field, message ID or data set type")
	}
	return c, nil
}

// response makes the command set that answers c.
func (c command) response(r Response) []byte {
	le := binary.LittleEndian
	var set []byte
	add := func(element uint16, value []byte) {
		set = le.AppendUint16(le.AppendUint16(set, 0), element)
		set = append(le.AppendUint32(set, uint32(len(value))), value...)
	}
	number := func(element, value uint16) { add(element, le.AppendUint16(nil, value)) }
	uid := func(element uint16, value string) {
		if validUID(value) {
			add(element, padded(value, 0))
		}
	}
	uid(elementClass, c.class)
	number(elementField, c.field|commandResponse)
	number(elementRespondedTo, c.messageID)
	number(elementDataSetType, noDataSet)
	number(elementStatus, uint16(r.Status))
	if r.Comment != "" {
		add(elementErrorComment, padded(r.Comment[:min(len(r.Comment), maxErrorCommentLetters)], ' '))
	}
	uid(elementInstance, c.instance)
	head := []byte{0, 0, 0, 0, 4, 0, 0, 0} // the group length (0000,0000)
	return append(le.AppendUint32(head, uint32(len(set))), set...)
}

func padded(s string, padding byte) []byte {
	if len(s)%2 == 1 {
		return append([]byte(s), padding)
	}
	return []byte(s)
}
