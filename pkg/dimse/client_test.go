package dimse_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/dimse/dimsetest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

func clientConfig(proposals ...dimse.Proposal) dimse.ClientConfig {
	if proposals == nil {
		proposals = []dimse.Proposal{{Class: dimse.VerificationClass, TransferSyntax: implicit}, {Class: class, TransferSyntax: explicit}, {Class: class, TransferSyntax: explicit}}
	}
	return dimse.ClientConfig{Calling: "NOCTUA", Called: "ARCHIVE", Proposals: proposals, ImplementationUID: "1.2.3", ImplementationVersion: "TEST", AnswerTimeout: 20 * time.Second}
}

// dialled is a connection and its other end.
func dialled(t *testing.T) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	near, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// TestClientAndServer lets both sides of the package speak with each other.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	near, far := dialled(t)
	k := &keeper{}
	served := make(chan error, 1)
	go func() { served <- dimse.New(far, k, config()).Serve(t.Context()) }()
	client, err := dimse.Open(t.Context(), near, clientConfig(dimse.Proposal{Class: dimse.VerificationClass, TransferSyntax: implicit},
		dimse.Proposal{Class: class, TransferSyntax: explicit}, dimse.Proposal{Class: "1.2.3", TransferSyntax: explicit}))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := client.Echo(t.Context()); err != nil || r.Status != dimse.Success {
		t.Errorf("echo: %v, %v", r, err)
	}
	large := bytes.Repeat([]byte("01234567"), 40_000)
	for _, data := range [][]byte{[]byte("data"), large} {
		if r, err := client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, data); err != nil || r.Status != dimse.Success {
			t.Errorf("store: %v, %v", r, err)
		}
	}
	// What cannot be sent leaves the association as it is.
	for name, o := range map[string]dimse.Object{
		dimse.CodeContextRefused: {Class: "1.2.3", Instance: instance, TransferSyntax: explicit},
		dimse.CodeUnsendable:     {Class: class, Instance: "no UID", TransferSyntax: explicit},
	} {
		if _, err := client.Store(t.Context(), o, large); fault.CodeOf(err) != name {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: implicit}, large); fault.CodeOf(err) != dimse.CodeContextRefused {
		t.Errorf("in a syntax that was not proposed: %v", err)
	}
	if _, err := client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, large[:7]); fault.CodeOf(err) != dimse.CodeUnsendable {
		t.Errorf("of odd length: %v", err)
	}
	k.unread = true
	if r, err := client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, large); err != nil || r.Status != dimse.OutOfResources || !strings.HasPrefix(r.Comment, "no room") {
		t.Errorf("store without room: %v, %v", r, err)
	}
	if err := client.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if len(k.data) != 2 || !bytes.Equal(k.data[1], large) || k.objects[1] != (dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}) {
		t.Errorf("%d objects arrived: %+v", len(k.data), k.objects)
	}
	if _, err := client.Echo(t.Context()); fault.CodeOf(err) != dimse.CodeBroken {
		t.Errorf("after the release: %v", err)
	}
}

// accept is an A-ASSOCIATE-AC that takes contexts 1 and 3.
func accept(maxPDU uint32) []byte {
	return dimsetest.PDU(dimsetest.Accept, dimsetest.Head("NOCTUA", "ARCHIVE"), dimsetest.Application(),
		dimsetest.Item(0x21, []byte{1, 0, 0, 0}, dimsetest.Item(0x40, []byte(implicit))),
		dimsetest.Item(0x21, []byte{3, 0, 0, 0}, dimsetest.Item(0x40, []byte(explicit))), dimsetest.User(maxPDU))
}

// answer is a C-STORE-RSP.
func answer(responded, status uint16) []byte {
	set := append(dimsetest.Number(0x0100, 0x8001), dimsetest.Number(0x0120, responded)...)
	set = append(append(set, dimsetest.Number(0x0800, 0x0101)...), dimsetest.Number(0x0900, status)...)
	return dimsetest.PDU(dimsetest.Data, dimsetest.PDV(3, true, true, append(dimsetest.Element(0, binary.LittleEndian.AppendUint32(nil, uint32(len(set)))), set...)))
}

