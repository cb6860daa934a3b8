// Package load writes to a source Milvus as clients would: a seeded mix of inserts, upserts, deletes, partitions that
// come and go and a collection that is dropped and made again under its name. It is the load of the demo and of the
// crash tests; what the source holds in the end is the truth that a target is compared with.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)

// Writer writes to one database of a source. It is for one goroutine, but for Ops and Rows.
type Writer struct {
	c      client.Client
	rng    *rand.Rand
	prefix string
	ops    atomic.Int64
	rows   atomic.Int64
	autoID []int64 // some keys that the source gave to rows of the collection with auto-ID
	parts  []string
	gen    int // how often the short-lived collection was made
}

// keySpace is how many keys each collection uses, so that most writes meet an existing row.
const keySpace = 4000

// The collections, without the writer's prefix.
const (
	orders  = "orders"  // Int64 keys, a dynamic field, partitions, two shards
	visits  = "visits"  // auto-ID
	tags    = "tags"    // VarChar keys, JSON, an array, a binary vector
	tenants = "tenants" // a partition key
	scratch = "scratch" // dropped and made again
)

// New makes a writer whose collections' names begin with the prefix, in the database that the client uses.
func New(c client.Client, seed uint64, prefix string) *Writer {
	return &Writer{c: c, rng: rand.New(rand.NewPCG(seed, 3)), prefix: prefix}
}

// Ops is how many calls the source has answered so far.
func (w *Writer) Ops() int64 { return w.ops.Load() }

// Rows is how many rows and keys those calls wrote or deleted.
func (w *Writer) Rows() int64 { return w.rows.Load() }

// Collections are the names of the collections that Setup makes.
func (w *Writer) Collections() []string {
	return []string{w.prefix + orders, w.prefix + visits, w.prefix + tags, w.prefix + tenants, w.prefix + scratch}
}

// Setup makes the collections.
func (w *Writer) Setup(ctx context.Context) error {
	pk := func(t entity.FieldType) *entity.Field {
		return entity.NewField().WithName("id").WithDataType(t).WithIsPrimaryKey(true)
	}
	vec := entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(8)
	price := entity.NewField().WithName("price").WithDataType(entity.FieldTypeDouble)
	schemas := []struct {
		schema *entity.Schema
		shards int32
		opts   []client.CreateCollectionOption
	}{
		{entity.NewSchema().WithName(w.prefix + orders).WithDynamicFieldEnabled(true).WithField(pk(entity.FieldTypeInt64)).WithField(price).WithField(vec),
			2, []client.CreateCollectionOption{client.WithConsistencyLevel(entity.ClBounded)}},
		{entity.NewSchema().WithName(w.prefix + visits).WithAutoID(true).WithField(pk(entity.FieldTypeInt64).WithIsAutoID(true)).WithField(price).WithField(vec), 1, nil},
		{entity.NewSchema().WithName(w.prefix + tags).
			WithField(pk(entity.FieldTypeVarChar).WithMaxLength(64)).
			WithField(entity.NewField().WithName("doc").WithDataType(entity.FieldTypeJSON)).
			WithField(entity.NewField().WithName("words").WithDataType(entity.FieldTypeArray).WithElementType(entity.FieldTypeInt64).WithMaxCapacity(8)).
			WithField(entity.NewField().WithName("bits").WithDataType(entity.FieldTypeBinaryVector).WithDim(16)), 1, nil},
		{entity.NewSchema().WithName(w.prefix + tenants).WithField(pk(entity.FieldTypeInt64)).
			WithField(entity.NewField().WithName("tenant").WithDataType(entity.FieldTypeVarChar).WithMaxLength(32).WithIsPartitionKey(true)).WithField(vec),
			1, []client.CreateCollectionOption{client.WithPartitionNum(4)}},
	}
	for _, s := range schemas {
		if err := w.c.CreateCollection(ctx, s.schema, s.shards, s.opts...); err != nil {
			return fmt.Errorf("create collection %s: %w", s.schema.CollectionName, err)
		}
	}
	return w.makeScratch(ctx)
}

