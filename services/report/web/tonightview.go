package web

import (
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

type Attention struct {
	Count    int
	Text     string
	Link     string
	LinkText string
}

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

type TonightView struct {
	Shell
	Since  time.Time
	Live   LiveView
	Recent []PatientLine
}
