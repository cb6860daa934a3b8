package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrNoCollection is returned when the source has no collection of that name, or no such database.
	ErrNoCollection = errors.New("no such collection")

	// ErrNoPartition is returned when the collection has no partition of that name.
	ErrNoPartition = errors.New("no such partition")

	// ErrRecreated is returned when the collection or the partition of that name is not the one that was described: it
	// was dropped, and made anew. What was read of it belongs to the one that is gone.
	ErrRecreated = errors.New("made anew")

	// ErrNotLoaded is returned when a collection, or a partition of it, can't be read as it is not loaded.
	ErrNotLoaded = errors.New("not loaded")

	// ErrUnreadable is returned when the source holds rows that it has no way to hand out: see DESIGN.md.
	ErrUnreadable = errors.New("can't be read")
)

// StatusError is an answer of the source that is no, and none of the errors above.
type StatusError struct {
	Code      int32              // of Milvus since 2.3
	Old       commonpb.ErrorCode // of Milvus before
	Reason    string             // in the source's words
	Retriable bool               // as the source says
}

// Error says what the source said.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s (code %d, %s)", e.Reason, e.Code, e.Old)
}

// answer is what a call answers with.
type answer interface{ GetStatus() *commonpb.Status }

// checked makes an error of an answer that is no.
func checked[A answer](a A, err error) (A, error) {
	if err != nil {
		return a, err
	}
	return a, checkStatus(a.GetStatus(), nil)
}

func checkStatus(s *commonpb.Status, err error) error {
	if err != nil {
		return err
	}
	if s.GetCode() == 0 && s.GetErrorCode() == commonpb.ErrorCode_Success {
		return nil
	}
	e := &StatusError{Code: s.GetCode(), Old: s.GetErrorCode(), Reason: s.GetReason(), Retriable: s.GetRetriable()}
	switch {
	case e.Code == 100 || e.Code == 800 || e.Old == commonpb.ErrorCode_CollectionNotExists:
		return fmt.Errorf("%w: %w", ErrNoCollection, e)
	case e.Code == 200:
		return fmt.Errorf("%w: %w", ErrNoPartition, e)
	case e.Code == 101 || e.Code == 201 || e.Code == 103 || e.Code == 203:
		return fmt.Errorf("%w: %w", ErrNotLoaded, e)
	}
	return e
}

// IsTransient reports whether the same call may well succeed later: the connection is gone, a part of the source is down
// or just moving, or it has too much to do.
func IsTransient(err error) bool {
	var s *StatusError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, ErrNoCollection), errors.Is(err, ErrNoPartition), errors.Is(err, ErrRecreated), errors.Is(err, ErrNotLoaded),
		errors.Is(err, ErrUnreadable):
		return false
	case errors.Is(err, context.DeadlineExceeded):
		return true
	case errors.As(err, &s):
		return s.transient()
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Internal, codes.ResourceExhausted:
		return true
	}
	return false
}

func (e *StatusError) transient() bool {
	switch e.Code {
	case 2, 901, 902, 903, 904, 905, // service unavailable, nodes missing
		5, 500, 501, 502, 503, 1302, // internal, channels moving, queue
		3, 4, 7, 8, 9, 11, 12, // limits, memory, denied, ticks delayed
		10000, 10001: // cancelled, timed out
		return true
	case 1:
		return e.Old == commonpb.ErrorCode_NotReadyServe // else it is Milvus Lite's for whatever has no code
	}
	// A 2.3.5 says this when who is to answer a query is being exchanged.
	return e.Retriable || strings.Contains(e.Reason, "delegator")
}

// isTooLarge reports whether the source refused to answer because of the answer's size.
func isTooLarge(err error) bool {
	var s *StatusError
	if errors.As(err, &s) {
		return strings.Contains(s.Reason, "maxOutputSize") || strings.Contains(s.Reason, "larger than max") ||
			strings.Contains(s.Reason, "ResourceExhausted")
	}
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// isWindow reports whether the source refused a limit as beyond what it gives in an answer.
func isWindow(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && strings.Contains(s.Reason, "query result window")
}
