package handlers

import (
	"context"
	"fmt"
	"log/slog"

	"kitestream/jetstream"
)

// Keys of logs.
const (
	keyTask       = "task"
	keyTarget     = "target"
	keyDatabase   = "database"
	keyCollection = "collection"
	keyKind       = "kind"
	keyCode       = "code"
	keyError      = "error"
	keyAfter      = "after"
)

// Handlers apply events to one target. They keep nothing of one batch for the next, but how large calls may be, and what Forget
// forgets.
type Handlers struct {
	target Target
	o      Options
	m      *Metrics
	table  map[jetstream.Kind]definition
	slots  chan struct{} // one for each call that may be under way
	pace   *pace
	waits  *waits

	placement *placement
}

// New makes the Handlers of a target.
func New(target Target, o Options) (*Handlers, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("options of handlers for target %s: %w", o.Target, err)
	}
	placement, err := newPlacement(o.Spec)
	if err != nil {
		return nil, fmt.Errorf("rules of task %s: %w", o.Task, err)
	}
	o = o.withDefaults()
	log := o.Log.With(slog.String(keyTask, o.Task), slog.String(keyTarget, o.Target))
	o.Log = log
	return &Handlers{
		target: target,
		o:      o,
		m:      o.Metrics,
		table:  table(target, o),
		slots:  make(chan struct{}, o.Concurrency),
		pace:   newPace(o.MaxRows),
		waits:  &waits{log: log, onWait: o.OnWait, onResume: o.OnResume},

		placement: placement,
	}, nil
}

// Result is what became of a batch.
type Result struct {
	// Err says that the batch must not be acked, because part of it may not have been applied: that of ctx, or
	// jetstream.ErrFenced when the worker's leases ended. Whatever was applied may be applied again.
	Err error
	// Stopped are the collections that an error stopped. If Err is nil, everything else was applied.
	Stopped []Stopped
	// Unmet are the settings that the target refused for good. It goes on without them, and it is for the caller to
	// remember that. An event of a collection in Stopped is in neither state: it comes again with the rest.
	Unmet []Unmet
}

// Unmet is a setting (Kind.Optional) that a Permanent error kept from this target.
type Unmet struct {
	Event *jetstream.Event
	Code  string
	Err   error
}

// Stopped is a collection that a Permanent error stopped on this target: none, some or all of its events in the batch
// have been applied, and it is for the caller to remember that, or to park them. Applying them all again, from the
// first in the batch on, is always right.
type Stopped struct {
	Database     string
	Collection   string // empty for an event about the database itself, which is no reason to stop anything else
	CollectionID int64  // on the source
	Code         string
	Err          error
}

// Apply applies a batch of events: of one lane or several, those of each lane in its order. Events of different lanes
// never have a primary key in common. It returns when the target has answered for all of them, or can't; calls that
// fail in a way that passes are made again until ctx ends.
//
// Barrier events are carried out when it is their turn. The caller gives one only when every lane has arrived.
//
// Apply may be called by several goroutines at once, if their events have no collection in common.
func (h *Handlers) Apply(ctx context.Context, events []*jetstream.Event) Result {
	b := h.newBatch()
	for _, e := range events {
		if err := b.take(ctx, e); err != nil {
			return b.result(err)
		}
	}
	return b.result(b.flush(ctx, everything))
}

// Forget has what is remembered of the target's collections asked for anew. It is for whoever has not been told of all that was
// done there: a lane that was held by another worker, or waited at a barrier while another worker carried the event out.
func (h *Handlers) Forget() { h.target.Forget() }
