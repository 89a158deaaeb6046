package dimse_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/dimse/dimsetest"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// recording is a connection whose sender has said all it will say.
type recording struct {
	io.Reader
	answers bytes.Buffer
}

func (r *recording) Write(b []byte) (int, error)      { return r.answers.Write(b) }
func (r *recording) Close() error                     { return nil }
func (r *recording) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *recording) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// FuzzAssociation lets a sender say anything, from the start or within an association: it must come to an end, what is kept
// is complete, and the answers are whole PDUs.
func FuzzAssociation(f *testing.F) {
	sound := dimsetest.Store(3, 1, class, instance, []byte("all of the data set"), 5)
	release := dimsetest.PDU(5, make([]byte, 4))
	echo := dimsetest.PDU(dimsetest.Data, dimsetest.PDV(1, true, true, dimsetest.Command(0x0030, 7, false, dimse.VerificationClass, "")))
	request := dimsetest.Request("CAMERA", "NOCTUA", contexts()...)
	for _, seed := range [][]byte{sound, release, echo, bytes.Join([][]byte{echo, sound, release}, nil), sound[:50], dimsetest.PDU(dimsetest.Abort, make([]byte, 4)),
		dimsetest.PDU(dimsetest.Data, dimsetest.PDV(3, true, true, dimsetest.Command(0x0130, 7, true, class, ""))), request} {
		f.Add(true, seed)
		f.Add(false, append(bytes.Clone(request), seed...))
	}
	f.Add(false, dimsetest.PDU(1, dimsetest.Head("A", "B"), dimsetest.Item(0x20), dimsetest.User(4)))
	f.Add(true, []byte{5, 0x37, 0, 0, 0, 4, 1, 2, 3, 4}) // what is reserved means nothing
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, associated bool, said []byte) {
		if associated {
			said = append(bytes.Clone(request), said...)
		}
		k := &keeper{}
		conn := &recording{Reader: bytes.NewReader(said)}
		err := dimse.New(conn, k, config()).Serve(t.Context())
		total := 0
		for _, data := range k.data {
			total += len(data)
		}
		if total > len(said) {
			t.Errorf("kept %d bytes of %d", total, len(said))
		}
		last := byte(0)
		for answers := conn.answers.Bytes(); len(answers) > 0; {
			last = answers[0]
			if len(answers) < 6 || len(answers)-6 < int(binary.BigEndian.Uint32(answers[2:])) {
				t.Fatalf("the answers end in % X", answers)
			}
			answers = answers[6+binary.BigEndian.Uint32(answers[2:]):]
		}
		if (err == nil) != (last == dimsetest.Release) {
			t.Errorf("the last answer is of type %d, and the end is %v", last, err)
		}
	})
}

// FuzzClient lets an archive answer anything: asking it comes to an end, with a response or with an error that has a code.
func FuzzClient(f *testing.F) {
	sound := append(accept(64), answer(1, 0)...)
	f.Add(append(sound, dimsetest.PDU(dimsetest.Release, make([]byte, 4))...))
	f.Add(append(sound, dimsetest.PDU(5, make([]byte, 4))...))
	f.Add(sound[:100])
	f.Add(dimsetest.PDU(dimsetest.Reject, []byte{0, 1, 1, 7}))
	f.Add(append(accept(0), dimsetest.PDU(dimsetest.Abort, make([]byte, 4))...))
	f.Fuzz(func(t *testing.T, said []byte) {
		client, err := dimse.Open(t.Context(), &recording{Reader: bytes.NewReader(said)}, clientConfig())
		if err == nil {
			_, err = client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, make([]byte, 1000))
			if fault.CodeOf(err) == dimse.CodeContextRefused {
				err = nil
			}
		}
		if err == nil {
			err = client.Release(t.Context())
		}
		if err != nil && fault.CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}
