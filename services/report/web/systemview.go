package web

import "time"

// SystemView is the status board.
type SystemView struct {
	Shell
	AsOf     time.Time
	Lamp     string // green, yellow or red: the worst
	Headline string
	Detail   string
	Parts    []SystemPart
	// SiteWide tells that the asker may see all clinics; without, what counts all of them together is left out.
	SiteWide  bool
	Queue     []QueueLine
	QueueDown bool // the queue does not answer, so that there are no lines
	Model     ModelView
	Models    []ModelLine
	Versions  []Fact
}

// SystemPart is a part with its lamp.
type SystemPart struct {
	Name, Lamp, State string // State is the lamp in a word
	Text, Detail, Do  string
	Since             time.Time
}

// QueueLine is what waits for one reader of the queue.
type QueueLine struct {
	Name, What  string
	Waiting     string
	InProgress  string
	Redelivered int
	Oldest      string // how long the oldest waits; "": nothing does
}

// ModelView is the model card.
type ModelView struct {
	Known                 bool
	Name, Version, Sha256 string
	Facts                 []Fact
	Use                   string // what it is for and what not
	Training              []TrainingLine
	Figures               []FigureLine
	Text                  string // the whole card
}

// TrainingLine is a data set that the model learnt from.
type TrainingLine struct {
	Name, Split, Licence string
	Images               int
}

// FigureLine is one figure of accuracy.
type FigureLine struct{ Set, Name, Value, Protocol string }

// ModelLine is a model of which the index has results.
type ModelLine struct {
	Name, Version, Sha256 string
	InUse                 bool
}
