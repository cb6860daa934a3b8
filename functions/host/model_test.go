package host_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// model is a target in memory that can be made to refuse, which no server can. It knows which collections there are and
// refuses what a Milvus would; what it was told of each is in its log. Its other methods are not to be called.
type model struct {
	handlers.Target

	mu          sync.Mutex
	collections map[string][]string // by name: what was done to it, under all its names
	ids         map[string]int      // by name
	refuses     func(call string) bool
	aliases     map[string]string
	dropping    chan struct{} // if there is one, aliases are dropped when it is closed
}

func newModel() *model {
	return &model{collections: map[string][]string{}, ids: map[string]int{}, aliases: map[string]string{}}
}

var errNoCollection = &handlers.Error{Class: handlers.Permanent, Code: "KS-P-NOCOLLECTION", Err: errors.New("no such collection")}

// do notes a call on a collection that has to be there.
func (m *model) do(ref handlers.Ref, format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	if m.refuses != nil && m.refuses(call) {
		return &handlers.Error{Class: handlers.Permanent, Code: "KS-P-REFUSED", Err: errors.New("as the test wants it: " + call)}
	}
	log, ok := m.collections[ref.Collection]
	if !ok {
		return errNoCollection
	}
	m.collections[ref.Collection] = append(log, call)
	return nil
}

func (m *model) refuse(fn func(call string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses = fn
}

// logs are what was done to the collection of that name; nil when there is none.
func (m *model) logs(name string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.collections[name])
}

func (m *model) Close() error { return nil }

func (m *model) Shape(_ context.Context, ref handlers.Ref) (handlers.Shape, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.collections[ref.Collection]; !ok {
		return handlers.Shape{}, errNoCollection
	}
	return handlers.Shape{Key: "id"}, nil
}

func (m *model) Delete(_ context.Context, ref handlers.Ref, _ string, keys rows.Keys) error {
	for i := range keys.Len() {
		if err := m.do(ref, "row %d", keys.At(i).Int); err != nil {
			return err
		}
	}
	return nil
}

func (m *model) CreateCollection(_ context.Context, req *milvuspb.CreateCollectionRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.aliases[req.GetCollectionName()] != "" {
		return &handlers.Error{Class: handlers.Permanent, Code: "KS-P-SCHEMA", Err: errors.New("the name is an alias")}
	}
	if m.collections[req.GetCollectionName()] == nil {
		m.collections[req.GetCollectionName()] = []string{"create"}
		m.ids[req.GetCollectionName()] = len(m.ids) + 1
	}
	return nil
}

func (m *model) DropCollection(_ context.Context, ref handlers.Ref) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.collections, ref.Collection)
	return nil
}

func (m *model) RenameCollection(_ context.Context, from, to handlers.Ref) error {
	if err := m.do(from, "rename to %s", to.Collection); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collections[to.Collection], m.ids[to.Collection] = m.collections[from.Collection], m.ids[from.Collection]
	delete(m.collections, from.Collection)
	return nil
}

func (m *model) CreatePartition(_ context.Context, ref handlers.Ref, partition string) error {
	return nil
}

func (m *model) DropPartition(_ context.Context, ref handlers.Ref, partition string) error {
	return m.do(ref, "drop partition %s", partition)
}

func (m *model) Flush(_ context.Context, ref handlers.Ref) error { return m.do(ref, "flush") }

func (m *model) CreateIndex(_ context.Context, req *milvuspb.CreateIndexRequest) error {
	return m.do(handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, "index %s", req.GetIndexName())
}

func (m *model) DropIndex(_ context.Context, req *milvuspb.DropIndexRequest) error {
	return m.do(handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}, "drop index %s", req.GetIndexName())
}

var errNoUser = &handlers.Error{Class: handlers.Permanent, Code: "KS-P-NOUSER", Err: errors.New("no such user")}

// SetPassword makes the user, whose log is that of a collection of the name.
func (m *model) SetPassword(_ context.Context, name, _, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collections[name] = append(m.collections[name], "password")
	return nil
}

func (m *model) SetMember(_ context.Context, req *milvuspb.OperateUserRoleRequest) error {
	if err := m.do(handlers.Ref{Collection: req.GetUsername()}, "role %s", req.GetRoleName()); err != nil {
		return errNoUser
	}
	return nil
}

func (m *model) SetAlias(_ context.Context, alias, of handlers.Ref) error {
	if err := m.do(of, "alias %s", alias.Collection); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aliases[alias.Collection] = of.Collection
	return nil
}

func (m *model) DropAlias(ctx context.Context, alias handlers.Ref) error {
	if m.dropping != nil {
		select {
		case <-m.dropping:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if call := "drop alias " + alias.Collection; m.refuses != nil && m.refuses(call) {
		return &handlers.Error{Class: handlers.Permanent, Code: "KS-P-REFUSED", Err: errors.New("as the test wants it: " + call)}
	}
	delete(m.aliases, alias.Collection)
	return nil
}

func (m *model) named(alias string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aliases[alias] != ""
}

// names is the collection that an alias names; empty: there is no such alias.
func (m *model) names(alias string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aliases[alias]
}

// connection is a worker's own to a model. It remembers what collections are, as a connection to a Milvus does, and refuses rows for
// a name that has another one by now.
type connection struct {
	*model
	known map[handlers.Ref]int
}

func (c *connection) Forget() { clear(c.known) }

func (c *connection) Shape(ctx context.Context, ref handlers.Ref) (handlers.Shape, error) {
	s, err := c.model.Shape(ctx, ref)
	if _, ok := c.known[ref]; !ok && err == nil {
		c.known[ref] = c.id(ref)
	}
	return s, err
}

func (c *connection) CreateCollection(ctx context.Context, req *milvuspb.CreateCollectionRequest) error {
	delete(c.known, handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()})
	return c.model.CreateCollection(ctx, req)
}

func (c *connection) Delete(ctx context.Context, ref handlers.Ref, partition string, keys rows.Keys) error {
	if id, known := c.id(ref), c.known[ref]; known != id {
		return &handlers.Error{Class: handlers.Permanent, Code: "KS-P-SCHEMA", Err: fmt.Errorf("%s is collection %d by now, not %d", ref, id, known)}
	}
	return c.model.Delete(ctx, ref, partition, keys)
}

func (m *model) id(ref handlers.Ref) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids[ref.Collection]
}
