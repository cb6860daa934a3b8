package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream/rows"
)

// world is a Milvus in memory, with what it would refuse: a target, or what the source has. Its other methods are not to be
// called.
type world struct {
	handlers.Target

	mu        sync.Mutex
	Databases map[string]bool
	Tables    map[string]*table
	Aliases   map[string]string
	refuses   func(call, name string) bool // permanently
	calls     map[string]int               // of each kind
}

// table is a collection.
type table struct {
	Schema  string
	Parts   map[string]map[int64]int64 // the rows' values by key
	Indexes map[string]string
	Props   map[string]string
	Whole   bool            // all of it is loaded
	Loaded  map[string]bool // or these partitions
}

func newWorld() *world {
	return &world{Databases: map[string]bool{"default": true}, Tables: map[string]*table{}, Aliases: map[string]string{}, calls: map[string]int{}}
}

// look is all there is by name, to compare.
func (w *world) look() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]string{}
	for name := range w.Databases {
		all["database "+name] = ""
	}
	for name, t := range w.Tables {
		raw, _ := json.Marshal(t)
		all[name] = string(raw)
	}
	for name, of := range w.Aliases {
		all["alias "+name] = of
	}
	return all
}

func (w *world) refuse(fn func(call, name string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuses = fn
}

func (w *world) Close() error { return nil }
func (w *world) Forget()      {}

func refused(code, format string, args ...any) error {
	return &handlers.Error{Class: handlers.Permanent, Code: code, Err: fmt.Errorf(format, args...)}
}

// with runs fn on a collection that has to be there.
func (w *world) with(call string, ref handlers.Ref, fn func(*table) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[call]++
	if w.refuses != nil && w.refuses(call, ref.String()) {
		return refused("KS-P-REFUSED", "as the test wants it: %s of %s", call, ref)
	}
	t := w.Tables[ref.String()]
	if t == nil {
		return refused(milvus.CodeNoCollection, "no collection %s", ref)
	}
	return fn(t)
}

func (w *world) Shape(_ context.Context, ref handlers.Ref) (handlers.Shape, error) {
	return handlers.Shape{Key: "id"}, w.with("shape", ref, func(*table) error { return nil })
}

func (w *world) Upsert(_ context.Context, ref handlers.Ref, partition string, r *rows.Rows) error {
	keys, err := r.Keys("id")
	if err != nil {
		return err
	}
	return w.with("rows", ref, func(t *table) error {
		if !slices.Contains(r.Fields(), t.Schema) {
			return refused(milvus.CodeSchema, "%s has the field %s, rows have %v", ref, t.Schema, r.Fields())
		}
		values, err := r.Keys(t.Schema)
		if err != nil {
			return err
		}
		return t.upsert(partition, keys.Ints, values.Ints)
	})
}

func (t *table) upsert(partition string, keys, values []int64) error {
	p := t.Parts[partition]
	if p == nil {
		return refused("KS-P-NOPARTITION", "no partition %q", partition)
	}
	for i, k := range keys {
		p[k] = values[i]
	}
	return nil
}

func (w *world) Delete(_ context.Context, ref handlers.Ref, partition string, keys rows.Keys) error {
	return w.with("rows", ref, func(t *table) error { return t.remove(partition, keys.Ints) })
}

func (t *table) remove(partition string, keys []int64) error {
	if partition != "" && t.Parts[partition] == nil {
		return refused("KS-P-NOPARTITION", "no partition %q", partition)
	}
	for name, p := range t.Parts {
		for _, k := range keys {
			if partition == "" || partition == name {
				delete(p, k)
			}
		}
	}
	return nil
}

func (w *world) CreateDatabase(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Databases[name] = true
	return nil
}

func (w *world) DropDatabase(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.Tables {
		if in(name, other) {
			return refused(handlers.CodeNotEmpty, "%s is in %s", other, name)
		}
	}
	w.calls["drop database"]++
	delete(w.Databases, name)
	return nil
}

// in reports whether a collection is in a database.
func in(database, name string) bool {
	return len(name) > len(database) && name[:len(database)+1] == database+"."
}

func (w *world) CreateCollection(_ context.Context, req *milvuspb.CreateCollectionRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}.String()
	w.Databases[req.GetDbName()] = true
	_, alias := w.Aliases[name]
	switch t := w.Tables[name]; {
	case w.refuses != nil && w.refuses("create", name):
		return refused("KS-P-REFUSED", "as the test wants it: %s", name)
	case alias, t != nil && t.Schema != string(req.GetSchema()):
		return refused(milvus.CodeSchema, "%s is there, and otherwise", name)
	case t == nil:
		w.Tables[name] = &table{Schema: string(req.GetSchema()), Parts: map[string]map[int64]int64{"_default": {}}, Indexes: map[string]string{},
			Props: map[string]string{}, Loaded: map[string]bool{}}
	}
	return nil
}