// TestClientAgainstOthers: an archive may say anything; each is one error of its kind, and the connection is closed.
func TestClientAgainstOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says [][]byte // after the request, and after the object
		code string
		kind fault.Kind
		last byte // PDU that the client sends at last; 0: none
	}{
		"refused for good":         {[][]byte{dimsetest.PDU(dimsetest.Reject, []byte{0, 1, 1, 7})}, dimse.CodeRejected, fault.Invalid, 0},
		"refused for now":          {[][]byte{dimsetest.PDU(dimsetest.Reject, []byte{0, 2, 3, 2})}, dimse.CodeRejected, fault.Transient, 0},
		"no DICOM":                 {[][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"closed":                   {[][]byte{nil}, dimse.CodeBroken, fault.Transient, 0},
		"aborted":                  {[][]byte{dimsetest.PDU(dimsetest.Abort, make([]byte, 4))}, dimse.CodeAborted, fault.Transient, 0},
		"a release":                {[][]byte{dimsetest.PDU(5, make([]byte, 4))}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"a cut answer":             {[][]byte{accept(0)[:100]}, dimse.CodeBroken, fault.Transient, 0},
		"an item that is too long": {[][]byte{dimsetest.PDU(dimsetest.Accept, dimsetest.Head("A", "B"), []byte{0x21, 0, 1, 0})}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"a context of its own":     {[][]byte{dimsetest.PDU(dimsetest.Accept, dimsetest.Head("A", "B"), dimsetest.Item(0x21, []byte{9, 0, 0, 0}, dimsetest.Item(0x40, []byte(explicit))))}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"another syntax":           {[][]byte{dimsetest.PDU(dimsetest.Accept, dimsetest.Head("A", "B"), dimsetest.Item(0x21, []byte{3, 0, 0, 0}, dimsetest.Item(0x40, []byte(implicit))))}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"tiny PDUs":                {[][]byte{accept(7)}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"closed in the middle":     {[][]byte{accept(0), nil}, dimse.CodeBroken, fault.Transient, 0},
		"aborted in the middle":    {[][]byte{accept(0), dimsetest.PDU(dimsetest.Abort, make([]byte, 4))}, dimse.CodeAborted, fault.Transient, 0},
		"the answer to another":    {[][]byte{accept(0), answer(2, 0)}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"a request":                {[][]byte{accept(0), dimsetest.PDU(dimsetest.Data, dimsetest.PDV(3, true, true, dimsetest.Command(1, 1, false, class, instance)))}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"no status":                {[][]byte{accept(0), dimsetest.PDU(dimsetest.Data, dimsetest.PDV(3, true, true, append(dimsetest.Number(0x0100, 0x8001), dimsetest.Number(0x0800, 0x0101)...)))}, dimse.CodeProtocol, fault.Invalid, dimsetest.Abort},
		"a warning, in small PDUs": {[][]byte{accept(64), answer(1, 0xB000)}, "", 0, 5},
		"out of resources":         {[][]byte{accept(0), answer(1, 0xA700)}, "", 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := dialled(t)
			other := dimsetest.On(t, far)
			spoken := make(chan byte, 1)
			go func() {
				var last byte
				defer func() { spoken <- last }()
				for step, say := range c.says {
					if kind, _, err := other.Receive(); err != nil || kind > dimsetest.Data {
						return
					}
					// The object has come when its last PDV has.
					for more := step == 1; more; {
						_, body, err := other.Receive()
						if err != nil {
							return
						}
						more = body[5]&2 == 0 || body[5]&1 == 1
					}
					if say == nil {
						_ = other.Close()
						return
					}
					_, _ = other.Write(say)
				}
				if c.code == dimse.CodeBroken {
					_ = other.Close()
					return
				}
				for {
					kind, _, err := other.Receive()
					if err != nil {
						return
					}
					if last = kind; kind == 5 {
						_, _ = other.Write(dimsetest.PDU(dimsetest.Release, make([]byte, 4)))
					}
				}
			}()
			client, err := dimse.Open(t.Context(), near, clientConfig())
			var r dimse.Response
			if err == nil {
				r, err = client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, make([]byte, 1000))
			}
			if c.code == "" {
				if err != nil || r.Status.Stored() != (r.Status == 0xB000) {
					t.Fatalf("%v, %v", r, err)
				}
				err = client.Release(t.Context())
			}
			if fault.CodeOf(err) != c.code || c.code != "" && fault.KindOf(err) != c.kind {
				t.Errorf("%v %s: %v", fault.KindOf(err), fault.CodeOf(err), err)
			}
			if last := <-spoken; last != c.last {
				t.Errorf("the client's last PDU is of type %d, want %d", last, c.last)
			}
			if _, err := near.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is open: %v", err)
			}
		})
	}
}

// TestClientIsCutOff: a silent archive holds nobody for longer than the time that it is given.
func TestClientIsCutOff(t *testing.T) {
	t.Parallel()
	near, _ := dialled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dimse.Open(ctx, near, clientConfig()); !fault.Interrupted(err) {
		t.Errorf("cancelled: %v", err)
	}
	near, far := dialled(t)
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, _ = io.ReadFull(far, make([]byte, 100)) // the request has come
		cancel()
	}()
	cfg := clientConfig()
	cfg.AnswerTimeout = time.Hour
	if _, err := dimse.Open(ctx, near, cfg); !fault.Interrupted(err) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	near, _ = dialled(t)
	cfg.AnswerTimeout = 10 * time.Millisecond
	if _, err := dimse.Open(t.Context(), near, cfg); fault.CodeOf(err) != dimse.CodeTimeout {
		t.Errorf("silent: %v", err)
	}
	// An archive that stops reading in the middle of a large object.
	near, far = dialled(t)
	go func() { _, _ = far.Write(accept(0)) }()
	client, err := dimse.Open(t.Context(), near, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Store(t.Context(), dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}, make([]byte, 64<<20)); fault.CodeOf(err) != dimse.CodeTimeout {
		t.Errorf("not reading: %v", err)
	}
}

func TestClientProposals(t *testing.T) {
	t.Parallel()
	many := make([]dimse.Proposal, 129)
	for i := range many {
		many[i] = dimse.Proposal{Class: "1.2." + strings.Repeat("3", i/3+1) + string(rune('0'+i%3)), TransferSyntax: explicit}
		many[i].Class = many[i].Class[:min(64, len(many[i].Class))]
	}
	for name, change := range map[string]func(*dimse.ClientConfig){
		"no title":       func(c *dimse.ClientConfig) { c.Called = "" },
		"a long title":   func(c *dimse.ClientConfig) { c.Calling = "A TITLE THAT IS TOO LONG" },
		"nothing":        func(c *dimse.ClientConfig) { c.Proposals = nil },
		"a class":        func(c *dimse.ClientConfig) { c.Proposals[0].Class = "SEG" },
		"no syntax":      func(c *dimse.ClientConfig) { c.Proposals[0].TransferSyntax = "" },
		"too many kinds": func(c *dimse.ClientConfig) { c.Proposals = many },
	} {
		near, _ := dialled(t)
		cfg := clientConfig()
		change(&cfg)
		if _, err := dimse.Open(t.Context(), near, cfg); fault.CodeOf(err) != dimse.CodeUnsendable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClientAgainstDCMTK sends the clinic's pictures to storescp, which takes PDUs of 4 KiB, and compares data sets.
func TestClientAgainstDCMTK(t *testing.T) {
	t.Parallel()
	program := shared.Program(t, "storescp", "dcmtk")
	paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom", "syntaxes"), "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	scp := exec.Command(program, "+B", "-pdu", "4096", "+xa", "-od", dir, port)
	if err := scp.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = scp.Process.Kill(), scp.Wait() })
	sent := 0
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := dicom.TakeApart(raw)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if e.TransferSyntax == "1.2.840.10008.1.2.1.99" || e.TransferSyntax == "1.2.840.10008.1.2.4.201" { // not built in, or odd
			continue
		}
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); { // it is starting
			conn, err = net.Dial("tcp", "127.0.0.1:"+port)
		}
		if err != nil {
			t.Fatal(err)
		}
		cfg := clientConfig(dimse.Proposal{Class: dimse.VerificationClass, TransferSyntax: implicit}, dimse.Proposal{Class: e.Class, TransferSyntax: e.TransferSyntax})
		client, err := dimse.Open(t.Context(), conn, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := client.Echo(t.Context()); err != nil || r.Status != dimse.Success {
			t.Fatalf("echo: %v, %v", r, err)
		}
		r, err := client.Store(t.Context(), dimse.Object{Class: e.Class, Instance: e.Instance, TransferSyntax: e.TransferSyntax}, e.Dataset)
		if fault.CodeOf(err) == dimse.CodeContextRefused {
			client.Abort()
			continue // a syntax that this storescp does not know
		}
		if err != nil || r.Status != dimse.Success {
			t.Fatalf("%s: %v, %v", path, r, err)
		}
		if err := client.Release(t.Context()); err != nil {
			t.Error(err)
		}
		sent++
		got, err := filepath.Glob(filepath.Join(dir, "*"+e.Instance))
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: arrived as %v, %v", path, got, err)
		}
		arrived, err := os.ReadFile(got[0])
		if err != nil {
			t.Fatal(err)
		}
		a, err := dicom.TakeApart(arrived)
		if err != nil || a.TransferSyntax != e.TransferSyntax || !bytes.Equal(a.Dataset, e.Dataset) {
			t.Errorf("%s: arrived otherwise: %v", path, err)
		}
		if err := os.Remove(got[0]); err != nil {
			t.Error(err)
		}
	}
	if sent < 10 {
		t.Errorf("only %d files were sent", sent)
	}
}
