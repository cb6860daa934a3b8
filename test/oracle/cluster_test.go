//go:build servers

package oracle_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/oracle"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(servers.Main(m, servers.RoleTarget, servers.RoleTarget2))
}

// side is one of two Milvus that tests of this package write to.
type side struct {
	client.Client
	*oracle.Cluster
}

func connect(t *testing.T, m *servers.Milvus, database string) side {
	t.Helper()
	c, err := client.NewClient(t.Context(), client.Config{Address: m.Addr, DBName: database})
	must(t, err)
	o, err := oracle.Dial(m.URI, "")
	must(t, err)
	t.Cleanup(func() { c.Close(); o.Close() })
	return side{c, o}
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func field(name string, t entity.FieldType) *entity.Field {
	return entity.NewField().WithName(name).WithDataType(t)
}

// everything is a schema of every type that Milvus 2.3 has but a second vector.
func everything(name string) *entity.Schema {
	s := entity.NewSchema().WithName(name).WithDescription("every type").WithDynamicFieldEnabled(true).
		WithField(field("id", entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(100)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4)).
		WithField(field("doc", entity.FieldTypeJSON))
	for _, t := range scalarTypes {
		s = s.WithField(field(t.Name(), t)).
			WithField(field("array_"+t.Name(), entity.FieldTypeArray).WithElementType(t).WithMaxCapacity(8))
	}
	return s.WithField(field("array_str", entity.FieldTypeArray).WithElementType(entity.FieldTypeVarChar).WithMaxLength(20).WithMaxCapacity(8))
}

var scalarTypes = []entity.FieldType{
	entity.FieldTypeBool, entity.FieldTypeInt8, entity.FieldTypeInt16, entity.FieldTypeInt32, entity.FieldTypeInt64,
	entity.FieldTypeFloat, entity.FieldTypeDouble,
}

// oddKeys are hard to write in an expression.
var oddKeys = []string{"plain", "", `q"uote`, `b\ack`, "new\nline", "uni→ü😀", "it's", "\x00\x01", "tab\t", "%like_", `{"a":1}`, `\n`, `\"`, `\u00e9`}

// everyColumn makes a row of each key, its values from the seed.
func everyColumn(keys []string, seed int) []entity.Column {
	n := len(keys)
	vec, doc, extra, words := make([][]float32, n), make([][]byte, n), make([][]byte, n), make([][][]byte, n)
	for i := range n {
		v := seed + i
		vec[i] = []float32{float32(v) + .1, float32(math.Copysign(0, -1)), 1e-30, float32(-v)}
		doc[i] = fmt.Appendf(nil, `{"b" : %d, "a":[1, 2.50, null], "z":"\u00e9"}`, v)
		extra[i] = fmt.Appendf(nil, `{"color":"red", "n":%d}`, v)
		for k := range v % 4 {
			words[i] = append(words[i], fmt.Appendf(nil, "w%d", k))
		}
	}
	cols := []entity.Column{
		entity.NewColumnVarChar("id", keys), entity.NewColumnFloatVector("vec", 4, vec), entity.NewColumnJSONBytes("doc", doc),
		entity.NewColumnJSONBytes("$meta", extra).WithIsDynamic(true), entity.NewColumnVarCharArray("array_str", words),
	}
	return append(cols, numberColumns(n, seed)...)
}

func numberColumns(n, seed int) []entity.Column {
	b := make([]bool, n)
	bs := make([][]bool, n)
	for i := range n {
		b[i], bs[i] = (seed+i)%2 == 0, make([]bool, (seed+i)%3)
	}
	return []entity.Column{
		entity.NewColumnBool("Bool", b), entity.NewColumnBoolArray("array_Bool", bs),
		entity.NewColumnInt8("Int8", some[int8](n, seed)), entity.NewColumnInt8Array("array_Int8", several[int8](n, seed)),
		entity.NewColumnInt16("Int16", some[int16](n, seed)), entity.NewColumnInt16Array("array_Int16", several[int16](n, seed)),
		entity.NewColumnInt32("Int32", some[int32](n, seed)), entity.NewColumnInt32Array("array_Int32", several[int32](n, seed)),
		entity.NewColumnInt64("Int64", some[int64](n, seed)), entity.NewColumnInt64Array("array_Int64", several[int64](n, seed)),
		entity.NewColumnFloat("Float", some[float32](n, seed)), entity.NewColumnFloatArray("array_Float", several[float32](n, seed)),
		entity.NewColumnDouble("Double", some[float64](n, seed)), entity.NewColumnDoubleArray("array_Double", several[float64](n, seed)),
	}
}

type number interface {
	int8 | int16 | int32 | int64 | float32 | float64
}

func some[T number](n, seed int) []T {
	v := make([]T, n)
	for i := range v {
		v[i] = T(seed+i) / 3
	}
	return v
}

func several[T number](n, seed int) [][]T {
	v := make([][]T, n)
	for i := range v {
		v[i] = some[T]((seed+i)%4, seed)
	}
	return v
}

// data is what a Model is told of columns.
func data(cols []entity.Column) []*schemapb.FieldData {
	fd := make([]*schemapb.FieldData, len(cols))
	for i, c := range cols {
		fd[i] = c.FieldData()
	}
	return fd
}

func (s side) check(t *testing.T, database, collection string, m *oracle.Model) {
	t.Helper()
	got, err := s.Read(timeout(t), database, collection)
	must(t, err)
	if d := oracle.Compare(m.Table(), got); !d.Equal() {
		t.Errorf("model (as source) and Milvus (as target): %s", d)
	}
}

// TestReadEverything writes every type under odd keys, changes and deletes rows in two partitions, and finds what the
// model says, in memory and after a flush.
func TestReadEverything(t *testing.T) {
	ctx := timeout(t)
	s := connect(t, servers.Target(t), "")
	schema := everything("everything")
	must(t, s.CreateCollection(ctx, schema, 2))
	m := model(t, schema.ProtoMessage())
	must(t, s.CreatePartition(ctx, "everything", "p"))
	m.CreatePartition("p")
	write := func(partition string, keys []string, seed int) {
		cols := everyColumn(keys, seed)
		_, err := s.Upsert(ctx, "everything", partition, cols...)
		must(t, err)
		must(t, m.Write(partition, data(cols)...))
	}
	remove := func(partition string, keys []string) {
		var quoted []string
		for _, k := range keys {
			quoted = append(quoted, strconv.Quote(k)) // which the SDK's DeleteByPks does not
		}
		must(t, s.Delete(ctx, "everything", partition, fmt.Sprintf("id in [%s]", strings.Join(quoted, ","))))
		must(t, m.Delete(partition, entity.NewColumnVarChar("id", keys).FieldData()))
	}
	write("", oddKeys, 0)
	write("p", oddKeys, 40)
	s.check(t, "default", "everything", m)
	remove("", oddKeys[:2])
	remove("p", oddKeys[1:4])
	write("p", oddKeys[3:8], 90)
	must(t, s.Flush(ctx, "everything", false))
	s.check(t, "default", "everything", m)
	write("", oddKeys[1:9], 20)
	s.check(t, "default", "everything", m)
	must(t, s.ReleasePartitions(ctx, "everything", []string{"p"}))
	must(t, s.DropPartition(ctx, "everything", "p"))
	m.DropPartition("p")
	s.check(t, "default", "everything", m)
}

// TestReadDuplicates inserts keys several times, of which Milvus then shows only some.
func TestReadDuplicates(t *testing.T) {
	ctx := timeout(t)
	s := connect(t, servers.Target(t), "")
	schema := entity.NewSchema().WithName("twice").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("vec", entity.FieldTypeBinaryVector).WithDim(16))
	must(t, s.CreateCollection(ctx, schema, 2))
	insert := func(from, to int64) {
		var keys []int64
		var vec [][]byte
		for k := from; k < to; k++ {
			keys, vec = append(keys, k), append(vec, []byte{byte(k), 1})
		}
		_, err := s.Insert(ctx, "twice", "", entity.NewColumnInt64("id", keys), entity.NewColumnBinaryVector("vec", 16, vec))
		must(t, err)
	}
	insert(-5, 20)
	insert(0, 20)
	insert(10, 20)
	got, err := s.Read(ctx, "default", "twice")
	must(t, err)
	if len(got.Rows) != 25 || got.Counts["_default"] != 55 || len(got.Stored) != 20 {
		t.Errorf("%d keys, %v rows, %d keys stored twice; want 25, 55, 20", len(got.Rows), got.Counts, len(got.Stored))
	}
	for k, n := range got.Stored {
		if want := int64(1 + len(k.PK)); n != want { // "7" twice, "17" three times
			t.Errorf("key %s is stored %d times", k, n)
		}
	}
}

