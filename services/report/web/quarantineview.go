package web

import (
	"time"
)

type QuarantineLine struct {
	ID, Link             string
	Reason, Action, Code string
	File, Member, Clinic string
	Patient              string
	ReceivedAt           time.Time
	Size                 string
	Chosen               bool // in a form that is shown again
}

type Group struct {
	Code  string
	Count int
}

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
	BirthDate, Study, Photo   string
	MayDecide, Discarded      bool
	AskLaterality, AskPatient bool
	AskClinic                 bool
	Release, Discard          RulingForm
	History                   []RulingLine
	Problems                  []string // why a decision was refused
}
