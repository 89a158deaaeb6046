package dimse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// pdv is the header of a presentation data value and what is left of its data.
type pdv struct {
	context       byte
	command, last bool
	left          int64
}

const (
	pdvHeaderBytes = 6 // length, context, control header
	flagCommand    = 1
	flagLast       = 2
	// maxFragmentBytes bounds what is sent in one PDU; answers are smaller.
	maxFragmentBytes = 16 << 10
)

var errRelease = errors.New("the sender asks for release")

// nextPDV reads the header of the next PDV, across PDUs. Between messages it gives errRelease when the sender has no more, and
// errStopped when the association was stopped.
func (a *Association) nextPDV(betweenMessages bool) (pdv, error) {
	if a.pduLeft == 0 {
		kind, length, err := a.nextPDU(betweenMessages)
		switch {
		case err != nil:
			return pdv{}, err
		case kind == pduReleaseRequest && betweenMessages:
			return pdv{}, errRelease
		case kind != pduData:
			return pdv{}, broken(abortUnexpected, "a PDU of type %d came where data was expected", kind)
		}
		a.pduLeft = int64(length)
	}
	var head [pdvHeaderBytes]byte
	if a.pduLeft < pdvHeaderBytes {
		return pdv{}, broken(abortInvalidValue, "a P-DATA-TF ends in the middle of a PDV")
	}
	if err := a.read(head[:]); err != nil {
		return pdv{}, err
	}
	a.pduLeft -= pdvHeaderBytes
	length := int64(binary.BigEndian.Uint32(head[:])) - 2 // context and control header count
	if length < 0 || length > a.pduLeft {
		return pdv{}, broken(abortInvalidValue, "a PDV of %d bytes does not fit its P-DATA-TF", length)
	}
	return pdv{context: head[4], command: head[5]&flagCommand != 0, last: head[5]&flagLast != 0, left: length}, nil
}

// read fills b. The end of the connection is io.ErrUnexpectedEOF, since io.EOF is the end of a message.
func (a *Association) read(b []byte) error {
	_, err := io.ReadFull(a.reader, b)
	return unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// message reads the PDVs of one command set or one data set.
type message struct {
	a       *Association
	context byte
	command bool
	now     pdv
	err     error // what ended it early; io.EOF when it is complete
}

// Read is io.Reader. An error is remembered, so that a Handler cannot hide it.
func (m *message) Read(p []byte) (int, error) {
	for m.err == nil && m.now.left == 0 {
		if m.now.last {
			m.err = io.EOF
			break
		}
		next, err := m.a.nextPDV(false)
		if err == nil && (next.context != m.context || next.command != m.command) {
			err = broken(abortInvalidValue, "a message is not complete, and another one begins")
		}
		m.now, m.err = next, err
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.a.reader.Read(p[:min(int64(len(p)), m.now.left)])
	m.now.left -= int64(n)
	m.a.pduLeft -= int64(n)
	m.err = unexpected(err)
	return n, m.err
}

// readCommand reads the next command set.
func (a *Association) readCommand() (command, byte, error) {
	first, err := a.nextPDV(true)
	if err != nil {
		return command{}, 0, err
	}
	if _, ok := a.contexts[first.context]; !ok || !first.command {
		return command{}, 0, broken(abortInvalidValue, "a message on presentation context %d was not expected", first.context)
	}
	raw, err := io.ReadAll(io.LimitReader(&message{a: a, context: first.context, command: true, now: first}, maxCommandBytes+1))
	if err != nil {
		return command{}, 0, err
	}
	if len(raw) > maxCommandBytes {
		return command{}, 0, broken(abortInvalidValue, "a command set has more than %d bytes", maxCommandBytes)
	}
	c, err := parseCommand(raw)
	return c, first.context, err
}

// send sends a command set in as many PDUs as the sender's limit wants.
func (a *Association) send(context byte, set []byte) error {
	limit := maxFragmentBytes
	if a.peerMaxPDU > 0 {
		limit = min(limit, int(a.peerMaxPDU)-pdvHeaderBytes) &^ 1 // even, as fragments are
	}
	var out bytes.Buffer
	for len(set) > 0 {
		n := min(limit, len(set))
		control := byte(flagCommand)
		if n == len(set) {
			control |= flagLast
		}
		body := binary.BigEndian.AppendUint32(nil, uint32(n+2))
		body = append(append(body, context, control), set[:n]...)
		out.Write(pdu(pduData, body))
		set = set[n:]
	}
	return a.write(out.Bytes())
}
