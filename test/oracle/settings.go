package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Settings are what is set about a collection or a database beside its rows and its schema: a canonical text for each
// thing's name. Two sides are set alike if and only if the texts are the same. The names hold no database and no
// collection, so that a target on which those have other names can be compared too.
type Settings map[string]string

// CompareSettings compares, of everything that selects takes, as CompareClusters does: which databases and collections
// there are, their properties, aliases, indexes, partitions, and what is loaded in how many replicas. It changes nothing
// on either side; CompareClusters does, for it has to load what it reads. So it comes first.
func CompareSettings(ctx context.Context, source, target *Cluster, selects func(database, collection string) bool) (*Diff, error) {
	d := &Diff{}
	both, err := d.sides(ctx, source, target, selects)
	if err != nil {
		return nil, err
	}
	diffs := make([]*Diff, len(both))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, c := range both {
		g.Go(func() error {
			s, err := source.Settings(ctx, c[0], c[1])
			if err != nil {
				return fmt.Errorf("source: %w", err)
			}
			t, err := target.Settings(ctx, c[0], c[1])
			if err != nil {
				return fmt.Errorf("target: %w", err)
			}
			diffs[i] = &Diff{}
			diffs[i].Settings(strings.TrimSuffix(c[0]+"."+c[1], "."), s, t)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, x := range diffs {
		d.Differences = append(d.Differences, x.Differences...)
		if both[i][1] != "" {
			d.Collections++
		}
		d.Set += x.Set
	}
	return d, nil
}

// Settings adds in what two sides of a thing are not set alike.
func (d *Diff) Settings(where string, source, target Settings) {
	for _, name := range union(source, target) {
		d.Set++
		d.same(where+", "+name, orAbsent(source, name), orAbsent(target, name))
	}
}

// Settings reads those of a collection or, without a collection's name, of a database.
func (c *Cluster) Settings(ctx context.Context, database, collection string) (Settings, error) {
	if collection == "" {
		return c.databaseSettings(ctx, database)
	}
	s := Settings{}
	for _, read := range []func(context.Context, string, string, Settings) error{c.described, c.indexes, c.loadState} {
		if err := read(ctx, database, collection, s); err != nil {
			return nil, fmt.Errorf("read settings of %s.%s: %w", database, collection, err)
		}
	}
	return s, nil
}

// databaseSettings are a database's properties; a Milvus before 2.4.3 has none.
func (c *Cluster) databaseSettings(ctx context.Context, database string) (Settings, error) {
	r, err := checked(c.svc.DescribeDatabase(ctx, &milvuspb.DescribeDatabaseRequest{DbName: database}))
	if status.Code(err) == codes.Unimplemented {
		return Settings{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings of database %s: %w", database, err)
	}
	s := Settings{}
	for _, p := range r.GetProperties() {
		s["property "+p.GetKey()] = p.GetValue()
	}
	return s, nil
}

// described are properties, those of fields among them, aliases and partitions.
func (c *Cluster) described(ctx context.Context, database, collection string, s Settings) error {
	d, err := c.describe(ctx, database, collection)
	if err != nil {
		return err
	}
	for _, p := range d.GetProperties() {
		s["property "+p.GetKey()] = p.GetValue()
	}
	for _, f := range d.GetSchema().GetFields() {
		for _, p := range f.GetTypeParams() {
			s["property "+p.GetKey()+" of field "+f.GetName()] = p.GetValue()
		}
	}
	for _, a := range d.GetAliases() {
		s["alias "+a] = "its name"
	}
	if partitionKeyed(d.GetSchema()) {
		s["number of partitions"] = fmt.Sprint(d.GetNumPartitions())
		return nil
	}
	names, err := c.partitions(ctx, database, collection)
	for _, p := range names {
		s["partition "+p] = "it"
	}
	return err
}

// indexes are each index with all that it was asked for, wherever among the parameters that stands.
func (c *Cluster) indexes(ctx context.Context, database, collection string, s Settings) error {
	const none = 700
	r, err := checked(c.svc.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: database, CollectionName: collection}))
	var no *refusal
	if errors.As(err, &no) && no.code == none {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	for _, ix := range r.GetIndexDescriptions() {
		params, err := indexParams(ix.GetParams())
		if err != nil {
			return fmt.Errorf("read parameters of index %s: %w", ix.GetIndexName(), err)
		}
		var b strings.Builder
		for _, k := range union(params, nil) {
			fmt.Fprintf(&b, " %s=%s", k, params[k])
		}
		s["index "+ix.GetIndexName()] = "on " + ix.GetFieldName() + ":" + b.String()
	}
	return nil
}

// indexParams puts the parameters in the JSON of "params" beside the others.
func indexParams(list []*commonpb.KeyValuePair) (map[string]string, error) {
	out := pairs(list)
	text, ok := out["params"]
	if delete(out, "params"); !ok || text == "" {
		return out, nil
	}
	var nested map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &nested); err != nil {
		return nil, err
	}
	for k, v := range nested {
		out[k] = string(bytes.Trim(v, `"`))
	}
	return out, nil
}

// loadState is which partitions are loaded and in how many replicas. What is being loaded is waited for.
func (c *Cluster) loadState(ctx context.Context, database, collection string, s Settings) error {
	state, err := c.loaded(ctx, database, collection)
	if err != nil {
		return fmt.Errorf("read load state: %w", err)
	}
	if state != commonpb.LoadState_LoadStateLoaded {
		s["load"] = "nothing"
		return nil
	}
	d, err := c.describe(ctx, database, collection)
	if err != nil {
		return err
	}
	s["load"] = "all partitions"
	if !partitionKeyed(d.GetSchema()) {
		r, err := checked(c.svc.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{
			DbName: database, CollectionName: collection, Type: milvuspb.ShowType_InMemory}))
		if err != nil {
			return fmt.Errorf("list loaded partitions: %w", err)
		}
		s["load"] = "partitions " + strings.Join(slices.Sorted(slices.Values(r.GetPartitionNames())), " ")
	}
	replicas, err := checked(c.svc.GetReplicas(ctx, &milvuspb.GetReplicasRequest{DbName: database, CollectionName: collection}))
	if err != nil {
		return fmt.Errorf("list replicas: %w", err)
	}
	s["replicas"] = fmt.Sprint(len(replicas.GetReplicas()))
	return nil
}

// loaded is the state of a collection once it is not being loaded any more.
func (c *Cluster) loaded(ctx context.Context, database, collection string) (commonpb.LoadState, error) {
	tick := time.NewTicker(loadPause)
	defer tick.Stop()
	for {
		r, err := checked(c.svc.GetLoadState(ctx, &milvuspb.GetLoadStateRequest{DbName: database, CollectionName: collection}))
		if err != nil || r.GetState() != commonpb.LoadState_LoadStateLoading {
			return r.GetState(), err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("it is still being loaded: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}
