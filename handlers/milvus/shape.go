package milvus

import (
	"context"
	"maps"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
)

// shape is what writing rows has to know of a collection as the target has it.
type shape struct {
	handlers.Shape
	types    map[string]schemapb.DataType // of the fields that rows bring
	optional map[string]bool              // fields that rows may leave out
	computed []string                     // fields that the target computes, and refuses to be given
	defaults []string                     // fields with a default value, which takes the place of what is not marked valid
	lite     bool                         // the target is a Milvus Lite
}

func shapeOf(s *schemapb.CollectionSchema) *shape {
	out := &shape{types: map[string]schemapb.DataType{}, optional: map[string]bool{}}
	for _, f := range s.GetFields() {
		if f.GetIsFunctionOutput() {
			out.computed = append(out.computed, f.GetName())
			continue
		}
		out.types[f.GetName()] = f.GetDataType()
		if f.GetIsPrimaryKey() {
			out.Key = f.GetName()
		}
		if f.GetIsPartitionKey() {
			out.PartitionKey = true
		}
		if f.GetDefaultValue() != nil {
			out.defaults = append(out.defaults, f.GetName())
		}
		if f.GetDefaultValue() != nil || f.GetNullable() || f.GetIsDynamic() {
			out.optional[f.GetName()] = true
		}
	}
	if s.GetEnableDynamicField() { // which the server does not list
		out.types[metaField], out.optional[metaField] = schemapb.DataType_JSON, true
	}
	return out
}

// metaField is the column that holds what rows have beyond the schema's fields.
const metaField = "$meta"

// shapes are the shapes of collections that have been asked for and, as far as is known, have not changed since.
type shapes struct {
	mu    sync.Mutex
	known map[handlers.Ref]*shape
}

func newShapes() *shapes { return &shapes{known: map[handlers.Ref]*shape{}} }

func (s *shapes) get(ref handlers.Ref) *shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[ref]
}

func (s *shapes) put(ref handlers.Ref, sh *shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[ref] = sh
}

func (s *shapes) forget(ref handlers.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, ref)
}

// Forget forgets what all collections are like.
func (t *Target) Forget() {
	t.shapes.mu.Lock()
	defer t.shapes.mu.Unlock()
	clear(t.shapes.known)
}

func (s *shapes) forgetDatabase(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(ref handlers.Ref, _ *shape) bool { return ref.Database == name })
}

// Shape is the collection's shape. It is remembered until this Target changes the collection, is answered in a way that
// could mean that somebody else has, or is told to forget it.
func (t *Target) Shape(ctx context.Context, ref handlers.Ref) (handlers.Shape, error) {
	s, err := t.shape(ctx, ref)
	if err != nil {
		return handlers.Shape{}, err
	}
	return s.Shape, nil
}

func (t *Target) shape(ctx context.Context, ref handlers.Ref) (*shape, error) {
	if s := t.shapes.get(ref); s != nil {
		return s, nil
	}
	d, err := t.describe(ctx, ref)
	if err != nil {
		return nil, err
	}
	s := shapeOf(d.GetSchema())
	if s.Key == "" {
		return nil, refuse(CodeSchema, "%s has no primary key on the target", ref)
	}
	v, err := t.version(ctx)
	if err != nil {
		return nil, err
	}
	s.lite = v.lite
	t.shapes.put(ref, s)
	return s, nil
}

// describe asks the target. A collection that is not there is a CodeNoCollection.
func (t *Target) describe(ctx context.Context, ref handlers.Ref) (*milvuspb.DescribeCollectionResponse, error) {
	d, err := t.service.DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{
		DbName: ref.Database, CollectionName: ref.Collection,
	})
	return d, t.missing(ctx, ref, check(d, err))
}

// missing tells a database that is not there from names or rows that the target refuses: Milvus Lite has one code for all.
func (t *Target) missing(ctx context.Context, ref handlers.Ref, err error) error {
	if !isCode(err, CodeRefused) {
		return err
	}
	if found, again := t.hasDatabase(ctx, ref.Database); again == nil && !found {
		return refuse(CodeNoDatabase, "database %s is not on the target: %w", ref.Database, err)
	}
	return err
}

// changed forgets the collection's shape if the error of a write could come from its being another one by now. What
// is tried again then looks first.
func (t *Target) changed(ref handlers.Ref, err error) error {
	if isCode(err, CodeNoCollection, CodeNoDatabase, CodeNoPartition, CodeRefused, CodeSchema) || isUnclear(err) {
		t.shapes.forget(ref)
	}
	return err
}
