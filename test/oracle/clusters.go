package oracle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"golang.org/x/sync/errgroup"
)

// CompareClusters compares everything that a task replicates: databases, collections with their schema, shards and
// consistency level, partitions, and every row. Selects says which collections; for a database as such it is asked
// with an empty collection. Both clusters get their collections indexed and loaded where they are not.
func CompareClusters(ctx context.Context, source, target *Cluster, selects func(database, collection string) bool) (*Diff, error) {
	d := &Diff{}
	found, err := d.sides(ctx, source, target, selects)
	if err != nil {
		return nil, err
	}
	both := slices.DeleteFunc(found, func(c [2]string) bool { return c[1] == "" })
	diffs := make([]*Diff, len(both))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, c := range both {
		g.Go(func() (err error) {
			diffs[i], err = collections(ctx, source, target, c[0], c[1])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, x := range diffs {
		d.Differences = append(d.Differences, x.Differences...)
		d.Collections++
		d.Rows += x.Rows
	}
	return d, nil
}

// sides adds which databases and collections one side lacks, and gives those that both have: a database itself is one with
// an empty collection.
func (d *Diff) sides(ctx context.Context, source, target *Cluster, selects func(database, collection string) bool) (both [][2]string, err error) {
	src, err := source.names(ctx, selects)
	if err != nil {
		return nil, fmt.Errorf("list what the source has: %w", err)
	}
	tgt, err := target.names(ctx, selects)
	if err != nil {
		return nil, fmt.Errorf("list what the target has: %w", err)
	}
	for _, db := range union(src, tgt) {
		if !d.both("database "+db, has(src, db), has(tgt, db)) {
			continue
		}
		both = append(both, [2]string{db, ""})
		for _, coll := range merge(src[db], tgt[db]) {
			if d.both(db+"."+coll, slices.Contains(src[db], coll), slices.Contains(tgt[db], coll)) {
				both = append(both, [2]string{db, coll})
			}
		}
	}
	return both, nil
}

// atOnce is how many collections are compared at a time: to load one is mostly to wait.
const atOnce = 4

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

// collections compares a collection that both clusters have.
func collections(ctx context.Context, source, target *Cluster, db, coll string) (*Diff, error) {
	var s, t *whole
	var g errgroup.Group
	g.Go(func() (err error) { s, err = source.whole(ctx, db, coll); return named("source", err) })
	g.Go(func() (err error) { t, err = target.whole(ctx, db, coll); return named("target", err) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	name := db + "." + coll
	d := &Diff{Rows: len(s.table.Rows)}
	d.schema(name, s.description, t.description)
	if partitionKeyed(s.description.GetSchema()) {
		d.same(name+", number of partitions", fmt.Sprint(len(s.partitions)), fmt.Sprint(len(t.partitions)))
	} else {
		d.same(name+", partitions", strings.Join(s.partitions, " "), strings.Join(t.partitions, " "))
	}
	d.tables(s.table, t.table)
	return d, nil
}

func named(side string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", side, err)
	}
	return nil
}

// whole is all there is of a collection.
type whole struct {
	description *milvuspb.DescribeCollectionResponse
	partitions  []string
	table       *Table
}

func (c *Cluster) whole(ctx context.Context, db, coll string) (w *whole, err error) {
	w = &whole{}
	if w.description, err = c.describe(ctx, db, coll); err != nil {
		return nil, err
	}
	if w.partitions, err = c.partitions(ctx, db, coll); err != nil {
		return nil, err
	}
	if w.table, err = c.Read(ctx, db, coll); err != nil {
		return nil, err
	}
	return w, nil
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
