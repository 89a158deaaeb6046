package report

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
)

const ndjsonMedia = "application/fhir+ndjson"

// formatNames are values of _format that ask for JSON.
var formatNames = []string{"json", fhirMedia, "application/json", "text/json"}

// negotiated answers 406 to whoever wants another format than a handler has. media is what it has beside JSON's own names.
func negotiated(handle func(http.ResponseWriter, *http.Request) error, media ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !accepts(r, append(media, fhirMedia, "application/json", "text/json")) {
			return &httpError{http.StatusNotAcceptable, "format-unknown", "Noctua speaks FHIR 4.0 as JSON alone: ask for application/fhir+json"}
		}
		return handle(w, r)
	}
}

// accepts tells whether one of the media types is welcome: by _format, which counts before the header.
func accepts(r *http.Request, media []string) bool {
	if format := r.URL.Query().Get("_format"); format != "" {
		// A + that was not escaped arrives as a space.
		name, version, err := mime.ParseMediaType(strings.ReplaceAll(format, " ", "+"))
		return err == nil && (slices.Contains(formatNames, name) || slices.Contains(media, name)) && isR4(version)
	}
	given := strings.TrimSpace(strings.Join(r.Header.Values("Accept"), ","))
	if given == "" {
		return true
	}
	for part := range strings.SplitSeq(given, ",") {
		name, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil || params["q"] == "0" || !isR4(params) {
			continue
		}
		if name == "*/*" || name == "application/*" || slices.Contains(media, name) {
			return true
		}
	}
	return false
}

// isR4 tells whether a media type is of FHIR R4, or of no version.
func isR4(params map[string]string) bool {
	version := params["fhirversion"]
	return version == "" || version == "4.0"
}

// searched answers POST …/_search as GET with the parameters of both address and body.
func searched(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
			return &httpError{http.StatusUnsupportedMediaType, "body-invalid", "the parameters of a search should be sent as application/x-www-form-urlencoded"}
		}
		if err := r.ParseForm(); err != nil {
			return fault.Wrap(fault.Invalid, "body-invalid", err, "the parameters of the search could not be read")
		}
		get := r.Clone(r.Context())
		get.URL.Path, get.URL.RawPath = strings.TrimSuffix(r.URL.Path, "/_search"), ""
		get.URL.RawQuery = r.Form.Encode() // of both
		return handle(w, get)
	}
}

// search is a search as a client asks for it.
type search struct {
	served fhir.Served
	// q are the parameters that are understood. The others were ignored, and the links leave them out.
	q         url.Values
	limit     int
	countOnly bool
	total     string // "", none, estimate or accurate
}

// resultParams steer the answer and select nothing.
var resultParams = []string{"_count", "_sort", "_total", "_include", "_revinclude", "_format", "_pretty", "_summary", "_cursor"}

// modifiers that are no restriction: the kind of what is referred to is known anyway.
var typeModifiers = map[string]string{"patient:Patient": "patient", "subject:Patient": "subject", "derived-from:ImagingStudy": "derived-from"}

// searchOf reads the parameters of a search of a kind of resource. What is not known is ignored, or refused if the client asked for strict
// handling; modifiers that are not known are always refused, as the specification demands, since ignoring one turns a search into another.
func searchOf(r *http.Request, resource string) (*search, error) {
	s := &search{served: fhir.ServedAs(resource), q: url.Values{}}
	var unknown []string
	for name, given := range r.URL.Query() {
		if plain, ok := typeModifiers[name]; ok && s.served.Knows(plain) {
			s.q[plain] = append(s.q[plain], given...)
			continue
		}
		base, _, modified := strings.Cut(name, ":")
		isKnown := s.served.Knows(base) || slices.Contains(resultParams, base) && !(base == "_include" && s.served.Include == nil) && !(base == "_revinclude" && s.served.RevInclude == nil)
		switch {
		case isKnown && modified:
			return nil, fault.New(fault.Invalid, "modifier-unknown", "the modifier of the search parameter %q is not supported", name)
		case !isKnown:
			unknown = append(unknown, name)
		case base == "_include" || base == "_revinclude":
			allowed := s.served.Include
			if base == "_revinclude" {
				allowed = s.served.RevInclude
			}
			for _, value := range given {
				if parts := strings.Split(value, ":"); len(parts) == 3 { // the kind of what is referred to may stand there too
					value = parts[0] + ":" + parts[1]
				}
				if !slices.Contains(allowed, value) {
					unknown = append(unknown, name+"="+value)
				} else if !slices.Contains(s.q[base], value) {
					s.q[base] = append(s.q[base], value)
				}
			}
		default:
			s.q[name] = append(s.q[name], given...)
		}
	}
	if len(unknown) > 0 && strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Prefer"), ",")), "handling=strict") {
		slices.Sort(unknown)
		return nil, &unknownParamsError{unknown}
	}
	return s, s.read()
}

// unknownParamsError are parameters that are not known.
type unknownParamsError struct{ names []string }

func (e *unknownParamsError) Error() string {
	return fmt.Sprintf("not supported by this search: %s; /fhir/metadata lists what is", strings.Join(e.names, ", "))
}

// read reads the parameters that steer the answer.
func (s *search) read() error {
	var err error
	if s.limit, err = intParam(s.q, "_count", defaultCount, 0, maxCount); err != nil {
		return err
	}
	if s.total = s.q.Get("_total"); !slices.Contains([]string{"", "none", "estimate", "accurate"}, s.total) {
		return fault.New(fault.Invalid, "total-unknown", "_total should be none, estimate or accurate")
	}
	if summary := s.q.Get("_summary"); !slices.Contains([]string{"", "false", "count"}, summary) {
		return fault.New(fault.Unsupported, "summary-unknown", "_summary should be count or false; resources are given whole")
	}
	s.countOnly = s.limit == 0 || s.q.Get("_summary") == "count"
	if sort := s.q.Get("_sort"); len(s.q["_sort"]) > 1 || sort != "" && !slices.Contains(s.served.Sort, sort) {
		return fault.New(fault.Invalid, "sort-unknown", "_sort should be one of %s", strings.Join(s.served.Sort, ", "))
	}
	return nil
}

// wants tells whether a kind of resource that a page refers to is to be given with it.
func (s *search) wants(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.q["_include"], s.served.Type+":"+name) })
}

// wantsTotal tells whether the answer has a total.
func (s *search) wantsTotal() bool { return s.total != "none" || s.countOnly }

// links are those of a page; next is the cursor of the next one, or "".
func (s *search) links(address, next string) []fhir.Link {
	self := address
	if len(s.q) > 0 {
		self += "?" + s.q.Encode()
	}
	links := []fhir.Link{{Relation: "self", URL: self}}
	if next != "" {
		q := url.Values{}
		for name, given := range s.q {
			q[name] = given
		}
		q.Set("_cursor", next)
		links = append(links, fhir.Link{Relation: "next", URL: address + "?" + q.Encode()})
	}
	return links
}

// ids are those of _id; nil where it is not given.
func (s *search) ids() []string {
	var ids []string
	for n, given := range s.q["_id"] {
		if found := values(given); n == 0 {
			ids = found
		} else {
			ids = intersect(ids, found)
		}
	}
	return ids
}
