package web

import (
	"time"
)

type EyeSummary struct {
	Values []Value
	State  string // said where there are no values
	Images int
}

type PatientLine struct {
	Link, Name, ID, Issuer, Clinic string
	BirthDate, Sex                 string
	StudyDate                      string
	Status, StatusText             string
	UpdatedAt                      time.Time
	Right, Left                    EyeSummary
	Remarks                        []string
}

// ChangeGlance is how an eye differs from the visit before.
type ChangeGlance struct {
	Eye    string // OD or OS
	Text   string
	Title  string // the same in whole sentences
	Beyond bool   // measurement error
}

// ListLine is a row of the list of patients.
type ListLine struct {
	PatientLine
	Changes []ChangeGlance
}

// SortHeader is the head of a column that the list can be ordered by.
type SortHeader struct {
	Text, Link string
	Sort       string // as aria-sort has it
}

// Option is one choice of a filter.
type Option struct {
	Value, Text string
	Chosen      bool
}

type PatientsView struct {
	Shell
	Search   string
	Expired  bool     // the address names a search that is not kept any more
	Night    string   // day on which the night began, or ""
	Last     string   // day on which the last night began
	Clinics  []Option // none where there is no choice
	Statuses []Option
	Only     []Option
	Chips    []Choice // filters that are on; each links to the list without it
	Sort     string   // as the form sends it on
	Order    string

	Name, ID, Study, Updated SortHeader

	Lines                             []ListLine
	Studies                           bool // rows are studies of a night, not patients
	Total                             Total
	From, To                          int
	FirstLink, PreviousLink, NextLink string
}
