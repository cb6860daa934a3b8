package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// TestPlanIsWhatApplyDoes has a plan and an event's application ask the target for the same collection, under a mapping and
// rules; a rule that does not fit refuses in both.
func TestPlanIsWhatApplyDoes(t *testing.T) {
	schema := &schemapb.CollectionSchema{Name: "c", Fields: []*schemapb.FieldSchema{
		{Name: "id", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		{Name: "v", DataType: schemapb.DataType_FloatVector},
		{Name: "secret", DataType: schemapb.DataType_VarChar},
	}}
	b, err := proto.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		spec     jetstream.TaskSpec
		misfit   bool
		problems []string
	}{
		"plain":         {problems: []string{"too new"}},
		"mapped":        {spec: jetstream.TaskSpec{Map: []jetstream.Mapping{{ToDatabase: "other", ToCollection: "{db}_{collection}"}}}, problems: []string{"too new"}},
		"without_field": {spec: jetstream.TaskSpec{Rules: []jetstream.Rule{{DropFields: []string{"secret"}, Where: `secret != ""`}}}, problems: []string{"too new"}},
		"misfit": {
			spec:   jetstream.TaskSpec{Rules: []jetstream.Rule{{DropFields: []string{"none", "id"}}}},
			misfit: true, problems: []string{`drop_fields[0]: "none" is no field of the collection`, `drop_fields[1]: "id" is the primary key`, "too new"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var planned, created *milvuspb.CreateCollectionRequest
			target := &fake{
				PlanFunc: func(_ context.Context, req *milvuspb.CreateCollectionRequest) (handlers.Plan, error) {
					planned = req
					return handlers.Plan{Version: "v1", Action: handlers.ActionCreate, Problems: []string{"too new"}}, nil
				},
				CreateCollectionFunc: func(_ context.Context, req *milvuspb.CreateCollectionRequest) error {
					created = req
					return nil
				},
			}
			h := newHandlers(t, target, handlers.Options{Spec: tc.spec})
			req := &milvuspb.CreateCollectionRequest{DbName: "db", CollectionName: "c", Schema: b, ShardsNum: 2}
			p, err := h.Plan(t.Context(), proto.CloneOf(req))
			if err != nil {
				t.Fatal(err)
			}
			body, err := proto.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			res := h.Apply(t.Context(), []*jetstream.Event{{
				ID: "1", Kind: jetstream.CreateCollection, Database: "db", Collection: "c", CollectionID: 1, Body: body,
			}})
			want := handlers.ActionCreate
			if tc.misfit {
				want = handlers.ActionRefuse
				if len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeRule {
					t.Errorf("Apply = %+v, want it stopped by its rule", res)
				}
			} else if !proto.Equal(planned, created) {
				t.Errorf("planned %v\ncreated %v", planned, created)
			}
			if p.Action != want || !slices.Equal(p.Problems, tc.problems) || p.Source != (handlers.Ref{Database: "db", Collection: "c"}) ||
				p.Target != (handlers.Ref{Database: planned.GetDbName(), Collection: planned.GetCollectionName()}) {
				t.Errorf("plan %+v, want to %s, problems %q", p, want, tc.problems)
			}
		})
	}
}

// TestPlanForPrograms is a plan as `task create --dry-run` may print it.
func TestPlanForPrograms(t *testing.T) {
	b, err := json.Marshal(handlers.Plan{
		Source: handlers.Ref{Database: "a", Collection: "c"}, Target: handlers.Ref{Database: "b", Collection: "c"},
		Version: "v2.3.5", Action: handlers.ActionRefuse, Problems: []string{"x"},
	})
	want := `{"source":{"database":"a","collection":"c"},"target":{"database":"b","collection":"c"},"version":"v2.3.5","action":"refuse","problems":["x"]}`
	if err != nil || string(b) != want {
		t.Errorf("plan is %s (%v), want %s", b, err, want)
	}
}

// TestPlanOfATargetThatIsDown says why.
func TestPlanOfATargetThatIsDown(t *testing.T) {
	down := &handlers.Error{Class: handlers.Transient, Code: "KS-T-UNAVAILABLE", Err: errors.New("refused")}
	h := newHandlers(t, &fake{PlanFunc: func(context.Context, *milvuspb.CreateCollectionRequest) (handlers.Plan, error) {
		return handlers.Plan{}, down
	}}, handlers.Options{})
	if _, err := h.Plan(t.Context(), &milvuspb.CreateCollectionRequest{}); !errors.Is(err, down) {
		t.Errorf("Plan = %v, want %v", err, down)
	}
	var known *handlers.Error
	if _, err := h.Plan(t.Context(), &milvuspb.CreateCollectionRequest{Schema: []byte{0xff}}); !errors.As(err, &known) || known.Code != handlers.CodeEvent {
		t.Errorf("Plan of an unreadable schema = %v", err)
	}
}
