package web

import (
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
	Why                               string // why there is no value
	NoError                           string // why a value has no error
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
	Quality                                       *Quality // nil where it was not judged
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
	Images     []ImageView
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
	Studies, Versions                        []Choice
	Eyes                                     []EyeView
	Comparison                               *Comparison // nil: nothing is compared
	Others                                   []ImageView
	Problems                                 []Problem
	Missing                                  []Missing
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
