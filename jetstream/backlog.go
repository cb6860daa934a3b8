package jetstream

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// backlog is what a lane has been delivered and not yet acked: a queue of events to hand out, bounded by count and
// bytes, and behind it a ledger of how to ack each event until it is acked. Push has one caller, next and take have
// one, ack and the rest may be called by any.
type backlog struct {
	maxEvents, maxBytes int
	arrived             chan struct{} // the queue is no longer empty, or closed
	room                chan struct{} // the queue is no longer full, or closed

	mu      sync.Mutex
	queue   []Delivery
	bytes   int     // of the queue
	ledger  []entry // pushed and not acked, by sequence
	pushed  uint64  // stream sequence of the last event that went into the queue
	handed  uint64  // stream sequence of the last event that went out of it
	floor   uint64  // everything up to here is acked
	changes int     // of the consumer
	closing error   // what next returns from now on
}

// entry is how one event is acked.
type entry struct {
	seq   uint64
	reply string // empty: the consumer that could be told is gone, and the new one has not delivered the event yet
}

func newBacklog(floor uint64, maxEvents, maxBytes int) *backlog {
	return &backlog{
		maxEvents: maxEvents, maxBytes: maxBytes, arrived: make(chan struct{}, 1), room: make(chan struct{}, 1),
		pushed: floor, handed: floor, floor: floor,
	}
}

// fresh reports whether an event of that sequence is to be pushed. If not, it is in the ledger, where the reply
// subject of its new delivery is kept, or acked, which is reported too: then the consumer doesn't know it yet.
func (b *backlog) fresh(seq uint64, reply string) (isNew, isAcked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq > b.pushed {
		return true, false
	}
	if i := b.upTo(seq) - 1; i >= 0 && b.ledger[i].seq == seq {
		b.ledger[i].reply = reply
	}
	return false, seq <= b.floor
}

// push waits for room and queues an event.
func (b *backlog) push(ctx context.Context, d Delivery, reply string) error {
	for {
		if done, err := b.tryPush(d, reply); done || err != nil {
			return err
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *backlog) tryPush(d Delivery, reply string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := d.size()
	if b.closing != nil {
		return false, b.closing
	}
	if n := len(b.queue); n > 0 && (n >= b.maxEvents || b.bytes+size > b.maxBytes) {
		return false, nil
	}
	b.queue = append(b.queue, d)
	b.bytes += size
	b.ledger = append(b.ledger, entry{d.Seq, reply})
	b.pushed = d.Seq
	signal(b.arrived)
	return true, nil
}

// next waits for an event and takes it out of the queue.
func (b *backlog) next(ctx context.Context) (Delivery, error) {
	for {
		d, ok, err := b.take()
		if ok || err != nil {
			return d, err
		}
		select {
		case <-b.arrived:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

func (b *backlog) take() (Delivery, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing != nil {
		return Delivery{}, false, b.closing
	}
	if len(b.queue) == 0 {
		return Delivery{}, false, nil
	}
	d := b.queue[0]
	b.queue[0] = Delivery{} // the array lives on; the event need not
	b.queue = b.queue[1:]
	b.bytes -= d.size()
	b.handed = d.Seq
	signal(b.room)
	return d, true, nil
}

// ticket is how to ack everything up to a sequence.
type ticket struct {
	reply   string // empty when the consumer can't be told
	changes int
	done    bool // it is acked already
}

func (b *backlog) toAck(seq uint64) (ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq > b.handed {
		return ticket{}, fmt.Errorf("sequence %d was not handed out; %d was the last", seq, b.handed)
	}
	t := ticket{changes: b.changes, done: seq <= b.floor}
	if i := b.upTo(seq) - 1; i >= 0 && b.ledger[i].seq == seq {
		t.reply = b.ledger[i].reply
	}
	return t, nil
}

// current reports whether the ticket's consumer is still the lane's.
func (b *backlog) current(t ticket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return t.changes == b.changes
}

// acked forgets what is acked up to and including seq. It returns how the lane's consumer is told of the last of it that
// it has delivered; empty: there is none, and fresh reports the rest as acked when it comes.
func (b *backlog) acked(seq uint64) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.floor = max(b.floor, seq)
	b.pushed = max(b.pushed, seq)
	n := b.upTo(seq)
	forgotten := b.ledger[:n]
	b.ledger = b.ledger[n:]
	for _, e := range slices.Backward(forgotten) {
		if e.reply != "" {
			return e.reply
		}
	}
	return ""
}

// orphan forgets how events are acked: their consumer is given up.
func (b *backlog) orphan() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	for i := range b.ledger {
		b.ledger[i].reply = ""
	}
}

// close makes every call return err. The first one stays.
func (b *backlog) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing == nil {
		b.closing = err
	}
	b.queue, b.bytes = nil, 0
	signal(b.arrived)
	signal(b.room)
}

func (b *backlog) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

func (b *backlog) acks() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.floor
}

// upTo counts the entries of the ledger up to and including seq.
func (b *backlog) upTo(seq uint64) int {
	lo, hi := 0, len(b.ledger)
	for lo < hi {
		if mid := (lo + hi) / 2; b.ledger[mid].seq <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
