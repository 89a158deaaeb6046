package report

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	defaultCount = 50
	maxCount     = 500
)

// values splits the alternatives of a parameter; \, is a comma that belongs to the value.
func values(text string) []string {
	var out []string
	var current strings.Builder
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			current.WriteRune(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == ',':
			out = append(out, current.String())
			current.Reset()
		default:
			current.WriteRune(c)
		}
	}
	return append(out, current.String())
}

// nothing is a value that no report has: a parameter that can match nothing must not be dropped.
const nothing = "\x01"

// reportQuery reads the search parameters that reports and observations share.
func (s *Service) reportQuery(ctx context.Context, q url.Values, limit int) (store.ReportQuery, error) {
	out := store.ReportQuery{Clinics: clinicsOf(ctx), Limit: limit}
	for _, name := range []string{"patient", "subject"} {
		for _, given := range q[name] {
			keys := patientKeys(given)
			if len(out.PatientKeys) > 0 { // two patients at once are nobody
				keys = intersect(out.PatientKeys, keys)
			}
			out.PatientKeys = keys
		}
	}
	for _, name := range []string{"patient.identifier", "subject.identifier"} {
		for _, given := range q[name] {
			if len(out.Identifiers) > 0 {
				return out, fault.New(fault.Invalid, "parameter-twice", "patient.identifier should be given once")
			}
			out.Identifiers = identifiers(given)
		}
	}
	for _, given := range q["status"] {
		out.FHIRStatuses = append(out.FHIRStatuses, tokens(given)...)
		if len(q["status"]) > 1 {
			return out, fault.New(fault.Invalid, "parameter-twice", "status should be given once, with commas between alternatives")
		}
	}
	if len(q["status"]) > 0 && len(out.FHIRStatuses) == 0 {
		out.FHIRStatuses = []string{nothing}
	}
	// The date of a report is called started in an ImagingStudy, and its moment of issue recorded in a Provenance.
	for _, given := range slices.Concat(q["date"], q["started"]) {
		days, negate, err := daySpan("date", given, s.cfg.Location)
		if err != nil {
			return out, err
		}
		if negate {
			out.NotStudyDates = append(out.NotStudyDates, days)
		} else {
			out.StudyDates = append(out.StudyDates, days)
		}
	}
	var err error
	if out.Issued, out.NotIssued, err = s.timeSpans(q, "issued", "recorded"); err != nil {
		return out, err
	}
	if out.Updated, out.NotUpdated, err = s.timeSpans(q, "_lastUpdated"); err != nil {
		return out, err
	}
	name, descending := strings.CutPrefix(q.Get("_sort"), "-")
	out.Sort = map[string]store.SortBy{"issued": store.SortIssued, "recorded": store.SortIssued, "date": store.SortStudyDate, "started": store.SortStudyDate}[name]
	out.Descending = descending
	switch {
	case name != "":
	case len(out.StudyDates) > 0:
		out.Sort = store.SortStudyDate // the order is ours to choose: that of the days asked for is read off an index, any other would have to be made
	case len(out.Issued) > 0 && len(out.Updated) == 0:
		out.Sort = store.SortIssued
	}
	return out, nil
}

// timeSpans reads parameters that are moments: in which spans they must, and must not, lie.
func (s *Service) timeSpans(q url.Values, names ...string) (yes, no []store.Span, err error) {
	for _, name := range names {
		for _, given := range q[name] {
			span, negate, err := timeSpan(name, given, s.cfg.Location)
			switch {
			case err != nil:
				return nil, nil, err
			case negate:
				no = append(no, span)
			default:
				yes = append(yes, span)
			}
		}
	}
	return yes, no, nil
}

// patientKeys reads references to patients: an id, Patient/<id>, or an absolute address that ends so.
func patientKeys(text string) []string {
	var keys []string
	for _, given := range values(text) {
		id := given
		if i := strings.LastIndex(given, "Patient/"); i >= 0 {
			id = given[i+len("Patient/"):]
		}
		if len(id) != len(fhir.PatientID(strings.Repeat("0", 64))) || strings.Trim(id, "0123456789abcdef") != "" {
			id = nothing
		}
		keys = append(keys, id)
	}
	return keys
}

func intersect(a, b []string) []string {
	var both []string
	for _, v := range a {
		if slices.Contains(b, v) {
			both = append(both, v)
		}
	}
	if both == nil {
		return []string{nothing}
	}
	return both
}

// identifiers reads [system|]value; without system any issuer will do.
func identifiers(text string) []store.Identifier {
	var out []store.Identifier
	for _, given := range values(text) {
		system, value, qualified := strings.Cut(given, "|")
		if !qualified {
			out = append(out, store.Identifier{ID: given})
			continue
		}
		clinic, issuer := fhir.ParseIssuerSystem(system)
		out = append(out, store.Identifier{ID: value, Issuer: &issuer, Clinic: clinic})
		if oid, ok := strings.CutPrefix(system, "urn:oid:"); ok && oid == issuer {
			// The issuer may have been sent with the prefix.
			out = append(out, store.Identifier{ID: value, Issuer: &system})
		}
	}
	return out
}

