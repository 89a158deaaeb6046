package dimse

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Codes of how an association ended, if not by release.
const (
	CodeRejected = "association-rejected"  // by us
	CodeAborted  = "association-aborted"   // by the sender
	CodeBroken   = "association-broken"    // the connection was lost or closed
	CodeTimeout  = "association-timeout"   // the sender was silent for too long
	CodeProtocol = "association-malformed" // the sender broke the protocol
	CodeStopped  = "association-stopped"   // by Stop, or by the context of Serve
	CodeUnused   = "association-unused"    // the connection was closed before anything came
)

// Object is what a C-STORE-RQ announces. Class and Instance are 1 to 64 digits and dots.
type Object struct{ Class, Instance, TransferSyntax string }

// Handler decides what an association may do. Its methods are called by Serve, one at a time.
type Handler interface {
	// Associate decides on a request: 0, or why it is refused.
	Associate(*Request) Rejection
	// Negotiate answers a proposed presentation context of a request that was accepted: one of its transfer syntaxes and
	// ContextAccepted, or "" and why not.
	Negotiate(Context) (transferSyntax string, result ContextResult)
	// Store takes an object. data is the data set as it arrives, without Part 10 header, and ends with io.EOF when it is
	// complete; with any other error the object is to be forgotten, and nothing is answered. What Store leaves unread is read
	// and thrown away before the answer is sent.
	Store(ctx context.Context, o Object, data io.Reader) Response
}

// Config of an association. All fields are required.
type Config struct {
	ImplementationUID     string
	ImplementationVersion string        // at most 16 letters
	ARTIM                 time.Duration // longest wait for the request, and for the sender's closing at the end
	IdleTimeout           time.Duration // longest wait for a PDU to begin, for the rest of it, and for an answer to be sent
	// MaxDiscardBytes is how much of a data set is read that the Handler left unread; more aborts the association.
	MaxDiscardBytes int64
}

// Association is one connection of a sender.
type Association struct {
	conn     net.Conn
	reader   *bufio.Reader
	handler  Handler
	config   Config
	contexts map[byte]negotiated

	peerMaxPDU uint32
	pduLeft    int64 // bytes of the current P-DATA-TF that were not read yet

	mu       sync.Mutex
	stopped  bool
	stopable bool // waiting between messages, where nothing is lost by stopping
}

// readBufferBytes is as much as the copying of a data set reads at once, so that the buffer is mostly passed by.
const readBufferBytes = 32 << 10

// New makes an association of a connection that was accepted; Serve closes it.
func New(conn net.Conn, h Handler, c Config) *Association {
	return &Association{conn: conn, reader: bufio.NewReaderSize(conn, readBufferBytes), handler: h, config: c}
}

// Stop lets a message that is under way finish, and takes no further one: Serve then aborts the association and returns.
func (a *Association) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.stopable {
		_ = a.conn.SetReadDeadline(time.Unix(1, 0)) // a connection without deadlines is broken, and its read returns
	}
}

var errStopped = errors.New("stopped")

// wait sets the time by which reading must be done. stopable says that Stop may end the reading.
func (a *Association) wait(limit time.Duration, stopable bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopable = stopable
	if stopable && a.stopped {
		return errStopped
	}
	return a.conn.SetReadDeadline(time.Now().Add(limit))
}

// Serve works through the association and closes the connection. It returns nil after a release, else a fault with one of the
// Code… constants: Invalid for what the sender did wrong or was refused, Transient for the rest. Cancelling ctx closes the
// connection at once.
func (a *Association) Serve(ctx context.Context) error {
	defer func() { _ = a.conn.Close() }() // what was to be sent was sent, or the sender is gone
	defer context.AfterFunc(ctx, func() { _ = a.conn.Close() })()
	err := a.negotiate()
	for err == nil {
		err = a.serveMessage(ctx)
	}
	a.mu.Lock()
	stopped := a.stopped
	a.mu.Unlock()
	var protocol *violation
	var rejected rejectedError
	switch {
	case ctx.Err() != nil:
		return fault.Wrap(fault.Transient, CodeStopped, ctx.Err(), "the association was cut off")
	case errors.Is(err, errRelease):
		a.end(pdu(pduReleaseReply, make([]byte, shortPDUBytes)))
		return nil
	case errors.As(err, &rejected):
		a.end(rejected.why.pdu())
		return fault.New(fault.Invalid, CodeRejected, "the association was refused: %s", rejected.why)
	case errors.As(err, &protocol):
		a.end(abort(protocol.reason))
		return fault.New(fault.Invalid, CodeProtocol, "%s", protocol.text)
	case errors.Is(err, errStopped), stopped && errors.Is(err, os.ErrDeadlineExceeded):
		a.end(abort(abortUnspecified))
		return fault.New(fault.Transient, CodeStopped, "the association was stopped between two messages")
	case errors.Is(err, errAborted):
		return fault.Wrap(fault.Transient, CodeAborted, err, "the association was ended early")
	case errors.Is(err, errUnused):
		return fault.New(fault.Transient, CodeUnused, "the connection was closed before a request came")
	case errors.Is(err, os.ErrDeadlineExceeded):
		if a.contexts != nil { // before the association there is nothing to abort (PS3.8, 9.2, AA-2)
			a.end(abort(abortUnspecified))
		}
		return fault.New(fault.Transient, CodeTimeout, "the sender was silent for too long")
	}
	return fault.Wrap(fault.Transient, CodeBroken, err, "the connection was lost")
}

