package scan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Partition is one of a collection.
type Partition struct {
	ID   int64
	Name string
}

// Collection is a collection as it was when Client.Collection described it. It is safe for concurrent use.
type Collection struct {
	ID             int64
	Database, Name string
	Schema         *schemapb.CollectionSchema
	Partitions     []Partition // by name
	Properties     []*commonpb.KeyValuePair

	client   *Client
	dialect  dialect
	key      *schemapb.FieldSchema   // the primary key
	fields   []*schemapb.FieldSchema // what rows consist of, in the schema's order
	rowBytes atomic.Int64            // how large a row is, as far as is known
	window   atomic.Int64            // how many rows the source gives in an answer at most
}

// Collection describes a collection: ErrNoCollection if it is not there.
func (c *Client) Collection(ctx context.Context, database, name string) (*Collection, error) {
	col := &Collection{Database: database, Name: name, client: c}
	d, err := checked(c.service.DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{DbName: database, CollectionName: name}))
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", col, err)
	}
	col.ID, col.Schema, col.Properties = d.GetCollectionID(), d.GetSchema(), d.GetProperties()
	if col.Partitions, err = col.partitions(ctx); err != nil {
		return nil, err
	}
	if n := len(col.Schema.GetStructArrayFields()); n > 0 {
		return nil, fmt.Errorf("describe %s: it has %d fields of structs, which this version can't read", col, n)
	}
	for _, f := range col.Schema.GetFields() {
		if f.GetIsPrimaryKey() {
			col.key = f
		}
	}
	if t := col.key.GetDataType(); t != schemapb.DataType_Int64 && t != schemapb.DataType_VarChar {
		return nil, fmt.Errorf("describe %s: its primary key is %s, which this version can't read", col, t)
	}
	col.dialect, col.fields = newDialect(col.key, c.lite), rowFields(col.Schema)
	col.rowBytes.Store(int64(guessRow(col.fields)))
	col.window.Store(maxWindow)
	return col, nil
}

// String is the collection's name, for people.
func (col *Collection) String() string {
	return cmp.Or(col.Database, "default") + "." + col.Name
}

// PartitionKeyed reports whether the source puts rows into partitions by a field's value. It then has no way to read one
// partition by its name: the only one there is to read is "", all of them.
func (col *Collection) PartitionKeyed() bool {
	return slices.ContainsFunc(col.Schema.GetFields(), (*schemapb.FieldSchema).GetIsPartitionKey)
}

