package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

func epoch(n uint64) func(*jetstream.PublisherConfig) {
	return func(c *jetstream.PublisherConfig) { c.Epoch, c.Holder = n, fmt.Sprintf("holder-%d", n) }
}

func TestSecondPublisherFencesTheFirst(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	first := r.open(r.srv.JetStream(), epoch(1))
	r.publish(first, 0, 100, 10)
	r.flush(first)
	second := r.open(r.srv.JetStream(), epoch(2))
	r.publish(second, 100, 150, 10)
	r.flush(second)

	_ = first.Publish(r.ctx, rowEvent(100, 10)) // taken, but never stored
	if err := r.end(first); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("Run of the first = %v, want ErrFenced", err)
	}
	for range 2 { // for good
		if err := first.Publish(r.ctx, rowEvent(100, 10)); !errors.Is(err, jetstream.ErrFenced) {
			t.Errorf("Publish of the first = %v, want ErrFenced", err)
		}
	}
	r.publish(second, 150, 200, 10)
	r.flush(second)
	r.wantExactly(200)
}

// TestZombieWithEventsOnTheWay stops a publisher with many events sent and not yet arrived, lets another take over, and
// has them arrive then: at each distance from the fence, none may be stored.
func TestZombieWithEventsOnTheWay(t *testing.T) {
	for _, after := range []int{0, 1, 2, 100, 300} { // what the second has published when the first one's events arrive
		t.Run(strconv.Itoa(after), func(t *testing.T) {
			r := newPubRig(t, jetstream.StreamConfig{Duplicates: 100 * time.Millisecond})
			proxy := r.srv.Proxy()
			first := r.open(proxy.JetStream(), epoch(1))
			r.publish(first, 0, 100, 10)
			r.flush(first)
			proxy.Hold()
			r.publish(first, 100, 350, 10)

			second := r.open(r.srv.JetStream(), epoch(2))
			if n := len(r.ids()); n != 100 {
				t.Fatalf("%d events behind the fence", n)
			}
			r.publish(second, 100, 100+after, 10)
			r.flush(second)
			proxy.Release()
			if err := r.end(first); !errors.Is(err, jetstream.ErrFenced) {
				t.Errorf("Run of the first = %v, want ErrFenced", err)
			}
			r.publish(second, 100+after, 600, 10)
			r.flush(second)
			r.wantExactly(600)
		})
	}
}

func TestLowerEpochIsRefused(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream(), epoch(7))
	_, err := jetstream.OpenPublisher(r.ctx, r.js, jetstream.PublisherConfig{Task: pubTask, Holder: "late", Epoch: 6})
	if !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("OpenPublisher in an earlier epoch = %v, want ErrFenced", err)
	}
	r.publish(u, 0, 10, 10)
	r.flush(u) // the late one has disturbed nothing
	again := r.open(r.srv.JetStream(), epoch(7))
	r.publish(again, 10, 20, 10)
	r.flush(again)
	r.wantExactly(20)
}

// shutOutByHand leaves the stream as a take-over does that died half-way.
func (r *pubRig) shutOutByHand() {
	r.t.Helper()
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Subjects = []string{"ksw." + pubTask + ".dead.>"}
	if _, err := r.js.UpdateStream(r.ctx, cfg); err != nil {
		r.t.Fatal(err)
	}
}

func TestTakeOverThatDiedHalfWay(t *testing.T) {
	for name, change := range map[string]func(*pubRig){
		"dead taker": (*pubRig).shutOutByHand,
		"new settings": func(r *pubRig) {
			if err := jetstream.EnsureStream(r.ctx, r.js, pubTask, jetstream.StreamConfig{MaxBytes: 1 << 30}); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPubRig(t, jetstream.StreamConfig{})
			first := r.open(r.srv.JetStream(), epoch(1))
			r.publish(first, 0, 10, 10)
			r.flush(first)
			change(r)
			r.publish(first, 10, 20, 10)
			r.eventually("waiting", func() bool { _, why := first.Waiting(); return why != nil })
			if err := r.end(first); !errors.Is(err, jetstream.ErrStreamGone) {
				t.Errorf("Run of a publisher that is shut out = %v, want ErrStreamGone", err)
			}
			r.wantExactly(10)
			second := r.open(r.srv.JetStream(), epoch(1))
			r.publish(second, 10, 30, 10)
			r.flush(second)
			r.wantExactly(30)
		})
	}
}

