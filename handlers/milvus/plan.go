package milvus

import (
	"context"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// Plan says what CreateCollection would do with the request, which has the target's names, and changes nothing.
func (t *Target) Plan(ctx context.Context, req *milvuspb.CreateCollectionRequest) (handlers.Plan, error) {
	want, err := targetRequest(req)
	if err != nil {
		return handlers.Plan{}, err
	}
	source, err := parseSchema(req.GetSchema())
	if err != nil {
		return handlers.Plan{}, err
	}
	v, err := t.version(ctx)
	if err != nil {
		return handlers.Plan{}, fmt.Errorf("ask the target for its version: %w", err)
	}
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	diff, err := t.compare(ctx, ref, want)
	found := !isCode(err, CodeNoCollection, CodeNoDatabase)
	if err != nil && found {
		return handlers.Plan{}, fmt.Errorf("look at %s: %w", ref, err)
	}
	p := handlers.Plan{
		Target: ref, Version: v.text, Action: handlers.ActionAdopt,
		Problems: v.problems(want.schema), Differences: diff, Warnings: v.warnings(source, req.GetShardsNum()),
	}
	switch {
	case len(p.Problems) > 0:
		p.Action = handlers.ActionRefuse
	case !found:
		p.Action = handlers.ActionCreate
	case len(diff) > 0:
		p.Action = handlers.ActionDiffers
	}
	if p.Action != handlers.ActionAdopt {
		return p, nil
	}
	is, err := t.loadState(ctx, ref)
	if err != nil {
		return handlers.Plan{}, fmt.Errorf("look whether %s is loaded: %w", ref, err)
	}
	if p.Loaded = is != nil && is.partitions == nil; !p.Loaded {
		p.Warnings = append(p.Warnings, "it is there and not loaded: rows of it that the source does not have will stay, unless it is loaded before")
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
