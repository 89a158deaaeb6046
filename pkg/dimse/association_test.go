package dimse_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/dimse/dimsetest"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	class    = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
	instance = "1.2.3.4"
	explicit = "1.2.840.10008.1.2.1"
	implicit = "1.2.840.10008.1.2"
)

// keeper is a Handler that keeps what is complete.
type keeper struct {
	mu       sync.Mutex
	objects  []dimse.Object
	data     [][]byte
	begun    chan struct{} // told of every object that begins, if not nil
	reject   dimse.Rejection
	proposed []string // transfer syntaxes of the last context
	unread   bool     // leaves data sets alone
}

func (k *keeper) Associate(*dimse.Request) dimse.Rejection { return k.reject }

func (k *keeper) Negotiate(c dimse.Context) (string, dimse.ContextResult) {
	k.proposed = c.TransferSyntaxes
	switch {
	case c.AbstractSyntax != class && c.AbstractSyntax != dimse.VerificationClass:
		return "", dimse.ContextAbstractSyntax
	case len(c.TransferSyntaxes) == 0:
		return "", dimse.ContextTransferSyntaxes
	}
	return c.TransferSyntaxes[0], dimse.ContextAccepted
}

func (k *keeper) Store(_ context.Context, o dimse.Object, data io.Reader) dimse.Response {
	if k.begun != nil {
		k.begun <- struct{}{}
	}
	if k.unread {
		return dimse.Response{Status: dimse.OutOfResources, Comment: strings.Repeat("no room ", 10)}
	}
	raw, err := io.ReadAll(data)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.objects, k.data = append(k.objects, o), append(k.data, raw)
	}
	return dimse.Response{}
}

func config() dimse.Config {
	return dimse.Config{ImplementationUID: "1.2.3", ImplementationVersion: "TEST", ARTIM: 20 * time.Second, IdleTimeout: 20 * time.Second, MaxDiscardBytes: 1 << 20}
}

// serve starts the accepting side of a connection. ended gives what Serve returned.
func serve(t *testing.T, h dimse.Handler, c dimse.Config) (client *dimsetest.Client, a *dimse.Association, ended func() error, cancel context.CancelFunc) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client = dimsetest.Dial(t, listener.Addr().String())
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a = dimse.New(conn, h, c)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- a.Serve(ctx) }()
	return client, a, func() error {
		t.Helper()
		select {
		case err := <-result:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("the association did not end")
			return nil
		}
	}, cancel
}

// associated is serve with an association: Verification as 1, storage as 3.
func associated(t *testing.T, h dimse.Handler, c dimse.Config) (*dimsetest.Client, *dimse.Association, func() error, context.CancelFunc) {
	t.Helper()
	client, a, ended, cancel := serve(t, h, c)
	client.Associate("CAMERA", "NOCTUA", contexts()...)
	return client, a, ended, cancel
}

func contexts() [][]byte {
	return [][]byte{dimsetest.Context(1, dimse.VerificationClass, implicit), dimsetest.Context(3, class, explicit, implicit)}
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	client, _, ended, _ := serve(t, &keeper{}, config())
	client.Send(dimsetest.Request("CAMERA", "NOCTUA", dimsetest.Context(1, dimse.VerificationClass+"\x00", implicit), dimsetest.Context(3, class, "no UID", explicit),
		dimsetest.Context(5, "1.2.3", explicit), dimsetest.Context(7, class), dimsetest.Item(0xEE, []byte("nobody knows this"))))
	body := client.Expect(dimsetest.Accept)
	if !bytes.Equal(body[:68], dimsetest.Head("CAMERA", "NOCTUA")) {
		t.Errorf("the head of the answer is % X", body[:68])
	}
	var want []byte
	for _, part := range [][]byte{
		dimsetest.Application(),
		dimsetest.Item(0x21, []byte{1, 0, 0, 0}, dimsetest.Item(0x40, []byte(implicit))),
		dimsetest.Item(0x21, []byte{3, 0, 0, 0}, dimsetest.Item(0x40, []byte(explicit))),
		dimsetest.Item(0x21, []byte{5, 0, 3, 0}, dimsetest.Item(0x40)),
		dimsetest.Item(0x21, []byte{7, 0, 4, 0}, dimsetest.Item(0x40)),
		dimsetest.Item(0x50, dimsetest.Item(0x51, []byte{0, 0x10, 0, 0}), dimsetest.Item(0x52, []byte("1.2.3")), dimsetest.Item(0x55, []byte("TEST"))),
	} {
		want = append(want, part...)
	}
	if !bytes.Equal(body[68:], want) {
		t.Errorf("the items of the answer are\n% X, want\n% X", body[68:], want)
	}
	client.Release()
	if err := ended(); err != nil {
		t.Error(err)
	}
}

