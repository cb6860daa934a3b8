//go:build servers

package e2e_test

import (
	"fmt"
	"math"
	"strconv"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

// partitions changes rows as Milvus orders it, which is easily got wrong: an upsert is an insert and a delete of one
// time, and the same key may be in several partitions. Done step by step, and all in one batch.
func partitions(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("part_", dst)
	r.Create("part", 4, rig.Prefix("default", "part_"), dst)
	steps := r.Table("default", plain("part_steps"), 2)
	batch := r.Table("default", plain("part_batch"), 2)
	for _, step := range []func(*rig.Table){
		func(tb *rig.Table) { tb.Upsert("", rows(0, 200, 1)...) },
		func(tb *rig.Table) { tb.Upsert("", rows(0, 150, 2)...) }, // none may vanish, all must have the new value
		func(tb *rig.Table) { tb.CreatePartition("p"); tb.CreatePartition("q") },
		func(tb *rig.Table) { tb.Upsert("p", rows(0, 100, 3)...); tb.Insert("q", rows(300, 310, 3)...) },
		func(tb *rig.Table) { tb.Delete("p", ids(0, 20)) }, // leaves those in the default partition
		func(tb *rig.Table) { tb.Delete("", ids(10, 60)) }, // from all
		func(tb *rig.Table) { tb.Upsert("", rows(50, 70, 4)...); tb.Delete("q", ids(0, 1000)) },
		func(tb *rig.Table) { tb.Delete("_default", ids(60, 70)); tb.Insert("q", rows(60, 70, 5)...) },
	} {
		step(steps)
		r.Wait("part")
		steps.Check(dst)
		step(batch)
	}
	r.Wait("part")
	batch.Check(dst)
	r.Equal(dst, "default", "part_")
}

// givenKeys keeps the keys that the source gave by itself, and places rows by a partition key as the source does.
func givenKeys(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("given_", dst)
	auto := r.Table("default", entity.NewSchema().WithName("given_auto").WithAutoID(true).
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true).WithIsAutoID(true)).
		WithField(field("n", entity.FieldTypeInt64)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4)), 1)
	words := r.Table("default", entity.NewSchema().WithName("given_words").WithAutoID(true).
		WithField(field("id", entity.FieldTypeVarChar).WithMaxLength(64).WithIsPrimaryKey(true).WithIsAutoID(true)).
		WithField(field("n", entity.FieldTypeInt64)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4)), 1)
	keyed := r.Table("default", entity.NewSchema().WithName("given_tenants").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("n", entity.FieldTypeInt64)).
		WithField(field("tenant", entity.FieldTypeVarChar).WithMaxLength(32).WithIsPartitionKey(true)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4)), 2, client.WithPartitionNum(7))
	r.Create("given", 3, rig.Prefix("default", "given_"), dst)
	for version := range int64(3) {
		keys := auto.Insert("", rows(0, 300, version)[1:]...)
		auto.Delete("", keys.Slice(100, 200))
		keys = words.Insert("", rows(0, 300, version)[1:]...)
		words.Delete("", keys.Slice(10, 20))
		keyed.Upsert("", append(rows(0, 300-100*version, version), tenants(0, 300-100*version))...)
	}
	keyed.Delete("", ids(5, 50))
	r.Wait("given")
	for _, tb := range []*rig.Table{auto, words, keyed} {
		tb.Check(dst)
	}
	r.Equal(dst, "default", "given_")
}

func tenants(from, to int64) entity.Column {
	var names []string
	for id := from; id < to; id++ {
		names = append(names, "tenant "+strconv.FormatInt(id%11, 10))
	}
	return entity.NewColumnVarChar("tenant", names)
}

