package web

import "time"

// AccountView is the page of who signed in.
type AccountView struct {
	Shell
	// HasPassword: they signed in with a name and a password, and not with a token.
	HasPassword bool
	MustChange  bool // before anything else
	Changed     bool // the password, just now
	Rights      []Right
	Sessions    []AccountSession

	Problem                  string
	WrongField               string // current, new or repeat
	MinPassword, MaxPassword int    // characters
	Next                     string // address to go on to
}

// Right is something that somebody may do.
type Right struct{ Text, Where, Scope string }

// AccountSession is a browser in which somebody is signed in.
type AccountSession struct {
	Started, Seen, Ends time.Time
	Address             string
	This                bool // the one that shows the page
}

// Secret is a field of the form for another password.
func (v AccountView) Secret(name, label, autocomplete, hint string) Field {
	f := Field{ID: "password-" + name, Name: name, Label: label, Autocomplete: autocomplete, Hint: hint, Max: v.MaxPassword * 2, Required: true} // UTF-16 units
	if v.WrongField == name {
		f.Wrong = v.Problem
	}
	return f
}
