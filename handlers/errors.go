package handlers

import (
	"context"
	"errors"
	"fmt"
)

// Class says what becomes of a call that a target refused. It is a label of metrics.
type Class string

// The classes. See Error for what a target owes its caller.
const (
	// Transient errors pass by themselves: the call is made again until it succeeds, and its lanes wait.
	Transient Class = "transient"
	// Limited says that the target takes no more for now, by its quota or its administrator's will. As Transient.
	Limited Class = "limited"
	// Misconfigured errors are no collection's fault and need a person: credentials, permissions, quotas on the number
	// of objects, a server too old. The call is made again, slowly, so that nothing has to be restarted once it is
	// put right.
	Misconfigured Class = "misconfigured"
	// Unclear errors say too little to be told apart. The call is made again for Options.Patience, then they are
	// Permanent.
	Unclear Class = "unclear"
	// Permanent errors stay however often the call is made: the collection stops on this target.
	Permanent Class = "permanent"
	// TooLarge says that the call was too large for the target: it is made again in parts. A single row that is too
	// large is Permanent.
	TooLarge Class = "too_large"
)

// The codes of the errors that this package makes; those of a target stand beside its client. A code is KS, the
// class's letter and a word; it is stable, for people to look up and for programs to compare.
const (
	// CodeEvent: the event's body can't be read by this version. Permanent.
	CodeEvent = "KS-P-EVENT"
	// CodeRowTooLarge: a row is larger than the target accepts in one call. Permanent.
	CodeRowTooLarge = "KS-P-TOOLARGE"
	// CodeRule: a collection that came after the task was made does not fit its rule. Permanent.
	CodeRule = "KS-P-RULE"
	// CodeOccupied: where the collection is to be created is one still that has stopped, and has another name by now. Permanent.
	CodeOccupied = "KS-P-OCCUPIED"
	// CodeNotEmpty: a database can't be dropped, because of collections that the source has not. Permanent.
	CodeNotEmpty = "KS-P-NOTEMPTY"
	// CodeTimeout: a call was not answered in time; it may have taken effect all the same. Transient.
	CodeTimeout = "KS-T-TIMEOUT"
	// CodeUnknown: an error that a target's client did not classify. Unclear.
	CodeUnknown = "KS-U-UNKNOWN"
)

// Error is why a target refused a call, or an event can't be applied. A target's client returns one of these for
// every error, or the error of its context.
type Error struct {
	Class Class
	Code  string // KS-T-UNAVAILABLE; see the constants
	Err   error  // in the target's own words
}

// Error is the code and the target's own words.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Code, e.Err) }

// Unwrap is the target's own error.
func (e *Error) Unwrap() error { return e.Err }

// classify finds the *Error in err, which is none of the caller's context.
func classify(err error) *Error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Class: Transient, Code: CodeTimeout, Err: err}
	}
	return &Error{Class: Unclear, Code: CodeUnknown, Err: err}
}

// permanent makes an error of this package that stops a collection.
func permanent(code string, err error) *Error { return &Error{Class: Permanent, Code: code, Err: err} }
