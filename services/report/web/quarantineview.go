package web

import (
	"strconv"
	"time"
)

type QuarantineLine struct {
	ID, Link             string
	Reason, Action, Code string
	Detail               string // of the reason, for engineers
	File, Member, Clinic string
	Patient              string
	ReceivedAt           time.Time
	Size                 string
	Thumbnail            string // "" where the file is known to hold no picture
	Chosen               bool   // in a form that is shown again
	StateText            string // what was decided, or "" while it needs a person
	Decided              *RulingLine
	MayRelease           bool // it was discarded, and can be taken back
}

// Group is the files that are here for one reason.
type Group struct {
	Code, Reason, Link string
	Count              int
	Chosen             bool
}

type QuarantineView struct {
	Shell
	Decided                bool // shows what was decided about lately
	Lines                  []QuarantineLine
	Groups                 []Group
	Clinics                []Option // none where there is no choice
	Days, Today            string   // day that is chosen, or ""; and this one
	Chips                  []Choice // filters that are on; each links to the list without it
	Code, Clinic           string   // filters
	Until                  string   // moment of the list: what comes later is not among all of it
	AllOf                  int      // how many files a reason has in all, where more than are shown; 0: no such choice
	AllChosen              bool
	Reason                 string   // of the chosen group
	Problems               []string // why decisions were refused
	Entered                RulingForm
	AskLaterality          bool // for some of the files that are shown
	AskPatient, AskClinic  bool
	Total, From, To        int
	OpenLink, DecidedLink  string
	PreviousLink, NextLink string
}

// Hidden is a value that a form hands on.
type Hidden struct{ Name, Value string }

// Undone is a file that could not be decided about, and why.
type Undone struct{ ID, Link, Why string }

// SureView asks before many files are decided about, tells how far that is, and in the end what could not be done.
type SureView struct {
	Shell
	Discard         bool
	Count           int // files that are to be decided about
	Reason          string
	By, Why         string
	Correction      string
	Hidden          []Hidden
	Begun, Finished bool
	Done, Left      int
	Percent         int
	Undone          []Undone
	UndoneInAll     int
	Back            string
	Files           []QuarantineLine // where few were chosen one by one
}

type RulingForm struct {
	Laterality, PatientID, Issuer, Clinic string
	By, Reason                            string
	Wrong                                 map[string]string
}

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

type RulingLine struct {
	At                                time.Time
	What, By, Why, Correction, Result string
}

type QuarantinedView struct {
	Shell
	Line                      QuarantineLine
	StateText                 string // "" while it needs a person
	Facts                     []Fact
	Photo                     string // "" where the file is known to hold no picture
	MayDecide, Discarded      bool
	AskLaterality, AskPatient bool
	AskClinic                 bool
	Release, Discard          RulingForm
	History                   []RulingLine
	Problems                  []string // why a decision was refused
}

// Number writes a number for a value of a form.
func Number(n int) string { return strconv.Itoa(n) }
