package jetstream_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

const leaseTTL = time.Second

func (r *rig) openLeases(js natsjs.JetStream) *jetstream.Leases {
	r.t.Helper()
	ls, err := jetstream.NewLeases(js, r.bucket(js, jetstream.BucketLeases), jetstream.LeaseConfig{TTL: leaseTTL, Margin: 100 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	return ls
}

func acquire(t testing.TB, ctx context.Context, ls *jetstream.Leases, key, holder string) *jetstream.Lease {
	t.Helper()
	l, err := ls.Acquire(ctx, key, holder)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLeaseIsHeldUntilReleased(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	a := acquire(t, r.ctx, ls, "lane.x.0", "a")
	if _, err := ls.Acquire(r.ctx, "lane.x.0", "b"); !errors.Is(err, jetstream.ErrHeld) {
		t.Fatalf("acquire a held lease: %v, want ErrHeld", err)
	}
	acquire(t, r.ctx, ls, "lane.x.1", "b")
	holders, err := ls.Holders(r.ctx, "lane.x")
	if err != nil || len(holders) != 2 || holders["lane.x.0"] != "a" || holders["lane.x.1"] != "b" {
		t.Fatalf("holders = %v, %v", holders, err)
	}
	ctx, cancel := a.Context(r.ctx)
	defer cancel()
	if err := a.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil || !errors.Is(context.Cause(ctx), jetstream.ErrFenced) {
		t.Errorf("context after release: %v, cause %v", ctx.Err(), context.Cause(ctx))
	}
	if err := a.Run(r.ctx); err != nil {
		t.Errorf("run after release: %v", err)
	}
	b := acquire(t, r.ctx, ls, "lane.x.0", "b")
	if b.Epoch() <= a.Epoch() {
		t.Errorf("epoch %d came after %d", b.Epoch(), a.Epoch())
	}
	if err := a.Release(r.ctx); err != nil {
		t.Errorf("second release: %v", err)
	}
	if _, err := ls.Acquire(r.ctx, "lane.x.0", "c"); !errors.Is(err, jetstream.ErrHeld) {
		t.Errorf("the second release of another's lease freed it: %v", err)
	}
}

func TestRenewedLeaseLivesAndThenExpires(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	ticks, err := ls.Watch(r.ctx, "lane.x")
	if err != nil {
		t.Fatal(err)
	}
	<-ticks // to begin with
	a := acquire(t, r.ctx, ls, "lane.x.0", "a")
	<-ticks
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	r.wait(3 * leaseTTL)
	select {
	case <-a.Lost():
		t.Fatal("lost while it was renewed")
	case <-ticks:
		t.Error("a renewal gave a tick")
	default:
	}
	if _, err := ls.Acquire(r.ctx, "lane.x.0", "b"); !errors.Is(err, jetstream.ErrHeld) {
		t.Fatalf("acquire a renewed lease: %v, want ErrHeld", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run = %v", err)
	}
	deadline := a.Deadline()
	<-ticks // expired
	now := time.Now()
	if now.Before(deadline) || now.After(deadline.Add(1500*time.Millisecond)) {
		t.Errorf("expired %v after its holder's deadline", now.Sub(deadline))
	}
	t.Logf("expired %v after its holder's deadline", now.Sub(deadline))
	b := acquire(t, r.ctx, ls, "lane.x.0", "b")
	if b.Epoch() <= a.Epoch() {
		t.Errorf("epoch %d came after %d", b.Epoch(), a.Epoch())
	}
	<-ticks
	if err := b.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	<-ticks
}

func TestLostLeaseEndsItsContexts(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	a := acquire(t, r.ctx, ls, "k", "a")
	ctx, cancel := a.Context(r.ctx)
	defer cancel()
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	<-child.Done()
	if late := time.Since(a.Deadline()); late < 0 || late > 300*time.Millisecond {
		t.Errorf("context ended %v after the deadline", late)
	}
	if err := a.Run(r.ctx); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("run of a lost lease = %v, want ErrFenced", err)
	}
	late, cancel := a.Context(r.ctx)
	defer cancel()
	if late.Err() == nil {
		t.Error("a context of a lost lease has not ended")
	}
}

// A holder that is slow, not dead: its key expired or was deleted, and somebody else holds the lease.
func TestZombieRenewIsRefused(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	a := acquire(t, r.ctx, ls, "k", "a")
	if err := r.leases.Purge(r.ctx, "k"); err != nil {
		t.Fatal(err)
	}
	b := acquire(t, r.ctx, ls, "k", "b")
	r.soon(func(ctx context.Context) { _ = b.Run(ctx) })
	if err := a.Run(r.ctx); !errors.Is(err, jetstream.ErrFenced) {
		t.Fatalf("run = %v, want ErrFenced", err)
	}
	if err := a.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.wait(2 * leaseTTL)
	select {
	case <-b.Lost():
		t.Error("the zombie took the lease from its holder")
	default:
	}
}

// The server stored a renewal whose answer was lost: the holder finds the revision changed, by itself.
func TestLostAnswerOfARenewal(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	a := acquire(t, r.ctx, ls, "k", "a")
	e, err := r.leases.Get(r.ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.PublishMsg(r.ctx, &nats.Msg{Subject: "$KV." + jetstream.BucketLeases + ".k", Data: e.Value()}, natsjs.WithMsgTTL(leaseTTL)); err != nil {
		t.Fatal(err)
	}
	r.soon(func(ctx context.Context) { _ = a.Run(ctx) })
	r.wait(2 * leaseTTL)
	select {
	case <-a.Lost():
		t.Error("lost to itself")
	default:
	}
}

func TestLeaseIsOverWhenNATSStaysAway(t *testing.T) {
	r := newRig(t)
	ls := r.openLeases(r.js)
	a := acquire(t, r.ctx, ls, "k", "a")
	ended := make(chan error, 1)
	go func() { ended <- a.Run(r.ctx) }()
	r.wait(leaseTTL)
	r.Stop()
	<-a.Lost()
	if late := time.Since(a.Deadline()); late < 0 || late > 300*time.Millisecond {
		t.Errorf("noticed %v after the deadline", late)
	}
	if err := <-ended; !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("run = %v, want ErrFenced", err)
	}
}

func TestLeaseOutlivesAShortRestart(t *testing.T) {
	r := newRig(t)
	ls, err := jetstream.NewLeases(r.js, r.leases, jetstream.LeaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	a := acquire(t, r.ctx, ls, "k", "a")
	r.soon(func(ctx context.Context) { _ = a.Run(ctx) })
	for range 3 {
		r.Restart()
		r.wait(time.Second)
	}
	r.wait(2 * time.Second)
	select {
	case <-a.Lost():
		t.Error("lost over short restarts")
	default:
	}
}

// Two contend for each of 100 leases, holding it past its deadline or releasing it. By their deadlines, never two hold one at once.
func TestNeverTwoHolders(t *testing.T) {
	r := newRig(t)
	type span struct {
		from, to time.Time
		epoch    uint64
	}
	var mu sync.Mutex
	held := map[string][]span{}
	contend := func(ls *jetstream.Leases, key, holder string, renew bool) {
		for won := 0; won < 3; {
			l, err := ls.Acquire(r.ctx, key, holder)
			from := time.Now()
			if err != nil { // held; or slow, on a busy machine
				r.wait(10 * time.Millisecond)
				continue
			}
			won++
			to := l.Deadline()
			if renew {
				ctx, cancel := context.WithTimeout(r.ctx, leaseTTL/2)
				_ = l.Run(ctx)
				cancel()
				to = time.Now()
				if err := l.Release(r.ctx); err != nil {
					t.Error(err)
				}
			} else {
				<-l.Lost()
			}
			mu.Lock()
			held[key] = append(held[key], span{from, to, l.Epoch()})
			mu.Unlock()
		}
	}
	x, y := r.openLeases(r.JetStream()), r.openLeases(r.JetStream())
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { contend(x, fmt.Sprint("k.", i), "x", i%2 == 0) })
		wg.Go(func() { contend(y, fmt.Sprint("k.", i), "y", i%3 == 0) })
	}
	wg.Wait()
	for key, spans := range held {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.epoch, b.epoch) })
		if len(spans) != 6 {
			t.Errorf("%s was held %d times", key, len(spans))
		}
		for i := 1; i < len(spans); i++ {
			if spans[i].from.Before(spans[i-1].to) {
				t.Errorf("%s: epoch %d began %v before epoch %d had ended", key, spans[i].epoch, spans[i-1].to.Sub(spans[i].from), spans[i-1].epoch)
			}
		}
	}
}

