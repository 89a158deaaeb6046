package web

import (
	"html/template"
	"time"
)

type Verdict struct {
	Level    string // good, busy, attention, idle, unknown
	Headline string
	Detail   string
}

type Segment struct {
	Class    string
	Label    string
	Count    int
	X, Width float64
}

// NightNumbers are the numbers of a night that goes on or is over.
type NightNumbers struct {
	Received, Done, Pending                           int
	Duplicate, Quarantined, Failed                    int
	Discarded                                         int
	Ungradable, NotAnalysed, Reports, PatientsCovered int
	Segments                                          []Segment
	PercentDone                                       int
	Clinics                                           []ClinicLine
	Unplaced                                          int // pending, of clinics that are not known yet
	Course                                            *Course
	Over                                              bool
	PatientsLink                                      string
}

// Need is something that a person should see to.
type Need struct {
	Level          string // "": attention; note
	Count          int
	Text           string // said after the count
	Do             string // what to do, in a sentence
	Link, LinkText string
}

// ClinicLine is a clinic's part of a night.
type ClinicLine struct {
	Name, Link                       string
	Received, Dealt, Pending, Failed int
	Quarantined, Ungradable          int
	Segments                         []Segment
	Percent                          int
	LastAt                           time.Time
	Oldest                           string // since when the oldest one waits, if long
	Trouble                          bool
	CSV, Parquet                     string // addresses of the clinic's tables, of a night that is over
}

// Course draws what came and what was dealt with over a night. Lengths are in units of its view box.
type Course struct {
	Width, Height float64
	Left, Right   float64 // of the axis
	Bars          []Bar   // received
	Line          string  // dealt with: points of a polyline
	Hours         []Tick
	Levels        []Tick
	Label         string
	StepMinutes   int
	Table         []CourseRow
}

type Bar struct{ X, Y, Width, Height float64 }

type CourseRow struct {
	From            time.Time
	Received, Dealt int
}

// LiveView is what changes by itself.
type LiveView struct {
	NightNumbers
	Verdict    Verdict
	Known      bool
	Rate, Left string
	Oldest     string
	Needs      []Need
	People     string // changes when PeopleView does
	AsOf       time.Time
}

// LivePart is a part of LiveView that is sent by itself.
type LivePart struct {
	Name string
	HTML template.HTML
}

// Part is the HTML of a part.
func (v TonightView) Part(name string) template.HTML {
	for _, p := range v.Parts {
		if p.Name == name {
			return p.HTML
		}
	}
	return ""
}

type TonightView struct {
	Shell
	Since              time.Time
	Live               LiveView
	Parts              []LivePart
	LastNight, LastDay string // address and day of the night before that had something
	People             PeopleView
}

// CourseRight tells on which side the course of the night fills the gap: under the numbers where more lines need a person than there are clinics.
func (v TonightView) CourseRight() bool { return len(v.Live.Needs) > len(v.Live.Clinics) }

// EyeLine is an eye of a patient that should be photographed again.
type EyeLine struct {
	Link, Name, ID, Clinic, Date string
	Text                         string
	Since                        string // what became of it, or ""
}

// ChangeLine is a report that was amended, or lacks something.
type ChangeLine struct {
	Link, Name, ID, Clinic, Date string
	Text                         string
	At                           time.Time
}

// PeopleView is what holds data of patients.
type PeopleView struct {
	Over                  bool
	Eyes                  []EyeLine
	MoreEyes              bool
	Amended               []ChangeLine
	MoreAmended           bool
	Incomplete            []ChangeLine
	MoreIncomplete        bool
	AmendedFrom           time.Time
	EyesLink, AmendedLink string
	Recent                []PatientLine
}

// NightView is a night that is over.
type NightView struct {
	Shell
	NightNumbers
	Began, Ends          time.Time
	Verdict              Verdict
	Known                bool
	Duration             string
	Needs                []Need
	People               PeopleView
	Previous, Next       string
	PreviousDay, NextDay string
	Bulk                 string
	Tables               bool
	PrintedAt            time.Time
}

// NightRow is a night in the list.
type NightRow struct {
	Link, Level, Verdict                          string
	Began                                         time.Time
	Received, Done, Failed, Ungradable            int
	Quarantined, Open, Pending, Clinics, Patients int
	Segments                                      []Segment
	Share                                         float64 // of the largest night of the page, per cent
	Duration                                      string
	GoesOn                                        bool
}

type NightsView struct {
	Shell
	Month          time.Time
	Rows           []NightRow
	Empty          int // nights of the month in which nothing came
	Earlier, Later string
	EarlierText    string
	LaterText      string
	Received       int
	Ever           bool // anything came at any time
}