// anotherDatabase follows a database that comes, has collections of the same names as another one, and goes.
func anotherDatabase(r *rig.Rig) {
	const db, other = "e2e_db", "e2e_db_not"
	dst := servers.Target(r)
	source := r.Client(r.Source, "")
	for _, name := range []string{db, other} {
		if err := source.CreateDatabase(r.Context(), name); err != nil {
			r.Fatal(err)
		}
	}
	r.Create("db", 2, rig.Prefix(db, ""), dst)
	tb, not := r.Table(db, plain("orders"), 1), r.Table(other, plain("orders"), 1)
	tb.Upsert("", rows(0, 100, 1)...)
	not.Upsert("", rows(0, 50, 2)...)
	tb.CreatePartition("p")
	tb.Upsert("p", rows(50, 150, 3)...)
	r.Wait("db")
	tb.Check(dst)
	r.Equal(dst, db, "")
	if has := databases(r, dst); !has[db] || has[other] {
		r.Errorf("the target has the databases %v", has)
	}
	tb.Drop()
	not.Drop()
	for _, name := range []string{db, other} {
		if err := source.DropDatabase(r.Context(), name); err != nil {
			r.Fatal(err)
		}
	}
	r.Wait("db")
	if has := databases(r, dst); has[db] {
		r.Errorf("the database was dropped, and the target still has the databases %v", has)
	}
}