var (
	errAborted = errors.New("the sender aborts")
	errUnused  = errors.New("closed before use")
)

type rejectedError struct{ why Rejection }

func (r rejectedError) Error() string { return r.why.String() }

func abort(reason byte) []byte { return pdu(pduAbort, []byte{0, 0, abortSourceProvider, reason}) }

// end sends the last PDU and waits until the sender has closed, so that it is not lost in a reset.
func (a *Association) end(last []byte) {
	if a.write(last) != nil || a.wait(a.config.ARTIM, true) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, a.conn) // whatever it still sends means nothing
}

func (a *Association) write(b []byte) error {
	if err := a.conn.SetWriteDeadline(time.Now().Add(a.config.IdleTimeout)); err != nil {
		return err
	}
	_, err := a.conn.Write(b)
	return err
}

// negotiate brings the association about.
func (a *Association) negotiate() error {
	if err := a.wait(a.config.ARTIM, true); err != nil {
		return err
	}
	if _, err := a.reader.Peek(1); errors.Is(err, io.EOF) {
		return errUnused
	} else if err != nil {
		return err
	}
	kind, length, err := a.readHeader()
	if err != nil {
		return err
	}
	if kind != pduAssociateRequest {
		return broken(abortUnexpected, "a PDU of type %d came where an A-ASSOCIATE-RQ was expected", kind)
	}
	body := make([]byte, length)
	if err := a.read(body); err != nil {
		return err
	}
	r, err := parseRequest(body)
	if err != nil {
		return err
	}
	var why Rejection
	switch {
	case r.version&1 == 0:
		why = RejectProtocolVersion
	case r.application != applicationContext:
		why = RejectApplicationContext
	default:
		why = a.handler.Associate(r)
	}
	if why != 0 {
		return rejectedError{why}
	}
	a.peerMaxPDU = r.maxPDU
	contexts, accept := r.answer(a.handler, a.config)
	a.contexts = contexts
	return a.write(accept)
}

// readHeader reads the header of a PDU and checks it. An A-ABORT is errAborted.
func (a *Association) readHeader() (kind byte, length uint32, err error) {
	var head [pduHeaderBytes]byte
	if err := a.read(head[:]); err != nil {
		return 0, 0, err
	}
	kind, length = head[0], binary.BigEndian.Uint32(head[2:])
	switch kind {
	case pduAssociateRequest, pduAssociateAccept, pduData:
		if length > MaxPDUBytes {
			return 0, 0, broken(abortInvalidValue, "a PDU of %d bytes is larger than the limit of %d", length, MaxPDUBytes)
		}
	case pduAssociateReject, pduReleaseRequest, pduReleaseReply, pduAbort:
		if length != shortPDUBytes {
			return 0, 0, broken(abortInvalidValue, "a PDU of type %d should have %d bytes, but has %d", kind, shortPDUBytes, length)
		}
	default:
		return 0, 0, broken(abortUnrecognised, "the PDU type %d is not known; is this DICOM?", kind)
	}
	if kind == pduAbort {
		return 0, 0, errAborted
	}
	return kind, length, nil
}

// nextPDU waits for the next PDU and reads its header; of a short one also the body, which means nothing.
func (a *Association) nextPDU(betweenMessages bool) (kind byte, length uint32, err error) {
	if err := a.wait(a.config.IdleTimeout, betweenMessages); err != nil {
		return 0, 0, err
	}
	if kind, length, err = a.readHeader(); err != nil {
		return 0, 0, err
	}
	if err := a.wait(a.config.IdleTimeout, false); err != nil {
		return 0, 0, err
	}
	if kind == pduReleaseRequest {
		err = a.read(make([]byte, shortPDUBytes))
	}
	return kind, length, err
}

// serveMessage reads one message and answers it.
func (a *Association) serveMessage(ctx context.Context) error {
	c, id, err := a.readCommand()
	if err != nil {
		return err
	}
	if c.field == commandCancel { // there is nothing that could be cancelled, and no answer
		return nil
	}
	if c.field&commandResponse != 0 {
		return broken(abortUnexpected, "an answer came where nothing was asked")
	}
	var response Response
	data := &message{a: a, context: id}
	if !c.hasDataSet {
		data.err = io.EOF
	}
	switch c.field {
	case commandEcho:
	case commandStore:
		response = a.store(ctx, c, a.contexts[id], data)
	default:
		response = Response{Status: UnrecognisedOperation}
	}
	if _, err := io.CopyN(io.Discard, data, a.config.MaxDiscardBytes); err == nil {
		return broken(abortUnspecified, "a data set that is not wanted has more than %d bytes", a.config.MaxDiscardBytes)
	}
	if !errors.Is(data.err, io.EOF) {
		return data.err
	}
	return a.send(id, c.response(response))
}

// store checks a C-STORE-RQ and hands its data set on.
func (a *Association) store(ctx context.Context, c command, n negotiated, data *message) Response {
	switch {
	case c.class != n.class || c.class == VerificationClass:
		return Response{ClassNotSupported, "the SOP class is not that of the presentation context"}
	case !validUID(c.instance):
		return Response{InvalidInstance, "the SOP instance UID is not a UID"}
	case data.err != nil:
		return Response{CannotUnderstand, "C-STORE without a data set"}
	}
	return a.handler.Store(ctx, Object{Class: c.class, Instance: c.instance, TransferSyntax: n.syntax}, data)
}
