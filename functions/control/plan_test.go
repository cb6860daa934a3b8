package control_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/handlers"
	"kitestream/jetstream"
)

// respond answers requests on a subject for the time of the test.
func respond[Q, A any](r *rig, subject string, answer func(Q) A) {
	r.t.Helper()
	nc := r.srv.Conn()
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		var q Q
		_ = json.Unmarshal(m.Data, &q)
		raw, _ := json.Marshal(answer(q))
		_ = m.Respond(raw)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

// source answers for a source of so many collections c0, c1, …, a page of two at a time.
func (r *rig) source(n int) {
	names := make([]jetstream.QualifiedName, n)
	for i := range names {
		names[i] = jetstream.QualifiedName{Database: "default", Collection: fmt.Sprint("c", i)}
	}
	schema, err := proto.Marshal(&schemapb.CollectionSchema{Fields: []*schemapb.FieldSchema{
		{FieldID: 100, Name: "id", IsPrimaryKey: true, DataType: schemapb.DataType_Int64}, {FieldID: 101, Name: "n", DataType: schemapb.DataType_Int64}}})
	if err != nil {
		r.t.Fatal(err)
	}
	respond(r, host.ResolveSubject("default"), func(jetstream.TaskSpec) host.ResolveAnswer { return host.ResolveAnswer{Matched: names} })
	respond(r, host.DescribeSubject("default"), func(q host.DescribeRequest) (a host.DescribeAnswer) {
		for i, c := range names {
			if c.Collection <= q.After.Collection {
				continue
			}
			if len(a.Creates) == 2 {
				a.More = true
				break
			}
			raw, _ := proto.Marshal(&milvuspb.CreateCollectionRequest{DbName: "default", CollectionName: names[i].Collection, Schema: schema})
			a.Creates, a.Last = append(a.Creates, raw), c
		}
		return a
	})
}

// A task is refused for what a target can't hold, and planned with all of it. Without a worker, or a source, it is made, with a
// note.
func TestPlanAndCreate(t *testing.T) {
	r := newServed(t)
	s := spec("orders", "near", "far")
	create := func() (note string, err error) {
		t.Helper()
		a, err := r.client.Create(t.Context(), s)
		if err != nil {
			return "", err
		}
		if _, err := r.client.Delete(t.Context(), s.Name); err != nil {
			t.Fatal(err)
		}
		return a.Note, nil
	}
	if note, err := create(); err != nil || !strings.Contains(note, "no bridge of source default") {
		t.Errorf("create without a source: %q, %v", note, err)
	}
	r.source(5)
	if note, err := create(); err != nil || !strings.Contains(note, "no worker is running, so target far was not asked") {
		t.Errorf("create without a worker: %q, %v", note, err)
	}
	s.Rules = []jetstream.Rule{{Collections: []string{"c3"}, Where: "m > 1"}}
	if _, err := create(); code(err) != control.CodeInvalid || !strings.Contains(err.Error(), "rules[0].where") || !strings.Contains(err.Error(), "default.c3") {
		t.Errorf("create with a rule that does not fit: %v", err)
	}
	s.Rules = nil
	respond(r, host.PlanSubject, func(q host.PlanRequest) (a host.PlanAnswer) {
		for _, raw := range q.Creates {
			var c milvuspb.CreateCollectionRequest
			_ = proto.Unmarshal(raw, &c)
			p := handlers.Plan{Source: handlers.Ref{Database: c.GetDbName(), Collection: c.GetCollectionName()}, Action: handlers.ActionCreate}
			if q.Target.Name == "far" && c.GetCollectionName() == "c4" {
				p.Action, p.Problems = handlers.ActionRefuse, []string{"n: too new"}
			}
			a.Plans = append(a.Plans, p)
		}
		return a
	})
	plan, err := r.client.Plan(t.Context(), s)
	if err != nil || len(plan.Targets) != 2 || len(plan.Targets[0].Collections) != 5 || len(plan.Problems) != 1 {
		t.Fatalf("plan = %+v, %v", plan, err)
	}
	if want := "far can't hold default.c4: n: too new"; plan.Problems[0].Message != want || plan.Problems[0].Field != "targets[1]" {
		t.Errorf("problem = %+v, want %q", plan.Problems[0], want)
	}
	if _, err := create(); code(err) != control.CodeInvalid || !strings.Contains(err.Error(), plan.Problems[0].Message) {
		t.Errorf("create of what can't be held: %v", err)
	}
	s.Targets = s.Targets[:1]
	if note, err := create(); err != nil || note != "" {
		t.Errorf("create of what can be held: %q, %v", note, err)
	}
}
