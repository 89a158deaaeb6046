package web

import (
	"fmt"
	"html/template"
	"math"
	"time"
)

// Shell is what every page has.
// Verdict says in a line how the night goes.
// Segment is a part of the bar of the night, in percent.
// Attention is something that needs a person.
// LiveView is the part of the first page that changes.
// TonightView is the first page.
// Value is a measure as people read it.
type Value struct {
	Name, Display, Definition, Source string
	Short                             string // name where there is little room
	Brief                             string // Text with fewer digits
	Text                              string // "" if there is no value
	Unit                              string
	Error                             string
	Why                               string    // why there is no value
	NoError                           string    // why a value has no error
	Interval                          *Interval // nil where no error is known
}

// Interval is a value and its error against a scale, which goes from From to To: places in a drawing 180 wide.
type Interval struct {
	Low, Value, High float64
	From, To         string
}

// EyeSummary is an eye at a glance.
// PatientLine is a patient in a list.
// Total is a number that was counted up to a bound.
// String says it to people.
// PatientsView is the list of patients.
// ImageView is a photograph with what was found on it.
type ImageView struct {
	Photo, PhotoFull, Mask, MaskFull, OverlayFull string
	VesselMap, Segments, SEG, SR                  string
	Width, Height                                 int
	Title                                         string
	AcquiredAt                                    string
	Status, StatusText                            string
	Reason                                        string
	Values                                        []Value
	Regions                                       *RegionTable // nil where nothing was measured
	Warnings, Notes                               []string
	Provenance                                    []Fact
	Superseded                                    bool
	// ID names the picture on the page, At is the address of what there is of it, Link the page with this picture of its eye.
	ID, At, Link, Thumb string
	Eye                 string // "right eye", "left eye" or "other picture"
	Chosen              bool   // of its eye
	Further             []Value
	Quality             *Quality // nil where it was not judged
}

// RegionTable has the measures of parts of the field of view.
type RegionTable struct {
	Columns []string
	Rows    []RegionRow
}

// RegionRow is one part of the field.
type RegionRow struct {
	Name, Definition string
	Why              string // why there are no values; "" where there are
	Values           []Cell // one a column
}

// Cell is a value in a table, or why there is none.
type Cell struct{ Text, Why string }

// Quality is how well a photograph can be read.
type Quality struct {
	Percent int      // 0 to 100
	Low     bool     // below the limit
	Limit   string   // percent; "" if there is none
	Reasons []string // that are said nowhere else on the page
	Figures []Value
}

// Fact is a name and its value.
// EyeView is a column of the patient page.
type EyeView struct {
	Code, Name string
	Text       string // which picture stands for the eye, and why; or why none does
	Images     []ImageView
}

// Trend is a measure over the visits, a chart an eye.
type Trend struct {
	Display, Unit, Definition string
	Charts                    []Chart
}

// Chart is a curve over the visits of one eye: places in a drawing of Width × Height, what is drawn between the other four.
type Chart struct {
	Eye                      string
	Text                     string // what it says
	Width, Height            float64
	Left, Right, Top, Bottom float64
	Ticks                    []Tick
	Bands, Lines             []string // points of polygons and of lines
	Points                   []ChartPoint
	Breaks                   []ChartBreak
	Rows                     []TrendRow // the same as a table
}

// Tick is a value on an axis.
type Tick struct {
	At   float64
	Text string
}

// ChartPoint is a visit.
type ChartPoint struct {
	X, Y, Low, High float64
	Drawn           bool // there is a value
	Date, Text      string
	Dated           bool // there is room for the date
	Hollow          bool // cannot be compared with this visit
	This            bool // visit
}

// ChartBreak stands between two visits that cannot be compared.
type ChartBreak struct {
	X         float64
	Text, Why string
}

// TrendRow is a visit in a table.
type TrendRow struct {
	Date, Text, Verdict, Link string
	This                      bool
}

// VersionView is a version of a report, and what it changed.
type VersionView struct {
	Number             int
	Status, StatusText string
	IssuedAt           time.Time
	Changes            []string // none: they are not looked up so far back
	Link, Document     string
	Shown              bool
}

// Choice is a study or a version that can be chosen.
// Problem is a file of the study in quarantine.
// Missing is a picture that was announced and is not here as announced.
type Missing struct {
	Problem
	SOPUID string
}

// Comparison is what differs between the eyes and since the visit before.
type Comparison struct {
	Headings []string // of the columns; none if nothing has a verdict
	Rows     []ComparisonRow
	Withheld []Fact // measures without a verdict, and why
	Remarks  []string
	Warnings []string
}

// ComparisonRow is a measure.
type ComparisonRow struct {
	Display string
	Cells   []ComparisonCell
}

// ComparisonCell is a verdict in words; "" if there is none.
type ComparisonCell struct {
	Text   string
	Beyond bool // the difference is beyond its error
}

// PatientView is one patient.
type PatientView struct {
	Shell
	Name, ID, Issuer, Clinic, BirthDate, Sex string
	StudyDate, StudyUID, Accession           string
	Status, StatusText                       string
	Version                                  int
	IssuedAt, FirstIssuedAt                  time.Time
	Summary                                  string
	Studies                                  []Choice
	Versions                                 []VersionView // the newest first
	MoreVersions                             int           // that are not listed
	OlderThan                                *VersionView  // the newest, where this is an older one
	Tasks                                    []string      // what needs a person
	Trends                                   []Trend
	WidthShades                              []string // colours of widths, from thin to wide
	Eyes                                     []EyeView
	Comparison                               *Comparison // nil: nothing is compared
	Others                                   []ImageView
	Problems                                 []Problem
	Missing                                  []Missing
	Awaited                                  []Missing // of what was announced, what may still come
	Downloads                                []Choice
	Notice                                   string
}

// QuarantineLine is a file in quarantine.
// Group is a reason and how often it occurs on the page.
// QuarantineView is the list of files in quarantine.
// RulingForm is what was entered into a form that is shown again, and what is wrong with it: a sentence by field.
// Field is a line of text to enter.
// Text makes a line of text of the form for the template "field". An optional field is left empty by most.
// RulingLine is what was decided about a file, and what became of it.
// QuarantinedView is a file in quarantine.
// SignInView asks for the token.
// FailedView says what went wrong.

// valueRow is a measure with a name for its definition that no other on the page has.
type valueRow struct {
	Value
	ID string
}

// patientFunctions are what the patient page's template can do.
func patientFunctions() template.FuncMap {
	return template.FuncMap{
		"minus": func(a float64, b any) (float64, error) { return sum(a, b, -1) },
		"plus":  func(a float64, b any) (float64, error) { return sum(a, b, 1) },
		// percentOf is the place of the n-th of so many, evenly from 0 % to 100 %.
		"percentOf": func(n, of int) string { return fmt.Sprintf("%d%%", 100*n/max(1, of-1)) },
		"rows": func(prefix string, values []Value) (out []valueRow) {
			for n, v := range values {
				out = append(out, valueRow{v, fmt.Sprintf("%s-m%d", prefix, n+1)})
			}
			return out
		},
	}
}

// sum adds sign times b, a number as templates have them.
func sum(a float64, b any, sign float64) (float64, error) {
	switch b := b.(type) {
	case int:
		return rounded(a + sign*float64(b)), nil
	case float64:
		return rounded(a + sign*b), nil
	}
	return 0, fmt.Errorf("%v is no number to add", b)
}

// rounded leaves no more digits than a drawing needs.
func rounded(v float64) float64 { return math.Round(10*v) / 10 }
