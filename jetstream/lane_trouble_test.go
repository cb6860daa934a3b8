package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

// Holder after holder is abandoned at a random point: with events handed out and not acked, and prefetched. Each next
// one begins right after the floor. The abandoned ones' acks are refused.
func TestHandOverAtRandomPoints(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	const total = 1500
	var lane0 []uint64
	for i := 0; i < total; i += 100 {
		seqs := r.publish(append(rows(0, 99), event(jetstream.CreatePartition, jetstream.AllLanes))...)
		r.publish(rows(1, 10)...)
		lane0 = append(lane0, seqs...)
	}
	var applied []uint64 // what the target has, as the last writes left it
	acked := 0           // how many of lane0 are acked
	var zombies []*jetstream.Lane
	for epoch := uint64(1); acked < total; epoch++ {
		l := r.openLaneOn(r.js, jetstream.LaneConfig{ID: laneID(0), Epoch: epoch, PrefetchEvents: 256})
		if want := floorOf(lane0, acked); l.Floor() != want {
			t.Fatalf("epoch %d: floor = %d, want %d", epoch, l.Floor(), want)
		}
		n := min(1+rnd.IntN(200), total-acked)
		got := r.take(l, n)
		same(t, fmt.Sprintf("epoch %d", epoch), got, lane0[acked:acked+n])
		applied = append(applied[:acked], got...)
		k := rnd.IntN(n + 1) // acks some
		if epoch%7 == 0 {
			k = n
		}
		if k > 0 {
			r.ack(l, got[k-1])
		}
		acked += k
		if epoch > 1 && rnd.IntN(4) == 0 {
			if err := l.Close(r.ctx); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if acked < total { // as a zombie it acks all that it had
			next := r.openLaneOn(r.js, jetstream.LaneConfig{ID: laneID(0), Epoch: epoch + 1, PrefetchEvents: 256})
			if k < n {
				if err := l.Ack(r.ctx, got[n-1]); !errors.Is(err, jetstream.ErrFenced) {
					t.Fatalf("zombie's ack = %v, want ErrFenced", err)
				}
			}
			if next.Floor() != floorOf(lane0, acked) {
				t.Fatalf("the zombie moved the floor to %d", next.Floor())
			}
			zombies = append(zombies, l)
			epoch++
		}
	}
	same(t, "applied", applied, lane0)
	for _, l := range zombies {
		if _, err := waitEnd(r.ctx, l); !errors.Is(err, jetstream.ErrFenced) {
			t.Errorf("zombie's next = %v, want ErrFenced", err)
		}
	}
	r.idle(0, lane0[total-1])
	if names := r.consumers(); len(names) != 1 {
		t.Errorf("consumers left: %v", names)
	}
}

func floorOf(seqs []uint64, acked int) uint64 {
	if acked == 0 {
		return 0
	}
	return seqs[acked-1]
}

// waitEnd reads a lane until it ends.
func waitEnd(ctx context.Context, l *jetstream.Lane) (int, error) {
	for n := 0; ; n++ {
		if _, err := l.Next(ctx); err != nil {
			return n, err
		}
	}
}

func (r *rig) consumers() []string {
	r.t.Helper()
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(ref().Name))
	if err != nil {
		r.t.Fatal(err)
	}
	names := s.ConsumerNames(r.ctx)
	var all []string
	for n := range names.Name() {
		all = append(all, n)
	}
	if names.Err() != nil {
		r.t.Fatal(names.Err())
	}
	return all
}

// lateAnswers is a bucket whose answers to changes are a while on their way, so that other things happen meanwhile.
type lateAnswers struct{ natsjs.KeyValue }

func (k lateAnswers) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	revision, err := k.KeyValue.Update(ctx, key, value, last)
	select {
	case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
	case <-ctx.Done():
	}
	return revision, err
}

// The connection is cut, the server restarted or the consumer deleted at random points under load. One holder sees
// each event once, in order, and its acks hold.
func TestLaneGoesOnThroughTrouble(t *testing.T) {
	for name, trouble := range map[string]func(r *rig){
		"cut":     func(r *rig) { r.Cut() },
		"restart": func(r *rig) { r.Restart() },
		"deleted consumer": func(r *rig) {
			s, err := r.js.Stream(r.ctx, jetstream.StreamName(ref().Name))
			if err != nil {
				r.t.Fatal(err)
			}
			for _, n := range r.consumers() {
				_ = s.DeleteConsumer(r.ctx, n) // the lane may be faster
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stream(ref().Name)
			const rounds, perRound = 12, 100
			l, err := jetstream.OpenLane(r.ctx, r.JetStream(), lateAnswers{r.bucket(r.JetStream(), jetstream.BucketLanes)},
				jetstream.LaneConfig{ID: laneID(0), Epoch: 1})
			if err != nil {
				t.Fatal(err)
			}
			last := uint64(0)
			for round := range rounds {
				want := r.publish(rows(0, perRound)...)
				k := rand.IntN(perRound + 1)
				same(t, fmt.Sprint("before, round ", round), r.take(l, k), want[:k])
				r.wait(time.Duration(rand.IntN(5)) * time.Millisecond)
				trouble(r)
				if k > 0 {
					r.ack(l, want[k-1])
				}
				same(t, fmt.Sprint("after, round ", round), r.take(l, perRound-k), want[k:])
				last = want[perRound-1]
				r.ack(l, last)
			}
			r.idle(0, last)
			if err := l.Close(r.ctx); err != nil {
				t.Error(err)
			}
			next := r.openLane(0, 2)
			if next.Floor() != last {
				t.Errorf("floor of the next holder = %d, want %d", next.Floor(), last)
			}
		})
	}
}

// While NATS is away an ack waits; it holds when NATS is back.
func TestAckWaitsForNATS(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 10)...)
	l := r.openLane(0, 1)
	r.take(l, 10)
	r.Stop()
	acked := make(chan error, 1)
	go func() { acked <- l.Ack(r.ctx, seqs[4]) }()
	r.wait(300 * time.Millisecond)
	short, cancel := context.WithTimeout(r.ctx, 10*time.Millisecond)
	defer cancel()
	if err := l.Ack(short, seqs[4]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ack with NATS away = %v", err)
	}
	r.Start()
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	next := r.openLane(0, 2)
	same(t, "next holder", r.take(next, 5), seqs[5:])
}