func databases(r *rig.Rig, m *servers.Milvus) map[string]bool {
	r.Helper()
	all, err := r.Client(m, "").ListDatabases(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	names := map[string]bool{}
	for _, db := range all {
		names[db.Name] = true
	}
	return names
}

// everyType writes each type of field that Milvus 2.3 has, at the ends of its range, under keys that are hard to write.
func everyType(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("type_", dst)
	r.Create("type", 4, rig.Prefix("default", "type_"), dst)
	s := entity.NewSchema().WithName("type_all").WithDescription("every type, \"quoted\" and ünïcode").WithDynamicFieldEnabled(true).
		WithField(field("id", entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(100)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(8).WithDescription("extremes")).
		WithField(field("doc", entity.FieldTypeJSON)).
		WithField(field("words", entity.FieldTypeArray).WithElementType(entity.FieldTypeVarChar).WithMaxLength(40).WithMaxCapacity(8))
	for _, t := range []entity.FieldType{entity.FieldTypeBool, entity.FieldTypeInt8, entity.FieldTypeInt16, entity.FieldTypeInt32,
		entity.FieldTypeInt64, entity.FieldTypeFloat, entity.FieldTypeDouble} {
		s = s.WithField(field(t.Name(), t)).
			WithField(field("array_"+t.Name(), entity.FieldTypeArray).WithElementType(t).WithMaxCapacity(8))
	}
	all := r.Table("default", s, 2)
	bits := r.Table("default", entity.NewSchema().WithName("type_bits").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("vec", entity.FieldTypeBinaryVector).WithDim(64)), 1)

	keys := []string{"plain", "", `q"uote`, `b\ack`, "new\nline", "uni→ü😀", "it's", "\x00\x01", "tab\t", "%like_", `{"a":1}`, `\n`, `\"`, `\u00e9`, "a.b>c*"}
	all.Insert("", everyColumn(keys, 0)...)
	all.Upsert("", everyColumn(keys[3:12], 5)...)
	all.Delete("", entity.NewColumnVarChar("id", keys[6:8]))
	all.Delete("", entity.NewColumnVarChar("id", keys[13:14]))
	all.CreatePartition("p")
	all.Upsert("p", everyColumn(keys, 9)...)
	all.Delete("p", entity.NewColumnVarChar("id", keys[1:4]))
	vecs := make([][]byte, 300)
	for i := range vecs {
		vecs[i] = []byte{byte(i), 0, 255, byte(i >> 8), 128, 1, 127, byte(-i)}
	}
	bits.Insert("", ids(-150, 150), entity.NewColumnBinaryVector("vec", 64, vecs))
	bits.Upsert("", ids(math.MaxInt64-300, math.MaxInt64), entity.NewColumnBinaryVector("vec", 64, vecs))
	bits.Upsert("", ids(-math.MaxInt64, -math.MaxInt64+300), entity.NewColumnBinaryVector("vec", 64, vecs))
	bits.Delete("", ids(-10, 10))
	r.Wait("type")
	all.Check(dst)
	bits.Check(dst)
	r.Equal(dst, "default", "type_")
}

// The ends of what a number can be, without NaN and infinity, which Milvus refuses.
func floats32() []float32 {
	return []float32{math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, math.MaxFloat32, -math.MaxFloat32, 0,
		float32(math.Copysign(0, -1)), 1.1754942e-38, 0.1}
}

func floats64() []float64 {
	return []float64{math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64, math.Copysign(0, -1), 2.2250738585072009e-308, 0.1}
}

// everyColumn makes a row of each key, its values from the seed.
func everyColumn(keys []string, seed int) []entity.Column {
	n := len(keys)
	vec, doc, extra, words := make([][]float32, n), make([][]byte, n), make([][]byte, n), make([][][]byte, n)
	for i := range n {
		vec[i] = make([]float32, 0, 8)
		for k := range 8 {
			vec[i] = append(vec[i], floats32()[(seed+i+k)%8])
		}
		doc[i] = fmt.Appendf(nil, `{"b" : %d, "a":[1, 2.50, null, {"x":"\u00e9"}], "big": 9007199254740993}`, seed+i)
		extra[i] = fmt.Appendf(nil, `{"color":"red", "n":%d, "deep":{"list":[true,false]}}`, seed+i)
		for k := range (seed + i) % 4 {
			words[i] = append(words[i], fmt.Appendf(nil, "w%d ü\"'", k))
		}
	}
	cols := []entity.Column{
		entity.NewColumnVarChar("id", keys), entity.NewColumnFloatVector("vec", 8, vec), entity.NewColumnJSONBytes("doc", doc),
		entity.NewColumnJSONBytes("$meta", extra).WithIsDynamic(true), entity.NewColumnVarCharArray("words", words),
	}
	return append(cols, numberColumns(n, seed)...)
}

func numberColumns(n, seed int) []entity.Column {
	i8 := []int8{0, 1, -1, math.MaxInt8, math.MinInt8}
	i16 := []int16{0, 1, -1, math.MaxInt16, math.MinInt16}
	i32 := []int32{0, 1, -1, math.MaxInt32, math.MinInt32}
	i64 := []int64{0, 1, -1, math.MaxInt64, math.MinInt64}
	b := []bool{true, false}
	return []entity.Column{
		entity.NewColumnBool("Bool", some(b, n, seed)), entity.NewColumnBoolArray("array_Bool", several(b, n, seed)),
		entity.NewColumnInt8("Int8", some(i8, n, seed)), entity.NewColumnInt8Array("array_Int8", several(i8, n, seed)),
		entity.NewColumnInt16("Int16", some(i16, n, seed)), entity.NewColumnInt16Array("array_Int16", several(i16, n, seed)),
		entity.NewColumnInt32("Int32", some(i32, n, seed)), entity.NewColumnInt32Array("array_Int32", several(i32, n, seed)),
		entity.NewColumnInt64("Int64", some(i64, n, seed)), entity.NewColumnInt64Array("array_Int64", several(i64, n, seed)),
		entity.NewColumnFloat("Float", some(floats32(), n, seed)), entity.NewColumnFloatArray("array_Float", several(floats32(), n, seed)),
		entity.NewColumnDouble("Double", some(floats64(), n, seed)), entity.NewColumnDoubleArray("array_Double", several(floats64(), n, seed)),
	}
}

// some takes n values one after the other, from the seed-th on.
func some[T any](of []T, n, seed int) []T {
	v := make([]T, n)
	for i := range v {
		v[i] = of[(seed+i)%len(of)]
	}
	return v
}

// several makes n arrays of no to four values.
func several[T any](of []T, n, seed int) [][]T {
	v := make([][]T, n)
	for i := range v {
		v[i] = some(of, (seed+i)%5, seed+i)
	}
	return v
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
