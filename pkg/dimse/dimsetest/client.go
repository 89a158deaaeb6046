// Package dimsetest is the other side of pkg/dimse for tests: a partner on the level of bytes, who speaks properly or improperly. What only
// wants to send uses dimse.Client.
package dimsetest

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dimse"
)

// Types of PDUs that are received.
const (
	Accept  = 0x02
	Reject  = 0x03
	Data    = 0x04
	Release = 0x06
	Abort   = 0x07
)

// timeout ends a test that would wait for ever.
const timeout = 30 * time.Second

// PDU puts a header in front of a body.
func PDU(kind byte, body ...[]byte) []byte {
	var all []byte
	for _, b := range body {
		all = append(all, b...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(all))), all...)
}

// Item makes an item of A-ASSOCIATE.
func Item(kind byte, value ...[]byte) []byte {
	var all []byte
	for _, v := range value {
		all = append(all, v...)
	}
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(all))), all...)
}

// Context makes the item of a proposed presentation context.
func Context(id byte, class string, syntaxes ...string) []byte {
	body := append([]byte{id, 0, 0, 0}, Item(0x30, []byte(class))...)
	for _, s := range syntaxes {
		body = append(body, Item(0x40, []byte(s))...)
	}
	return Item(0x20, body)
}

// Head makes the fixed part of an A-ASSOCIATE-RQ.
func Head(calling, called string) []byte {
	head := []byte{0, 1, 0, 0}
	for _, title := range []string{called, calling} {
		padded := []byte("                ")
		copy(padded, title)
		head = append(head, padded...)
	}
	return append(head, make([]byte, 32)...)
}

// Application is the item of the DICOM application context.
func Application() []byte { return Item(0x10, []byte("1.2.840.10008.3.1.1.1")) }

// User makes the user information with the largest PDU that the sender takes, and items that mean nothing here.
func User(maxPDU uint32) []byte {
	return Item(0x50, Item(0x51, binary.BigEndian.AppendUint32(nil, maxPDU)), Item(0x52, []byte("1.2.3")),
		Item(0x53, []byte{0, 8, 0, 8}), Item(0x55, []byte("TEST")), Item(0x58, []byte{1, 1, 0, 1, 'u', 0, 0}), Item(0xEE, []byte("x")))
}

// Request makes an A-ASSOCIATE-RQ.
func Request(calling, called string, contexts ...[]byte) []byte {
	body := append(Head(calling, called), Application()...)
	for _, c := range contexts {
		body = append(body, c...)
	}
	return PDU(0x01, body, User(16384))
}

// PDV makes a presentation data value.
func PDV(context byte, command, last bool, data []byte) []byte {
	var control byte
	if command {
		control |= 1
	}
	if last {
		control |= 2
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(data)+2))
	return append(append(head, context, control), data...)
}

// Element makes an element of a command set.
func Element(element uint16, value []byte) []byte {
	le := binary.LittleEndian
	head := le.AppendUint32(le.AppendUint16(le.AppendUint16(nil, 0), element), uint32(len(value)))
	return append(head, value...)
}

// Number makes an element of a command set that is a number.
func Number(element, value uint16) []byte {
	return Element(element, binary.LittleEndian.AppendUint16(nil, value))
}

// Command makes the command set of a request.
func Command(field, messageID uint16, withData bool, class, instance string) []byte {
	dataType := uint16(0x0101)
	if withData {
		dataType = 0
	}
	var set []byte
	if class != "" {
		set = append(set, Element(0x0002, even(class))...)
	}
	set = append(append(set, Number(0x0100, field)...), Number(0x0110, messageID)...)
	set = append(append(set, Number(0x0700, 0)...), Number(0x0800, dataType)...)
	if instance != "" {
		set = append(set, Element(0x1000, even(instance))...)
	}
	return append(Element(0, binary.LittleEndian.AppendUint32(nil, uint32(len(set)))), set...)
}

func even(s string) []byte {
	if len(s)%2 == 1 {
		s += "\x00"
	}
	return []byte(s)
}

// Store makes the PDUs of a C-STORE-RQ: the command, and the data set in PDUs of at most fragment bytes of it.
func Store(context byte, messageID uint16, class, instance string, data []byte, fragment int) []byte {
	out := PDU(Data, PDV(context, true, true, Command(0x0001, messageID, true, class, instance)))
	for {
		n := min(fragment, len(data))
		out = append(out, PDU(Data, PDV(context, false, n == len(data), data[:n]))...)
		if data = data[n:]; len(data) == 0 {
			return out
		}
	}
}

// Client is a sender.
type Client struct {
	net.Conn
	t testing.TB
}

// Dial connects without saying anything. The connection is closed at the end of the test.
func Dial(t testing.TB, address string) *Client {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return On(t, conn)
}

// On is a sender on a connection that exists.
func On(t testing.TB, conn net.Conn) *Client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	return &Client{conn, t}
}

// Send writes bytes.
func (c *Client) Send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// Receive reads a PDU; io.EOF if the other side has closed.
func (c *Client) Receive() (kind byte, body []byte, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[2:]))
	_, err = io.ReadFull(c, body)
	return head[0], body, err
}

// Expect reads a PDU of one kind.
func (c *Client) Expect(kind byte) []byte {
	c.t.Helper()
	got, body, err := c.Receive()
	if err != nil || got != kind {
		c.t.Fatalf("PDU of type %d % X, %v; expected type %d", got, body, err, kind)
	}
	return body
}

// Associate asks for an association and expects it.
func (c *Client) Associate(calling, called string, contexts ...[]byte) {
	c.t.Helper()
	c.Send(Request(calling, called, contexts...))
	c.Expect(Accept)
}

// Answer reads the answer to a message: its command set, joined if it came in pieces, by element.
func (c *Client) Answer() map[uint16][]byte {
	c.t.Helper()
	var set []byte
	for last := false; !last; {
		body := c.Expect(Data)
		last = body[5]&2 != 0
		set = append(set, body[6:]...)
	}
	le, found := binary.LittleEndian, map[uint16][]byte{}
	for len(set) >= 8 {
		length := le.Uint32(set[4:])
		found[le.Uint16(set[2:])] = set[8 : 8+length]
		set = set[8+length:]
	}
	return found
}

// Status reads the answer to a message and returns its status.
func (c *Client) Status() dimse.Status {
	c.t.Helper()
	status := c.Answer()[0x0900]
	if len(status) != 2 {
		c.t.Fatalf("an answer has the status % X", status)
	}
	return dimse.Status(binary.LittleEndian.Uint16(status))
}

// Release ends the association in order.
func (c *Client) Release() {
	c.t.Helper()
	c.Send(PDU(0x05, make([]byte, 4)))
	c.Expect(Release)
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
}
