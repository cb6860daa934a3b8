package load

import (
	"context"
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

// Aliases and names.

func (c *Churn) createAlias(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	name := c.free(col.db)
	if name == "" {
		return "", nil
	}
	c.names[col.db][name] = col
	return fmt.Sprintf("create alias %s of %s", name, col), answered(c.svc.CreateAlias(ctx,
		&milvuspb.CreateAliasRequest{DbName: col.db, CollectionName: col.name, Alias: name}))
}

// alterAlias has an alias name another collection, or the same one.
func (c *Churn) alterAlias(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(c.aliases(x.db)) > 0 })
	if col == nil {
		return "", nil
	}
	name := pick(c, c.aliases(col.db))
	if c.names[col.db][name] == nil {
		return "", nil
	}
	c.names[col.db][name] = col
	return fmt.Sprintf("alias %s becomes one of %s", name, col), answered(c.svc.AlterAlias(ctx,
		&milvuspb.AlterAliasRequest{DbName: col.db, CollectionName: col.name, Alias: name}))
}

func (c *Churn) dropAlias(ctx context.Context) (string, error) {
	db := pick(c, c.dbs)
	name := pick(c, c.aliases(db))
	if name == "" {
		return "", nil
	}
	delete(c.names[db], name)
	return fmt.Sprintf("drop alias %s.%s", db, name), answered(c.svc.DropAlias(ctx, &milvuspb.DropAliasRequest{DbName: db, Alias: name}))
}

// rename gives a collection another name in its database.
func (c *Churn) rename(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	name := c.free(col.db)
	if name == "" {
		return "", nil
	}
	return c.call(ctx, col, col.db, name)
}

// move gives a collection another database, which Milvus does only where it has no alias.
func (c *Churn) move(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(c.aliasesOf(x)) == 0 })
	db := pick(c, c.dbs)
	if col == nil || db == col.db {
		return "", nil
	}
	name := col.name
	if c.taken(db, name) {
		if name = c.free(db); name == "" {
			return "", nil
		}
	}
	return c.call(ctx, col, db, name)
}

// call renames a collection.
func (c *Churn) call(ctx context.Context, col *churned, db, name string) (string, error) {
	did := fmt.Sprintf("rename %s to %s.%s", col, db, name)
	req := &milvuspb.RenameCollectionRequest{DbName: col.db, OldName: col.name, NewDBName: db, NewName: name}
	delete(c.names[col.db], col.name)
	col.db, col.name = db, name
	c.names[db][name] = col
	return did, answered(c.svc.RenameCollection(ctx, req))
}

// swap has two collections of a database change names, by way of a third one.
func (c *Churn) swap(ctx context.Context) (string, error) {
	a := c.collection(anyOf)
	if a == nil {
		return "", nil
	}
	b := c.collection(func(x *churned) bool { return x != a && x.db == a.db })
	if b == nil {
		return "", nil
	}
	first, second := a.name, b.name
	c.serial++
	return several(
		func() (string, error) { return c.call(ctx, a, a.db, c.prefix+"aside"+strconv.Itoa(c.serial)) },
		func() (string, error) { return c.call(ctx, b, b.db, first) },
		func() (string, error) { return c.call(ctx, a, a.db, second) })
}

// renameAndRecreate gives a collection's name to a new one.
func (c *Churn) renameAndRecreate(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil || len(c.cols) >= mostCollections {
		return "", nil
	}
	db, old, name := col.db, col.name, c.free(col.db)
	if name == "" {
		return "", nil
	}
	return several(
		func() (string, error) { return c.call(ctx, col, db, name) },
		func() (string, error) { return c.create(ctx, db, old) },
		func() (string, error) { return c.write(ctx, c.names[db][old]) })
}

// blueGreen has an alias leave one collection for another, and the first one dropped: how an index is exchanged under way.
func (c *Churn) blueGreen(ctx context.Context) (string, error) {
	old := c.collection(func(x *churned) bool { return len(c.aliasesOf(x)) > 0 })
	if old == nil {
		return "", nil
	}
	fresh := c.collection(func(x *churned) bool { return x != old && x.db == old.db })
	if fresh == nil {
		return "", nil
	}
	var calls []func() (string, error)
	for _, name := range c.aliasesOf(old) {
		calls = append(calls, func() (string, error) {
			c.names[fresh.db][name] = fresh
			return fmt.Sprintf("alias %s goes from %s to %s", name, old, fresh), answered(c.svc.AlterAlias(ctx,
				&milvuspb.AlterAliasRequest{DbName: fresh.db, CollectionName: fresh.name, Alias: name}))
		})
	}
	return several(append(calls, func() (string, error) { return c.drop(ctx, old) })...)
}

// several does one thing after the other.
func several(calls ...func() (string, error)) (did string, err error) {
	for i, call := range calls {
		one, err := call()
		if i > 0 {
			did += "; "
		}
		if did += one; err != nil {
			return did, err
		}
	}
	return did, nil
}
