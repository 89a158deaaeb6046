package web

import (
	"fmt"
	"strconv"
)

type Shell struct {
	Title    string
	Active   string // name of the page in the navigation
	SignedIn bool
	Software string // version of Noctua
	// Person is who signed in, and Scopes what they may do.
	Person     string
	Scopes     []string
	MayOperate bool // for one clinic at least
}

type Total struct {
	N    int
	More bool // than N
}

func (t Total) String() string {
	if t.More {
		return fmt.Sprintf("more than %d", t.N)
	}
	return strconv.Itoa(t.N)
}

type Fact struct{ Name, Value string }

type Choice struct {
	Text, Link string
	Chosen     bool
}

type Problem struct{ Code, Reason string }

type Field struct {
	ID, Name, Label, Hint string // ID is the page's, Name the form's
	Value, Wrong          string
	Max                   int // characters
	Required              bool
	Autocomplete          string
}

type FailedView struct {
	Shell
	Status int
	Text   string
}
