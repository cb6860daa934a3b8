package milvus

import (
	"context"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
)

// CreateCollection makes the collection of the source's request, with auto-ID off so that rows keep their keys, or
// adopts one of that name whose schema is just that. A database that is not there is made first, so that a collection
// is not lost to an error that its database met.
func (t *Target) CreateCollection(ctx context.Context, req *milvuspb.CreateCollectionRequest) error {
	want, err := targetRequest(req)
	if err != nil {
		return err
	}
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	t.shapes.forget(ref)
	if err := t.holds(ctx, ref, want); err != nil {
		return err
	}
	if err := t.adopt(ctx, ref, want); !isCode(err, CodeNoCollection, CodeNoDatabase) {
		return err
	}
	if err := t.CreateDatabase(ctx, ref.Database); err != nil {
		return err
	}
	s, err := t.service.CreateCollection(ctx, want.request)
	err = checkStatus(s, err)
	if err == nil {
		return nil
	}
	// Another worker may have been faster, or an earlier call that timed out.
	if again := t.adopt(ctx, ref, want); again == nil || isCode(again, CodeSchema) {
		return again
	}
	return err
}

// holds refuses what the target's version can't hold. A server that is older than a field's type need not: a 2.3.5 makes
// the collection, without what it doesn't know.
func (t *Target) holds(ctx context.Context, ref handlers.Ref, want *wanted) error {
	v, err := t.version(ctx)
	if err != nil {
		return err
	}
	problems := v.problems(want.schema)
	if len(problems) == 0 {
		return nil
	}
	return refuse(CodeUnsupported, "the target can't hold %s: %s", ref, strings.Join(problems, "; "))
}

// adopt compares a collection that is there with the wanted one. The error is a CodeNoCollection if there is none, and
// a CodeSchema, with every difference, if it is not the same.
func (t *Target) adopt(ctx context.Context, ref handlers.Ref, want *wanted) error {
	diff, err := t.compare(ctx, ref, want)
	if err != nil {
		return err
	}
	if len(diff) > 0 {
		return refuse(CodeSchema, "the target has a collection %s with another schema: %s", ref, strings.Join(diff, "; "))
	}
	return nil
}

// compare says in what a collection that is there is not the wanted one.
func (t *Target) compare(ctx context.Context, ref handlers.Ref, want *wanted) ([]string, error) {
	d, err := t.describe(ctx, ref)
	if err != nil {
		return nil, err
	}
	diff := differences(want.schema, d.GetSchema())
	if isAlias(d, ref) {
		diff = append(diff, "the name is an alias of another collection")
	}
	return diff, nil
}

// isAlias reports whether the collection was described by an alias. A 2.3.5 gives the alias as the collection's name, a
// Milvus Lite lists no aliases.
func isAlias(d *milvuspb.DescribeCollectionResponse, ref handlers.Ref) bool {
	name := d.GetCollectionName()
	return slices.Contains(d.GetAliases(), ref.Collection) ||
		name != "" && name == d.GetSchema().GetName() && name != ref.Collection
}

// DropCollection removes the collection if it is there. Its aliases go first: a 2.3.5 drops it all the same, and leaves
// aliases of nothing, whose names no collection can have; later versions refuse.
func (t *Target) DropCollection(ctx context.Context, ref handlers.Ref) error {
	t.forget(ref)
	d, err := t.describe(ctx, ref)
	if err != nil || isAlias(d, ref) {
		return unless(err, CodeNoCollection, CodeNoDatabase)
	}
	for _, alias := range d.GetAliases() {
		if err := t.DropAlias(ctx, handlers.Ref{Database: ref.Database, Collection: alias}); err != nil {
			return err
		}
	}
	s, err := t.service.DropCollection(ctx, &milvuspb.DropCollectionRequest{
		DbName: ref.Database, CollectionName: ref.Collection,
	})
	return unless(t.missing(ctx, ref, checkStatus(s, err)), CodeNoCollection, CodeNoDatabase)
}

// forget forgets all that is remembered of a collection, which is about to be another one.
func (t *Target) forget(ref handlers.Ref) {
	t.shapes.forget(ref)
	t.owed.forget(ref)
}

// unless is the error, but that these codes are none.
func unless(err error, codes ...string) error {
	if isCode(err, codes...) {
		return nil
	}
	return err
}

// wanted is a collection as it should be on the target.
type wanted struct {
	request *milvuspb.CreateCollectionRequest
	schema  *schema
}

// targetRequest makes of the source's request the one for the target.
func targetRequest(req *milvuspb.CreateCollectionRequest) (*wanted, error) {
	s, err := parseSchema(req.GetSchema())
	if err != nil {
		return nil, err
	}
	s = targetSchema(req.GetCollectionName(), s)
	b, err := proto.Marshal(s)
	if err != nil {
		return nil, refuse(handlers.CodeEvent, "encode schema: %w", err)
	}
	out := &milvuspb.CreateCollectionRequest{
		DbName:           req.GetDbName(),
		CollectionName:   req.GetCollectionName(),
		Schema:           b,
		ShardsNum:        req.GetShardsNum(),
		ConsistencyLevel: req.GetConsistencyLevel(),
	}
	for _, f := range s.GetFields() {
		if f.GetIsPartitionKey() {
			out.NumPartitions = req.GetNumPartitions()
		}
	}
	for _, p := range req.GetProperties() {
		if TakesProperty(p.GetKey()) {
			out.Properties = append(out.Properties, &commonpb.KeyValuePair{Key: p.GetKey(), Value: p.GetValue()})
		}
	}
	return &wanted{request: out, schema: s}, nil
}
