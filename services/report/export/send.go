package export

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicomweb"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// file is a DICOM file of a result.
type file struct {
	name string
	raw  []byte
	dicom.Encoded
}

// answer is what an archive said to one file.
type answer struct {
	status dimse.Status
	err    error // what says more than the status, if not nil
}

// sender sends files. An error means that the archive is away, or takes nothing at the moment: it is not the files' fault.
// Otherwise there is an answer for each file.
type sender interface {
	send(ctx context.Context, files []file) ([]answer, error)
	close()
}

func newSender(a Archive, cfg Config) (sender, error) {
	p, err := parseAddress(a.Address)
	if err != nil {
		return nil, err
	}
	if p.title != "" {
		return &storeSender{partner: p, tls: a.TLS, cfg: cfg}, nil
	}
	client, err := dicomweb.New(dicomweb.Config{URL: p.web, Token: a.Token, User: a.User, Password: a.Password, TLS: a.TLS, Timeout: cfg.SendTimeout, AnswerTimeout: cfg.AnswerTimeout})
	if err != nil {
		return nil, err
	}
	return &webSender{client}, nil
}

// storeSender sends by C-STORE, in one association for each result.
type storeSender struct {
	partner partner
	tls     *tls.Config
	cfg     Config
}

func (s *storeSender) close() {}

func (s *storeSender) send(ctx context.Context, files []file) ([]answer, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	cfg := dimse.ClientConfig{
		Calling: s.cfg.Title, Called: s.partner.title, AnswerTimeout: s.cfg.AnswerTimeout,
		ImplementationUID: dicom.ImplementationUID, ImplementationVersion: dicom.ImplementationVersion,
	}
	for _, f := range files {
		cfg.Proposals = append(cfg.Proposals, dimse.Proposal{Class: f.Class, TransferSyntax: f.TransferSyntax})
	}
	client, err := dimse.Open(ctx, conn, cfg)
	if err != nil {
		return nil, err
	}
	var answers []answer
	for _, f := range files {
		response, err := client.Store(ctx, dimse.Object{Class: f.Class, Instance: f.Instance, TransferSyntax: f.TransferSyntax}, f.Dataset)
		switch code := fault.CodeOf(err); {
		case err == nil:
			answers = append(answers, answer{status: response.Status})
		case code == dimse.CodeContextRefused:
			answers = append(answers, answer{dimse.ClassNotSupported, err})
		case code == dimse.CodeUnsendable:
			answers = append(answers, answer{dimse.CannotUnderstand, err})
		default:
			return nil, err
		}
	}
	// Everything is answered; how the archive says goodbye changes nothing.
	_ = client.Release(ctx)
	return answers, nil
}

func (s *storeSender) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout}
	var conn net.Conn
	var err error
	if s.partner.secure {
		config := s.tls.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", s.partner.host)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", s.partner.host)
	}
	if err != nil {
		if fault.Interrupted(ctx.Err()) {
			return nil, ctx.Err()
		}
		return nil, fault.Wrap(fault.Transient, dicomweb.CodeUnreachable, err, "the archive does not answer")
	}
	return conn, nil
}

// webSender sends by STOW-RS, in one request for each result.
type webSender struct{ client *dicomweb.Client }

func (s *webSender) close() { s.client.Close() }

func (s *webSender) send(ctx context.Context, files []file) ([]answer, error) {
	var raws [][]byte
	for _, f := range files {
		raws = append(raws, f.raw)
	}
	found, err := s.client.Store(ctx, raws...)
	answers := make([]answer, len(files))
	switch fault.CodeOf(err) {
	case dicomweb.CodeRejected:
		for i := range answers {
			answers[i] = answer{dimse.CannotUnderstand, err}
		}
		return answers, nil
	case dicomweb.CodeAnswer:
		for i := range answers {
			answers[i] = answer{dimse.ProcessingFailure, err}
		}
		return answers, nil
	}
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		o, named := found[f.Instance]
		switch {
		case found == nil:
			answers[i] = answer{status: dimse.Success}
		case !named:
			answers[i] = answer{dimse.ProcessingFailure, fault.New(fault.Internal, dicomweb.CodeAnswer, "the archive does not say what became of it")}
		case o.Stored: // with a warning or without
			answers[i] = answer{status: dimse.Success}
		case dimse.Status(o.Reason).Stored() && dimse.Status(o.Reason) != dimse.DuplicateInstance:
			answers[i] = answer{status: dimse.ProcessingFailure} // a failure whose reason is none
		default:
			answers[i] = answer{status: dimse.Status(o.Reason)}
		}
	}
	return answers, nil
}

// Codes of what became of a result.
const (
	CodeBusy     = dicomweb.CodeBusy    // out of resources: the archive takes nothing at the moment
	CodeRejects  = "archive-rejects"    // the archive will never take a file
	CodeFails    = "archive-fails"      // the archive could not take a file, and may be able to
	CodeUnusable = "export-file-broken" // a file of the result is missing or no DICOM file
)

// judge turns the answers to files into one: nil if the archive has them all. A fault of kind Transient says that the archive is busy, of
// Internal that it may take them yet, of Invalid that it will not.
func judge(files []file, answers []answer) error {
	var worst error
	for i, a := range answers {
		err := verdict(files[i].name, a)
		if err != nil && (worst == nil || rank(err) > rank(worst)) {
			worst = err
		}
	}
	return worst
}

// rank: as long as anything may still succeed, all of it is tried again.
func rank(err error) int {
	switch {
	case fault.Is(err, fault.Transient):
		return 2
	case fault.Is(err, fault.Internal):
		return 1
	}
	return 0
}

// verdict sorts statuses (PS3.4 B.2.3, PS3.7 annex C; the failure reasons of STOW-RS are the same numbers).
func verdict(name string, a answer) error {
	why := fmt.Sprintf("status %04X", uint16(a.status))
	if a.err != nil {
		why = fault.SentenceOf(a.err)
	}
	switch s := a.status; {
	case s.Stored():
		return nil
	case s>>8 == 0xA7: // out of resources
		return fault.New(fault.Transient, CodeBusy, "the archive cannot take %s now (%s)", name, why)
	case s == dimse.ClassNotSupported:
		return fault.New(fault.Invalid, CodeRejects, "the archive does not take objects like %s (%s); let it accept their SOP class", name, why)
	case s == dimse.NotAuthorised, s == dimse.InvalidInstance, s == dimse.UnrecognisedOperation,
		s>>8 == 0xA8, s>>8 == 0xA9, // SOP class not supported, data set does not match it
		s>>12 == 0xC: // cannot understand
		return fault.New(fault.Invalid, CodeRejects, "the archive refuses %s (%s); its log may say why", name, why)
	}
	return fault.New(fault.Internal, CodeFails, "the archive failed at %s (%s); its log may say why", name, why)
}