func TestLeaseConfigSaysAllThatIsWrong(t *testing.T) {
	err := jetstream.LeaseConfig{TTL: 1500 * time.Millisecond, Margin: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "ttl") || !strings.Contains(err.Error(), "margin") {
		t.Errorf("validate = %v", err)
	}
}

// A process is stopped past its deadline. When it wakes, the first look at the lease says that it is over.
func TestStoppedHolderWakesWithoutALease(t *testing.T) {
	r := newRig(t)
	child := exec.Command(os.Args[0], "-test.run=^TestHolderChild$", "-test.v")
	child.Env = append(os.Environ(), "KITESTREAM_TEST_NATS="+r.URL())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()         //nolint:errcheck // it is killed
	defer child.Process.Kill() //nolint:errcheck // it may have ended
	lines := bufio.NewScanner(out)
	readUntil := func(prefix string) string {
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return rest
			}
		}
		t.Fatalf("the child said no %q", prefix)
		return ""
	}
	readUntil("held")
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ls := r.openLeases(r.js)
	r.until("the stopped holder's lease expires", func() bool {
		_, err := ls.Acquire(r.ctx, "k", "other")
		return err == nil
	})
	// It finds this line waiting when it wakes, and looks at once.
	if _, err := fmt.Fprintln(in, "look"); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := readUntil("woke "); got != "context over: true, deadline past: true" {
		t.Errorf("the child woke with %s", got)
	}
	if got := readUntil("run "); got != "fenced: true" {
		t.Errorf("the child's run ended with %s", got)
	}
}

