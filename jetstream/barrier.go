package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// barrierKind is what the keys of barriers begin with.
const barrierKind = "barrier"

// BarrierState is what a lane that has arrived at a barrier event does next.
type BarrierState int

const (
	// BarrierWaiting says that not every lane has arrived, or that another lane carries the event out: Wait for it.
	BarrierWaiting BarrierState = iota
	// BarrierReady says that every lane has arrived: this one carries the event out, then says Done.
	BarrierReady
	// BarrierPassed says that it has been carried out: ack it and go on.
	BarrierPassed
)

// String is the state as people read it.
func (s BarrierState) String() string {
	switch s {
	case BarrierWaiting:
		return "waiting"
	case BarrierReady:
		return "ready"
	case BarrierPassed:
		return "passed"
	}
	return fmt.Sprintf("BarrierState(%d)", int(s))
}

// barrierRecord is the barrier that the lanes of a target are at. There is one at a time: no lane gets to the next
// before this one is passed.
type barrierRecord struct {
	Passed  uint64 `json:"passed,omitempty"` // the last barrier that was carried out
	Seq     uint64 `json:"seq,omitempty"`    // the barrier that lanes arrive at; 0 between barriers
	Lanes   int    `json:"lanes,omitempty"`  // how many have to
	Arrived []int  `json:"arrived,omitempty"`

	Rewound *rewound `json:"rewound,omitempty"` // nil: the target was never rewound
}

func (r barrierRecord) check() error {
	seen := map[int]bool{}
	for _, lane := range r.Arrived {
		if lane < 0 || lane >= r.Lanes || seen[lane] {
			return fmt.Errorf("lanes %v of %d have arrived", r.Arrived, r.Lanes)
		}
		seen[lane] = true
	}
	if r.Seq != 0 && r.Seq <= r.Passed || (r.Seq == 0) != (len(r.Arrived) == 0) {
		return fmt.Errorf("lanes %v are at %d after %d", r.Arrived, r.Seq, r.Passed)
	}
	return nil
}

// floor is up to where the record knows the lane to have everything applied. A barrier is passed only when every lane
// has arrived at it, and a lane arrives only when all before is applied.
func (r barrierRecord) floor(lane int) uint64 {
	if slices.Contains(r.Arrived, lane) {
		return r.Seq - 1
	}
	return r.Passed
}

func (r barrierRecord) complete() bool { return r.Seq != 0 && len(r.Arrived) == r.Lanes }

// state is where the lane stands with the barrier at seq. The last lane to arrive carries it out, and no other: two
// that did might be far apart in time, and the later would drop what was made anew since. When its worker dies, the
// next holder of that lane arrives and carries it out; the lease and its deadline keep the two apart.
func (r barrierRecord) state(seq uint64, lane int) BarrierState {
	switch {
	case seq <= r.Passed || seq < r.Seq:
		return BarrierPassed
	case seq == r.Seq && r.complete() && r.Arrived[len(r.Arrived)-1] == lane:
		return BarrierReady
	}
	return BarrierWaiting
}

// arrive enters the lane. An earlier barrier that is still open is given up: its lanes can't have got past it but by
// passing over it, so nobody else will arrive there.
func (r *barrierRecord) arrive(seq uint64, lane, lanes int) verdict {
	if seq <= r.Passed || seq < r.Seq || seq == r.Seq && slices.Contains(r.Arrived, lane) {
		return keep
	}
	if seq > r.Seq {
		r.Seq, r.Lanes, r.Arrived = seq, lanes, nil
	}
	r.Arrived = append(r.Arrived, lane)
	return write
}

// Barriers are the barriers of one target, kept in a KV bucket. Safe for concurrent use.
type Barriers struct {
	js natsjs.JetStream
	kv natsjs.KeyValue
	id TargetID

	mu      sync.Mutex
	waiters int
	watch   *barrierWatch // one for all waiters; nil when there are none
}

