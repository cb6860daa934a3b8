//go:build servers

package e2e_test

import (
	"errors"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/handlers/milvus"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// foreignCollection: of a collection that the target has by the same name with another schema nothing is written, and
// it is said what differs; others go on.
func foreignCollection(r *rig.Rig) { foreign(r, "foreign") }

// foreign makes that situation for a task, and gives the collection that is stopped and another.
func foreign(r *rig.Rig, task string) (stopped, other *rig.Table) {
	dst := servers.Target(r)
	prefix := task + "_"
	r.Clean(prefix, dst)
	theirs := entity.NewSchema().WithName(prefix + "a").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("price", entity.FieldTypeDouble)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(16))
	if err := r.Client(dst, "").CreateCollection(r.Context(), theirs, 1); err != nil {
		r.Fatal(err)
	}
	r.Create(task, 2, rig.Prefix("default", prefix), dst) // which shows nothing amiss: the source's are not there yet
	stopped, other = r.Table("default", plain(prefix+"a"), 1), r.Table("default", plain(prefix+"b"), 1)
	for v := range int64(3) {
		stopped.Upsert("", rows(0, 100, v)...)
		other.Upsert("", rows(0, 100, v)...)
		r.PassedBy(task)
	}
	other.Check(dst)
	got := stopped.Read(dst)
	if got.Total() != 0 || !slices.Contains(got.Fields, "price") {
		r.Errorf("the foreign collection has %d rows of the fields %v", got.Total(), got.Fields)
	}
	r.Until("the collection is said to be stopped", func() bool { return view(r, task, prefix+"a").State == control.Stopped })
	a, b := view(r, task, prefix+"a"), view(r, task, prefix+"b")
	if a.Code != milvus.CodeSchema || !strings.Contains(a.Why, "price") || !strings.Contains(a.Why, "16") || a.Do == "" {
		r.Errorf("the stopped collection shows as %+v", a)
	}
	if b.State != control.Running || b.Why != "" {
		r.Errorf("the other collection shows as %+v", b)
	}
	var refused *control.Error
	_, err := r.Tasks.Wait(r.Context(), task, control.WaitOptions{})
	if !errors.As(err, &refused) || refused.Code != control.CodeStopped || !strings.Contains(err.Error(), prefix+"a") {
		r.Errorf("waiting for a task with a stopped collection: %v", err)
	}
	return stopped, other
}

// view is what `task get` shows of a collection on the task's first target; nothing when it does not show it (yet).
func view(r *rig.Rig, task, collection string) control.CollectionView {
	r.Helper()
	for _, c := range r.View(task).Targets[0].Collections {
		if c.Collection == collection {
			return c
		}
	}
	return control.CollectionView{}
}

// foreignHealed drops the foreign collection: resuming the task then brings all that was passed over.
func foreignHealed(r *rig.Rig) {
	dst := servers.Target(r)
	stopped, other := foreign(r, "heal")
	if err := r.Client(dst, "").DropCollection(r.Context(), stopped.Name); err != nil {
		r.Fatal(err)
	}
	if a := resume(r, "heal"); a.Retried != 1 {
		r.Errorf("%d collections are tried again, want 1", a.Retried)
	}
	stopped.Upsert("", rows(50, 150, 9)...)
	other.Delete("", ids(0, 10))
	r.Wait("heal")
	stopped.Check(dst)
	other.Check(dst)
	r.Equal(dst, "default", "heal_")
	idle(r, "heal")
}