func (w *Writer) makeScratch(ctx context.Context) error {
	w.gen++
	s := entity.NewSchema().WithName(w.prefix + scratch).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(int64(4 + 4*(w.gen%3)))) // another schema each time
	if err := w.c.CreateCollection(ctx, s, 1); err != nil {
		return fmt.Errorf("create collection %s: %w", s.CollectionName, err)
	}
	return nil
}

// Run writes until ctx ends, with a pause between calls. A call that is under way then is finished.
func (w *Writer) Run(ctx context.Context, pause time.Duration) error {
	for ctx.Err() == nil {
		if err := w.Step(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// Step makes one call, or the few that belong together.
func (w *Writer) Step(ctx context.Context) error {
	defer w.ops.Add(1)
	switch n := w.rng.IntN(100); {
	case n < 30:
		return w.writeOrders(ctx)
	case n < 40:
		return w.deleteOrders(ctx)
	case n < 52:
		return w.writeVisits(ctx)
	case n < 56:
		return w.deleteVisits(ctx)
	case n < 70:
		return w.writeTags(ctx)
	case n < 75:
		return w.delete(ctx, tags, "", w.tagKeys())
	case n < 86:
		return w.writeTenants(ctx)
	case n < 90:
		return w.delete(ctx, tenants, "", w.keys())
	case n < 95:
		return w.writeScratch(ctx)
	case n < 98:
		return w.partitions(ctx)
	default:
		return w.Recreate(ctx)
	}
}

// Recreate drops the short-lived collection and makes it again under its name, with another schema.
func (w *Writer) Recreate(ctx context.Context) error {
	if err := w.c.DropCollection(ctx, w.prefix+scratch); err != nil {
		return fmt.Errorf("drop collection %s: %w", w.prefix+scratch, err)
	}
	return w.makeScratch(ctx)
}

// partitions makes a partition of orders, or drops one with all its rows.
func (w *Writer) partitions(ctx context.Context) error {
	name := "p" + strconv.Itoa(w.rng.IntN(3))
	if i := slices.Index(w.parts, name); i >= 0 {
		w.parts = slices.Delete(w.parts, i, i+1)
		if err := w.c.DropPartition(ctx, w.prefix+orders, name); err != nil {
			return fmt.Errorf("drop partition %s: %w", name, err)
		}
		return nil
	}
	if err := w.c.CreatePartition(ctx, w.prefix+orders, name); err != nil {
		return fmt.Errorf("create partition %s: %w", name, err)
	}
	w.parts = append(w.parts, name)
	return nil
}

// partition is one of those of orders; empty is the default one.
func (w *Writer) partition() string {
	if i := w.rng.IntN(len(w.parts) + 1); i < len(w.parts) {
		return w.parts[i]
	}
	return ""
}

func (w *Writer) writeOrders(ctx context.Context) error {
	ids := w.keys()
	notes := make([][]byte, len(ids))
	for i := range notes {
		notes[i] = fmt.Appendf(nil, `{"note": "n%d", "weight": %d}`, w.rng.IntN(1000), w.rng.IntN(9))
	}
	cols := []entity.Column{entity.NewColumnInt64("id", ids), entity.NewColumnDouble("price", w.prices(len(ids))), w.vectors(len(ids), 8),
		entity.NewColumnJSONBytes("", notes).WithIsDynamic(true)}
	return w.write(ctx, orders, w.partition(), true, cols...)
}

func (w *Writer) deleteOrders(ctx context.Context) error {
	p := w.partition()
	if w.rng.IntN(2) == 0 {
		p = "" // every partition
	}
	return w.delete(ctx, orders, p, w.keys())
}

func (w *Writer) writeVisits(ctx context.Context) error {
	n := 1 + w.rng.IntN(200)
	ids, err := w.c.Insert(ctx, w.prefix+visits, "", entity.NewColumnDouble("price", w.prices(n)), w.vectors(n, 8))
	if err != nil {
		return fmt.Errorf("insert into %s: %w", w.prefix+visits, err)
	}
	w.rows.Add(int64(n))
	if col, ok := ids.(*entity.ColumnInt64); ok {
		w.autoID = append(w.autoID, col.Data()...)
	}
	return nil
}

func (w *Writer) deleteVisits(ctx context.Context) error {
	n := min(len(w.autoID), 1+w.rng.IntN(50))
	if n == 0 {
		return nil
	}
	ids := w.autoID[:n]
	w.autoID = w.autoID[n:]
	return w.delete(ctx, visits, "", ids)
}

func (w *Writer) writeTags(ctx context.Context) error {
	ids := w.tagKeys()
	docs, words, bits := make([][]byte, len(ids)), make([][]int64, len(ids)), make([][]byte, len(ids))
	for i := range ids {
		docs[i] = fmt.Appendf(nil, `{"a": %d, "b": ["x", null, %q]}`, w.rng.IntN(100), ids[i])
		words[i] = make([]int64, w.rng.IntN(8))
		for j := range words[i] {
			words[i][j] = w.rng.Int64()
		}
		bits[i] = []byte{byte(w.rng.Uint32()), byte(w.rng.Uint32())}
	}
	return w.write(ctx, tags, "", true, entity.NewColumnVarChar("id", ids), entity.NewColumnJSONBytes("doc", docs),
		entity.NewColumnInt64Array("words", words), entity.NewColumnBinaryVector("bits", 16, bits))
}

func (w *Writer) writeTenants(ctx context.Context) error {
	ids := w.keys()
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = "tenant-" + strconv.FormatInt(id%17, 10) // a key stays with its tenant: moving is another test
	}
	return w.write(ctx, tenants, "", true, entity.NewColumnInt64("id", ids), entity.NewColumnVarChar("tenant", names), w.vectors(len(ids), 8))
}

func (w *Writer) writeScratch(ctx context.Context) error {
	ids := w.keys()
	return w.write(ctx, scratch, "", false, entity.NewColumnInt64("id", ids), w.vectors(len(ids), 4+4*(w.gen%3)))
}

// write upserts, or now and then inserts: then the source may hold a key twice, which upsert wouldn't leave so.
func (w *Writer) write(ctx context.Context, collection, partition string, upsert bool, cols ...entity.Column) error {
	w.rows.Add(int64(cols[0].Len()))
	call := w.c.Upsert
	if !upsert {
		if err := w.deleteFirst(ctx, collection, cols[0]); err != nil {
			return err
		}
		call = w.c.Insert
	}
	if _, err := call(ctx, w.prefix+collection, partition, cols...); err != nil {
		return fmt.Errorf("write to %s: %w", w.prefix+collection, err)
	}
	return nil
}

// deleteFirst keeps an insert from doubling keys.
func (w *Writer) deleteFirst(ctx context.Context, collection string, keys entity.Column) error {
	col, ok := keys.(*entity.ColumnInt64)
	if !ok {
		return fmt.Errorf("keys of %s are %T", collection, keys)
	}
	return w.delete(ctx, collection, "", col.Data())
}

func (w *Writer) delete(ctx context.Context, collection, partition string, keys any) error {
	var in []string
	switch k := keys.(type) {
	case []int64:
		for _, id := range k {
			in = append(in, strconv.FormatInt(id, 10))
		}
	case []string:
		for _, id := range k {
			in = append(in, strconv.Quote(id))
		}
	}
	w.rows.Add(int64(len(in)))
	if err := w.c.Delete(ctx, w.prefix+collection, partition, "id in ["+strings.Join(in, ",")+"]"); err != nil {
		return fmt.Errorf("delete from %s: %w", w.prefix+collection, err)
	}
	return nil
}

// keys are 1 to 200 different keys.
func (w *Writer) keys() []int64 {
	set := map[int64]bool{}
	for range 1 + w.rng.IntN(200) {
		set[w.rng.Int64N(keySpace)] = true
	}
	out := make([]int64, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (w *Writer) tagKeys() []string {
	ids := w.keys()
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = fmt.Sprintf("tag-%d-é%s", id, strings.Repeat("'", int(id%3)))
	}
	return out
}

func (w *Writer) prices(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = w.rng.NormFloat64()
	}
	return out
}

func (w *Writer) vectors(n, dim int) entity.Column {
	out := make([][]float32, n)
	for i := range out {
		out[i] = make([]float32, dim)
		for j := range out[i] {
			out[i][j] = w.rng.Float32()
		}
	}
	return entity.NewColumnFloatVector("vec", dim, out)
}
