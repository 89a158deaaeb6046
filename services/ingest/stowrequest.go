package ingest

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom"
)

// Media types of STOW-RS (PS3.18, 10.5).
const (
	mediaDICOM     = "application/dicom"
	mediaDICOMJSON = "application/dicom+json"
	mediaJSON      = "application/json"
	mediaRelated   = "multipart/related"
)

const (
	// maxPartHeaderBytes bounds what stands before a part's content; real headers have some hundred bytes. It is counted in what
	// is read from the sender, which includes up to 5 KiB of content.
	maxPartHeaderBytes = 64 << 10
	// maxBoundaryBytes is the longest boundary (RFC 2046, 5.1.1).
	maxBoundaryBytes = 70
	// maxEpilogueBytes may follow the last boundary.
	maxEpilogueBytes = 64 << 10
)

// stowError is why a request is not, or not wholly, answered with success.
type stowError struct {
	status int
	code   string
	text   string
	reason uint16 // what the rest of the request has as FailureReason, where a part of it was stored
	cause  error  // may be nil
}

func (e *stowError) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

func (e *stowError) Unwrap() error { return e.cause }

func malformed(cause error, format string, args ...any) *stowError {
	return &stowError{status: http.StatusBadRequest, code: "multipart-malformed", text: fmt.Sprintf(format, args...), reason: reasonCannotUnderstand, cause: cause}
}

// mediaType is a media type or range with its parameters, whose names are in small letters.
type mediaType struct {
	name   string // in small letters
	params map[string]string
}

// parseMediaType takes a media type apart. It is more tolerant than mime.ParseMediaType in one thing, which many senders need: values
// with a slash may stand without quotes (type=application/dicom).
func parseMediaType(text string) (mediaType, bool) {
	fields, ok := splitUnquoted(text, ';')
	if !ok {
		return mediaType{}, false
	}
	m := mediaType{name: strings.ToLower(strings.TrimSpace(fields[0])), params: map[string]string{}}
	for _, field := range fields[1:] {
		if strings.TrimSpace(field) == "" {
			continue // a semicolon at the end
		}
		name, value, found := strings.Cut(field, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := m.params[name]; !found || name == "" || twice {
			return mediaType{}, false
		}
		if m.params[name], ok = unquote(strings.TrimSpace(value)); !ok {
			return mediaType{}, false
		}
	}
	return m, m.name != ""
}

// splitUnquoted splits a header at separators outside quotes; false if a quote is not closed.
func splitUnquoted(text string, separator byte) (fields []string, ok bool) {
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++ // the next character means itself
		case text[i] == '"':
			quoted = !quoted
		case text[i] == separator && !quoted:
			fields = append(fields, text[start:i])
			start = i + 1
		}
	}
	return append(fields, text[start:]), !quoted
}

// unquote reads a parameter's value, in quotes or not.
func unquote(value string) (string, bool) {
	if !strings.HasPrefix(value, `"`) {
		return value, value != "" && !strings.ContainsAny(value, "\" \t")
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch {
		case value[i] == '"':
			return b.String(), i == len(value)-1
		case value[i] == '\\' && i+1 < len(value):
			i++
		}
		b.WriteByte(value[i])
	}
	return "", false
}

// boundaryOf returns the boundary of a request with DICOM files, or why it is refused.
func boundaryOf(contentType string) (string, *stowError) {
	m, ok := parseMediaType(contentType)
	switch {
	case contentType == "":
		return "", &stowError{status: http.StatusUnsupportedMediaType, code: "media-type-unsupported", text: `the request says no Content-Type; send multipart/related; type="application/dicom"; boundary=…`}
	case !ok:
		return "", malformed(nil, `the request's Content-Type cannot be read; it should be multipart/related; type="application/dicom"; boundary=…`)
	case m.name != mediaRelated:
		return "", &stowError{status: http.StatusUnsupportedMediaType, code: "media-type-unsupported", text: `only DICOM files in multipart/related are taken; send multipart/related; type="application/dicom"; boundary=…`}
	}
	// Without a type, what the parts say counts.
	if root, said := m.params["type"]; said && !isDICOM(root) {
		return "", &stowError{status: http.StatusUnsupportedMediaType, code: "media-type-unsupported", text: `metadata and bulk data apart from each other are not taken; send whole DICOM files: multipart/related; type="application/dicom"`}
	}
	boundary := m.params["boundary"]
	outside := func(r rune) bool { return r < ' ' || r > '~' }
	if boundary == "" || len(boundary) > maxBoundaryBytes || strings.ContainsFunc(boundary, outside) || strings.HasSuffix(boundary, " ") {
		return "", malformed(nil, "the request's Content-Type should name a boundary of 1 to %d printable ASCII characters", maxBoundaryBytes)
	}
	return boundary, nil
}

// isDICOM tells whether a media type is that of DICOM files, whatever its parameters.
func isDICOM(text string) bool {
	m, ok := parseMediaType(text)
	return ok && m.name == mediaDICOM
}