// TestReadMany reads more than a result window holds, with auto-ID and a partition key.
func TestReadMany(t *testing.T) {
	ctx := timeout(t)
	s := connect(t, servers.Target(t), "")
	schema := entity.NewSchema().WithName("many").WithAutoID(true).
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true).WithIsAutoID(true)).
		WithField(field("Int64", entity.FieldTypeInt64).WithIsPartitionKey(true)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(2))
	must(t, s.CreateCollection(ctx, schema, 1, client.WithPartitionNum(4)))
	m := model(t, schema.ProtoMessage())
	const n = 10_000
	for part := range 2 {
		vec := make([][]float32, n)
		for i := range vec {
			vec[i] = []float32{float32(part), float32(i)}
		}
		cols := []entity.Column{entity.NewColumnInt64("Int64", some[int64](n, part)), entity.NewColumnFloatVector("vec", 2, vec)}
		keys, err := s.Insert(ctx, "many", "", cols...)
		must(t, err)
		must(t, m.Write("", append(data(cols), rename(keys, "id"))...))
	}
	s.check(t, "default", "many", m)
}

// rename is a column of keys that Milvus answered, which has no name.
func rename(c entity.Column, name string) *schemapb.FieldData {
	fd := c.FieldData()
	fd.FieldName = name
	return fd
}

