package control

import (
	"errors"
	"fmt"
	"strings"

	"kitestream/jetstream"
)

// Code names a kind of error, for programs. Codes tells what each means.
type Code string

// The codes.
const (
	CodeInvalid     Code = "KS-C-INVALID"
	CodeExists      Code = "KS-C-EXISTS"
	CodeNotFound    Code = "KS-C-NOTFOUND"
	CodeState       Code = "KS-C-STATE"
	CodeStopped     Code = "KS-C-STOPPED"
	CodeNoBridge    Code = "KS-C-NOBRIDGE"
	CodeSource      Code = "KS-C-SOURCE"
	CodeHeld        Code = "KS-C-HELD"
	CodeNotReady    Code = "KS-C-NOTREADY"
	CodeBusy        Code = "KS-C-BUSY"
	CodeNoVerifier  Code = "KS-C-NOVERIFIER"
	CodeVerify      Code = "KS-C-VERIFY"
	CodeUnavailable Code = "KS-C-UNAVAILABLE"
	CodeInternal    Code = "KS-C-INTERNAL"
	CodeNoControl   Code = "KS-C-NOCONTROL"
	CodeTimeout     Code = "KS-C-TIMEOUT"
)

// CodeHelp is one line of the table of codes.
type CodeHelp struct {
	Code  Code
	Means string
	Do    string // what the caller can do
}

// Codes is the table of all codes. Those from CodeNoControl on come from Client and never from the service.
func Codes() []CodeHelp {
	return []CodeHelp{
		{CodeInvalid, "the request or the task is not well formed; nothing was changed", "mend the field that is named"},
		{CodeExists, "there is a task of that name", "choose another name, or delete that task first"},
		{CodeNotFound, "there is no task of that name", "'kitestream task list' shows the names"},
		{CodeState, "the task is in a state in which this can't be done; nothing was changed", "'kitestream task get' shows the state"},
		{CodeStopped, "a collection is stopped, so the target will not have all of it", "mend what the error names, then 'kitestream task resume'"},
		{CodeNoBridge, "no bridge holds the task, so nobody reads its source", "start 'kitestream bridge' (or 'up') with that source's settings"},
		{CodeSource, "the task's bridge can't read all that its source holds", "see to the source as the message says, and ask again"},
		{CodeHeld, "the task is marked for deletion, or a target to be rewound or promoted, and still in some process's hands", "nothing: it is deleted as soon as it is let go; or ask again"},
		{CodeNotReady, "the target is not ready to be promoted; nothing was changed", "see to what is listed, and ask again; or --force, which loses what it lists"},
		{CodeBusy, "this control process has too many long requests to take another", "ask again later, or run more control processes"},
		{CodeNoVerifier, "no worker has the API of the task's source, so none can compare with it", "start 'kitestream worker' (or 'up') with KITESTREAM_SOURCE_MILVUS_URI and that source's KITESTREAM_SOURCE_NAME"},
		{CodeVerify, "the comparison could not be carried out, so nothing is known", "see to what the message names, and ask again"},
		{CodeUnavailable, "NATS did not answer in time; what was asked for may or may not have been done", "ask again; look at the NATS server if it stays so"},
		{CodeInternal, "something that should not happen", "report it with the log of the control process"},
		{CodeNoControl, "no control process is there to answer", "start 'kitestream control' (or 'up'), or check KITESTREAM_NATS_URL"},
		{CodeTimeout, "the time-out passed before the answer came", "ask again with a longer one"},
	}
}

// Do is what the caller can do about an error of that code.
func (c Code) Do() string {
	for _, h := range Codes() {
		if h.Code == c {
			return h.Do
		}
	}
	return ""
}

// Error is what a request is refused with. It is the body of the answer; code and message are in the answer's headers
// too, as micro services have them.
type Error struct {
	Code     Code      `json:"code"`
	Message  string    `json:"message"`
	Field    string    `json:"field,omitempty"`    // the first offending field of the request, as a path
	Problems []Problem `json:"problems,omitempty"` // every offending field, where there is more than one
	Do       string    `json:"do,omitempty"`       // what the caller can do
}

// Problem is one offending field.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error is the message with its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Do: code.Do()}
}

// invalidField refuses one field of a request.
func invalidField(field, format string, args ...any) *Error {
	e := refuse(CodeInvalid, format, args...)
	e.Field = field
	return e
}

// invalid makes one Error of all the problems that a validation joined.
func invalid(err error) *Error {
	var problems []Problem
	collect(err, &problems)
	if len(problems) == 0 {
		return refuse(CodeInvalid, "%v", err)
	}
	return refusedFor(problems)
}

// refusedFor makes one Error of problems, of which there is one at least.
func refusedFor(problems []Problem) *Error {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Field + ": " + p.Message
	}
	e := refuse(CodeInvalid, "%s", strings.Join(texts, "; "))
	e.Field = problems[0].Field
	if len(problems) > 1 {
		e.Problems = problems
	}
	return e
}

// collect finds the field errors in a tree of joined and wrapped errors.
func collect(err error, to *[]Problem) {
	var f *jetstream.FieldError
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			collect(one, to)
		}
	default:
		if errors.As(err, &f) {
			*to = append(*to, Problem{Field: f.Field, Message: f.Message})
		}
	}
}
