package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// parkedMsgs is all that the dead-letter stream holds.
func parkedMsgs(ctx context.Context, t *testing.T, js natsjs.JetStream) []*natsjs.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(ctx, jetstream.StreamParked)
	if err != nil {
		t.Fatal(err)
	}
	var all []*natsjs.RawStreamMsg
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func parkRig(t *testing.T) (context.Context, natsjs.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	js := jetstreamtest.Run(t, func(o *server.Options) { o.MaxPayload = 64 << 10 }).JetStream()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	return ctx, js
}

func TestParkOnce(t *testing.T) {
	ctx, js := parkRig(t)
	m := rowEvent(1, 100).Msg("orders")
	m.Header.Set("Nats-Expected-Last-Sequence", "77") // as a stored event has it
	p := jetstream.Parked{
		Task: "orders", Target: "standby", Code: "KS-X", Reason: "it is\nbroken", Subject: m.Subject, Header: m.Header, Body: m.Data, Seq: 12,
	}
	again, other, elsewhere := p, p, p
	again.Reason = "still broken"
	other.Body = []byte("another life of the task had this at 12")
	elsewhere.Target = "second"
	for _, x := range []jetstream.Parked{p, again, other, p, elsewhere} {
		if err := jetstream.Park(ctx, js, x); err != nil {
			t.Fatal(err)
		}
	}
	all := parkedMsgs(ctx, t, js)
	if len(all) != 3 {
		t.Fatalf("%d events are parked, want 3", len(all))
	}
	got := all[0]
	if !strings.HasPrefix(got.Subject, "ksp.orders.standby.default.books.") || !bytes.Equal(got.Data, p.Body) {
		t.Errorf("parked %s with %d bytes", got.Subject, len(got.Data))
	}
	for k, want := range map[string]string{
		"ce-id": rowID(1), "kitestream-code": "KS-X", "kitestream-reason": "it is broken", "kitestream-seq": "12", "kitestream-part": "1/1",
		"kitestream-subject": p.Subject, "kitestream-task": "orders", "kitestream-target": "standby",
	} {
		if v := got.Header.Get(k); v != want {
			t.Errorf("header %s = %q, want %q", k, v, want)
		}
	}
	if m.Header.Get(nats.MsgIdHdr) != rowID(1) {
		t.Error("the event's own headers were changed")
	}
}

func TestParkWhatIsLargerThanThePayload(t *testing.T) {
	ctx, js := parkRig(t)
	body := bytes.Repeat([]byte("0123456789"), 30_000)
	p := jetstream.Parked{Task: "orders", Code: "KS-Y", Reason: strings.Repeat("é", 2000), Channel: "by-dev-rootcoord-dml_0", Position: "5", Body: body}
	for range 2 {
		if err := jetstream.Park(ctx, js, p); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	all := parkedMsgs(ctx, t, js)
	for _, m := range all {
		got = append(got, m.Data...)
		if r := m.Header.Get("kitestream-reason"); len(r) > 1024 || !strings.HasPrefix(p.Reason, r) {
			t.Errorf("reason of %d bytes", len(r))
		}
	}
	if !bytes.Equal(got, body) || len(all) != 5 {
		t.Errorf("%d parts of %d bytes in all, want %d bytes", len(all), len(got), len(body))
	}
}

// TestEveryEventCanBeParked parks the largest event that a publisher takes.
func TestEveryEventCanBeParked(t *testing.T) {
	ctx, js := parkRig(t)
	r := &pubRig{t: t, ctx: ctx, js: js}
	if err := jetstream.EnsureStream(ctx, js, pubTask, jetstream.StreamConfig{}); err != nil {
		t.Fatal(err)
	}
	u := r.open(js)
	e := rowEvent(0, u.MaxBody())
	e.Resume = strings.Repeat("r", 3000)
	if err := u.Publish(ctx, e); err != nil {
		t.Fatal(err)
	}
	r.flush(u)
	s, err := js.Stream(ctx, jetstream.StreamName(pubTask))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(ctx, r.lastSeq())
	if err != nil {
		t.Fatal(err)
	}
	err = jetstream.Park(ctx, js, jetstream.Parked{
		Task: pubTask, Target: "standby", Code: "KS-X", Reason: strings.Repeat("x", 5000), Subject: m.Subject, Header: m.Header, Body: m.Data, Seq: m.Sequence,
	})
	if err != nil {
		t.Fatal(err)
	}
	if all := parkedMsgs(ctx, t, js); len(all) != 1 {
		t.Errorf("it was parked in %d parts", len(all))
	}
}

func TestParkTooManyHeaders(t *testing.T) {
	ctx, js := parkRig(t)
	p := jetstream.Parked{Task: "orders", Target: "t", Header: nats.Header{"x": {strings.Repeat("x", 60<<10)}}, Seq: 1}
	if err := jetstream.Park(ctx, js, p); !errors.Is(err, jetstream.ErrTooLarge) {
		t.Errorf("Park = %v, want ErrTooLarge", err)
	}
}
