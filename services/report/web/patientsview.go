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
