package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

func TestEnsureStream(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	for range 2 { // what is as wanted is not touched: the publisher goes on
		if err := jetstream.EnsureStream(r.ctx, r.js, pubTask, jetstream.StreamConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	r.publish(u, 0, 10, 10)
	r.flush(u)
	// Settings that would lose events are set right, others stay.
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxAge, cfg.MaxMsgsPerSubject, cfg.Discard, cfg.AllowDirect = time.Hour, 1000, natsjs.DiscardOld, true
	cfg.Metadata["owner"] = "me"
	if _, err := r.js.UpdateStream(r.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if err := jetstream.EnsureStream(r.ctx, r.js, pubTask, jetstream.StreamConfig{MaxBytes: 1 << 20, Duplicates: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if s, err = r.js.Stream(r.ctx, jetstream.StreamName(pubTask)); err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if c.MaxAge != 0 || c.MaxMsgsPerSubject != -1 || c.Discard != natsjs.DiscardNew || c.AllowDirect || c.MaxBytes != 1<<20 || c.Duplicates != time.Minute {
		t.Errorf("config = %+v", c)
	}
	if c.Metadata["owner"] != "me" || c.Metadata["kitestream.version"] != "1" || c.Storage != natsjs.FileStorage {
		t.Errorf("config = %+v", c)
	}
	r.wantExactly(10)
}

func TestEnsureStreamRefuses(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	ours := map[string]string{"kitestream.version": "1"}
	for task, tc := range map[string]struct {
		cfg  natsjs.StreamConfig
		want string
	}{
		"foreign":   {natsjs.StreamConfig{}, "not made by Kitestream"},
		"newer":     {natsjs.StreamConfig{Metadata: map[string]string{"kitestream.version": "9"}}, "version 9"},
		"memory":    {natsjs.StreamConfig{Metadata: ours, Storage: natsjs.MemoryStorage}, "in memory"},
		"workqueue": {natsjs.StreamConfig{Metadata: ours, Retention: natsjs.WorkQueuePolicy}, "WorkQueue"},
		"unpurged":  {natsjs.StreamConfig{Metadata: ours, DenyPurge: true}, "purging"},
		"async":     {natsjs.StreamConfig{Metadata: ours, PersistMode: natsjs.AsyncPersistMode}, "persist mode"},
		"mirror":    {natsjs.StreamConfig{Metadata: ours, Mirror: &natsjs.StreamSource{Name: jetstream.StreamName(pubTask)}}, "copies"},
	} {
		t.Run(task, func(t *testing.T) {
			tc.cfg.Name = jetstream.StreamName(task)
			if tc.cfg.Mirror == nil {
				tc.cfg.Subjects = []string{"x." + task + ".>"}
			}
			if _, err := r.js.CreateStream(r.ctx, tc.cfg); err != nil {
				t.Fatal(err)
			}
			err := jetstream.EnsureStream(r.ctx, r.js, task, jetstream.StreamConfig{})
			if !errors.Is(err, jetstream.ErrExists) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("EnsureStream = %v, want ErrExists with %q", err, tc.want)
			}
		})
	}
}

func TestDeleteStreamTwice(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	for range 2 {
		if err := jetstream.DeleteStream(r.ctx, r.js, pubTask); err != nil {
			t.Error(err)
		}
	}
	if _, err := jetstream.LastEvent(r.ctx, r.js, pubTask, jetstream.StreamSubjects(pubTask)); !errors.Is(err, jetstream.ErrStreamGone) {
		t.Errorf("LastEvent = %v, want ErrStreamGone", err)
	}
	if err := jetstream.Scan(r.ctx, r.js, pubTask, nil, 0, nil); !errors.Is(err, jetstream.ErrStreamGone) {
		t.Errorf("Scan = %v, want ErrStreamGone", err)
	}
}

// mixed publishes n events on two channels, four lanes, and every tenth on all lanes.
func mixed(r *pubRig, u *running, n int) []*jetstream.Event {
	r.t.Helper()
	var all []*jetstream.Event
	for i := range n {
		e := rowEvent(i, 10)
		e.ID = fmt.Sprintf("mixed:%d", i)
		e.Channel = fmt.Sprintf("dml_%d", i%2)
		if i%10 == 0 {
			e.Channel, e.Lane, e.Kind, e.Rows, e.RowSum = jetstream.CatalogChannel, jetstream.AllLanes, jetstream.CreatePartition, 0, 0
		}
		if err := u.Publish(r.ctx, e); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, e)
	}
	r.flush(u)
	return all
}

func TestLastEvent(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	all := mixed(r, u, 100)
	last := func(keep func(*jetstream.Event) bool) string {
		for _, e := range slices.Backward(all) {
			if keep(e) {
				return e.ID
			}
		}
		return ""
	}
	for filter, want := range map[string]string{
		jetstream.StreamSubjects(pubTask):                                    "mixed:99",
		jetstream.ChannelSubjects(pubTask, "dml_0"):                          last(func(e *jetstream.Event) bool { return e.Channel == "dml_0" }),
		jetstream.ChannelSubjects(pubTask, "catalog"):                        "mixed:90",
		jetstream.AllLanesSubjects(pubTask):                                  "mixed:90",
		jetstream.LaneSubjects(pubTask, 2)[0]:                                "mixed:98",
		jetstream.CollectionSubjects(pubTask, 1, "default", "books")[0]:      "mixed:97",
		jetstream.ChannelSubjects(pubTask, "dml_9"):                          "",
		jetstream.CollectionSubjects(pubTask, 1, "default", "newspapers")[0]: "",
	} {
		e, err := jetstream.LastEvent(r.ctx, r.js, pubTask, filter)
		if want == "" {
			if !errors.Is(err, jetstream.ErrNotFound) {
				t.Errorf("LastEvent(%s) = %v, want ErrNotFound", filter, err)
			}
			continue
		}
		if err != nil || e.ID != want {
			t.Errorf("LastEvent(%s) = %v, %v, want %s", filter, e, err, want)
		}
	}
}

func TestScan(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	first := r.lastSeq() + 1
	all := mixed(r, u, 2000)
	lane := jetstream.LaneSubjects(pubTask, 3)
	for _, from := range []uint64{0, 1, first + 5, first + 1000, first + 1999, first + 2000, first + 9999} {
		var want, got []string
		for i, e := range all {
			if first+uint64(i) >= from && (e.Lane == 3 || e.Lane == jetstream.AllLanes) {
				want = append(want, e.ID)
			}
		}
		err := jetstream.Scan(r.ctx, r.js, pubTask, lane, from, func(e *jetstream.Event) error {
			if e.ID != all[e.Seq-first].ID {
				t.Errorf("%s has sequence %d", e.ID, e.Seq)
			}
			got = append(got, e.ID)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Scan from %d: %d events, %v, want %d", from, len(got), err, len(want))
		}
	}
}

func TestScanEnds(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	mixed(r, u, 300)
	stop := errors.New("enough")
	n := 0
	err := jetstream.Scan(r.ctx, r.js, pubTask, nil, 0, func(*jetstream.Event) error {
		if n++; n == 7 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 7 {
		t.Errorf("Scan = %v after %d events, want fn's error", err, n)
	}
	// What comes while it scans is not waited for.
	n = 0
	err = jetstream.Scan(r.ctx, r.js, pubTask, nil, 0, func(e *jetstream.Event) error {
		n++
		return u.Publish(r.ctx, rowEvent(n, 1))
	})
	if err != nil || n != 301 {
		t.Errorf("Scan = %v after %d events", err, n)
	}
}

func TestScanOverABrokenConnection(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 3000, 1000)
	r.flush(u)
	proxy := r.srv.Proxy()
	n := 0
	err := jetstream.Scan(r.ctx, proxy.JetStream(), pubTask, []string{jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0")}, 0,
		func(e *jetstream.Event) error {
			if e.ID != rowID(n) {
				return fmt.Errorf("%s instead of %s", e.ID, rowID(n))
			}
			if n++; n%1000 == 0 {
				proxy.Cut()
			}
			return nil
		})
	if err != nil || n != 3000 {
		t.Errorf("Scan = %v after %d events", err, n)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 40, 500_000) // more than a scan has ready
	r.flush(u)
	proxy := r.srv.Proxy()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	canceled := make(chan time.Time, 1)
	n := 0
	err := jetstream.Scan(ctx, proxy.JetStream(nats.Timeout(time.Second)), pubTask, nil, 0, func(*jetstream.Event) error {
		if n++; n == 1 {
			proxy.Hold() // the server is not heard of again
			proxy.Cut()
			time.AfterFunc(300*time.Millisecond, func() { canceled <- time.Now(); cancel() })
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Scan = %v after %d events, want context.Canceled", err, n)
	}
	if d := time.Since(<-canceled); d > 5*time.Second {
		t.Errorf("Scan ended %v after its context", d)
	}
}

// TestScanOfDeletedEvents deletes events while the scan is under way, the one that it was to end with among them.
func TestScanOfDeletedEvents(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 40, 500_000) // more than a scan has ready
	r.flush(u)
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	end, n := r.lastSeq(), 0
	err = jetstream.Scan(r.ctx, r.js, pubTask, []string{jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0")}, 0, func(*jetstream.Event) error {
		if n++; n > 1 {
			return nil
		}
		return errors.Join(s.DeleteMsg(r.ctx, end), s.DeleteMsg(r.ctx, end-1), s.DeleteMsg(r.ctx, end-3))
	})
	if err != nil || n != 37 {
		t.Errorf("Scan = %v after %d events, want 37", err, n)
	}
}

func TestScanOfWhatIsNoEvent(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	if _, err := r.js.Publish(r.ctx, "ksw."+pubTask+".none.junk", nil); err != nil {
		t.Fatal(err)
	}
	err := jetstream.Scan(r.ctx, r.js, pubTask, nil, 0, func(*jetstream.Event) error { return nil })
	if !errors.Is(err, jetstream.ErrMalformed) {
		t.Errorf("Scan = %v, want ErrMalformed", err)
	}
	if _, err := jetstream.LastEvent(r.ctx, r.js, pubTask, "ks.orders.>"); !errors.Is(err, jetstream.ErrMalformed) {
		t.Errorf("LastEvent = %v, want ErrMalformed", err)
	}
}
