package dimse

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Codes of what may go wrong on the requesting side besides the other Code… constants.
const (
	CodeContextRefused = "context-refused"  // no presentation context for the object
	CodeUnsendable     = "object-malformed" // the object cannot be sent to anybody
)

const (
	// maxProposals is how many presentation contexts have a number: the odd ones of a byte.
	maxProposals = 128
	// maxDataFragmentBytes bounds what is sent of a data set in one PDU, where the other side takes more: large enough that headers
	// cost nothing.
	maxDataFragmentBytes = 64 << 10
	// maxReleasePDUs bounds what the other side may still say after it was asked for release.
	maxReleasePDUs = 16
)

// Proposal is a presentation context to ask for: one class in one encoding.
type Proposal struct{ Class, TransferSyntax string }

// ClientConfig of an association that is asked for. All fields are required.
type ClientConfig struct {
	Calling, Called       string     // AE titles, 1 to 16 letters
	Proposals             []Proposal // 1 to 128; equal ones count once
	ImplementationUID     string
	ImplementationVersion string // at most 16 letters
	// AnswerTimeout is the longest wait for an answer of the other side, for the rest of a PDU, and for it to take what is sent.
	AnswerTimeout time.Duration
}

// Client is the requesting side of an association: a Storage and Verification SCU. Its methods are called one at a time.
//
// An error of a method ends the association and closes the connection. It is a fault with one of the Code… constants: Invalid if
// the other side broke the protocol or refuses for good, Transient for the rest; or the cause, if ctx was cancelled.
// Only CodeContextRefused (Unsupported) and CodeUnsendable (Invalid) of Store leave the association as it is.
type Client struct {
	a        *Association
	contexts map[Proposal]byte
	message  uint16
	ended    bool
}

