package web

import (
	"fmt"
	"strconv"
	"time"
)

// Shell is what every page has.
type Shell struct {
	Title    string
	Active   string // name of the page in the navigation
	SignedIn bool
	Software string // version of Noctua
}

// Verdict says in a line how the night goes.
type Verdict struct {
	Level    string // good, busy, attention, idle, unknown
	Headline string
	Detail   string
}

// Segment is a part of the bar of the night, in percent.
type Segment struct {
	Class    string
	Label    string
	Count    int
	X, Width float64
}

// Attention is something that needs a person.
type Attention struct {
	Count    int
	Text     string
	Link     string
	LinkText string
}

// LiveView is the part of the first page that changes.
type LiveView struct {
	Verdict                                           Verdict
	Known                                             bool
	Received, Done, Pending                           int
	Duplicate, Quarantined, Failed                    int
	Ungradable, NotAnalysed, Reports, PatientsCovered int
	Segments                                          []Segment
	PercentDone                                       int
	Rate, Left                                        string
	Attention                                         []Attention
	AsOf                                              time.Time
}

// TonightView is the first page.
type TonightView struct {
	Shell
	Since  time.Time
	Live   LiveView
	Recent []PatientLine
}

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
type EyeSummary struct {
	Values []Value
	State  string // said where there are no values
	Images int
}

// PatientLine is a patient in a list.
type PatientLine struct {
	Link, Name, ID, Issuer, Clinic string
	BirthDate, Sex                 string
	StudyDate                      string
	Status, StatusText             string
	UpdatedAt                      time.Time
	Right, Left                    EyeSummary
	Remarks                        []string
}

// Total is a number that was counted up to a bound.
type Total struct {
	N    int
	More bool // than N
}

// String says it to people.
func (t Total) String() string {
	if t.More {
		return fmt.Sprintf("more than %d", t.N)
	}
	return strconv.Itoa(t.N)
}

// PatientsView is the list of patients.
type PatientsView struct {
	Shell
	Search                 string
	Only                   string // status that is selected for, or ""
	OnlyText               string
	Lines                  []PatientLine
	Total                  Total
	From, To               int
	PreviousLink, NextLink string
	Everybody              int // patients whatever the search
}

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
type Fact struct{ Name, Value string }

// EyeView is a column of the patient page.
type EyeView struct {
	Code, Name string
	Images     []ImageView
}

// Choice is a study or a version that can be chosen.
type Choice struct {
	Text, Link string
	Chosen     bool
}

// Problem is a file of the study in quarantine.
type Problem struct{ Code, Reason string }

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
type QuarantineLine struct {
	ID, Link             string
	Reason, Action, Code string
	File, Member, Clinic string
	Patient              string
	ReceivedAt           time.Time
	Size                 string
	Chosen               bool // in a form that is shown again
}

// Group is a reason and how often it occurs on the page.
type Group struct {
	Code  string
	Count int
}

// QuarantineView is the list of files in quarantine.
type QuarantineView struct {
	Shell
	Lines                  []QuarantineLine
	Groups                 []Group
	Problems               []string // why decisions were refused
	Entered                RulingForm
	AskClinic              bool // some came without one
	Total, From, To        int
	PreviousLink, NextLink string
}

// RulingForm is what was entered into a form that is shown again, and what is wrong with it: a sentence by field.
type RulingForm struct {
	Laterality, PatientID, Issuer, Clinic string
	By, Reason                            string
	Wrong                                 map[string]string
}

// Field is a line of text to enter.
type Field struct {
	ID, Name, Label, Hint string // ID is the page's, Name the form's
	Value, Wrong          string
	Max                   int // characters
	Required              bool
	Autocomplete          string
}

// Text makes a line of text of the form for the template "field". An optional field is left empty by most.
func (f RulingForm) Text(prefix, name, label, hint string) Field {
	field := Field{ID: prefix + name, Name: name, Label: label, Hint: hint, Wrong: f.Wrong[name], Max: 64, Autocomplete: "off"}
	switch name {
	case "by":
		field.Value, field.Max, field.Required, field.Autocomplete = f.By, 100, true, "name"
	case "reason":
		field.Value, field.Max, field.Required = f.Reason, 1000, true
	case "patient_id":
		field.Value = f.PatientID
	case "issuer":
		field.Value = f.Issuer
	case "clinic":
		field.Value = f.Clinic
	}
	return field
}

// RulingLine is what was decided about a file, and what became of it.
type RulingLine struct {
	At                                time.Time
	What, By, Why, Correction, Result string
}

// QuarantinedView is a file in quarantine.
type QuarantinedView struct {
	Shell
	Line                      QuarantineLine
	StateText                 string // "" while it needs a person
	BirthDate, Study, Photo   string
	MayDecide, Discarded      bool
	AskLaterality, AskPatient bool
	AskClinic                 bool
	Release, Discard          RulingForm
	History                   []RulingLine
	Problems                  []string // why a decision was refused
}

// SignInView asks for the token.
type SignInView struct {
	Shell
	Problem string
}

// FailedView says what went wrong.
type FailedView struct {
	Shell
	Status int
	Text   string
}
