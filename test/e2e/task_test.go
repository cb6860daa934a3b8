//go:build servers

package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/oracle"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// recreated drops a collection and makes it again under its name, with another schema, while what was written to the
// first one still waits.
func recreated(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("again_", dst)
	first := r.Table("default", plain("again_a"), 2)
	r.Create("again", 4, rig.Prefix("default", "again_"), dst)
	first.Upsert("", rows(0, 100, 1)...)
	r.Wait("again")
	first.Check(dst)
	pause(r, "again")
	first.Upsert("", rows(50, 400, 2)...)
	first.Drop()
	second := r.Table("default", entity.NewSchema().WithName("again_a").
		WithField(field("name", entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(20)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(2)), 1)
	second.Upsert("", entity.NewColumnVarChar("name", []string{"a", "b"}), entity.NewColumnFloatVector("vec", 2, [][]float32{{1, 2}, {3, 4}}))
	second.Drop()
	third := r.Table("default", plain("again_a"), 1)
	third.Upsert("", rows(300, 350, 3)...)
	resume(r, "again")
	r.Wait("again")
	third.Check(dst)
	r.Equal(dst, "default", "again_")
	r.CheckStream("again")
}

// pause pauses a task and returns when no worker has anything of it any more.
func pause(r *rig.Rig, task string) {
	r.Helper()
	if _, err := r.Tasks.Pause(r.Context(), task); err != nil {
		r.Fatal(err)
	}
	r.Until("workers have let go of "+task, func() bool {
		return !slices.ContainsFunc(r.View(task).Targets, func(t control.TargetView) bool {
			return slices.ContainsFunc(t.Lanes, func(l control.LaneView) bool { return l.Holder != "" })
		})
	})
}

func resume(r *rig.Rig, task string) *control.ChangeAnswer {
	r.Helper()
	a, err := r.Tasks.Resume(r.Context(), task)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// pausedAndResumed: while a task is paused its source is read and nothing is applied, and it is said so.
func pausedAndResumed(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("pause_", dst)
	tb := r.Table("default", plain("pause_a"), 2)
	r.Create("pause", 4, rig.Prefix("default", "pause_"), dst)
	tb.Upsert("", rows(0, 500, 1)...)
	r.Wait("pause")
	tb.Check(dst)
	pause(r, "pause")
	before := tb.Read(dst)
	tb.Upsert("", rows(250, 1000, 2)...)
	tb.Delete("", ids(0, 10))
	tb.CreatePartition("p")
	at := r.Captured("pause")
	if d := oracle.Compare(before, tb.Read(dst)); !d.Equal() {
		r.Errorf("before and after a while of pausing: %s", d)
	}
	if n := len(at.Targets[0].Lanes); n != 4 || at.Targets[0].Lanes[0].Floor >= at.Targets[0].Lanes[0].Wanted {
		r.Errorf("lane 0 is at %+v", at.Targets[0].Lanes)
	}
	v := r.View("pause")
	if v.State != control.Paused || v.Targets[0].State != control.Paused || v.Targets[0].Lag.Text != "paused" ||
		v.Targets[0].Lag.Rows != nil || len(v.Targets[0].Collections) != 1 || v.Targets[0].Collections[0].Lag.Text != "paused" {
		r.Errorf("a paused task shows as %+v", v)
	}
	var refused *control.Error
	if _, err := r.Tasks.Wait(r.Context(), "pause", control.WaitOptions{}); !errors.As(err, &refused) || refused.Code != control.CodeState {
		r.Errorf("waiting for a paused task: %v", err)
	}
	resume(r, "pause")
	r.Wait("pause")
	tb.Check(dst)
	r.Equal(dst, "default", "pause_")
	idle(r, "pause")
}

// idle returns when a task shows that it has nothing to do.
func idle(r *rig.Rig, task string) {
	r.Helper()
	r.Until(task+" has no lag", func() bool {
		v := r.View(task)
		ok := v.State == control.Running && v.Why == ""
		for _, t := range v.Targets {
			ok = ok && none(t.Lag) && len(t.Collections) > 0
			for _, c := range t.Collections {
				ok = ok && none(c.Lag)
			}
		}
		return ok
	})
}

func none(l control.Lag) bool {
	return l.Text == "0s" && l.Seconds != nil && *l.Seconds == 0 && l.Rows != nil && *l.Rows == 0
}

// taskAgain deletes a task, finds nothing of it left in JetStream, and makes it again: the target is right although
// the source has changed meanwhile.
func taskAgain(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("twice_", dst)
	tb := r.Table("default", plain("twice_a"), 2)
	sel := rig.Prefix("default", "twice_")
	r.Create("twice", 4, sel, dst)
	tb.Upsert("", rows(0, 300, 1)...)
	tb.CreatePartition("p")
	tb.Upsert("p", rows(0, 30, 1)...)
	r.Wait("twice")
	tb.Check(dst)
	if left := traces(r, "twice"); len(left) == 0 {
		r.Error("no trace of a task that is there")
	}
	if _, err := r.Tasks.Delete(r.Context(), "twice"); err != nil {
		r.Fatal(err)
	}
	if left := traces(r, "twice"); len(left) > 0 {
		r.Errorf("of the deleted task are left: %v", left)
	}
	tb.Upsert("", rows(100, 400, 2)...)
	tb.Delete("", ids(0, 50))
	r.Create("twice", 2, sel, dst)
	tb.Upsert("p", rows(10, 20, 3)...)
	r.Wait("twice")
	tb.Check(dst)
	r.Equal(dst, "default", "twice_")
	r.CheckStream("twice")
	idle(r, "twice")
}

// traces are the streams and the keys in buckets that bear the name of a task.
func traces(r *rig.Rig, task string) []string {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
	defer cancel()
	var left []string
	streams := r.JS.ListStreams(ctx)
	for s := range streams.Info() {
		if strings.HasSuffix(s.Config.Name, "_"+task) {
			left = append(left, s.Config.Name)
		}
	}
	if err := streams.Err(); err != nil {
		r.Fatal(err)
	}
	for _, bucket := range []string{jetstream.BucketTasks, jetstream.BucketLeases, jetstream.BucketLanes, jetstream.BucketLedger, jetstream.BucketStatus} {
		kv, err := r.JS.KeyValue(ctx, bucket)
		if err != nil {
			r.Fatal(err)
		}
		keys, err := kv.ListKeys(ctx)
		if errors.Is(err, natsjs.ErrNoKeysFound) {
			continue
		}
		if err != nil {
			r.Fatal(err)
		}
		for key := range keys.Keys() {
			if slices.Contains(strings.Split(key, "."), task) {
				left = append(left, bucket+"/"+key)
			}
		}
	}
	return left
}
