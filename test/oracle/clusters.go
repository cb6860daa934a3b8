package oracle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

// CompareClusters compares everything that a task replicates: databases, collections with their schema, shards and
// consistency level, partitions, and every row. Selects says which collections; for a database as such it is asked
// with an empty collection. Both clusters get their collections indexed and loaded where they are not.
func CompareClusters(ctx context.Context, source, target *Cluster, selects func(database, collection string) bool) (*Diff, error) {
	src, err := source.names(ctx, selects)
	if err != nil {
		return nil, fmt.Errorf("list what the source has: %w", err)
	}
	tgt, err := target.names(ctx, selects)
	if err != nil {
		return nil, fmt.Errorf("list what the target has: %w", err)
	}
	d := &Diff{}
	for _, db := range union(src, tgt) {
		if !d.both("database "+db, has(src, db), has(tgt, db)) {
			continue
		}
		for _, coll := range merge(src[db], tgt[db]) {
			if !d.both(db+"."+coll, slices.Contains(src[db], coll), slices.Contains(tgt[db], coll)) {
				continue
			}
			if err := d.collection(ctx, source, target, db, coll); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

func has(m map[string][]string, key string) bool {
	_, ok := m[key]
	return ok
}

// merge is the elements of both, sorted.
func merge(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// both reports whether both sides have something, and adds a difference when one has not.
func (d *Diff) both(what string, source, target bool) bool {
	switch {
	case source && target:
		return true
	case source:
		d.add(what, "it", Absent)
	case target:
		d.add(what, Absent, "it")
	}
	return false
}

// collection adds in what a collection of both clusters differs.
func (d *Diff) collection(ctx context.Context, source, target *Cluster, db, coll string) error {
	s, err := source.describe(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	t, err := target.describe(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	name := db + "." + coll
	d.Collections++
	d.schema(name, s, t)
	sp, err := source.partitions(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	tp, err := target.partitions(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if partitionKeyed(s.GetSchema()) {
		d.same(name+", number of partitions", fmt.Sprint(len(sp)), fmt.Sprint(len(tp)))
	} else {
		d.same(name+", partitions", strings.Join(sp, " "), strings.Join(tp, " "))
	}
	st, err := source.Read(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	tt, err := target.Read(ctx, db, coll)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	d.Rows += len(st.Rows)
	d.tables(st, tt)
	return nil
}

// names are the selected collections of each selected database. A database is selected that holds one, or that
// selects takes by itself.
func (c *Cluster) names(ctx context.Context, selects func(database, collection string) bool) (map[string][]string, error) {
	dbs, err := checked(c.svc.ListDatabases(ctx, &milvuspb.ListDatabasesRequest{}))
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	names := map[string][]string{}
	for _, db := range dbs.GetDbNames() {
		colls, err := checked(c.svc.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: db}))
		if err != nil {
			return nil, fmt.Errorf("list collections of %s: %w", db, err)
		}
		if selects(db, "") {
			names[db] = nil
		}
		for _, coll := range colls.GetCollectionNames() {
			if selects(db, coll) {
				names[db] = append(names[db], coll)
			}
		}
	}
	return names, nil
}
