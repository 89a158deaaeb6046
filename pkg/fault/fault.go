// Package fault gives errors a kind, which decides what happens next, and a stable code, which people and programs can
// look up. A kind is attached once, near the cause; everything above wraps with fmt.Errorf and %w. Strings are never matched.
// It imports nothing of Noctua.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says who is at fault, and so what to do.
type Kind int

// The kinds. Internal is the zero value: an error that says nothing else is ours.
const (
	Internal    Kind = iota // a defect of Noctua or of its installation
	Invalid                 // the input is wrong; trying again will not help
	Unsupported             // the input is fine, but Noctua cannot do it
	NotFound                // the thing asked for is not there
	Conflict                // the thing is there already, or differently
	Transient               // may work when tried again
)

var kindNames = [...]string{"internal", "invalid", "unsupported", "not-found", "conflict", "transient"}

// String returns the kind's name.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return kindNames[k]
}

// Error is an error with a kind, a stable code and a sentence.
type Error struct {
	Kind     Kind
	Code     string // kebab-case, stable, e.g. laterality-missing
	Sentence string // what was expected, what was found, what to do
	Cause    error  // may be nil
}

// Error returns the sentence, and the cause behind it.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Sentence
	}
	return e.Sentence + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a kind, with a stable code and a sentence.
func New(kind Kind, code, format string, args ...any) error {
	return &Error{Kind: kind, Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a kind around its cause.
func Wrap(kind Kind, code string, cause error, format string, args ...any) error {
	return &Error{Kind: kind, Code: code, Sentence: fmt.Sprintf(format, args...), Cause: cause}
}

// KindOf returns the kind of the outermost Error in the chain; Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is tells whether err carries kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// CodeOf returns the stable code of the outermost Error in the chain, or "".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// SentenceOf returns the sentence of the outermost Error in the chain without its cause, or err's text.
func SentenceOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Sentence
	}
	return err.Error()
}

// Interrupted tells whether err comes from a cancelled context: interruption is not failure.
// An exceeded deadline is a failure and not an interruption.
func Interrupted(err error) bool { return errors.Is(err, context.Canceled) }
