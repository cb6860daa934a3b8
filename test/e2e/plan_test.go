//go:build servers

package e2e_test

import (
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// planned: what a target can't hold is said before the task is made, and the task is refused.
func planned(r *rig.Rig) {
	dst, lite := servers.Target(r), servers.SharedLite(r)
	const prefix = "plan_"
	r.Clean(prefix, dst)
	binary := entity.NewSchema().WithName(prefix + "bits").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("bits", entity.FieldTypeBinaryVector).WithDim(16))
	r.Table("default", plain(prefix+"a"), 1)
	r.Table("default", plain(prefix+"taken"), 1)
	r.Table("default", binary, 2)
	theirs := entity.NewSchema().WithName(prefix + "taken").
		WithField(field("id", entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(64)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4))
	if err := r.Client(dst, "").CreateCollection(r.Context(), theirs, 1); err != nil {
		r.Fatal(err)
	}
	spec := jetstream.TaskSpec{Name: "planned", Select: rig.Prefix("default", prefix), Targets: []jetstream.TargetSpec{
		{Name: "same", URI: dst.URI}, {Name: "lite", URI: lite.URI}, {Name: "away", URI: "http://127.0.0.1:1"},
	}}
	var plan *control.PlanAnswer
	r.Until("the bridge knows the three collections", func() bool {
		var err error
		plan, err = r.Tasks.Plan(r.Context(), spec)
		return err == nil && plan.Resolved != nil && len(plan.Resolved.Matched) == 3
	})
	for i, want := range [][]string{{"create", "create", "differs"}, {"create", "refuse", "create"}, nil} {
		var got []string
		for _, c := range plan.Targets[i].Collections {
			got = append(got, c.Action)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			r.Errorf("planned for target %s: %+v, want %v", plan.Targets[i].Name, plan.Targets[i], want)
		}
	}
	if n := plan.Targets[2].Note; !strings.Contains(n, "away") {
		r.Errorf("of a target that is away is said: %q", n)
	}
	if len(plan.Problems) != 2 || !strings.Contains(plan.Problems[0].Message, `has a collection default.plan_taken already`) ||
		!strings.Contains(plan.Problems[1].Message, "bits") {
		r.Errorf("problems: %+v", plan.Problems)
	}
	if _, err := r.Tasks.Create(r.Context(), spec); err == nil || !strings.Contains(err.Error(), plan.Problems[1].Message) {
		r.Errorf("create of what can't be held: %v", err)
	}
	spec.Select[0].Exclude = []string{prefix + "bits", prefix + "taken"}
	spec.Targets = spec.Targets[:2]
	a, err := r.Tasks.Create(r.Context(), spec)
	if err != nil || a.Note != "" {
		r.Errorf("create of what can be: %+v, %v", a, err)
	}
}