func TestOpenWaitsForAServerThatIsAway(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	js := r.srv.JetStream()
	r.srv.Stop()
	short, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := jetstream.OpenPublisher(short, js, jetstream.PublisherConfig{Task: pubTask, Holder: "h", Epoch: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("OpenPublisher = %v, want its context's end", err)
	}
	opened := make(chan *jetstream.Publisher, 1)
	go func() {
		p, err := jetstream.OpenPublisher(r.ctx, js, jetstream.PublisherConfig{Task: pubTask, Holder: "h", Epoch: 1})
		if err != nil {
			t.Error(err)
		}
		opened <- p
	}()
	select {
	case <-opened:
		t.Fatal("opened without a server")
	case <-time.After(500 * time.Millisecond):
	}
	r.srv.Start()
	u := r.run(<-opened)
	r.publish(u, 0, 10, 10)
	r.flush(u)
	r.wantExactly(10)
}

var holdersEvents = flag.Int("holders-events", 5_000, "events that TestManyHolders publishes")

// TestManyHolders has several holders take the stream over from one another at random, some of them held up or cut off in
// the middle of things, each going on from the stream's last event as a bridge does.
func TestManyHolders(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	n := *holdersEvents
	r := newPubRig(t, jetstream.StreamConfig{Duplicates: 100 * time.Millisecond})
	proxies := []*jetstreamtest.Proxy{r.srv.Proxy(), r.srv.Proxy(), r.srv.Proxy()}
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var epochs struct {
		sync.Mutex
		last uint64
	}
	take := func() uint64 {
		epochs.Lock()
		defer epochs.Unlock()
		epochs.last++
		return epochs.last
	}
	var wg sync.WaitGroup
	for i, p := range proxies {
		js := p.JetStream()
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				r.hold(ctx, js, take(), n)
				pause(ctx, time.Duration(rnd.IntN(300))*time.Millisecond)
			}
		})
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for pause(ctx, time.Duration(rnd.IntN(200))*time.Millisecond) {
				switch rnd.IntN(4) {
				case 0:
					p.Cut()
				default:
					p.Hold()
					pause(ctx, time.Duration(rnd.IntN(150))*time.Millisecond)
					p.Release()
				}
			}
		})
	}
	r.eventually("all is published", func() bool {
		e, err := jetstream.LastEvent(r.ctx, r.js, pubTask, jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0"))
		return err == nil && e.ID == rowID(n-1)
	})
	stop()
	wg.Wait()
	r.wantExactly(n)
	t.Logf("%d take-overs", epochs.last)
}

// hold is one holder's life: take over, go on behind the last event, until fenced.
func (r *pubRig) hold(ctx context.Context, js natsjs.JetStream, epoch uint64, n int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := jetstream.OpenPublisher(ctx, js, jetstream.PublisherConfig{Task: pubTask, Holder: "h", Epoch: epoch, AckWait: 200 * time.Millisecond})
	if err != nil {
		return
	}
	next := 0
	for ctx.Err() == nil {
		e, err := jetstream.LastEvent(ctx, js, pubTask, jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0"))
		if errors.Is(err, jetstream.ErrNotFound) {
			break
		}
		if err == nil {
			next, _ = strconv.Atoi(strings.Split(e.ID, ":")[1])
			next++
			break
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	defer wg.Wait()
	for ; next < n; next++ {
		if p.Publish(ctx, rowEvent(next, 50)) != nil {
			break
		}
	}
	if next == n {
		_ = p.Flush(ctx)
	}
	cancel()
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