func (w *world) DropCollection(_ context.Context, ref handlers.Ref) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls["drop collection"]++
	delete(w.Tables, ref.String())
	maps.DeleteFunc(w.Aliases, func(_, of string) bool { return of == ref.String() })
	return nil
}

func (w *world) RenameCollection(_ context.Context, from, to handlers.Ref) error {
	if w.has(to) {
		if w.has(from) {
			return refused(milvus.CodeNameTaken, "%s is there already", to)
		}
		return nil
	}
	return w.with("rename", from, func(t *table) error {
		if _, alias := w.Aliases[to.String()]; alias {
			return refused(milvus.CodeNameTaken, "%s is an alias", to)
		}
		w.Tables[to.String()] = t
		delete(w.Tables, from.String())
		for alias, of := range w.Aliases {
			if of == from.String() {
				w.Aliases[alias] = to.String()
			}
		}
		return nil
	})
}

func (w *world) has(ref handlers.Ref) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Tables[ref.String()] != nil
}

func (w *world) CreatePartition(_ context.Context, ref handlers.Ref, partition string) error {
	return w.with("create partition", ref, func(t *table) error {
		if t.Parts[partition] == nil {
			t.Parts[partition] = map[int64]int64{}
		}
		return nil
	})
}

func (w *world) DropPartition(_ context.Context, ref handlers.Ref, partition string) error {
	return w.with("drop partition", ref, func(t *table) error {
		delete(t.Parts, partition)
		delete(t.Loaded, partition)
		return nil
	})
}

func (w *world) Flush(_ context.Context, ref handlers.Ref) error {
	return w.with("flush", ref, func(*table) error { return nil })
}

func (w *world) AlterCollection(_ context.Context, req *milvuspb.AlterCollectionRequest) error {
	return w.with("alter", handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, func(t *table) error {
		for _, p := range req.GetProperties() {
			t.Props[p.GetKey()] = p.GetValue()
		}
		return nil
	})
}

func (w *world) SetAlias(_ context.Context, alias, of handlers.Ref) error {
	return w.with("alias", of, func(*table) error {
		if w.Tables[alias.String()] != nil {
			return refused(milvus.CodeNameTaken, "%s is a collection", alias)
		}
		w.Aliases[alias.String()] = of.String()
		return nil
	})
}

func (w *world) DropAlias(_ context.Context, alias handlers.Ref) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.Aliases, alias.String())
	return nil
}

func (w *world) CreateIndex(_ context.Context, req *milvuspb.CreateIndexRequest) error {
	return w.with("index", handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, func(t *table) error {
		t.Indexes[req.GetIndexName()] = req.GetFieldName()
		return nil
	})
}

func (w *world) DropIndex(_ context.Context, req *milvuspb.DropIndexRequest) error {
	return w.with("drop index", handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, func(t *table) error {
		delete(t.Indexes, req.GetIndexName())
		return nil
	})
}

func (w *world) LoadCollection(_ context.Context, req *milvuspb.LoadCollectionRequest) error {
	return w.with("load", handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, func(t *table) error {
		t.Whole = true
		clear(t.Loaded)
		return nil
	})
}

func (w *world) ReleaseCollection(_ context.Context, ref handlers.Ref) error {
	err := w.with("release", ref, func(t *table) error {
		t.Whole = false
		clear(t.Loaded)
		return nil
	})
	var e *handlers.Error
	if errors.As(err, &e) && e.Code == milvus.CodeNoCollection {
		return nil
	}
	return err
}

func (w *world) LoadPartitions(_ context.Context, req *milvuspb.LoadPartitionsRequest) error {
	return w.with("load parts", handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, func(t *table) error {
		for _, p := range req.GetPartitionNames() {
			if t.Parts[p] == nil {
				return refused("KS-P-NOPARTITION", "no partition %q", p)
			}
			t.Loaded[p] = true
		}
		return nil
	})
}

func (w *world) ReleasePartitions(_ context.Context, ref handlers.Ref, partitions []string) error {
	return w.with("release parts", ref, func(t *table) error {
		for _, p := range partitions {
			delete(t.Loaded, p)
		}
		return nil
	})
}