// tokens reads [system|]code for codes whose system is fixed.
func tokens(text string) []string {
	var out []string
	for _, given := range values(text) {
		if _, code, ok := strings.Cut(given, "|"); ok {
			given = code
		}
		if given != "" {
			out = append(out, given)
		}
	}
	return out
}

// reportIdentifiers reads identifier: the report's own id, the study (urn:oid:…, also bare) or the accession number.
func reportIdentifiers(q *store.ReportQuery, given []string) error {
	if len(given) == 0 {
		return nil
	}
	if len(given) > 1 {
		return fault.New(fault.Invalid, "parameter-twice", "identifier should be given once")
	}
	system, value, qualified := strings.Cut(given[0], "|")
	if !qualified {
		value = given[0]
	}
	uid := strings.TrimPrefix(value, "urn:oid:")
	switch {
	case system == fhir.ReportSystem && qualified:
		q.ReportIDs = []string{value}
	case uid != value, strings.Trim(uid, "0123456789.") == "" && strings.Contains(uid, "."):
		q.StudyUIDs = []string{uid}
	case !qualified && len(value) == 32 && strings.Trim(value, "0123456789abcdef") == "":
		q.ReportIDs = []string{value}
	case !qualified || system == "":
		q.Accessions = []string{value}
	default:
		q.ReportIDs = []string{nothing}
	}
	return nil
}

// dateValue is a FHIR date search value: a prefix and the span that the date covers at the precision given.
type dateValue struct {
	prefix   string
	from, to time.Time
}

func parseDate(name, text string, zone *time.Location) (dateValue, error) {
	d := dateValue{prefix: "eq"}
	if len(text) > 2 && text[0] >= 'a' && text[0] <= 'z' {
		d.prefix, text = text[:2], text[2:]
	}
	bad := fault.New(fault.Invalid, "date-invalid", "%s should be a date or an instant such as ge2026-11-23 or gt2026-11-23T06:30:00Z, with prefix eq, ne, gt, lt, ge, le, sa or eb", name)
	if !slices.Contains([]string{"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"}, d.prefix) {
		return d, bad
	}
	// A + that was not escaped arrives as a space.
	text = strings.ReplaceAll(text, " ", "+")
	for _, form := range []struct {
		layout string
		end    func(time.Time) time.Time
	}{
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{time.DateOnly, func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04:05.999999999", instantEnd(text)},
		{"2006-01-02T15:04:05.999999999Z07:00", instantEnd(text)},
	} {
		if at, err := time.ParseInLocation(form.layout, text, zone); err == nil {
			d.from, d.to = at, form.end(at)
			return d, nil
		}
	}
	return d, bad
}

// instantEnd is the end of the second or of the millisecond that an instant covers. Finer digits than the index holds are cut.
func instantEnd(text string) func(time.Time) time.Time {
	if strings.Contains(text, ".") {
		return func(t time.Time) time.Time { return t.Truncate(time.Millisecond).Add(time.Millisecond) }
	}
	return func(t time.Time) time.Time { return t.Add(time.Second) }
}

// span gives the half-open span that values must (negate: must not) lie in.
func (d dateValue) span() (span store.Span, negate bool) {
	switch d.prefix {
	case "gt", "sa":
		return store.Span{From: d.to}, false
	case "ge":
		return store.Span{From: d.from}, false
	case "lt", "eb":
		return store.Span{To: d.from}, false
	case "le":
		return store.Span{To: d.to}, false
	case "ne":
		return store.Span{From: d.from, To: d.to}, true
	}
	return store.Span{From: d.from, To: d.to}, false
}

func timeSpan(name, text string, zone *time.Location) (store.Span, bool, error) {
	d, err := parseDate(name, text, zone)
	if err != nil {
		return store.Span{}, false, err
	}
	span, negate := d.span()
	return span, negate, nil
}

// daySpan reads a parameter that is a day without zone, such as a study's: an instant stands for its day.
func daySpan(name, text string, zone *time.Location) (days store.TextSpan, negate bool, err error) {
	d, err := parseDate(name, text, zone)
	if err != nil {
		return days, false, err
	}
	if day := d.from.Truncate(0); d.to.Sub(day) < 24*time.Hour {
		d.from = time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, day.Location())
		d.to = d.from.AddDate(0, 0, 1)
		// A whole day overlaps an instant within it.
		switch d.prefix {
		case "gt":
			d.prefix = "ge"
		case "lt":
			d.prefix = "le"
		}
	}
	span, negate := d.span()
	if !span.From.IsZero() {
		days.From = span.From.Format(time.DateOnly)
	}
	if !span.To.IsZero() {
		days.To = span.To.Format(time.DateOnly)
	}
	return days, negate, nil
}
