package dimse

import (
	"encoding/binary"
	"strings"
)

const applicationContext = "1.2.840.10008.3.1.1.1"

// Types of items in A-ASSOCIATE (PS3.8, 9.3.2 and PS3.7, D.3.3).
const (
	itemApplication    = 0x10
	itemContext        = 0x20
	itemContextAnswer  = 0x21
	itemAbstract       = 0x30
	itemTransfer       = 0x40
	itemUser           = 0x50
	itemMaxLength      = 0x51
	itemImplementation = 0x52
	itemVersion        = 0x55
)

// titleBytes is the length of an AE title, padded with spaces.
const titleBytes = 16

// maxTransferSyntaxes bounds what is kept of one context; the standard knows about 60.
const maxTransferSyntaxes = 128

// minPDUBytes is the smallest limit of a sender's that is of use: the header of a PDV and two bytes of a message.
const minPDUBytes = 8

// Request is an A-ASSOCIATE-RQ.
type Request struct {
	Calling, Called       string // AE titles without padding, not checked otherwise
	Contexts              []Context
	ImplementationUID     string
	ImplementationVersion string

	application string
	version     uint16
	fixed       []byte // titles and what is reserved behind them, which the answer repeats
	maxPDU      uint32 // largest P-DATA-TF that the sender takes; 0: any
}

// Context is a presentation context as it was proposed.
type Context struct {
	ID               byte // odd
	AbstractSyntax   string
	TransferSyntaxes []string // in the sender's order, at most 128; without those that are no UIDs
}

// ContextResult is the answer to a proposed presentation context (PS3.8, 9.3.3.2).
type ContextResult byte

// Answers to a presentation context.
const (
	ContextAccepted         ContextResult = 0
	ContextAbstractSyntax   ContextResult = 3 // abstract syntax not supported
	ContextTransferSyntaxes ContextResult = 4 // none of the transfer syntaxes supported
)

// negotiated is a presentation context that was accepted.
type negotiated struct{ class, syntax string }

// parseRequest reads the body of an A-ASSOCIATE-RQ. Items that it does not know are passed over, as the standard wants.
func parseRequest(body []byte) (*Request, error) {
	f := fields{left: body}
	r := &Request{version: binary.BigEndian.Uint16(f.take(2))}
	f.take(2)
	r.fixed = f.take(2*titleBytes + 32)
	if f.short {
		return nil, broken(abortInvalidValue, "an A-ASSOCIATE-RQ of %d bytes is too short", len(body))
	}
	r.Called, r.Calling = title(r.fixed[:titleBytes]), title(r.fixed[titleBytes:2*titleBytes])
	known := map[byte]bool{}
	for len(f.left) > 0 && !f.short {
		kind, value := f.item()
		switch kind {
		case itemApplication:
			r.application = value.text()
		case itemContext:
			c, err := parseContext(value)
			if err != nil {
				return nil, err
			}
			if known[c.ID] {
				return nil, broken(abortInvalidValue, "presentation context %d is proposed twice", c.ID)
			}
			known[c.ID] = true
			r.Contexts = append(r.Contexts, c)
		case itemUser:
			if err := r.parseUser(value); err != nil {
				return nil, err
			}
		}
	}
	if f.short {
		return nil, broken(abortInvalidValue, "an item of the A-ASSOCIATE-RQ is longer than the rest of it")
	}
	return r, nil
}

func title(padded []byte) string { return strings.Trim(string(padded), " \x00") }

func parseContext(f fields) (Context, error) {
	c := Context{ID: f.take(4)[0]}
	for len(f.left) > 0 && !f.short {
		kind, value := f.item()
		switch uid := value.text(); {
		case kind == itemAbstract:
			c.AbstractSyntax = uid
		case kind == itemTransfer && validUID(uid) && len(c.TransferSyntaxes) < maxTransferSyntaxes:
			c.TransferSyntaxes = append(c.TransferSyntaxes, uid)
		}
	}
	if f.short || c.ID%2 == 0 {
		return c, broken(abortInvalidValue, "a presentation context of the A-ASSOCIATE-RQ is malformed")
	}
	return c, nil
}

func (r *Request) parseUser(f fields) error {
	for len(f.left) > 0 && !f.short {
		kind, value := f.item()
		switch kind {
		case itemMaxLength:
			r.maxPDU = binary.BigEndian.Uint32(value.take(4))
			if value.short || r.maxPDU > 0 && r.maxPDU < minPDUBytes {
				return broken(abortInvalidValue, "the A-ASSOCIATE-RQ allows PDUs of %d bytes, too small for any message", r.maxPDU)
			}
		case itemImplementation:
			r.ImplementationUID = value.text()
		case itemVersion:
			r.ImplementationVersion = value.text()
		}
	}
	if f.short {
		return broken(abortInvalidValue, "the user information of the A-ASSOCIATE-RQ is malformed")
	}
	return nil
}

// answer makes the A-ASSOCIATE-AC, and the contexts that it accepts by their IDs.
func (r *Request) answer(h Handler, c Config) (map[byte]negotiated, []byte) {
	accepted := map[byte]negotiated{}
	body := append([]byte{0, 1, 0, 0}, r.fixed...)
	body = appendItem(body, itemApplication, []byte(applicationContext))
	for _, context := range r.Contexts {
		syntax, result := h.Negotiate(context)
		if result == ContextAccepted {
			accepted[context.ID] = negotiated{context.AbstractSyntax, syntax}
		}
		body = appendItem(body, itemContextAnswer, appendItem([]byte{context.ID, 0, byte(result), 0}, itemTransfer, []byte(syntax)))
	}
	user := appendItem(nil, itemMaxLength, binary.BigEndian.AppendUint32(nil, MaxPDUBytes))
	user = appendItem(user, itemImplementation, []byte(c.ImplementationUID))
	user = appendItem(user, itemVersion, []byte(c.ImplementationVersion))
	return accepted, pdu(pduAssociateAccept, appendItem(body, itemUser, user))
}