// TestManyTransferSyntaxes: a request of the largest size does not make a list of as many syntaxes.
func TestManyTransferSyntaxes(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	client, _, ended, _ := serve(t, k, config())
	client.Send(dimsetest.Request("CAMERA", "NOCTUA", dimsetest.Context(1, class, slices.Repeat([]string{"1"}, 13_000)...)))
	client.Expect(dimsetest.Accept)
	client.Release()
	if err := ended(); err != nil || len(k.proposed) != 128 {
		t.Errorf("%v, %d syntaxes", err, len(k.proposed))
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	oldVersion := dimsetest.Head("CAMERA", "NOCTUA")
	oldVersion[1] = 2
	for name, c := range map[string]struct {
		request []byte
		handler dimse.Rejection
		want    []byte // result, source, reason
	}{
		"called title":        {dimsetest.Request("CAMERA", "NOCTUA"), dimse.RejectCalledTitle, []byte{1, 1, 7}},
		"calling title":       {dimsetest.Request("CAMERA", "NOCTUA"), dimse.RejectCallingTitle, []byte{1, 1, 3}},
		"busy":                {dimsetest.Request("CAMERA", "NOCTUA"), dimse.RejectBusy, []byte{2, 3, 2}},
		"application context": {dimsetest.PDU(1, dimsetest.Head("CAMERA", "NOCTUA"), dimsetest.User(0)), 0, []byte{1, 1, 2}},
		"protocol version":    {dimsetest.PDU(1, oldVersion, dimsetest.Application()), 0, []byte{1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _, ended, _ := serve(t, &keeper{reject: c.handler}, config())
			client.Send(c.request)
			if body := client.Expect(dimsetest.Reject); !bytes.Equal(body[1:], c.want) {
				t.Errorf("rejected with % X, want % X", body[1:], c.want)
			}
			_ = client.Close()
			if err := ended(); fault.CodeOf(err) != dimse.CodeRejected || !fault.Is(err, fault.Invalid) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// TestMessages sends what senders send within one association, in fragments of several sizes.
func TestMessages(t *testing.T) {
	t.Parallel()
	for _, fragment := range []int{1, 7, 1000, 1 << 19} {
		k := &keeper{}
		client, _, ended, _ := associated(t, k, config())
		data := bytes.Repeat([]byte("0123456789"), 500)
		client.Send(dimsetest.PDU(dimsetest.Data, dimsetest.PDV(1, true, true, dimsetest.Command(0x0030, 7, false, dimse.VerificationClass, ""))))
		answer := client.Answer()
		if got := binary.LittleEndian.Uint16(answer[0x0100]); got != 0x8030 {
			t.Errorf("C-ECHO is answered with %04X", got)
		}
		if id, status := answer[0x0120], answer[0x0900]; !bytes.Equal(id, []byte{7, 0}) || !bytes.Equal(status, []byte{0, 0}) || string(answer[0x0002]) != dimse.VerificationClass+"\x00" {
			t.Errorf("C-ECHO is answered with %v", answer)
		}
		client.Send(dimsetest.Store(3, 8, class, instance, data, fragment))
		answer = client.Answer()
		if got := binary.LittleEndian.Uint16(answer[0x0100]); got != 0x8001 || !bytes.Equal(answer[0x0120], []byte{8, 0}) || string(answer[0x1000]) != instance+"\x00" {
			t.Errorf("C-STORE is answered with %v", answer)
		}
		if got := binary.LittleEndian.Uint32(answer[0]); int(got) != answerLength(answer) {
			t.Errorf("group length %d, want %d", got, answerLength(answer))
		}
		client.Send(dimsetest.Store(3, 9, class, "1.2.3.5", nil, fragment))
		if got := client.Status(); got != dimse.Success {
			t.Errorf("an empty data set is answered with %04X", got)
		}
		client.Release()
		if err := ended(); err != nil {
			t.Error(err)
		}
		if len(k.objects) != 2 || k.objects[0] != (dimse.Object{Class: class, Instance: instance, TransferSyntax: explicit}) || !bytes.Equal(k.data[0], data) || len(k.data[1]) != 0 {
			t.Errorf("kept %v", k.objects)
		}
	}
}

// answerLength is what the group length of a command set should be.
func answerLength(elements map[uint16][]byte) int {
	n := 0
	for element, value := range elements {
		if element != 0 {
			n += 8 + len(value)
		}
	}
	return n
}

// TestStatuses: what cannot be served is answered, and the association goes on.
func TestStatuses(t *testing.T) {
	t.Parallel()
	k := &keeper{unread: true}
	client, _, ended, _ := associated(t, k, config())
	message := func(context byte, set []byte, data []byte) {
		client.Send(dimsetest.PDU(dimsetest.Data, dimsetest.PDV(context, true, true, set)))
		if data != nil {
			client.Send(dimsetest.PDU(dimsetest.Data, dimsetest.PDV(context, false, true, data)))
		}
	}
	some := []byte("some data")
	client.Send(dimsetest.PDU(dimsetest.Data, dimsetest.PDV(3, true, true, dimsetest.Command(0x0FFF, 1, false, "", "")))) // C-CANCEL has no answer
	for name, c := range map[string]struct {
		context byte
		set     []byte
		data    []byte
		want    dimse.Status
	}{
		"another class":     {3, dimsetest.Command(1, 1, true, "1.2.3", instance), some, dimse.ClassNotSupported},
		"no class":          {3, dimsetest.Command(1, 1, true, "", instance), some, dimse.ClassNotSupported},
		"verification":      {1, dimsetest.Command(1, 1, true, dimse.VerificationClass, instance), some, dimse.ClassNotSupported},
		"no instance":       {3, dimsetest.Command(1, 1, true, class, ""), some, dimse.InvalidInstance},
		"a bad instance":    {3, dimsetest.Command(1, 1, true, class, "1.2/3"), some, dimse.InvalidInstance},
		"no data set":       {3, dimsetest.Command(1, 1, false, class, instance), nil, dimse.CannotUnderstand},
		"C-FIND":            {3, dimsetest.Command(0x0020, 1, true, class, ""), some, dimse.UnrecognisedOperation},
		"N-ACTION":          {3, dimsetest.Command(0x0130, 1, false, class, instance), nil, dimse.UnrecognisedOperation},
		"C-ECHO with data":  {3, dimsetest.Command(0x0030, 1, true, "", ""), some, dimse.Success},
		"refused by a door": {3, dimsetest.Command(1, 1, true, class, instance), some, dimse.OutOfResources},
	} {
		message(c.context, c.set, c.data)
		answer := client.Answer()
		if got := dimse.Status(binary.LittleEndian.Uint16(answer[0x0900])); got != c.want || len(answer[0x0902]) > 64 {
			t.Errorf("%s: %04X %q, want %04X", name, uint16(got), answer[0x0902], uint16(c.want))
		}
	}
	client.Release()
	if err := ended(); err != nil || len(k.objects) != 0 {
		t.Errorf("%v, kept %v", err, k.objects)
	}
}

// TestViolations: whoever breaks the protocol gets A-ABORT with the standard's reason, and the end.
func TestViolations(t *testing.T) {
	t.Parallel()
	command := dimsetest.Command(1, 1, true, class, instance)
	head := dimsetest.Head("CAMERA", "NOCTUA")
	data := func(pdvs ...[]byte) []byte { return dimsetest.PDU(dimsetest.Data, pdvs...) }
	set := func(elements ...[]byte) []byte { return data(dimsetest.PDV(3, true, true, bytes.Join(elements, nil))) }
	const unrecognised, unexpected, invalid = 1, 2, 6
	for name, c := range map[string]struct {
		associated bool
		bytes      []byte
		reason     byte
	}{
		"HTTP":                            {false, []byte("GET / HTTP/1.1\r\n\r\n"), unrecognised},
		"data before the association":     {false, data(), unexpected},
		"release before the association":  {false, dimsetest.PDU(5, make([]byte, 4)), unexpected},
		"a request of 2 MB":               {false, []byte{1, 0, 0, 0x20, 0, 0}, invalid},
		"a request of nothing":            {false, dimsetest.PDU(1), invalid},
		"a request that ends in an item":  {false, dimsetest.PDU(1, head, []byte{0x10, 0, 0, 200, '1'}), invalid},
		"an even context":                 {false, dimsetest.PDU(1, head, dimsetest.Context(2, class, explicit)), invalid},
		"a context twice":                 {false, dimsetest.PDU(1, head, dimsetest.Context(3, class, explicit), dimsetest.Context(3, class, implicit)), invalid},
		"a context that is cut":           {false, dimsetest.PDU(1, head, dimsetest.Item(0x20, []byte{1, 0, 0, 0, 0x30, 0, 9, 9})), invalid},
		"a context of nothing":            {false, dimsetest.PDU(1, head, dimsetest.Item(0x20)), invalid},
		"PDUs of 4 bytes":                 {false, dimsetest.PDU(1, head, dimsetest.User(4)), invalid},
		"user information that is cut":    {false, dimsetest.PDU(1, head, dimsetest.Item(0x50, []byte{0x51, 0, 0, 9})), invalid},
		"a limit of 2 bytes":              {false, dimsetest.PDU(1, head, dimsetest.Item(0x50, dimsetest.Item(0x51, []byte{0, 1}))), invalid},
		"a second request":                {true, dimsetest.Request("CAMERA", "NOCTUA"), unexpected},
		"a release reply":                 {true, dimsetest.PDU(6, make([]byte, 4)), unexpected},
		"a long release":                  {true, dimsetest.PDU(5, make([]byte, 5)), invalid},
		"an unknown PDU":                  {true, dimsetest.PDU(9, make([]byte, 4)), unrecognised},
		"data of 1 MiB and a byte":        {true, []byte{4, 0, 0, 0x10, 0, 1}, invalid},
		"data of 4 GB":                    {true, []byte{4, 0, 0xFF, 0xFF, 0xFF, 0xFF}, invalid},
		"no PDV":                          {true, data(), invalid},
		"a PDV that is cut":               {true, data([]byte{0, 0, 0}), invalid},
		"a PDV of length 1":               {true, data([]byte{0, 0, 0, 1, 3, 3}), invalid},
		"a PDV longer than its PDU":       {true, data([]byte{0, 0, 0, 9, 3, 3, 0, 0}), invalid},
		"a PDV of 4 GB":                   {true, data([]byte{0xFF, 0xFF, 0xFF, 0xFF, 3, 3, 0, 0}), invalid},
		"a context that was not accepted": {true, data(dimsetest.PDV(5, true, true, command)), invalid},
		"data without a command":          {true, data(dimsetest.PDV(3, false, true, command)), invalid},
		"a command in a command":          {true, data(dimsetest.PDV(3, true, false, command[:9]), dimsetest.PDV(1, true, true, command[9:])), invalid},
		"a command in a data set":         {true, data(dimsetest.PDV(3, true, true, command), dimsetest.PDV(3, false, false, []byte("x")), dimsetest.PDV(3, true, true, command)), invalid},
		"release in a data set":           {true, append(data(dimsetest.PDV(3, true, true, command), dimsetest.PDV(3, false, false, []byte("x"))), dimsetest.PDU(5, make([]byte, 4))...), unexpected},
		"an endless command":              {true, data(dimsetest.PDV(3, true, false, make([]byte, 17<<10))), invalid},
		"an empty command set":            {true, set(), invalid},
		"a cut command set":               {true, set(command[:len(command)-3]), invalid},
		"an element out of order":         {true, set(dimsetest.Number(0x0110, 1), dimsetest.Number(0x0100, 0x30), dimsetest.Number(0x0800, 0x0101)), invalid},
		"an element twice":                {true, set(dimsetest.Number(0x0100, 0x30), dimsetest.Number(0x0110, 1), dimsetest.Number(0x0110, 1), dimsetest.Number(0x0800, 0x0101)), invalid},
		"an element of group 8":           {true, set([]byte{8, 0, 0, 0, 0, 0, 0, 0}), invalid},
		"an element longer than the set":  {true, set([]byte{0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF}), invalid},
		"a field of 4 bytes":              {true, set(dimsetest.Element(0x0100, make([]byte, 4))), invalid},
		"no field":                        {true, set(dimsetest.Number(0x0110, 1), dimsetest.Number(0x0800, 0)), invalid},
		"no message ID":                   {true, set(dimsetest.Number(0x0100, 1), dimsetest.Number(0x0800, 0)), invalid},
		"no data set type":                {true, set(dimsetest.Number(0x0100, 1), dimsetest.Number(0x0110, 1)), invalid},
		"an answer":                       {true, set(dimsetest.Number(0x0100, 0x8001), dimsetest.Number(0x0120, 1), dimsetest.Number(0x0800, 0x0101)), unexpected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{}
			start := serve
			if c.associated {
				start = associated
			}
			client, _, ended, _ := start(t, k, config())
			client.Send(c.bytes)
			if body := client.Expect(dimsetest.Abort); !bytes.Equal(body, []byte{0, 0, 2, c.reason}) {
				t.Errorf("aborted with % X, want reason %d", body, c.reason)
			}
			_ = client.Close()
			if err := ended(); fault.CodeOf(err) != dimse.CodeProtocol || !fault.Is(err, fault.Invalid) {
				t.Errorf("ended with %v", err)
			}
			if len(k.objects) > 0 {
				t.Error("an object was kept")
			}
		})
	}
}

// TestLostConnections cuts a conversation at every byte: nothing that is incomplete passes for an object.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	request := dimsetest.Request("CAMERA", "NOCTUA", contexts()...)
	whole := append(bytes.Clone(request), dimsetest.Store(3, 1, class, instance, []byte("all of the data set"), 5)...)
	for n := range whole {
		k := &keeper{}
		client, _, ended, _ := serve(t, k, config())
		client.Send(whole[:n])
		if err := client.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		want := dimse.CodeBroken
		if n == 0 {
			want = dimse.CodeUnused
		}
		if err := ended(); fault.CodeOf(err) != want || !fault.Is(err, fault.Transient) {
			t.Errorf("cut at %d: ended with %v", n, err)
		}
		if len(k.objects) > 0 {
			t.Errorf("cut at %d of %d: an object was kept", n, len(whole))
		}
	}
}

func TestAbortOfTheSender(t *testing.T) {
	t.Parallel()
	abort := dimsetest.PDU(dimsetest.Abort, make([]byte, 4))
	store := dimsetest.Store(3, 1, class, instance, make([]byte, 100), 50)
	for name, before := range map[string][]byte{
		"between messages": nil,
		"in a data set":    store[:len(store)-(6+6+50)], // without the last PDU
	} {
		k := &keeper{}
		client, _, ended, _ := associated(t, k, config())
		client.Send(append(bytes.Clone(before), abort...))
		if err := ended(); fault.CodeOf(err) != dimse.CodeAborted {
			t.Errorf("%s: ended with %v", name, err)
		}
		if len(k.objects) > 0 {
			t.Errorf("%s: an object was kept", name)
		}
	}
}

// TestSilence: every wait has an end.
func TestSilence(t *testing.T) {
	t.Parallel()
	short := config()
	short.ARTIM, short.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond
	store := dimsetest.Store(3, 1, class, instance, make([]byte, 100), 50)
	for name, c := range map[string]struct {
		associated bool
		bytes      []byte
		code       string
		abort      bool
	}{
		"nothing":              {false, nil, dimse.CodeTimeout, false},
		"half a request":       {false, dimsetest.Request("CAMERA", "NOCTUA")[:50], dimse.CodeTimeout, false},
		"no message":           {true, nil, dimse.CodeTimeout, true},
		"half a header":        {true, store[:3], dimse.CodeTimeout, true},
		"half a command":       {true, store[:20], dimse.CodeTimeout, true},
		"half a data set":      {true, store[:len(store)-62], dimse.CodeTimeout, true},
		"half a PDU of it":     {true, store[:len(store)-20], dimse.CodeTimeout, true},
		"no closing after all": {true, dimsetest.PDU(5, make([]byte, 4)), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{}
			start := serve
			if c.associated {
				start = associated
			}
			client, _, ended, _ := start(t, k, short)
			client.Send(c.bytes)
			if err := ended(); fault.CodeOf(err) != c.code {
				t.Errorf("ended with %v", err)
			}
			switch kind, body, err := client.Receive(); {
			case c.abort && (kind != dimsetest.Abort || !bytes.Equal(body, []byte{0, 0, 2, 0})):
				t.Errorf("got PDU %d % X, %v; expected A-ABORT", kind, body, err)
			case !c.abort && c.code != "" && !errors.Is(err, io.EOF):
				t.Errorf("got PDU %d % X, %v; expected the end", kind, body, err)
			}
			if len(k.objects) > 0 {
				t.Error("an object was kept")
			}
		})
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("before the association", func(t *testing.T) {
		t.Parallel()
		client, a, ended, _ := serve(t, &keeper{}, config())
		a.Stop()
		client.Expect(dimsetest.Abort)
		if err := ended(); fault.CodeOf(err) != dimse.CodeStopped {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("between messages", func(t *testing.T) {
		t.Parallel()
		client, a, ended, _ := associated(t, &keeper{}, config())
		a.Stop()
		client.Expect(dimsetest.Abort)
		if err := ended(); fault.CodeOf(err) != dimse.CodeStopped {
			t.Errorf("ended with %v", err)
		}
	})
	store := dimsetest.Store(3, 1, class, instance, make([]byte, 100), 50)
	t.Run("in an object", func(t *testing.T) {
		t.Parallel()
		k := &keeper{begun: make(chan struct{}, 1)}
		client, a, ended, _ := associated(t, k, config())
		client.Send(store[:len(store)-20])
		<-k.begun
		a.Stop()
		client.Send(store[len(store)-20:])
		if got := client.Status(); got != dimse.Success {
			t.Errorf("answered with %04X", uint16(got))
		}
		client.Expect(dimsetest.Abort)
		if err := ended(); fault.CodeOf(err) != dimse.CodeStopped || len(k.objects) != 1 {
			t.Errorf("ended with %v, kept %d", err, len(k.objects))
		}
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		k := &keeper{begun: make(chan struct{}, 1)}
		client, _, ended, cancel := associated(t, k, config())
		client.Send(store[:len(store)-20])
		<-k.begun
		cancel()
		if err := ended(); fault.CodeOf(err) != dimse.CodeStopped || len(k.objects) != 0 {
			t.Errorf("ended with %v, kept %d", err, len(k.objects))
		}
	})
}

// TestUnwantedDataIsBounded: what a Handler does not read is thrown away, up to a limit.
func TestUnwantedDataIsBounded(t *testing.T) {
	t.Parallel()
	c := config()
	c.MaxDiscardBytes = 1000
	client, _, ended, _ := associated(t, &keeper{unread: true}, c)
	client.Send(dimsetest.Store(3, 1, class, instance, make([]byte, 999), 400))
	if got := client.Status(); got != dimse.OutOfResources {
		t.Errorf("answered with %04X", uint16(got))
	}
	client.Send(dimsetest.Store(3, 1, class, instance, make([]byte, 1000), 400))
	client.Expect(dimsetest.Abort)
	_ = client.Close()
	if err := ended(); fault.CodeOf(err) != dimse.CodeProtocol {
		t.Errorf("ended with %v", err)
	}
}

// TestSmallPDUsOfTheSender: answers keep to the sender's limit, with an even number of bytes in each fragment.
func TestSmallPDUsOfTheSender(t *testing.T) {
	t.Parallel()
	for _, limit := range []uint32{8, 9, 64, 0} {
		client, _, ended, _ := serve(t, &keeper{}, config())
		client.Send(dimsetest.PDU(1, dimsetest.Head("CAMERA", "NOCTUA"), dimsetest.Application(), contexts()[1], dimsetest.User(limit)))
		client.Expect(dimsetest.Accept)
		client.Send(dimsetest.Store(3, 1, class, instance, []byte("data"), 100))
		var pieces int
		for last := false; !last; pieces++ {
			body := client.Expect(dimsetest.Data)
			if limit > 0 && len(body) > int(limit) || len(body)%2 != 0 {
				t.Errorf("a PDU of %d bytes for a limit of %d", len(body), limit)
			}
			last = body[5]&2 != 0
		}
		if (pieces > 1) != (limit != 0) {
			t.Errorf("%d pieces for a limit of %d", pieces, limit)
		}
		client.Release()
		if err := ended(); err != nil {
			t.Error(err)
		}
	}
}
