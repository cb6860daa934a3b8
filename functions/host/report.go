package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// reporter writes what a target's lanes say of themselves, each second and when one is given up, so that people see it.
type reporter struct {
	cfg LanesConfig
	id  jetstream.TargetID

	mu    sync.Mutex // guards what follows
	lanes map[int]*laneReport
	err   error // why the target waits; nil: it does not
	code  string
	since time.Time
}

type laneReport struct {
	st    jetstream.LaneStatusRecord
	dirty bool
}

func newReporter(cfg LanesConfig, id jetstream.TargetID) *reporter {
	return &reporter{cfg: cfg, id: id, lanes: map[int]*laneReport{}}
}

// run writes what has changed until ctx ends.
func (r *reporter) run(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.write(ctx, -1)
		case <-ctx.Done():
			return
		}
	}
}

// write writes the status of one lane, or of each that has changed when lane is negative. It may fail: nothing depends
// on it.
func (r *reporter) write(ctx context.Context, lane int) {
	out := map[int]jetstream.LaneStatusRecord{}
	r.mu.Lock()
	for n, l := range r.lanes {
		if lane == n || lane < 0 && l.dirty {
			out[n], l.dirty = r.record(l), false
		}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for n, st := range out {
		if err := jetstream.PutLaneStatus(ctx, r.cfg.Buckets.Status, r.id.Lane(n), st); err != nil {
			r.cfg.Log.Debug("status not written", "lane", n, "error", err)
			r.mark(n)
		}
	}
}

func (r *reporter) mark(lane int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lanes[lane]; l != nil {
		l.dirty = true
	}
}

// record is the lane's status with what holds for the whole target.
func (r *reporter) record(l *laneReport) jetstream.LaneStatusRecord {
	st := l.st
	st.At = time.Now().UTC()
	if r.err != nil {
		st.State, st.Error, st.Code, st.Since = "waiting", r.err.Error(), r.code, r.since
	}
	st.Rows = make(map[int64]uint64, len(l.st.Rows))
	for id, n := range l.st.Rows {
		st.Rows[id] = n
	}
	return st
}

// opened begins the status of a lane, with the counts that its former holder left.
func (r *reporter) opened(ctx context.Context, l *heldLane) {
	st := jetstream.LaneStatusRecord{}
	if all, err := jetstream.LaneStatusesOf(ctx, r.cfg.Buckets.Status, r.id); err == nil {
		st = all[l.number]
	}
	if st.Rows == nil {
		st.Rows = map[int64]uint64{}
	}
	st.Worker, st.State, st.Since, st.Error, st.Code = r.cfg.Holder, "running", time.Now().UTC(), "", ""
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes[l.number] = &laneReport{st: st, dirty: true}
}

// closed ends the status of a lane that this process no longer holds.
func (r *reporter) closed(ctx context.Context, l *heldLane) {
	r.write(context.WithoutCancel(ctx), l.number)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.lanes, l.number)
}

// applied notes events of a lane that the target has.
func (r *reporter) applied(l *heldLane, events []jetstream.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.lanes[l.number]
	if rep == nil {
		return
	}
	for _, d := range events {
		rep.st.Seq = d.Seq
		if d.Event == nil {
			continue
		}
		rep.st.TS = max(rep.st.TS, d.Event.TS)
		switch {
		case d.Event.Kind.Rows():
			rep.st.Rows[d.Event.CollectionID] = d.Event.RowSum
		case d.Event.Kind == jetstream.DropCollection:
			delete(rep.st.Rows, d.Event.CollectionID)
		}
	}
	if rep.st.State != "running" {
		rep.st.State, rep.st.Error, rep.st.Since = "running", "", time.Now().UTC()
	}
	rep.dirty = true
}

// atBarrier notes that a lane waits for the others.
func (r *reporter) atBarrier(l *heldLane, e *jetstream.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep := r.lanes[l.number]; rep != nil && rep.st.State != "barrier" {
		rep.st.State, rep.st.Since, rep.dirty = "barrier", time.Now().UTC(), true
		rep.st.Error = "waits for the other lanes to come to " + string(e.Kind) + " of " + e.Database + "." + e.Collection
	}
}

// waiting notes why the target can't be worked on.
func (r *reporter) waiting(err error) { r.waitingSince(err, time.Now()) }

// waitingSince notes why the target can't be worked on, and since when.
func (r *reporter) waitingSince(err error, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.since = since.UTC()
	}
	r.err, r.code = err, ""
	var known *handlers.Error
	if errors.As(err, &known) {
		r.code = known.Code
	}
	for _, l := range r.lanes {
		l.dirty = true
	}
}

// resumed notes that the target answers again.
func (r *reporter) resumed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.code = nil, ""
	for _, l := range r.lanes {
		l.dirty = true
	}
}
