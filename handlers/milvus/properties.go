package milvus

import (
	"context"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// ttlProperty is how long rows live, in seconds; "0" is for ever.
const ttlProperty = "collection.ttl.seconds"

// keptProperties are prefixes of properties that a target does not take over: of Milvus's own replication, which would
// make it refuse writes, denials of writes, which would do so before the last rows have come, and resource groups, which
// are its own affair.
var keptProperties = []string{"replicate.", "database.force.deny.", "database.resource_groups", "collection.resource_groups"}

// TakesProperty reports whether a target takes the property over.
func TakesProperty(key string) bool {
	return !slices.ContainsFunc(keptProperties, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// pairs is a list of properties as Milvus's requests have them.
type pairs = []*commonpb.KeyValuePair

// changes is what is left to be done where some properties are set already, and others are not there to be removed.
func changes(have, set pairs, remove []string) (pairs, []string) {
	h := map[string]string{}
	for _, p := range have {
		h[p.GetKey()] = p.GetValue()
	}
	var outSet pairs
	for _, p := range set {
		if v, ok := h[p.GetKey()]; TakesProperty(p.GetKey()) && (!ok || v != p.GetValue()) {
			outSet = append(outSet, p)
		}
	}
	var outRemove []string
	for _, key := range remove {
		if v, ok := h[key]; TakesProperty(key) && ok && (key != ttlProperty || v != "0") {
			outRemove = append(outRemove, key)
		}
	}
	return outSet, outRemove
}

// apart makes one call for what is set and one for what is removed: Milvus does not take both at once.
func apart(set pairs, remove []string, call func(pairs, []string) error) error {
	if len(set) > 0 {
		if err := call(set, nil); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		return call(nil, remove)
	}
	return nil
}

// AlterCollection sets and removes the collection's properties. A 2.3.5 removes none, and says so only if nothing is set with
// it, so it is looked after.
func (t *Target) AlterCollection(ctx context.Context, req *milvuspb.AlterCollectionRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	d, err := t.describe(ctx, ref)
	if err != nil {
		return setting(err, needsProperties)
	}
	set, remove := changes(d.GetProperties(), req.GetProperties(), req.GetDeleteKeys())
	if err := apart(set, nil, t.alterCollection(ctx, ref)); err != nil || len(remove) == 0 {
		return setting(err, needsProperties)
	}
	return setting(t.removeProperties(ctx, ref, remove), needsProperties)
}

const needsProperties = "Milvus 2.4 or later"

func (t *Target) alterCollection(ctx context.Context, ref handlers.Ref) func(pairs, []string) error {
	return func(set pairs, remove []string) error {
		s, err := t.service.AlterCollection(ctx, &milvuspb.AlterCollectionRequest{
			DbName: ref.Database, CollectionName: ref.Collection, Properties: set, DeleteKeys: remove,
		})
		return checkStatus(s, err)
	}
}

// removeProperties removes properties. Where the target can't, rows that were to die are at least let live.
func (t *Target) removeProperties(ctx context.Context, ref handlers.Ref, keys []string) error {
	err := t.alterCollection(ctx, ref)(nil, keys)
	if err != nil && !isRefusal(err) {
		return err
	}
	d, again := t.describe(ctx, ref)
	if again != nil {
		return again
	}
	_, left := changes(d.GetProperties(), nil, keys)
	if slices.Contains(left, ttlProperty) {
		if err := t.alterCollection(ctx, ref)(pairs{{Key: ttlProperty, Value: "0"}}, nil); err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(key string) bool { return key == ttlProperty })
	}
	if len(left) == 0 {
		return nil
	}
	return refuse(CodeUnsupported, "the target's version can't remove properties: %s of %s stays as it is; set it to what you want there by hand",
		strings.Join(left, ", "), ref)
}

// AlterDatabase sets and removes the database's properties.
func (t *Target) AlterDatabase(ctx context.Context, req *milvuspb.AlterDatabaseRequest) error {
	set := slices.DeleteFunc(slices.Clone(req.GetProperties()), func(p *commonpb.KeyValuePair) bool { return !TakesProperty(p.GetKey()) })
	remove := slices.DeleteFunc(slices.Clone(req.GetDeleteKeys()), func(key string) bool { return !TakesProperty(key) })
	err := apart(set, remove, func(set pairs, remove []string) error {
		s, err := t.service.AlterDatabase(ctx, &milvuspb.AlterDatabaseRequest{DbName: req.GetDbName(), Properties: set, DeleteKeys: remove})
		return checkStatus(s, err)
	})
	return setting(err, needsProperties)
}

// AlterField sets and removes a field's properties, how long its strings may be among them.
func (t *Target) AlterField(ctx context.Context, req *milvuspb.AlterCollectionFieldRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	d, err := t.describe(ctx, ref)
	if err != nil {
		return setting(err, needsProperties)
	}
	set, remove := req.GetProperties(), req.GetDeleteKeys()
	for _, f := range d.GetSchema().GetFields() {
		if f.GetName() == req.GetFieldName() {
			set, remove = changes(f.GetTypeParams(), set, remove)
		}
	}
	err = apart(set, remove, func(set pairs, remove []string) error {
		s, err := t.service.AlterCollectionField(ctx, &milvuspb.AlterCollectionFieldRequest{
			DbName: ref.Database, CollectionName: ref.Collection, FieldName: req.GetFieldName(), Properties: set, DeleteKeys: remove,
		})
		return checkStatus(s, err)
	})
	return setting(err, "Milvus 2.5 or later")
}

// Flush has the target seal what it holds in memory. It answers before that is written.
func (t *Target) Flush(ctx context.Context, ref handlers.Ref) error {
	res, err := t.service.Flush(ctx, &milvuspb.FlushRequest{DbName: ref.Database, CollectionNames: []string{ref.Collection}})
	return unless(setting(check(res, err), "flushing"), CodeNoCollection, CodeNoDatabase)
}