// acceptsJSON tells whether the Accept headers, or the query parameter that stands for them, allow a DICOM JSON answer.
func acceptsJSON(headers []string) bool {
	all := strings.TrimSpace(strings.Join(headers, ","))
	if all == "" {
		return true
	}
	ranges, ok := splitUnquoted(all, ',')
	if !ok {
		return false
	}
	best, accepted := -1, false // what names the type most closely decides
	for _, r := range ranges {
		m, ok := parseMediaType(r)
		if !ok {
			continue
		}
		closeness, known := map[string]int{mediaDICOMJSON: 3, mediaJSON: 2, "application/*": 1, "*/*": 0}[m.name]
		quality := 1.0
		if q, said := m.params["q"]; said {
			var err error
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if known && closeness > best {
			best, accepted = closeness, quality > 0
		}
	}
	return accepted
}

// requestBody reads a request with a limit on each read's time, on all bytes, and on those of a part's header.
type requestBody struct {
	r      io.Reader // with the limit on all bytes
	extend func()    // gives the next read its time
	header int       // what is left for the header of a part while it is read; otherwise unlimited
	// failed is the first error but io.EOF: what reads from here may hide it behind what it looked like.
	failed *stowError
}

const unlimited = -1

var errHeaderTooLarge = errors.New("more than a part's header may have")

// Read implements io.Reader. Errors but io.EOF are stowErrors.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.read(p)
	if b.failed == nil {
		_ = errors.As(err, &b.failed)
	}
	return n, err
}

func (b *requestBody) read(p []byte) (int, error) {
	if b.header == 0 {
		return 0, malformed(errHeaderTooLarge, "a part's header has more than %d bytes; it should have its Content-Type and little else", maxPartHeaderBytes)
	}
	if b.header > 0 {
		p = p[:min(len(p), b.header)]
	}
	b.extend()
	n, err := b.r.Read(p)
	if b.header > 0 {
		b.header -= n
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // io.Reader returns it as it is
		return n, err
	case errors.As(err, &tooLarge):
		return n, &stowError{status: http.StatusRequestEntityTooLarge, code: "request-too-large", reason: reasonCannotUnderstand, cause: err,
			text: fmt.Sprintf("the request has more than %d bytes; send it in several", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, &stowError{status: http.StatusRequestTimeout, code: "sender-silent", reason: reasonProcessing, cause: err,
			text: "the sender was silent for too long in the middle of the request; send it again"}
	}
	return n, &stowError{status: http.StatusBadRequest, code: "request-broken", text: "the request broke off in the middle; send it again", reason: reasonProcessing, cause: err}
}

// partReader goes through the parts of a request.
type partReader struct {
	body    *requestBody
	parts   *multipart.Reader
	current *multipart.Part
	number  int // of the current part, from 1
	most    int
}

func newPartReader(body *requestBody, boundary string, most int) *partReader {
	// A request that ends anywhere but behind its last boundary must never look complete. So its end is no io.EOF, which then means the
	// last boundary alone, and a line's end makes up for the one that may be missing there.
	whole := io.MultiReader(body, strings.NewReader("\r\n"), ended{})
	return &partReader{body: body, parts: multipart.NewReader(whole, boundary), most: most}
}

// ended is what follows a request's last byte.
type ended struct{}

var errEnded = errors.New("the request is over")

func (ended) Read([]byte) (int, error) { return 0, errEnded }

// next goes to the next part and returns it, or io.EOF behind the last one; other errors end the request. What was
// not read of the part before is passed over. Contents are read as they are, whatever Content-Transfer-Encoding says.
func (p *partReader) next() (*multipart.Part, error) {
	if p.current != nil {
		if _, err := io.Copy(io.Discard, p.current); err != nil {
			return nil, p.broken(err)
		}
	}
	p.body.header = maxPartHeaderBytes
	part, err := p.parts.NextRawPart()
	p.body.header = unlimited
	switch {
	case err == nil && p.number >= p.most:
		return nil, &stowError{status: http.StatusRequestEntityTooLarge, code: "parts-too-many", reason: reasonCannotUnderstand,
			text: fmt.Sprintf("the request has more than %d parts; send it in several", p.most)}
	case err == nil:
		p.number++
		p.current = part
		return part, nil
	case errors.Is(err, io.EOF):
		return nil, p.finish()
	}
	return nil, p.broken(err)
}

// finish reads what follows the last boundary, so that the connection can be used again.
func (p *partReader) finish() error {
	p.current = nil
	if _, err := io.CopyN(io.Discard, p.body, maxEpilogueBytes); err != nil && !errors.Is(err, io.EOF) {
		return p.broken(err)
	}
	return io.EOF
}

// broken is the refusal of a request that could not be read to its end.
func (p *partReader) broken(err error) *stowError {
	if p.body.failed != nil {
		return p.body.failed
	}
	var r *stowError
	if errors.As(err, &r) {
		return r
	}
	if errors.Is(err, errEnded) {
		return malformed(err, "the request ends before its last boundary; send it again")
	}
	return malformed(err, "the request's parts cannot be told apart; each should begin with the boundary and a header")
}

// identityOfHead is what the first bytes of a file say of it.
func identityOfHead(head []byte) dicom.FileIdentity {
	return dicom.IdentityOfFile(strings.NewReader(string(head)), int64(len(head)))
}
