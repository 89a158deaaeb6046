package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/hl7"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Codes of what became of a version.
const (
	CodeUnreachable = "receiver-unreachable" // there is no connection
	CodeSilent      = "receiver-silent"      // it took the message, and did not answer
	CodeNoAck       = hl7.CodeAnswer         // its answer is none
	CodeErrors      = "receiver-errors"      // AE, or a status that says that the request is wrong: may work later
	CodeRejects     = "receiver-rejects"     // AR: it never will
	CodeRefuses     = "receiver-refuses"     // the set-up is wrong: 401, 403, 404, a redirect
	CodeFails       = "receiver-fails"       // 5xx, 429
	CodeGone        = "receiver-gone"        // 410: it wants no more
	CodeUnusable    = "report-broken"        // the report cannot be read
)

const (
	// connectTimeout is the longest wait for a connection.
	connectTimeout = 10 * time.Second
	// reuseWithin is how long a connection is kept for the next message: receivers and what lies between drop idle ones without a word.
	reuseWithin = 5 * time.Second
	// strayAnswers to other messages are read past while waiting for the one to ours: late ones of a receiver that answered after all.
	strayAnswers = 10
)

// sender sends a version of a report, with its page for people where the receiver gets it (nil: without), and returns what the receiver answered. A fault of kind Transient says that the receiver is away, or takes
// nothing at the moment; of Internal, that it may take this version yet; of Invalid, that it will not.
type sender interface {
	send(ctx context.Context, r *record.Report, document []byte) (answer string, err error)
	close()
}

// mllpSender sends HL7 v2 messages over MLLP Release 1 in original acknowledgement mode, one at a time.
type mllpSender struct {
	host    string
	tls     *tls.Config // nil: none is spoken
	header  hl7.Header
	timeout time.Duration // for the answer

	conn   net.Conn // nil: there is none
	reader *bufio.Reader
	used   time.Time
}

func newMLLP(r Receiver, cfg Config) (*mllpSender, error) {
	u, err := url.Parse(r.Address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "config-receiver", "the address of receiver %s cannot be read", r.Name)
	}
	s := &mllpSender{host: u.Host, header: r.Header, timeout: cfg.AnswerTimeout}
	if u.Scheme == "mllps" {
		if s.tls = r.TLS.Clone(); s.tls == nil {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	return s, nil
}

func (s *mllpSender) close() {
	if s.conn != nil {
		_ = s.conn.Close() // it is given up, whatever it says
		s.conn = nil
	}
}

func (s *mllpSender) send(ctx context.Context, r *record.Report, document []byte) (string, error) {
	message := hl7.Write(r, s.header, document)
	id := hl7.ControlID(r.ReportID, r.Version)
	if s.conn != nil && time.Since(s.used) > reuseWithin {
		s.close()
	}
	reused := s.conn != nil
	ack, err := s.exchange(ctx, message, id)
	if err != nil && reused && s.conn == nil && ctx.Err() == nil {
		// The connection may have been dead since the last message. The receiver knows the message again by its id.
		ack, err = s.exchange(ctx, message, id)
	}
	if err != nil {
		return "", err
	}
	why := ack.Code
	if ack.ErrorCode != "" {
		why += ", error " + ack.ErrorCode
	}
	switch ack.Verdict {
	case hl7.Errored:
		return ack.Code, fault.New(fault.Internal, CodeErrors, "the receiver could not process the message (%s); its log may say why", why)
	case hl7.Rejected:
		return ack.Code, fault.New(fault.Invalid, CodeRejects, "the receiver rejects the message (%s); its log may say why", why)
	case hl7.Accepted:
	}
	return ack.Code, nil
}

// exchange sends a message and waits for its acknowledgement. After an error there is no connection: an answer that comes late goes nowhere.
func (s *mllpSender) exchange(ctx context.Context, message []byte, id string) (ack hl7.Ack, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
		s.used = time.Now()
	}()
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return ack, err
		}
	}
	conn := s.conn
	silent := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		what := "the connection ended before the receiver acknowledged the message"
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			what = "the receiver does not acknowledge the message in time"
		}
		return fault.New(fault.Transient, CodeSilent, "%s", what)
	}
	if err := conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return ack, silent(err)
	}
	// A context that ends ends the waiting too. Where the deadline cannot be set, the connection is gone, and reading shows it.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(hl7.Frame(message)); err != nil {
		return ack, silent(err)
	}
	for range strayAnswers + 1 {
		raw, err := hl7.ReadFrame(s.reader)
		if fault.CodeOf(err) != hl7.CodeAnswer && err != nil {
			return ack, silent(err)
		}
		if err == nil {
			ack, err = hl7.ParseAck(raw)
		}
		if err != nil {
			return ack, fault.New(fault.Transient, CodeNoAck, "%s", fault.SentenceOf(err))
		}
		if ack.ControlID == id {
			return ack, nil
		}
	}
	return ack, fault.New(fault.Transient, CodeNoAck, "the receiver acknowledges other messages than the one that was sent")
}

func (s *mllpSender) dial(ctx context.Context) error {
	dialer := &net.Dialer{Timeout: connectTimeout}
	var conn net.Conn
	var err error
	if s.tls != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: s.tls}).DialContext(ctx, "tcp", s.host)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", s.host)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.Wrap(fault.Transient, CodeUnreachable, err, "the receiver cannot be reached")
	}
	s.conn, s.reader = conn, bufio.NewReader(conn)
	return nil
}