// TestHolderChild is the process that TestStoppedHolderWakesWithoutALease stops.
func TestHolderChild(t *testing.T) {
	url := os.Getenv("KITESTREAM_TEST_NATS")
	if url == "" {
		return
	}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), jetstream.BucketLeases)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := jetstream.NewLeases(js, kv, jetstream.LeaseConfig{TTL: leaseTTL})
	if err != nil {
		t.Fatal(err)
	}
	l := acquire(t, t.Context(), ls, "k", "child")
	ended := make(chan error, 1)
	go func() { ended <- l.Run(t.Context()) }()
	ctx, cancel := l.Context(t.Context())
	defer cancel()
	fmt.Println("held")
	bufio.NewScanner(os.Stdin).Scan()
	over, past := ctx.Err() != nil, time.Now().After(l.Deadline())
	fmt.Printf("woke context over: %v, deadline past: %v\n", over, past)
	fmt.Printf("run fenced: %v\n", errors.Is(<-ended, jetstream.ErrFenced))
}

// BenchmarkLeases64 is what 64 leases of one process cost: the CPU time of client and server per second.
func BenchmarkLeases64(b *testing.B) {
	r := newRig(b)
	ls, err := jetstream.NewLeases(r.js, r.leases, jetstream.LeaseConfig{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 64 {
		l := acquire(b, r.ctx, ls, fmt.Sprint("k.", i), "a")
		r.soon(func(ctx context.Context) { _ = l.Run(ctx) })
	}
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := cpu()
	b.ResetTimer()
	for range b.N {
		r.wait(time.Second)
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e6, "cpu-ms/s")
}

// TestReleaseAfterARenewalThatWasCutShort ends the renewing at every moment, also between a renewal's being stored and
// its answer's being read. Released is released all the same: the next one need not wait for the lease to expire.
func TestReleaseAfterARenewalThatWasCutShort(t *testing.T) {
	srv := jetstreamtest.Run(t)
	js := srv.JetStream()
	if err := jetstream.Setup(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	b, err := jetstream.OpenBuckets(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := jetstream.NewLeases(js, b.Leases, jetstream.LeaseConfig{TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		l, err := leases.Acquire(t.Context(), "worker.a", "a")
		if err != nil {
			t.Fatalf("round %d: the lease that was released is still there: %v", i, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 248500*time.Microsecond+time.Duration(i)*50*time.Microsecond) // about a renewal
		_ = l.Run(ctx)
		cancel()
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
