package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// load publishes events 0…n-1 in the background and says how far it is.
type load struct {
	wg       sync.WaitGroup
	progress atomic.Int64
}

func (r *pubRig) load(u *running, n, size int) *load {
	l := &load{}
	l.wg.Go(func() {
		for i := range n {
			if err := u.Publish(r.ctx, rowEvent(i, size)); err != nil {
				r.t.Errorf("publish %d: %v", i, err)
				return
			}
			l.progress.Store(int64(i + 1))
		}
	})
	r.t.Cleanup(l.wg.Wait)
	return l
}

// TestFaultsUnderLoad breaks something several times while events are published, each time at a point of progress.
func TestFaultsUnderLoad(t *testing.T) {
	const n = 3000
	faults := map[string]func(*pubRig, *jetstreamtest.Proxy){
		"server_restarts": func(r *pubRig, _ *jetstreamtest.Proxy) { r.srv.Restart() },
		"connection_cut":  func(_ *pubRig, p *jetstreamtest.Proxy) { p.Cut() },
		"server_cuts_all": func(r *pubRig, _ *jetstreamtest.Proxy) { r.srv.Cut() },
		"some_answers_lost": func(_ *pubRig, p *jetstreamtest.Proxy) {
			var seen atomic.Int64
			p.Drop(func(_ string, payload []byte) bool { return isPubAck(payload) && seen.Add(1)%5 == 0 })
		},
		"all_answers_lost": func(_ *pubRig, p *jetstreamtest.Proxy) {
			var lost atomic.Int64
			p.Drop(func(_ string, payload []byte) bool { return isPubAck(payload) && lost.Add(1) <= 300 })
		},
		"cut_with_events_kept_back": func(_ *pubRig, p *jetstreamtest.Proxy) { p.Hold(); p.Cut(); p.Release() },
		"held_longer_than_the_wait": func(r *pubRig, p *jetstreamtest.Proxy) {
			p.Hold()
			time.AfterFunc(700*time.Millisecond, p.Release)
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			// Ids are forgotten long before the last fault, so nothing here rests on the server's dedupe window.
			r := newPubRig(t, jetstream.StreamConfig{Duplicates: 100 * time.Millisecond})
			proxy := r.srv.Proxy()
			u := r.open(proxy.JetStream())
			l := r.load(u, n, 200)
			for _, at := range []int64{1, 500, 1200, 1201, 2500} {
				r.eventually("progress", func() bool { return l.progress.Load() >= at })
				fault(r, proxy)
			}
			l.wg.Wait()
			r.flush(u)
			r.wantExactly(n)
			if _, why := u.Waiting(); why != nil {
				t.Errorf("Waiting still says %v", why)
			}
		})
	}
}

func isPubAck(payload []byte) bool { return bytes.HasPrefix(payload, []byte(`{"stream":`)) }

// TestUnansweredBeyondTheDedupeWindow has events stored whose answers get lost, and the connection stay broken until the
// server has forgotten their ids: sent again they would be stored again, were the stream not looked at.
func TestUnansweredBeyondTheDedupeWindow(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{Duplicates: 100 * time.Millisecond})
	proxy := r.srv.Proxy()
	u := r.open(proxy.JetStream(), func(c *jetstream.PublisherConfig) { c.AckWait = 2 * time.Second })
	fence := r.lastSeq()
	proxy.Drop(func(_ string, payload []byte) bool { return isPubAck(payload) })
	r.publish(u, 0, 50, 100)
	r.eventually("the events are stored", func() bool { return r.lastSeq() == fence+50 })
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	r.publish(u, 50, 60, 100)
	r.eventually("the window has passed", func() bool {
		m, err := s.GetMsg(r.ctx, fence+50)
		return err == nil && time.Since(m.Time) > 500*time.Millisecond
	})
	proxy.Drop(nil)
	r.flush(u)
	r.wantExactly(60)
}