// NewBarriers are the target's barriers.
func NewBarriers(js natsjs.JetStream, kv natsjs.KeyValue, id TargetID) *Barriers {
	return &Barriers{js: js, kv: kv, id: id}
}

// Arrive says that the lane, one of so many, has applied and acked everything before the barrier event at seq. It may
// be called again, by the same holder or the lane's next one, and then tells how things stand now.
func (b *Barriers) Arrive(ctx context.Context, seq uint64, lane, lanes int) (BarrierState, error) {
	if lane < 0 || lane >= lanes || seq == 0 {
		return 0, fmt.Errorf("arrive at barrier %d of %s: lane %d of %d", seq, b.id, lane, lanes)
	}
	rec, _, err := alterRecord(ctx, b.js.Conn(), b.kv, b.key(), func(r *barrierRecord, _ uint64) (verdict, error) {
		if seq == r.Seq && r.Lanes != lanes {
			return keep, fmt.Errorf("lane %d says that there are %d lanes, others said %d", lane, lanes, r.Lanes)
		}
		return r.arrive(seq, lane, lanes), nil
	})
	if err != nil {
		return 0, fmt.Errorf("arrive at barrier %d of %s: %w", seq, b.id, err)
	}
	return rec.state(seq, lane), nil
}

// Done says that the barrier at seq has been carried out, and lets every lane go on. It may be called again.
func (b *Barriers) Done(ctx context.Context, seq uint64) error {
	_, _, err := alterRecord(ctx, b.js.Conn(), b.kv, b.key(), func(r *barrierRecord, _ uint64) (verdict, error) {
		switch {
		case seq <= r.Passed || seq < r.Seq:
			return keep, nil
		case seq != r.Seq || !r.complete():
			return keep, errors.New("not every lane has arrived")
		}
		*r = barrierRecord{Passed: seq, Rewound: r.Rewound}
		return write, nil
	})
	if err != nil {
		return fmt.Errorf("finish barrier %d of %s: %w", seq, b.id, err)
	}
	return nil
}

// Wait returns nil when the barrier at seq is passed. It is for lanes that Arrive told to wait.
func (b *Barriers) Wait(ctx context.Context, seq uint64) error {
	w := b.join(ctx)
	defer b.leave(w)
	for {
		rec, changed, err := w.look()
		if err != nil {
			return fmt.Errorf("wait at barrier %d of %s: %w", seq, b.id, err)
		}
		if rec.state(seq, -1) == BarrierPassed {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Barriers) key() string { return b.id.record(barrierKind) }

// join starts the watch if there is none. A target has up to 64 lanes, and a stream only so many consumers: one watch
// serves them all.
func (b *Barriers) join(ctx context.Context) *barrierWatch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters++; b.watch != nil {
		return b.watch
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it may outlast the waiter that started it
	w := &barrierWatch{cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	b.watch = w
	go func() {
		defer close(w.done)
		_ = follow(ctx, b.js, b.kv, b.key(), w) // ends with ctx only
	}()
	return w
}

// leave stops the watch when nobody waits any more.
func (b *Barriers) leave(w *barrierWatch) {
	b.mu.Lock()
	b.waiters--
	last := b.waiters == 0
	if last {
		b.watch = nil
	}
	b.mu.Unlock()
	if last {
		w.cancel()
		<-w.done
	}
}

// barrierWatch is the record as the watch last saw it.
type barrierWatch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	rec     barrierRecord
	err     error
	changed chan struct{} // closed at the next change
}

func (w *barrierWatch) look() (barrierRecord, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec, w.changed, w.err
}

func (w *barrierWatch) begin() {}

func (w *barrierWatch) full(entries []natsjs.KeyValueEntry) {
	for _, e := range entries {
		w.change(e)
	}
}

func (w *barrierWatch) change(e natsjs.KeyValueEntry) {
	if e.Operation() != natsjs.KeyValuePut {
		return // the task is deleted: this barrier is never passed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rec, w.err = decodeRecord[barrierRecord](e.Key(), e.Value())
	close(w.changed)
	w.changed = make(chan struct{})
}
