package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/functions/verify"
	"kitestream/jetstream"
)

// worker answers requests for verifications as a worker does that has the source's API.
func (r *rig) worker(answer func(ctx context.Context, req host.VerifyRequest, say func(string)) host.VerifyAnswer) {
	r.t.Helper()
	nc := r.srv.Conn()
	sub, err := nc.QueueSubscribe(host.VerifySubject("default"), "workers", func(m *nats.Msg) {
		go func() {
			var req host.VerifyRequest
			if err := json.Unmarshal(m.Data, &req); err != nil {
				r.t.Errorf("request: %v", err)
			}
			caller, ctx, stop, err := host.Attend(r.t.Context(), nc, m.Reply)
			if err != nil {
				r.t.Errorf("attend: %v", err)
				return
			}
			a := answer(ctx, req, caller.Say)
			stop()
			raw, err := json.Marshal(a)
			if err != nil {
				r.t.Error(err)
			}
			_ = m.Respond(raw)
		}()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil { // who asks has a connection of its own, and may be faster
		r.t.Fatal(err)
	}
}

func TestVerifyGoesToAWorkerAndComesBack(t *testing.T) {
	r := newServed(t)
	ref := r.create(spec("orders", "near", "far"))
	var asked []host.VerifyRequest
	verdicts := map[string]verify.Verdict{"near": verify.Equal, "far": verify.Unknown}
	r.worker(func(_ context.Context, req host.VerifyRequest, say func(string)) host.VerifyAnswer {
		asked = append(asked, req)
		say("half-way")
		if req.Target == "far" {
			time.Sleep(1500 * time.Millisecond) // until it has been told
		}
		return host.VerifyAnswer{Report: &verify.Report{Task: req.Task, Target: req.Target, Verdict: verdicts[req.Target]}}
	})
	var told []string
	a, err := r.client.Verify(t.Context(), control.VerifyRequest{Name: "orders", Collections: []string{"db.a.b"}, Sample: 5, Seed: 7, Repair: true},
		func(text string) { told = append(told, text) })
	if err != nil {
		t.Fatal(err)
	}
	if a.Verdict != verify.Unknown || len(a.Reports) != 2 || a.Reports[0].Target != "near" || a.Reports[1].Target != "far" {
		t.Errorf("answer %+v", a)
	}
	if !slices.Contains(told, "target far: half-way") {
		t.Errorf("told %q", told)
	}
	want := host.VerifyRequest{
		Task: "orders", ID: ref.ID, Target: "near", Collections: []jetstream.QualifiedName{{Database: "db", Collection: "a.b"}}, Sample: 5, Seed: 7, Repair: true,
	}
	if len(asked) != 2 || asked[0].Collections[0] != want.Collections[0] {
		t.Fatalf("asked %+v", asked)
	}
	asked[0].Collections, want.Collections = nil, nil
	if asked[0].Task != want.Task || asked[0].ID != want.ID || asked[0].Target != want.Target || asked[0].Seed != 7 || !asked[0].Repair {
		t.Errorf("asked %+v", asked[0])
	}
}

// TestVerifyEndsWithWhoAsked: nobody reads millions of rows for nobody.
func TestVerifyEndsWithWhoAsked(t *testing.T) {
	r := newServed(t)
	r.create(spec("orders"))
	began, ended := make(chan struct{}), make(chan error, 1)
	r.worker(func(ctx context.Context, _ host.VerifyRequest, _ func(string)) host.VerifyAnswer {
		close(began)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return host.VerifyAnswer{Error: "gone"}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := r.client.Verify(ctx, control.VerifyRequest{Name: "orders"}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("verify = %v", err)
	}
	if err := <-ended; !errors.Is(err, host.ErrCallerGone) {
		t.Errorf("the worker's request ended with %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	r := newServed(t)
	r.create(spec("orders", "near"))
	r.create(spec("paused"))
	if _, err := r.client.Pause(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	refused := func(req control.VerifyRequest, code control.Code, field string) {
		t.Helper()
		_, err := r.client.Verify(t.Context(), req, func(string) {})
		var e *control.Error
		if !errors.As(err, &e) || e.Code != code || e.Field != field {
			t.Errorf("%+v: %v, want %s of %q", req, err, code, field)
		}
	}
	refused(control.VerifyRequest{Name: "none"}, control.CodeNotFound, "name")
	refused(control.VerifyRequest{Name: "paused"}, control.CodeState, "")
	refused(control.VerifyRequest{Name: "orders", Targets: []string{"near", "x"}}, control.CodeInvalid, "targets[1]")
	refused(control.VerifyRequest{Name: "orders", Collections: []string{"x"}}, control.CodeInvalid, "collections[0]")
	refused(control.VerifyRequest{Name: "orders", Sample: 101}, control.CodeInvalid, "sample")
	refused(control.VerifyRequest{Name: "orders", Search: -1}, control.CodeInvalid, "search")
	refused(control.VerifyRequest{Name: "orders"}, control.CodeNoVerifier, "")
	r.worker(func(context.Context, host.VerifyRequest, func(string)) host.VerifyAnswer {
		return host.VerifyAnswer{Error: "the source is away"}
	})
	refused(control.VerifyRequest{Name: "orders"}, control.CodeVerify, "")
}

// TestGetShowsTheLastVerdict, with its age.
func TestGetShowsTheLastVerdict(t *testing.T) {
	r := newServed(t)
	ref := r.create(spec("orders", "near", "far"))
	at := time.Now().Add(-time.Hour)
	want := jetstream.Verdict{At: at.UTC(), Verdict: "different", Why: "a row", Differences: 3, Rows: 10, Collections: 2, Seconds: 1.5, Worker: "w"}
	if err := jetstream.PutVerdict(t.Context(), r.buckets.Status, ref.Target("near"), want); err != nil {
		t.Fatal(err)
	}
	v, err := r.client.Get(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	got := v.Targets[0].Verified
	if got == nil || got.Verdict != want || got.AgeSeconds < 3600 || v.Targets[1].Verified != nil {
		t.Errorf("got %+v", got)
	}
	if _, err := r.client.Delete(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.VerdictOf(t.Context(), r.buckets.Status, ref.Target("near")); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("the verdict outlives the task: %v", err)
	}
}