// partitions are the collection's partitions now.
func (col *Collection) partitions(ctx context.Context) ([]Partition, error) {
	p, err := checked(col.client.service.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{DbName: col.Database, CollectionName: col.Name}))
	if err != nil {
		return nil, fmt.Errorf("list partitions of %s: %w", col, err)
	}
	var out []Partition
	for i, name := range p.GetPartitionNames() {
		part := Partition{Name: name}
		if ids := p.GetPartitionIDs(); i < len(ids) {
			part.ID = ids[i]
		}
		out = append(out, part)
	}
	slices.SortFunc(out, func(a, b Partition) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// same finds out if the collection, and the partition in it, are still those that were described. Ids of partitions are
// never used again, and a collection that was made anew has new ones: so the partitions tell both.
func (col *Collection) same(ctx context.Context, partition string) error {
	now, err := col.partitions(ctx)
	if err != nil {
		return err
	}
	find := func(in []Partition, name string) int {
		return slices.IndexFunc(in, func(p Partition) bool { return p.Name == name })
	}
	if partition != "" && (find(now, partition) < 0 || find(col.Partitions, partition) < 0) {
		return fmt.Errorf("partition %s of %s: %w, or none when the collection was described", partition, col, ErrNoPartition)
	}
	for _, p := range col.Partitions {
		if i := find(now, p.Name); i >= 0 && now[i].ID != p.ID && (partition == "" || partition == p.Name) {
			return fmt.Errorf("partition %s of %s was %w: describe the collection again", p.Name, col, ErrRecreated)
		}
	}
	return nil
}

// Loading is what of a collection is loaded.
type Loading struct {
	Whole      bool     // the collection, with the partitions that are yet to come
	Partitions []string // by name: those that are loaded, all of them if Whole
}

// Has reports whether the partition can be read; "" is all of them.
func (l Loading) Has(partition string) bool {
	return l.Whole || partition != "" && slices.Contains(l.Partitions, partition)
}

// Loaded says what of the collection is loaded, and can be read.
func (col *Collection) Loaded(ctx context.Context) (Loading, error) {
	state, err := checked(col.client.service.GetLoadState(ctx, &milvuspb.GetLoadStateRequest{DbName: col.Database, CollectionName: col.Name}))
	if err != nil {
		return Loading{}, fmt.Errorf("ask whether %s is loaded: %w", col, err)
	}
	all, err := col.partitions(ctx)
	if err != nil {
		return Loading{}, err
	}
	var l Loading
	for _, p := range all {
		if state.GetState() != commonpb.LoadState_LoadStateLoaded {
			break
		}
		s, err := checked(col.client.service.GetLoadState(ctx, &milvuspb.GetLoadStateRequest{
			DbName: col.Database, CollectionName: col.Name, PartitionNames: []string{p.Name},
		}))
		if err != nil {
			return Loading{}, fmt.Errorf("ask whether partition %s of %s is loaded: %w", p.Name, col, err)
		}
		if s.GetState() == commonpb.LoadState_LoadStateLoaded {
			l.Partitions = append(l.Partitions, p.Name)
		}
	}
	l.Whole = len(l.Partitions) == len(all)
	return l, nil
}

// loadPause is how long to wait before asking again how far a load is.
const loadPause = 50 * time.Millisecond

// Load loads what of the collection is not loaded, and returns when all can be read.
func (col *Collection) Load(ctx context.Context) error {
	was, err := col.Loaded(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, p := range col.Partitions {
		if !was.Has(p.Name) {
			missing = append(missing, p.Name)
		}
	}
	switch {
	case was.Whole:
		return nil
	case len(was.Partitions) > 0: // a Milvus refuses to load the whole of what is loaded in part
		err = checkStatus(col.client.service.LoadPartitions(ctx, &milvuspb.LoadPartitionsRequest{
			DbName: col.Database, CollectionName: col.Name, PartitionNames: missing, ReplicaNumber: 1,
		}))
	default:
		err = checkStatus(col.client.service.LoadCollection(ctx, &milvuspb.LoadCollectionRequest{
			DbName: col.Database, CollectionName: col.Name, ReplicaNumber: 1,
		}))
	}
	if err != nil {
		return fmt.Errorf("load %s: %w", col, err)
	}
	return col.awaitLoad(ctx)
}

func (col *Collection) awaitLoad(ctx context.Context) error {
	pause := time.NewTicker(loadPause)
	defer pause.Stop()
	for {
		p, err := checked(col.client.service.GetLoadingProgress(ctx, &milvuspb.GetLoadingProgressRequest{DbName: col.Database, CollectionName: col.Name}))
		if err != nil {
			return fmt.Errorf("wait until %s is loaded: %w", col, err)
		}
		if p.GetProgress() >= 100 {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is loaded: %w", col, ctx.Err())
		}
	}
}

// Release has nothing of the collection loaded but the partitions to keep, if any: what Loaded said before a Load.
func (col *Collection) Release(ctx context.Context, keep ...string) error {
	now, err := col.Loaded(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(now.Partitions), func(p string) bool { return slices.Contains(keep, p) })
	switch {
	case len(gone) == 0 && len(keep) > 0:
		return nil
	case len(gone) == len(now.Partitions):
		err = checkStatus(col.client.service.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: col.Database, CollectionName: col.Name}))
	default:
		err = checkStatus(col.client.service.ReleasePartitions(ctx, &milvuspb.ReleasePartitionsRequest{
			DbName: col.Database, CollectionName: col.Name, PartitionNames: gone,
		}))
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", col, err)
	}
	return nil
}