// Open asks for an association on a connection. If it fails, the connection is closed.
func Open(ctx context.Context, conn net.Conn, cfg ClientConfig) (*Client, error) {
	c := &Client{contexts: map[Proposal]byte{}, a: &Association{
		conn: conn, reader: bufio.NewReaderSize(conn, readBufferBytes), contexts: map[byte]negotiated{},
		config: Config{IdleTimeout: cfg.AnswerTimeout, ARTIM: cfg.AnswerTimeout},
	}}
	proposed, request, err := cfg.request()
	if err != nil {
		_ = conn.Close() // nothing was said
		return nil, err
	}
	err = c.do(ctx, "asking for an association", func() error {
		if err := c.a.write(request); err != nil {
			return err
		}
		kind, length, err := c.a.nextPDU(false)
		if err != nil {
			return err
		}
		if kind != pduAssociateAccept && kind != pduAssociateReject {
			return broken(abortUnexpected, "a PDU of type %d came where the answer to an association request was expected", kind)
		}
		body := make([]byte, length)
		if err := c.a.read(body); err != nil {
			return err
		}
		if kind == pduAssociateReject {
			return rejectedError{Rejection(uint32(body[1])<<16 | uint32(body[2])<<8 | uint32(body[3]))}
		}
		return c.accept(body, proposed)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// request makes the A-ASSOCIATE-RQ, and the contexts in it by their numbers.
func (cfg ClientConfig) request() (map[byte]Proposal, []byte, error) {
	for _, title := range []string{cfg.Calling, cfg.Called} {
		if len(title) == 0 || len(title) > titleBytes {
			return nil, nil, fault.New(fault.Invalid, CodeUnsendable, "an AE title should have 1 to %d letters, but is %q", titleBytes, title)
		}
	}
	body := []byte{0, 1, 0, 0}
	for _, title := range []string{cfg.Called, cfg.Calling} {
		padded := [titleBytes]byte{}
		for i := range padded {
			padded[i] = ' '
		}
		copy(padded[:], title)
		body = append(body, padded[:]...)
	}
	body = append(body, make([]byte, 32)...)
	body = appendItem(body, itemApplication, []byte(applicationContext))
	numbers, known := map[byte]Proposal{}, map[Proposal]bool{}
	for _, p := range cfg.Proposals {
		if !validUID(p.Class) || !validUID(p.TransferSyntax) {
			return nil, nil, fault.New(fault.Invalid, CodeUnsendable, "class and transfer syntax of an object to send should be UIDs, but are %q and %q", p.Class, p.TransferSyntax)
		}
		if known[p] {
			continue
		}
		if len(numbers) == maxProposals {
			return nil, nil, fault.New(fault.Invalid, CodeUnsendable, "more than %d kinds of objects cannot be sent in one association", maxProposals)
		}
		id := byte(2*len(numbers) + 1)
		known[p], numbers[id] = true, p
		context := appendItem([]byte{id, 0, 0, 0}, itemAbstract, []byte(p.Class))
		body = appendItem(body, itemContext, appendItem(context, itemTransfer, []byte(p.TransferSyntax)))
	}
	if len(numbers) == 0 {
		return nil, nil, fault.New(fault.Invalid, CodeUnsendable, "an association needs at least one kind of object to send")
	}
	user := appendItem(nil, itemMaxLength, binary.BigEndian.AppendUint32(nil, MaxPDUBytes))
	user = appendItem(user, itemImplementation, []byte(cfg.ImplementationUID))
	user = appendItem(user, itemVersion, []byte(cfg.ImplementationVersion))
	return numbers, pdu(pduAssociateRequest, appendItem(body, itemUser, user)), nil
}

// accept reads the body of an A-ASSOCIATE-AC. Titles are not compared: they shall not be tested (PS3.8, 9.3.3).
func (c *Client) accept(body []byte, proposed map[byte]Proposal) error {
	f := fields{left: body}
	f.take(4 + 2*titleBytes + 32)
	var answer Request
	for len(f.left) > 0 && !f.short {
		kind, value := f.item()
		switch kind {
		case itemContextAnswer:
			head := value.take(4)
			p, ok := proposed[head[0]]
			if !ok {
				return broken(abortInvalidValue, "presentation context %d was answered, but not proposed", head[0])
			}
			if ContextResult(head[2]) != ContextAccepted {
				continue
			}
			if kind, syntax := value.item(); kind != itemTransfer || syntax.text() != p.TransferSyntax {
				return broken(abortInvalidValue, "presentation context %d was accepted in another transfer syntax than proposed", head[0])
			}
			c.contexts[p], c.a.contexts[head[0]] = head[0], negotiated{p.Class, p.TransferSyntax}
		case itemUser:
			if err := answer.parseUser(value); err != nil {
				return err
			}
		}
	}
	if f.short {
		return broken(abortInvalidValue, "an item of the A-ASSOCIATE-AC is longer than the rest of it")
	}
	c.a.peerMaxPDU = answer.maxPDU
	return nil
}

// Echo asks the other side for a sign of life (C-ECHO). The Proposals must have held VerificationClass.
func (c *Client) Echo(ctx context.Context) (Response, error) {
	for p, id := range c.contexts {
		if p.Class == VerificationClass {
			return c.call(ctx, id, command{field: commandEcho, class: VerificationClass}, nil)
		}
	}
	return Response{}, fault.New(fault.Unsupported, CodeContextRefused, "the other side does not answer to Verification")
}

// Store sends an object (C-STORE) whose data set has the encoding of one of the Proposals, without Part 10 header, and returns what was
// answered, whatever the status is.
func (c *Client) Store(ctx context.Context, o Object, dataset []byte) (Response, error) {
	if !validUID(o.Instance) || len(dataset) == 0 || len(dataset)%2 != 0 {
		return Response{}, fault.New(fault.Invalid, CodeUnsendable, "an object to send should have an instance UID and a data set of even length, but has %d bytes", len(dataset))
	}
	id, ok := c.contexts[Proposal{o.Class, o.TransferSyntax}]
	if !ok {
		return Response{}, fault.New(fault.Unsupported, CodeContextRefused, "the other side does not take objects of class %s in transfer syntax %s", o.Class, o.TransferSyntax)
	}
	return c.call(ctx, id, command{field: commandStore, hasDataSet: true, class: o.Class, instance: o.Instance}, dataset)
}

// call sends a message and reads its answer.
func (c *Client) call(ctx context.Context, id byte, m command, dataset []byte) (response Response, err error) {
	c.message++
	m.messageID = c.message
	return response, c.do(ctx, "sending", func() error {
		if err := c.a.send(id, m.request()); err != nil {
			return err
		}
		if err := c.a.sendData(id, dataset); err != nil {
			return err
		}
		answer, from, err := c.a.readCommand()
		if err != nil {
			return err
		}
		if from != id || answer.field != m.field|commandResponse || answer.hasDataSet || !answer.answered || answer.respondedTo != m.messageID {
			return broken(abortUnexpected, "the answer to message %d is none to it", m.messageID)
		}
		response = Response{Status: answer.status, Comment: answer.comment}
		return nil
	})
}

// Release ends the association in order and closes the connection. An error means no more than that the other side did not say goodbye.
func (c *Client) Release(ctx context.Context) error {
	err := c.do(ctx, "asking for release", func() error {
		if err := c.a.write(pdu(pduReleaseRequest, make([]byte, shortPDUBytes))); err != nil {
			return err
		}
		for range maxReleasePDUs {
			kind, _, err := c.a.nextPDU(false)
			switch {
			case err != nil:
				return err
			case kind == pduReleaseReply:
				return nil
			case kind != pduReleaseRequest: // both asking at once is foreseen (PS3.8, 7.2.2)
				return broken(abortUnexpected, "a PDU of type %d came where the answer to a release was expected", kind)
			}
			if err := c.a.write(pdu(pduReleaseReply, make([]byte, shortPDUBytes))); err != nil {
				return err
			}
		}
		return broken(abortUnexpected, "a release was asked for more than %d times", maxReleasePDUs)
	})
	c.close()
	return err
}

// Abort ends an association at once, unless it has ended, and closes the connection.
func (c *Client) Abort() {
	if !c.ended {
		_ = c.a.write(pdu(pduAbort, make([]byte, shortPDUBytes))) // by the service user; whether it arrives makes no difference
	}
	c.close()
}

func (c *Client) close() {
	c.ended = true
	_ = c.a.conn.Close() // what was to be sent was sent, or the association is broken
}

// do runs a step of the protocol; ctx cuts it off. If it fails, the association has ended.
func (c *Client) do(ctx context.Context, doing string, step func() error) error {
	if c.ended {
		return fault.New(fault.Transient, CodeBroken, "%s: the association has ended", doing)
	}
	err := ctx.Err()
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.a.conn.Close() })
		err = step()
		stop()
	}
	if err == nil {
		return nil
	}
	var protocol *violation
	var rejected rejectedError
	switch {
	case ctx.Err() != nil:
		c.close()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fault.Wrap(fault.Transient, CodeTimeout, ctx.Err(), "%s took too long", doing)
		}
		return ctx.Err()
	case errors.As(err, &rejected):
		c.close()
		kind := fault.Transient
		if rejected.why.Permanent() {
			kind = fault.Invalid
		}
		return fault.New(kind, CodeRejected, "the association was refused: %s", rejected.why)
	case errors.As(err, &protocol):
		_ = c.a.write(pdu(pduAbort, []byte{0, 0, abortSourceProvider, protocol.reason})) // as Abort
		c.close()
		return fault.New(fault.Invalid, CodeProtocol, "%s: %s", doing, protocol.text)
	case errors.Is(err, errAborted):
		c.close()
		return fault.New(fault.Transient, CodeAborted, "%s: the other side has aborted the association", doing)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Abort()
		return fault.New(fault.Transient, CodeTimeout, "%s: the other side was silent for too long", doing)
	}
	c.close()
	return fault.Wrap(fault.Transient, CodeBroken, err, "%s: the connection was lost", doing)
}

// sendData sends a data set, PDU by PDU; each has the time of Config.IdleTimeout.
func (a *Association) sendData(context byte, data []byte) error {
	limit := maxDataFragmentBytes
	if a.peerMaxPDU > 0 {
		limit = min(limit, int(min(a.peerMaxPDU, MaxPDUBytes))-pdvHeaderBytes) &^ 1 // even, as fragments are
	}
	out := make([]byte, 0, pduHeaderBytes+pdvHeaderBytes+min(limit, len(data)))
	for len(data) > 0 {
		n := min(limit, len(data))
		control := byte(0)
		if n == len(data) {
			control = flagLast
		}
		out = binary.BigEndian.AppendUint32(append(out[:0], pduData, 0), uint32(n+pdvHeaderBytes))
		out = append(binary.BigEndian.AppendUint32(out, uint32(n+2)), context, control)
		if err := a.write(append(out, data[:n]...)); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
