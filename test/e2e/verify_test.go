//go:build servers

package e2e_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/functions/verify"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// verified has a target compared with its source while a writer hammers the source: that finds nothing. Then something is planted
// on the target: that is found. Beside it another task verifies by itself.
func verified(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("verify_", dst)
	seed := rig.Seed(r)
	tb := searched(r, "verify_hammered")
	searched(r, "verify_itself").Upsert("", rows(0, 50, 1)...)
	spec := jetstream.TaskSpec{
		Name: "verified_itself", Lanes: 2, VerifyEvery: "1m",
		Select: rig.Prefix("default", "verify_itself"), Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}},
	}
	r.CreateTask(spec)
	r.Create("verified", 4, rig.Prefix("default", "verify_hammered"), dst)
	tb.Upsert("", rows(0, 2000, 1)...)
	tb.CreatePartition("p")
	r.Wait("verified")

	stop := hammer(r, tb, seed)
	var looked int64
	for range 5 {
		var a control.VerifyAnswer
		r.Ask(0, &a, "verify", "verified")
		if a.Verdict != verify.Equal || len(a.Reports) != 1 || a.Reports[0].Rows() < 1000 {
			r.Errorf("under the hammer: %+v", a)
		}
		looked += a.Reports[0].Collections[0].Looked
	}
	stop()
	r.Wait("verified")
	r.Logf("%d rows were looked at again", looked)
	o := r.Run("verify", "verified", "--target", "t1", "--collection", "default.verify_hammered")
	if o.Code != 0 || !strings.Contains(o.Stdout, "target t1: equal") {
		r.Errorf("at rest: exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	tb.Check(dst)
	plant(r, tb, dst)
	itself(r)
}

// searched makes a plain collection that has an index and is loaded.
func searched(r *rig.Rig, name string) *rig.Table {
	r.Helper()
	tb := r.Table("default", plain(name), 2)
	ix, err := entity.NewIndexHNSW(entity.L2, 8, 64)
	if err != nil {
		r.Fatal(err)
	}
	if err := tb.Client.CreateIndex(r.Context(), name, "vec", ix, false); err != nil {
		r.Fatal(err)
	}
	if err := tb.Client.LoadCollection(r.Context(), name, false); err != nil {
		r.Fatal(err)
	}
	return tb
}

// hammer upserts and deletes rows, over and over the same keys, until it is stopped.
func hammer(r *rig.Rig, tb *rig.Table, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan struct{})
	random := rand.New(rand.NewPCG(seed, 0))
	go func() {
		defer close(ended)
		for version := int64(2); ctx.Err() == nil; version++ {
			at := random.Int64N(2000)
			partition := []string{"_default", "p"}[random.IntN(2)]
			if random.IntN(4) == 0 {
				tb.Delete(partition, ids(at, at+random.Int64N(50)+1))
			} else {
				tb.Upsert(partition, rows(at, at+random.Int64N(100)+1, version)...)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// plant changes rows on the target alone.
func plant(r *rig.Rig, tb *rig.Table, dst *servers.Milvus) {
	there := r.Client(dst, "")
	if _, err := there.Upsert(r.Context(), tb.Name, "p", rows(90_000, 90_001, 1)...); err != nil {
		r.Fatal(err)
	}
	if err := there.CreatePartition(r.Context(), tb.Name, "q"); err != nil {
		r.Fatal(err)
	}
	var a control.VerifyAnswer
	r.Ask(1, &a, "verify", "verified")
	c := a.Reports[0].Collections[0]
	has := func(want verify.Difference) bool { return slices.Contains(c.Differences, want) }
	if a.Verdict != verify.Different || c.Extra != 1 || c.Settings != 1 || !has(verify.Difference{Kind: verify.ExtraRow, Partition: "p", Key: "90000", Target: "it"}) ||
		!has(verify.Difference{Kind: verify.OfPartition, Name: "q", Target: "it"}) {
		r.Errorf("planted: %+v", c)
	}
	o := r.Run("verify", "verified", "--repair", "--dry-run")
	if o.Code != 1 || !strings.Contains(o.Stdout, "dry run: 2 differences would be repaired") {
		r.Errorf("dry run: exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	o = r.Run("verify", "verified", "--sample", "10%", "--seed", "3")
	if o.Code != 1 || !strings.Contains(o.Stdout, "of a sample of 10% (--seed 3)") { // of the settings all are compared
		r.Errorf("sample: exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	if v := r.View("verified").Targets[0].Verified; v == nil || v.Verdict.Verdict != string(verify.Different) || v.Differences != 2 {
		r.Errorf("task get shows %+v", v)
	}
	var changed control.ChangeAnswer
	r.Ask(0, &changed, "task", "pause", "verified")
	if o := r.Run("verify", "verified"); o.Code != 3 || !strings.Contains(o.Stderr, "is paused") {
		r.Errorf("paused: exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	r.Ask(0, &changed, "task", "resume", "verified")
}

// itself waits for the verdict of a task that nobody asked to be verified.
func itself(r *rig.Rig) {
	r.Until("the task is verified by itself", func() bool {
		v := r.View("verified_itself").Targets[0].Verified
		return v != nil && v.Verdict.Verdict == string(verify.Equal) && v.Rows == 50 && v.Collections == 1
	})
	if o := r.Run("task", "get", "verified_itself"); !strings.Contains(o.Stdout, "VERIFIED") || !strings.Contains(o.Stdout, "equal (") {
		r.Errorf("task get says\n%s", o.Stdout)
	}
}