func TestFullStreamIsWaitedFor(t *testing.T) {
	const small, n = 400_000, 1500
	r := newPubRig(t, jetstream.StreamConfig{MaxBytes: small})
	u := r.open(r.srv.JetStream())
	l := r.load(u, n, 1000)
	r.eventually("waiting", func() bool { _, why := u.Waiting(); return why != nil })
	since, why := u.Waiting()
	if !strings.Contains(why.Error(), "maximum bytes") || time.Since(since) > time.Minute {
		t.Errorf("Waiting = %v, %v, want that the stream is full", since, why)
	}
	if l.progress.Load() >= n {
		t.Fatal("the stream took all")
	}
	// Room for a few at a time: it is full again soon.
	for size := int64(small + 200_000); size < 3_000_000; size += 200_000 {
		was := l.progress.Load()
		r.setMaxBytes(size)
		r.eventually("more taken", func() bool { return l.progress.Load() > was || was == n })
	}
	l.wg.Wait()
	r.flush(u)
	r.wantExactly(n)
	if _, why := u.Waiting(); why != nil {
		t.Errorf("Waiting still says %v", why)
	}
}

// setMaxBytes changes nothing else, as nats stream edit does.
func (r *pubRig) setMaxBytes(n int64) {
	r.t.Helper()
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = n
	if _, err := r.js.UpdateStream(r.ctx, cfg); err != nil {
		r.t.Fatal(err)
	}
}

// TestFullStreamFreedByTrimming trims what was applied, as the task's trimmer does.
func TestFullStreamFreedByTrimming(t *testing.T) {
	const n = 2000
	r := newPubRig(t, jetstream.StreamConfig{MaxBytes: 400_000})
	u := r.open(r.srv.JetStream())
	l := r.load(u, n, 1000)
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for from := uint64(1); len(got) < n; {
		err := jetstream.Scan(r.ctx, r.js, pubTask, nil, from, func(e *jetstream.Event) error {
			if e.Kind != jetstream.Fence {
				got = append(got, e.ID)
			}
			from = e.Seq + 1
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Purge(r.ctx, natsjs.WithPurgeSequence(from-1)); err != nil { // all but the last
			t.Fatal(err)
		}
	}
	l.wg.Wait()
	r.flush(u)
	r.wantIDs(n, got)
}

func TestTooLarge(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	srv := jetstreamtest.Run(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	r := &pubRig{t: t, ctx: ctx, srv: srv, js: srv.JetStream()}
	if err := jetstream.EnsureStream(ctx, r.js, pubTask, jetstream.StreamConfig{}); err != nil {
		t.Fatal(err)
	}
	u := r.open(srv.JetStream())
	if err := u.Publish(ctx, rowEvent(0, u.MaxBody())); err != nil {
		t.Errorf("Publish of MaxBody = %v", err)
	}
	for _, size := range []int{u.MaxBody() + 4<<10, 64 << 10, 200 << 10} {
		if err := u.Publish(ctx, rowEvent(99, size)); !errors.Is(err, jetstream.ErrTooLarge) {
			t.Errorf("Publish of %d bytes = %v, want ErrTooLarge", size, err)
		}
	}
	wide := rowEvent(99, u.MaxBody())
	wide.Resume = strings.Repeat("x", 8<<10)
	if err := u.Publish(ctx, wide); !errors.Is(err, jetstream.ErrTooLarge) {
		t.Errorf("Publish with large headers = %v, want ErrTooLarge", err)
	}
	r.publish(u, 1, 3, 10)
	r.flush(u)
	r.wantExactly(3)
}

func TestEventThatNoHeaderCarries(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	for what, spoil := range map[string]func(*jetstream.Event){
		"no id":      func(e *jetstream.Event) { e.ID = "" },
		"line end":   func(e *jetstream.Event) { e.Partition = "a\nb" },
		"blank ends": func(e *jetstream.Event) { e.Position = "1 " },
	} {
		e := rowEvent(0, 1)
		spoil(e)
		if err := u.Publish(r.ctx, e); !errors.Is(err, jetstream.ErrMalformed) {
			t.Errorf("%s: Publish = %v, want ErrMalformed", what, err)
		}
	}
	r.publish(u, 0, 1, 1)
	r.flush(u)
	r.wantExactly(1)
}

// TestKnownEvents publishes again what the stream holds, as a caller does that reads its source from further back.
func TestKnownEvents(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 20, 10)
	r.flush(u)
	var marked atomic.Int64
	for n := range 40 {
		r.publish(u, n, n+1, 10)
		u.Mark(func(uint64) { marked.Add(1) })
	}
	r.flush(u)
	if marked.Load() != 40 {
		t.Errorf("%d of 40 marks called", marked.Load())
	}
	r.wantExactly(40)
}

func TestStreamGone(t *testing.T) {
	for name, spoil := range map[string]func(*pubRig){
		"deleted": func(r *pubRig) {},
		"made_anew": func(r *pubRig) {
			if err := jetstream.EnsureStream(r.ctx, r.js, pubTask, jetstream.StreamConfig{}); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPubRig(t, jetstream.StreamConfig{})
			u := r.open(r.srv.JetStream())
			r.publish(u, 0, 100, 10)
			r.flush(u)
			if err := jetstream.DeleteStream(r.ctx, r.js, pubTask); err != nil {
				t.Fatal(err)
			}
			spoil(r)
			r.publish(u, 100, 101, 10)
			if err := u.Flush(r.ctx); !errors.Is(err, jetstream.ErrStreamGone) {
				t.Errorf("Flush = %v, want ErrStreamGone", err)
			}
			if err := r.end(u); !errors.Is(err, jetstream.ErrStreamGone) {
				t.Errorf("Run = %v, want ErrStreamGone", err)
			}
		})
	}
}

func TestOpenWithoutStream(t *testing.T) {
	srv := jetstreamtest.Run(t)
	_, err := jetstream.OpenPublisher(t.Context(), srv.JetStream(), jetstream.PublisherConfig{Task: "none", Holder: "h", Epoch: 1})
	if !errors.Is(err, jetstream.ErrStreamGone) {
		t.Errorf("OpenPublisher = %v, want ErrStreamGone", err)
	}
}

func TestStreamEmptiedByHandGoesOn(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 10, 10)
	r.flush(u)
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.publish(u, 10, 12, 10)
	r.flush(u)
	if got := r.ids(); len(got) != 2 || got[0] != rowID(10) {
		t.Errorf("stream holds %v", got)
	}
}

