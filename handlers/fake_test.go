package handlers_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

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
	RenameCollectionFunc func(ctx context.Context, from, to handlers.Ref) error
	AddFieldFunc         func(ctx context.Context, ref handlers.Ref, field *schemapb.FieldSchema) error
	PlanFunc             func(ctx context.Context, req *milvuspb.CreateCollectionRequest) (handlers.Plan, error)

	BesideFunc func(ctx context.Context, ref handlers.Ref, partition string, r handlers.Range) (rows.Keys, error)

	// SettingFunc gets the name of the method of a setting or flush, what it is about, and its request or further
	// arguments.
	SettingFunc func(ctx context.Context, method string, ref handlers.Ref, what any) error
}

var _ handlers.Target = (*fake)(nil)

func (f *fake) Shape(ctx context.Context, ref handlers.Ref) (handlers.Shape, error) {
	if f.ShapeFunc == nil {
		return handlers.Shape{Key: "id"}, nil
	}
	return f.ShapeFunc(ctx, ref)
}

func (f *fake) Forget() {}

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

func (f *fake) KeysBeside(ctx context.Context, ref handlers.Ref, partition string, r handlers.Range) (rows.Keys, error) {
	if f.BesideFunc == nil {
		return rows.Keys{}, nil
	}
	return f.BesideFunc(ctx, ref, partition, r)
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

func (f *fake) RenameCollection(ctx context.Context, from, to handlers.Ref) error {
	if f.RenameCollectionFunc == nil {
		return nil
	}
	return f.RenameCollectionFunc(ctx, from, to)
}

func (f *fake) AddField(ctx context.Context, ref handlers.Ref, field *schemapb.FieldSchema) error {
	if f.AddFieldFunc == nil {
		return nil
	}
	return f.AddFieldFunc(ctx, ref, field)
}

func (f *fake) setting(ctx context.Context, method string, ref handlers.Ref, what any) error {
	if f.SettingFunc == nil {
		return nil
	}
	return f.SettingFunc(ctx, method, ref, what)
}

// named is a request that names a collection.
type named interface {
	GetDbName() string
	GetCollectionName() string
}

func (f *fake) request(ctx context.Context, method string, req named) error {
	return f.setting(ctx, method, handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, req)
}

func (f *fake) Plan(ctx context.Context, req *milvuspb.CreateCollectionRequest) (handlers.Plan, error) {
	if f.PlanFunc == nil {
		return handlers.Plan{}, nil
	}
	return f.PlanFunc(ctx, req)
}

func (f *fake) Flush(ctx context.Context, ref handlers.Ref) error {
	return f.setting(ctx, "Flush", ref, nil)
}

func (f *fake) AlterDatabase(ctx context.Context, req *milvuspb.AlterDatabaseRequest) error {
	return f.setting(ctx, "AlterDatabase", handlers.Ref{Database: req.GetDbName()}, req)
}

func (f *fake) AlterCollection(ctx context.Context, req *milvuspb.AlterCollectionRequest) error {
	return f.request(ctx, "AlterCollection", req)
}

func (f *fake) AlterField(ctx context.Context, req *milvuspb.AlterCollectionFieldRequest) error {
	return f.request(ctx, "AlterField", req)
}

func (f *fake) SetAlias(ctx context.Context, alias, of handlers.Ref) error {
	return f.setting(ctx, "SetAlias", alias, of)
}

func (f *fake) DropAlias(ctx context.Context, alias handlers.Ref) error {
	return f.setting(ctx, "DropAlias", alias, nil)
}

func (f *fake) CreateIndex(ctx context.Context, req *milvuspb.CreateIndexRequest) error {
	return f.request(ctx, "CreateIndex", req)
}

func (f *fake) AlterIndex(ctx context.Context, req *milvuspb.AlterIndexRequest) error {
	return f.request(ctx, "AlterIndex", req)
}

func (f *fake) DropIndex(ctx context.Context, req *milvuspb.DropIndexRequest) error {
	return f.request(ctx, "DropIndex", req)
}

func (f *fake) LoadCollection(ctx context.Context, req *milvuspb.LoadCollectionRequest) error {
	return f.request(ctx, "LoadCollection", req)
}

func (f *fake) ReleaseCollection(ctx context.Context, ref handlers.Ref) error {
	return f.setting(ctx, "ReleaseCollection", ref, nil)
}

func (f *fake) LoadPartitions(ctx context.Context, req *milvuspb.LoadPartitionsRequest) error {
	return f.request(ctx, "LoadPartitions", req)
}

func (f *fake) ReleasePartitions(ctx context.Context, ref handlers.Ref, partitions []string) error {
	return f.setting(ctx, "ReleasePartitions", ref, partitions)
}

func (f *fake) CreateUser(ctx context.Context, name string, password func() (string, error)) error {
	p, err := password()
	if err != nil {
		return err
	}
	return f.setting(ctx, "CreateUser", handlers.Ref{}, []string{name, p})
}

func (f *fake) SetPassword(ctx context.Context, name, old, password string) error {
	return f.setting(ctx, "SetPassword", handlers.Ref{}, []string{name, old, password})
}

func (f *fake) DropUser(ctx context.Context, name string) error {
	return f.setting(ctx, "DropUser", handlers.Ref{}, []string{name})
}

func (f *fake) CreateRole(ctx context.Context, name string) error {
	return f.setting(ctx, "CreateRole", handlers.Ref{}, []string{name})
}

func (f *fake) DropRole(ctx context.Context, name string) error {
	return f.setting(ctx, "DropRole", handlers.Ref{}, []string{name})
}

func (f *fake) SetMember(ctx context.Context, req *milvuspb.OperateUserRoleRequest) error {
	return f.setting(ctx, "SetMember", handlers.Ref{}, req)
}

func (f *fake) SetPrivilege(ctx context.Context, req *milvuspb.OperatePrivilegeRequest) error {
	return f.setting(ctx, "SetPrivilege", handlers.Ref{}, req)
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
