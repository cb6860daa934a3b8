package milvus

import (
	"context"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// Action is what CreateCollection would do.
type Action string

// The actions.
const (
	Create  Action = "create"  // the collection is not there
	Adopt   Action = "adopt"   // it is there, and as wanted
	Differs Action = "differs" // it is there with another schema: see Plan.Differences
	Refuse  Action = "refuse"  // the target can't hold it: see Plan.Problems
)

// Plan is what would become of a collection on a target.
type Plan struct {
	Collection handlers.Ref
	Target     string // what the target says that it is, such as v2.4.15
	Action     Action
	// Differences are those between the wanted collection and the one that is there.
	Differences []string
	// Problems are why the target can't hold the collection.
	Problems []Problem
	// Warnings are what will be otherwise than on the source, and no reason not to go on.
	Warnings []string
}

// Problem is something in a schema that a target can't hold.
type Problem struct {
	Name   string // of the field or function; empty for the collection as a whole
	Reason string // what it is, and which version would hold it
}

// String is the problem in one sentence.
func (p Problem) String() string {
	if p.Name == "" {
		return "the collection " + p.Reason
	}
	return fmt.Sprintf("%q %s", p.Name, p.Reason)
}

// Plan says what CreateCollection would do with the request, which has the target's names, and changes nothing.
func (t *Target) Plan(ctx context.Context, req *milvuspb.CreateCollectionRequest) (Plan, error) {
	p := Plan{Collection: handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}}
	want, err := targetRequest(req)
	if err != nil {
		return p, err
	}
	source, err := parseSchema(req.GetSchema())
	if err != nil {
		return p, err
	}
	v, err := t.version(ctx)
	if err != nil {
		return p, fmt.Errorf("ask the target for its version: %w", err)
	}
	p.Target, p.Problems, p.Warnings = v.text, v.problems(want.schema), v.warnings(source, req.GetShardsNum())
	found := true
	p.Differences, err = t.compare(ctx, p.Collection, want)
	if isCode(err, CodeNoCollection, CodeNoDatabase) {
		found, err = false, nil
	}
	if err != nil {
		return p, fmt.Errorf("look at %s: %w", p.Collection, err)
	}
	switch {
	case len(p.Problems) > 0:
		p.Action = Refuse
	case !found:
		p.Action = Create
	case len(p.Differences) > 0:
		p.Action = Differs
	default:
		p.Action = Adopt
	}
	return p, nil
}

// maxShards is how many shards a Milvus lets a collection have unless it was told otherwise (proxy.maxShardNum).
const maxShards = 16

// warnings are what will be otherwise on the target than on the source.
func (v version) warnings(source *schema, shards int32) []string {
	var out []string
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !v.known() {
		warn("the target is %s: whether it can hold the collection is not known", v)
	}
	switch {
	case v.lite && shards > 1:
		warn("%d shards become one: Milvus Lite has no more", shards)
	case shards > maxShards:
		warn("%d shards: the target refuses them if its proxy.maxShardNum is the usual %d", shards, maxShards)
	}
	for _, f := range source.GetFields() {
		if f.GetAutoID() {
			warn("auto-ID of %q will be off, so that rows keep their keys: clients that write to the target must give keys", f.GetName())
		}
		if f.GetIsClusteringKey() && (v.lite || v.before(release{2, 4})) {
			warn("%q will be no clustering key: that needs Milvus 2.4. Rows are the same", f.GetName())
		}
	}
	for _, f := range source.GetFunctions() {
		warn("the target computes %q itself, by its function %q", strings.Join(f.GetOutputFieldNames(), ", "), f.GetName())
	}
	if v.lite {
		out = append(out, liteWarnings(source)...)
	}
	return out
}
