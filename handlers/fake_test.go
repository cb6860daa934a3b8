package handlers_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// fake is a target whose calls are functions. One that is nil says yes.
type fake struct {
	ShapeFunc            func(ctx context.Context, ref handlers.Ref) (handlers.Shape, error)
	UpsertFunc           func(ctx context.Context, ref handlers.Ref, partition string, r *rows.Rows) error
	DeleteFunc           func(ctx context.Context, ref handlers.Ref, partition string, keys rows.Keys) error
	CreateDatabaseFunc   func(ctx context.Context, name string) error
	DropDatabaseFunc     func(ctx context.Context, name string) error
	CreateCollectionFunc func(ctx context.Context, req *milvuspb.CreateCollectionRequest) error
	DropCollectionFunc   func(ctx context.Context, ref handlers.Ref) error
	CreatePartitionFunc  func(ctx context.Context, ref handlers.Ref, partition string) error
	DropPartitionFunc    func(ctx context.Context, ref handlers.Ref, partition string) error
}

var _ handlers.Target = (*fake)(nil)

func (f *fake) Shape(ctx context.Context, ref handlers.Ref) (handlers.Shape, error) {
	if f.ShapeFunc == nil {
		return handlers.Shape{Key: "id"}, nil
	}
	return f.ShapeFunc(ctx, ref)
}

func (f *fake) Upsert(ctx context.Context, ref handlers.Ref, partition string, r *rows.Rows) error {
	if f.UpsertFunc == nil {
		return nil
	}
	return f.UpsertFunc(ctx, ref, partition, r)
}

func (f *fake) Delete(ctx context.Context, ref handlers.Ref, partition string, keys rows.Keys) error {
	if f.DeleteFunc == nil {
		return nil
	}
	return f.DeleteFunc(ctx, ref, partition, keys)
}

func (f *fake) CreateDatabase(ctx context.Context, name string) error {
	if f.CreateDatabaseFunc == nil {
		return nil
	}
	return f.CreateDatabaseFunc(ctx, name)
}

func (f *fake) DropDatabase(ctx context.Context, name string) error {
	if f.DropDatabaseFunc == nil {
		return nil
	}
	return f.DropDatabaseFunc(ctx, name)
}

func (f *fake) CreateCollection(ctx context.Context, req *milvuspb.CreateCollectionRequest) error {
	if f.CreateCollectionFunc == nil {
		return nil
	}
	return f.CreateCollectionFunc(ctx, req)
}

func (f *fake) DropCollection(ctx context.Context, ref handlers.Ref) error {
	if f.DropCollectionFunc == nil {
		return nil
	}
	return f.DropCollectionFunc(ctx, ref)
}

func (f *fake) CreatePartition(ctx context.Context, ref handlers.Ref, partition string) error {
	if f.CreatePartitionFunc == nil {
		return nil
	}
	return f.CreatePartitionFunc(ctx, ref, partition)
}

func (f *fake) DropPartition(ctx context.Context, ref handlers.Ref, partition string) error {
	if f.DropPartitionFunc == nil {
		return nil
	}
	return f.DropPartitionFunc(ctx, ref, partition)
}

// cell is where a row is: a key may be in several partitions.
type cell struct {
	partition string
	key       int64
}

// memory keeps rows as a Milvus does: upsert and delete act inside one partition, or in all if none is named.
type memory struct {
	t     testing.TB
	mu    sync.Mutex
	rows  map[handlers.Ref]map[cell]string
	calls int // that changed rows
}

func newMemory(t testing.TB) *memory {
	return &memory{t: t, rows: map[handlers.Ref]map[cell]string{}}
}

// fake is a target that writes to the memory.
func (m *memory) fake() *fake { return &fake{UpsertFunc: m.upsert, DeleteFunc: m.remove} }

func (m *memory) at(ref handlers.Ref) map[cell]string {
	if m.rows[ref] == nil {
		m.rows[ref] = map[cell]string{}
	}
	return m.rows[ref]
}

func (m *memory) upsert(_ context.Context, ref handlers.Ref, partition string, r *rows.Rows) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	fields, err := r.FieldData()
	if err != nil {
		m.t.Errorf("rows of an upsert can't be read: %v", err)
		return nil
	}
	values, seen := map[string][]string{}, map[int64]bool{}
	var keys []int64
	for _, f := range fields {
		keys = append(keys, f.GetScalars().GetLongData().GetData()...)
		values[f.GetFieldName()] = f.GetScalars().GetStringData().GetData()
	}
	for i, k := range keys {
		if seen[k] {
			m.t.Errorf("key %d is twice in one upsert", k)
		}
		seen[k] = true
		if partition == "" { // as with a partition key: replaced wherever it is
			m.drop(ref, k)
		}
		m.at(ref)[cell{partition, k}] = values["v"][i]
	}
	return nil
}

func (m *memory) remove(_ context.Context, ref handlers.Ref, partition string, keys rows.Keys) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	for _, k := range keys.Ints {
		if partition == "" {
			m.drop(ref, k)
		}
		delete(m.at(ref), cell{partition, k})
	}
	return nil
}

func (m *memory) drop(ref handlers.Ref, key int64) {
	maps.DeleteFunc(m.at(ref), func(c cell, _ string) bool { return c.key == key })
}