// TestServerLosesAcknowledgedEvents puts the server's store back to an earlier copy, as a crash of its machine may. A
// publisher that is opened again learns from the stream where to go on.
func TestServerLosesAcknowledgedEvents(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 100, 10)
	r.flush(u)
	r.srv.Stop()
	early := t.TempDir()
	if err := os.CopyFS(early, os.DirFS(r.srv.StoreDir())); err != nil {
		t.Fatal(err)
	}
	r.srv.Start()
	r.publish(u, 100, 200, 10)
	r.flush(u)
	r.srv.Stop()
	if err := errors.Join(os.RemoveAll(r.srv.StoreDir()), os.CopyFS(r.srv.StoreDir(), os.DirFS(early))); err != nil {
		t.Fatal(err)
	}
	r.srv.Start()
	r.publish(u, 200, 201, 10)
	if err := r.end(u); !errors.Is(err, jetstream.ErrStreamGone) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("Run = %v, want ErrStreamGone for lost events", err)
	}
	r.wantExactly(100)
	again := r.open(r.srv.JetStream())
	r.publish(again, 100, 300, 10)
	r.flush(again)
	r.wantExactly(300)
}

func TestConnectionClosedEndsRun(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	js := r.srv.JetStream()
	u := r.open(js)
	js.Conn().Close()
	_ = u.Publish(r.ctx, rowEvent(0, 1)) // taken, or refused because Run has ended
	if err := r.end(u); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want that the connection is closed", err)
	}
}
