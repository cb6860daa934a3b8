package handlers

import (
	"context"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
)

// Action is what becomes of a collection's creation on a target.
type Action string

// The actions. The latter two stop the collection, unless somebody changes something before.
const (
	ActionCreate  Action = "create"  // the collection is not there, and will be made
	ActionAdopt   Action = "adopt"   // it is there, and as wanted
	ActionDiffers Action = "differs" // it is there with another schema: see Plan.Differences
	ActionRefuse  Action = "refuse"  // the target can't hold it, or its rule does not fit: see Plan.Problems
)

// Plan is what would become of a collection of the source on a target.
type Plan struct {
	Source  Ref    `json:"source"`  // its name on the source
	Target  Ref    `json:"target"`  // its name on the target
	Version string `json:"version"` // what the target says that it is, such as v2.4.15
	Action  Action `json:"action"`
	Loaded  bool   `json:"loaded,omitempty"` // what is to be adopted is loaded whole, so that its rows can be looked at
	// Problems are why the target can't hold the collection, each with the field or function or part of the rule that it is about.
	Problems []string `json:"problems,omitempty"`
	// Differences are those between the wanted collection and the one that is there.
	Differences []string `json:"differences,omitempty"`
	// Warnings are what will be otherwise than on the source, and no reason not to go on.
	Warnings []string `json:"warnings,omitempty"`
}

// Plan says what a creation of the collection would come to, and changes nothing. The request has the source's names and
// schema, as an event has; the task's mapping and rules are applied to it. The target is asked once: its error, an *Error or
// that of ctx, is returned as it is.
func (h *Handlers) Plan(ctx context.Context, req *milvuspb.CreateCollectionRequest) (Plan, error) {
	source := Ref{req.GetDbName(), req.GetCollectionName()}
	schema := &schemapb.CollectionSchema{}
	if err := proto.Unmarshal(req.GetSchema(), schema); err != nil {
		return Plan{}, permanent(CodeEvent, fmt.Errorf("read the schema of %s: %w", source, err))
	}
	var misfits []string
	if rule := h.placement.ruleOf(source); rule != nil {
		misfits = texts(rule.Fits(schema))
		schema = rule.Cut(schema)
	}
	b, err := proto.Marshal(schema)
	if err != nil {
		return Plan{}, permanent(CodeEvent, fmt.Errorf("write the schema of %s: %w", source, err))
	}
	to := h.placement.refOf(source)
	out := proto.CloneOf(req)
	out.DbName, out.CollectionName, out.Schema = to.Database, to.Collection, b
	p, err := h.target.Plan(ctx, out)
	if err != nil {
		return Plan{}, fmt.Errorf("plan %s on target %s: %w", source, h.o.Target, err)
	}
	p.Source, p.Target = source, to
	if len(misfits) > 0 {
		p.Action, p.Problems = ActionRefuse, append(misfits, p.Problems...)
	}
	return p, nil
}

// texts are the errors that were joined, one by one.
func texts(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var out []string
	for _, e := range joined.Unwrap() {
		out = append(out, e.Error())
	}
	return out
}
