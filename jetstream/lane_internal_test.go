package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// delivery is a message as a consumer delivers it.
type delivery struct {
	natsjs.Msg
	seq  natsjs.SequencePair
	acks *int
}

func (d delivery) Metadata() (*natsjs.MsgMetadata, error) {
	return &natsjs.MsgMetadata{Sequence: d.seq}, nil
}
func (d delivery) Reply() string        { return "reply" }
func (d delivery) Subject() string      { return "subject" }
func (d delivery) Headers() nats.Header { return nats.Header{"a": {"b"}} }
func (d delivery) Data() []byte         { return []byte("body") }
func (d delivery) Ack() error           { *d.acks++; return nil }

func TestReceiverSeesWhatIsMissing(t *testing.T) {
	b := newBacklog(10, 100, 1000)
	r := &receiver{lane: &Lane{backlog: b}}
	acks := 0
	for _, step := range []struct {
		consumer, stream uint64
		ok               bool
		queued, acked    int
	}{
		{1, 12, true, 1, 0},
		{2, 15, true, 2, 0},
		{4, 20, false, 2, 0}, // 3 was lost on the wire
		{5, 21, false, 2, 0}, // and nothing is taken after it
		{3, 15, true, 2, 0},  // delivered again: in the ledger already
		{4, 9, true, 2, 1},   // acked already: this consumer is told
	} {
		err := r.receive(t.Context(), delivery{seq: natsjs.SequencePair{Consumer: step.consumer, Stream: step.stream}, acks: &acks})
		if (err == nil) != step.ok || len(b.queue) != step.queued || acks != step.acked {
			t.Errorf("delivery %d of %d: %v, %d queued, %d acked", step.consumer, step.stream, err, len(b.queue), acks)
		}
	}
}

func TestBacklogLedger(t *testing.T) {
	b := newBacklog(0, 100, 1000)
	for seq := uint64(10); seq <= 50; seq += 10 {
		if err := b.push(t.Context(), Delivery{Seq: seq}, "old"); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		if _, ok, _ := b.take(); !ok {
			t.Fatal("nothing is queued")
		}
	}
	if _, err := b.toAck(50); err == nil {
		t.Error("50 was not handed out")
	}
	before, _ := b.toAck(30)
	b.acked(20)
	b.orphan()
	after, _ := b.toAck(30)
	if before.reply != "old" || after.reply != "" || b.current(before) || !b.current(after) {
		t.Errorf("30 is acked by %+v, then %+v", before, after)
	}
	if fresh, acked := b.fresh(20, "new"); fresh || !acked {
		t.Error("20 is acked")
	}
	if fresh, acked := b.fresh(30, "new"); fresh || acked {
		t.Error("30 is in the ledger")
	}
	if got, _ := b.toAck(30); got.reply != "new" {
		t.Errorf("30 is acked by %+v", got)
	}
	if got, _ := b.toAck(35); got.done || got.reply != "" {
		t.Errorf("35, no event of the lane, is acked by %+v", got)
	}
	if got, _ := b.toAck(20); !got.done {
		t.Error("20 is acked")
	}
	if fresh, _ := b.fresh(60, "new"); !fresh {
		t.Error("60 is new")
	}
	// Delivered again while the ack was on its way into the record: the consumer is to be told of 30, of 40 when it comes.
	if reply := b.acked(40); reply != "new" {
		t.Errorf("the new consumer is told by %q", reply)
	}
	if fresh, acked := b.fresh(40, "new"); fresh || !acked {
		t.Error("40 is acked")
	}
}

func TestBacklogIsBounded(t *testing.T) {
	b := newBacklog(0, 3, 100)
	short := func(d Delivery) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return b.push(ctx, d, "")
	}
	if err := short(Delivery{Seq: 1, bytes: 1000}); err != nil {
		t.Errorf("one that is larger than everything: %v", err)
	}
	if err := short(Delivery{Seq: 2, bytes: 1}); err == nil {
		t.Error("more bytes than allowed")
	}
	if _, ok, _ := b.take(); !ok {
		t.Fatal("nothing is queued")
	}
	for seq := range uint64(3) {
		if err := short(Delivery{Seq: 2 + seq, bytes: 1}); err != nil {
			t.Error(err)
		}
	}
	if err := short(Delivery{Seq: 6, bytes: 1}); err == nil {
		t.Error("more events than allowed")
	}
	pushed := make(chan error, 1)
	go func() { pushed <- b.push(t.Context(), Delivery{Seq: 6, bytes: 1}, "") }()
	if _, ok, _ := b.take(); !ok {
		t.Fatal("nothing is queued")
	}
	if err := <-pushed; err != nil {
		t.Errorf("there is room: %v", err)
	}
	b.close(ErrFenced)
	b.close(ErrLaneClosed)
	if _, err := b.next(t.Context()); err != ErrFenced { //nolint:errorlint // this very one
		t.Errorf("next = %v, want ErrFenced", err)
	}
}