// TestCompareClusters fills two Milvus alike, then changes one of them in one way after the other.
func TestCompareClusters(t *testing.T) {
	ctx := timeout(t)
	source, target := connect(t, servers.Target(t), ""), connect(t, servers.Target2(t), "")
	for _, s := range []side{source, target} {
		must(t, s.CreateDatabase(ctx, "cmp"))
		must(t, s.UsingDatabase(ctx, "cmp"))
		for _, name := range []string{"a", "b", "tmp_c"} {
			must(t, s.CreateCollection(ctx, everything(name), 2))
			_, err := s.Insert(ctx, name, "", everyColumn(oddKeys, 3)...)
			must(t, err)
		}
	}
	selects := func(database, collection string) bool {
		return database == "cmp" && !strings.HasPrefix(collection, "tmp_")
	}
	expect := func(parts ...string) {
		t.Helper()
		d, err := oracle.CompareClusters(ctx, source.Cluster, target.Cluster, selects)
		must(t, err)
		for _, p := range parts {
			if !strings.Contains(d.String(), p) {
				t.Errorf("verdict lacks %q:\n%s", p, d)
			}
		}
		if d.Equal() != strings.HasPrefix(parts[0], "equal") {
			t.Errorf("equal is %v:\n%s", d.Equal(), d)
		}
	}
	expect(fmt.Sprintf("equal: 2 collections, %d rows", 2*len(oddKeys)))
	must(t, target.DropCollection(ctx, "tmp_c"))
	expect("equal")
	must(t, target.DeleteByPks(ctx, "a", "", entity.NewColumnVarChar("id", oddKeys[:1])))
	expect(`cmp.a, row _default/"plain": source has it, target has nothing`)
	must(t, source.DeleteByPks(ctx, "a", "", entity.NewColumnVarChar("id", oddKeys[:1])))
	_, err := target.Upsert(ctx, "b", "", everyColumn(oddKeys[:1], 4)...)
	must(t, err)
	expect(`cmp.b, row _default/"plain", field $meta: source has "{\"color\":\"red\", \"n\":3}", target has`, "field array_Double")
	must(t, target.DropCollection(ctx, "b"))
	expect("1 differences", "cmp.b: source has it, target has nothing")
	must(t, target.CreateCollection(ctx, everything("b").WithField(field("more", entity.FieldTypeBool)), 1, client.WithConsistencyLevel(entity.ClStrong)))
	expect("cmp.b, shards: source has 2, target has 1", "consistency level: source has Bounded, target has Strong", "cmp.b, field more: source has nothing, target has Bool")
	must(t, target.DropCollection(ctx, "b"))
	must(t, source.DropCollection(ctx, "b"))
	must(t, target.CreatePartition(ctx, "a", "p"))
	expect("cmp.a, partitions: source has _default, target has _default p")
}
