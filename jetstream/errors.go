package jetstream

import "errors"

var (
	// ErrMalformed marks an event, subject or record that this program could not have written.
	ErrMalformed = errors.New("malformed")
	// ErrVersion marks an event of a version or kind that this program does not know.
	ErrVersion = errors.New("unknown version")
	// ErrFenced tells a bridge or a worker that another one has taken over what it was doing. It must stop; its work
	// is safe where it is.
	ErrFenced = errors.New("another holder has taken over")
	// ErrHeld says that a lease has a live holder.
	ErrHeld = errors.New("lease is held")
	// ErrNotFound says that there is no such task.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a task of that name is there already.
	ErrExists = errors.New("already exists")
	// ErrConflict says that a record was changed by somebody else since it was read.
	ErrConflict = errors.New("changed meanwhile")
	// ErrAtBarrier says that a target is just carrying out a drop, a rename or a flush.
	ErrAtBarrier = errors.New("a drop, a rename or a flush is being carried out")
	// ErrTooLarge says that an event does not fit the NATS server's max payload.
	ErrTooLarge = errors.New("larger than the NATS server's max payload")
	// ErrStreamGone says that a task's stream is not there, or not as its publisher left it: deleted, made anew, emptied
	// by hand, or robbed of acknowledged events by a server's crash. Whoever was publishing must open it again and go on
	// from what it holds.
	ErrStreamGone = errors.New("the task's stream is gone or was changed from outside")
)
