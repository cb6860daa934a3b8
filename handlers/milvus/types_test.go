//go:build servers

package milvus_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// column is a field and its three rows, in the full form that queues have.
type column struct {
	field *schemapb.FieldSchema
	rows  *schemapb.FieldData
}

func plain(f *schemapb.FieldSchema, s *schemapb.ScalarField) column {
	return column{f, scalars(f.GetName(), f.GetDataType(), s)}
}

// with has the rows marked valid or not, as a nullable field's are.
func (c column) with(valid ...bool) column {
	c.rows.ValidData = valid
	return c
}

func nullable(f *schemapb.FieldSchema) { f.Nullable = true }

func defaults(v *schemapb.ValueField) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) { f.DefaultValue = v }
}

func boolList(v ...bool) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: v}}}
}

func intList(v ...int32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}}}
}

func longList(v ...int64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
}

func floatList(v ...float32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: v}}}
}

func doubleList(v ...float64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: v}}}
}

func textList(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func jsonList(v ...string) *schemapb.ScalarField {
	b := make([][]byte, len(v))
	for i := range v {
		b[i] = []byte(v[i])
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: b}}}
}

func arrayList(of schemapb.DataType, v ...*schemapb.ScalarField) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: v, ElementType: of}}}
}

// scalarColumns are of every scalar type: the ends of each range, nothing, and something in between. How changes the fields.
func scalarColumns(how ...func(*schemapb.FieldSchema)) []column {
	f := func(typ schemapb.DataType, more ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
		return field("f_"+strings.ToLower(typ.String()), typ, append(more, how...)...)
	}
	return []column{
		plain(f(schemapb.DataType_Bool), boolList(true, false, true)),
		plain(f(schemapb.DataType_Int8), intList(-128, 0, 127)),
		plain(f(schemapb.DataType_Int16), intList(-32768, 0, 32767)),
		plain(f(schemapb.DataType_Int32), intList(math.MinInt32, 0, math.MaxInt32)),
		plain(f(schemapb.DataType_Int64), longList(math.MinInt64, 0, math.MaxInt64)),
		plain(f(schemapb.DataType_Float), floatList(math.MaxFloat32, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32)),
		plain(f(schemapb.DataType_Double), doubleList(math.MaxFloat64, math.Copysign(0, -1), math.SmallestNonzeroFloat64)),
		plain(f(schemapb.DataType_VarChar, param("max_length", 256)), textList("käse \"\\\n\x00\U0010ffff", "", "漢字")),
		plain(f(schemapb.DataType_JSON), jsonList(`{"a":[1,-2.5,null,true,"ü\n"],"b":{}}`, `{}`, `{"big":9007199254740993}`)),
	}
}

// arrayColumns are arrays of every type of element: several, none, one.
func arrayColumns(how ...func(*schemapb.FieldSchema)) []column {
	array := func(of schemapb.DataType, v ...*schemapb.ScalarField) column {
		more := append([]func(*schemapb.FieldSchema){elements(of), param("max_capacity", 8), param("max_length", 64)}, how...)
		return plain(field("a_"+strings.ToLower(of.String()), schemapb.DataType_Array, more...), arrayList(of, v...))
	}
	return []column{
		array(schemapb.DataType_Bool, boolList(true, false), boolList(), boolList(false)),
		array(schemapb.DataType_Int8, intList(-128, 127), intList(), intList(0)),
		array(schemapb.DataType_Int16, intList(-32768, 32767), intList(), intList(0)),
		array(schemapb.DataType_Int32, intList(math.MinInt32, math.MaxInt32), intList(), intList(0)),
		array(schemapb.DataType_Int64, longList(math.MinInt64, math.MaxInt64), longList(), longList(0)),
		array(schemapb.DataType_Float, floatList(math.MaxFloat32, math.SmallestNonzeroFloat32), floatList(), floatList(0)),
		array(schemapb.DataType_Double, doubleList(math.MaxFloat64, 0.1), doubleList(), doubleList(0)),
		array(schemapb.DataType_VarChar, textList("", "ü\"\\"), textList(), textList("x")),
	}
}

// defaultColumns have default values; what rows hold is already filled in on the queue.
func defaultColumns() []column {
	return []column{
		plain(field("d_bool", schemapb.DataType_Bool, defaults(&schemapb.ValueField{Data: &schemapb.ValueField_BoolData{BoolData: true}})), boolList(true, false, true)),
		plain(field("d_int8", schemapb.DataType_Int8, defaults(&schemapb.ValueField{Data: &schemapb.ValueField_IntData{IntData: 7}})), intList(7, 0, -1)),
		plain(field("d_long", schemapb.DataType_Int64, defaults(&schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: 7}})), longList(7, 0, -1)),
		plain(field("d_float", schemapb.DataType_Float, defaults(&schemapb.ValueField{Data: &schemapb.ValueField_FloatData{FloatData: 0.1}})), floatList(0.1, 0, -1)),
		plain(field("d_double", schemapb.DataType_Double, defaults(&schemapb.ValueField{Data: &schemapb.ValueField_DoubleData{DoubleData: 0.1}})), doubleList(0.1, 0, -1)),
		plain(field("d_text", schemapb.DataType_VarChar, param("max_length", 64), defaults(&schemapb.ValueField{Data: &schemapb.ValueField_StringData{StringData: "none"}})), textList("none", "", "x")),
	}
}

// sparse is a row of a sparse vector: pairs of index and value.
func sparse(pairs ...float32) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = binary.LittleEndian.AppendUint32(b, uint32(pairs[i]))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(pairs[i+1]))
	}
	return b
}

func sparseColumn(name string, rows ...[]byte) column {
	f := field(name, schemapb.DataType_SparseFloatVector)
	return column{f, &schemapb.FieldData{
		FieldName: name, Type: f.GetDataType(),
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: 1 << 20, Data: &schemapb.VectorField_SparseFloatVector{
			SparseFloatVector: &schemapb.SparseFloatArray{Dim: 1 << 20, Contents: rows},
		}}},
	}}
}

func floatColumn(name string, dim int, v ...float32) column {
	return column{field(name, schemapb.DataType_FloatVector, param("dim", dim)), &schemapb.FieldData{
		FieldName: name, Type: schemapb.DataType_FloatVector,
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: int64(dim), Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}},
		}},
	}}
}

// keyColumn and vectorColumn are in every collection.
func keyColumn() column { return column{idField(), longs("id", 1, 2, 3)} }

func vectorColumn() column {
	return floatColumn("v", 2, math.MaxFloat32, -math.MaxFloat32, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 0.1, 1)
}

// apply makes a collection of the columns and writes the rows, twice, all by events.
func (w *world) apply(name string, columns ...column) *stream {
	w.t.Helper()
	h, err := handlers.New(w.target, handlers.Options{})
	w.must(err)
	fields, data := make([]*schemapb.FieldSchema, len(columns)), make([]*schemapb.FieldData, len(columns))
	for i, c := range columns {
		fields[i], data[i] = c.field, c.rows
	}
	s := &stream{w: w, ref: w.ref(name), id: 1}
	events := []*jetstream.Event{s.event(jetstream.CreateCollection, "", w.request(name, fields...)), s.insert("_default", data...)}
	applied(w.t, h.Apply(w.t.Context(), events))
	applied(w.t, h.Apply(w.t.Context(), events))
	return s
}

// cell is the one value in a column, to be compared: its bytes, or "null".
func cell(t testing.TB, f *schemapb.FieldData) string {
	t.Helper()
	if v := f.GetValidData(); len(v) > 0 && !v[0] {
		return "null"
	}
	var m proto.Message = f.GetScalars()
	switch {
	case f.GetVectors().GetSparseFloatVector() != nil:
		return fmt.Sprintf("%x", f.GetVectors().GetSparseFloatVector().GetContents())
	case f.GetVectors() != nil:
		m = f.GetVectors()
	case f.GetScalars().GetArrayData() != nil:
		one := f.GetScalars().GetArrayData().GetData()[0]
		if b, err := proto.Marshal(one); err != nil || len(b) <= 2 { // a list without values, or nothing, as a 2.3.5 answers
			return "[]"
		}
		m = one
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", b)
}

// sameJSON reports whether two columns of one value hold JSON of the same values, numbers digit for digit.
func sameJSON(t testing.TB, a, b *schemapb.FieldData) bool {
	t.Helper()
	read := func(f *schemapb.FieldData) (v any) {
		d := json.NewDecoder(strings.NewReader(string(f.GetScalars().GetJsonData().GetData()[0])))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return reflect.DeepEqual(read(a), read(b))
}

// whose are expressions for each row of a key's column. A 2.3.5 can't read the least number in one piece, a Milvus Lite
// works nothing out.
func (w *world) whose(c column) []string {
	var out []string
	for _, id := range c.rows.GetScalars().GetLongData().GetData() {
		switch {
		case id == math.MinInt64 && !w.lite:
			out = append(out, fmt.Sprintf("id in [%d-1]", id+1))
		default:
			out = append(out, fmt.Sprintf("id in [%d]", id))
		}
	}
	for _, id := range c.rows.GetScalars().GetStringData().GetData() {
		out = append(out, "id in ["+strconv.Quote(id)+"]")
	}
	return out
}

func idsOf(c column) *schemapb.IDs {
	if texts := c.rows.GetScalars().GetStringData(); texts != nil {
		return textIDs(texts.GetData()...)
	}
	return longIDs(c.rows.GetScalars().GetLongData().GetData()...)
}

// holds compares every value on the target with the source's. The first column has the keys.
func (w *world) holds(ref handlers.Ref, jsonAsIs bool, columns ...column) {
	w.t.Helper()
	names, data := make([]string, len(columns)), make([]*schemapb.FieldData, len(columns))
	for i, c := range columns {
		names[i], data[i] = c.field.GetName(), c.rows
	}
	all := pack(w.t, data...)
	for i, expr := range w.whose(columns[0]) { // one by one, as a query's order is its own
		got := w.query(ref, nil, expr, names...)
		one, err := all.Take([]int{i}).FieldData()
		w.must(err)
		for _, want := range one {
			have := got[want.GetFieldName()]
			if have.GetType() != want.GetType() {
				w.t.Errorf("field %s is a %s, want %s", want.GetFieldName(), have.GetType(), want.GetType())
				continue
			}
			a, b := cell(w.t, have), cell(w.t, want)
			if want.GetType() == schemapb.DataType_JSON && !jsonAsIs && b != "null" && a != "null" && sameJSON(w.t, have, want) {
				continue
			}
			if a != b {
				w.t.Errorf("field %s where %s: got %s (%v), want %s", want.GetFieldName(), expr, a, have, b)
			}
		}
	}
}

// everywhere runs a test on a real Milvus 2.3.5 and on a real Milvus Lite.
func everywhere(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("2.3.5", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("lite", func(t *testing.T) { test(t, newLite(t)) })
}

// TestEveryTypeBitForBit writes every type that both targets hold as a bridge's events bring it.
func TestEveryTypeBitForBit(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		columns := slices.Concat([]column{keyColumn(), vectorColumn()}, scalarColumns(), arrayColumns())
		columns = append(columns, column{metaField(), metas(`{"x":1,"y":{"z":["ü",null]}}`, `{}`, `{"big":9007199254740993}`)})
		s := w.apply("c", columns...)
		w.load(s.ref, "v", "L2")
		w.holds(s.ref, !w.lite, columns...)
		if n := w.count(s.ref); n != 3 {
			t.Errorf("%d rows, want 3", n)
		}
	})
}

// TestDefaultsBitForBit has fields with default values: a 2.3.5 keeps them and takes the rows' own values all the same.
func TestDefaultsBitForBit(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		columns := append([]column{keyColumn(), vectorColumn()}, defaultColumns()...)
		s := w.apply("c", columns...)
		w.load(s.ref, "v", "L2")
		w.holds(s.ref, true, columns...)
	})
}

// TestKeysBitForBit has every kind of key: of the source's making, in partitions by a field's value, clustered by another.
func TestKeysBitForBit(t *testing.T) {
	text := func(name string, how ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
		return field(name, schemapb.DataType_VarChar, append(how, param("max_length", 64))...)
	}
	long := func(name string, how ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
		return field(name, schemapb.DataType_Int64, how...)
	}
	ends := longList(math.MinInt64, 470648117777806097, math.MaxInt64-1) // the last number of all no query of a 2.3.5 gives back
	for name, columns := range map[string][]column{
		"int64":         {plain(long("id", primary), ends)},
		"int64_auto":    {plain(long("id", primary, auto), ends)},
		"varchar":       {plain(text("id", primary), textList("", "ü\"", "470648117777806097"))},
		"varchar_auto":  {plain(text("id", primary, auto), textList("470648117777806097", "470648117777806098", "470648117777806099"))},
		"by_int64":      {plain(long("id", primary), ends), plain(long("k", partitionKey), longList(math.MinInt64, 0, math.MaxInt64))},
		"by_varchar":    {plain(text("id", primary, auto), textList("a", "b", "c")), plain(text("k", partitionKey), textList("", "ü", "x"))},
		"clustered":     {plain(long("id", primary), ends), plain(long("c", clustering), longList(3, 1, 2))},
		"by_and_within": {plain(long("id", primary), ends), plain(long("k", partitionKey), longList(1, 2, 1)), plain(text("c", clustering), textList("z", "", "a"))},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w *world) {
				columns := append(columns, vectorColumn())
				s := w.apply("c", columns...)
				w.load(s.ref, "v", "L2")
				w.holds(s.ref, true, columns...)
				if n := w.count(s.ref); n != 3 {
					t.Errorf("%d rows, want 3", n)
				}
				h, err := handlers.New(w.target, handlers.Options{})
				w.must(err)
				applied(t, h.Apply(t.Context(), []*jetstream.Event{s.remove("", idsOf(columns[0]), 3)}))
				if n := w.count(s.ref); n != 0 {
					t.Errorf("%d rows after all keys were deleted", n)
				}
			})
		})
	}
}

// TestBinaryBitForBit has the vectors that a 2.3.5 has and Milvus Lite has not.
func TestBinaryBitForBit(t *testing.T) {
	w := newWorld(t)
	columns := []column{keyColumn(), {field("b", schemapb.DataType_BinaryVector, param("dim", 16)), bits("b", 16, 0xff, 0x01, 0x80, 0x00, 0, 0)}}
	s := w.apply("c", columns...)
	w.load(s.ref, "b", "HAMMING")
	w.holds(s.ref, true, columns...)
	if n := w.count(s.ref); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

// TestNullsBitForBit has every scalar type null, empty and neither, and default values in nullable fields.
func TestNullsBitForBit(t *testing.T) {
	w := newLite(t)
	columns := []column{keyColumn(), vectorColumn()}
	for _, valid := range [][]bool{{true, true, false}, {false, true, true}, {false, false, false}, {true, true, true}} {
		for _, c := range append(scalarColumns(nullable), arrayColumns(nullable)...) {
			c.field.Name += fmt.Sprintf("_%t_%t_%t", valid[0], valid[1], valid[2])
			c.rows.FieldName = c.field.Name
			columns = append(columns, c.with(valid...))
		}
	}
	for _, c := range defaultColumns() {
		c.field.Nullable = true
		columns = append(columns, c.with(true, true, true)) // as a source writes them: filled in, and so valid
	}
	s := w.apply("c", columns...)
	w.load(s.ref, "v", "L2")
	w.holds(s.ref, false, columns...)
}

// TestVectorsBitForBit has several vectors in a row, sparse ones among them.
func TestVectorsBitForBit(t *testing.T) {
	w := newLite(t)
	columns := []column{
		keyColumn(), vectorColumn(), floatColumn("w", 1, 1, -2, 3e-40),
		sparseColumn("s", sparse(0, 0.1, 1048575, math.MaxFloat32), sparse(7, math.SmallestNonzeroFloat32), sparse(1, 1, 2, 2, 3, 3)),
	}
	s := w.apply("c", columns...)
	w.load(s.ref, "v", "L2")
	w.holds(s.ref, true, columns...)
}

// TestLiteTimestamps has a type of Milvus 2.6: rows have microseconds, and so may requests; answers have text.
func TestLiteTimestamps(t *testing.T) {
	w := newLite(t)
	stamps := plain(field("t", schemapb.DataType_Timestamptz), &schemapb.ScalarField{Data: &schemapb.ScalarField_TimestamptzData{
		TimestamptzData: &schemapb.TimestamptzArray{Data: []int64{0, 1795651200123456, -1}},
	}})
	s := w.apply("c", keyColumn(), vectorColumn(), stamps)
	w.load(s.ref, "v", "L2")
	got := w.query(s.ref, nil, "id in [1,2,3]", "t")["t"].GetScalars().GetStringData().GetData()
	equal(t, "timestamps", got, "1970-01-01T00:00:00Z", "2026-11-26T00:00:00.123456Z", "1969-12-31T23:59:59.999999Z")
}

// TestNotANumber shows what the servers make of NaN and infinities. A 2.3.5 keeps them in scalar fields and arrays, and
// refuses them in vectors, so that no source of that version has any there; Milvus Lite keeps them everywhere.
func TestNotANumber(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]column{
		"float":        plain(field("x", schemapb.DataType_Float), floatList(nan, inf, -inf)),
		"double":       plain(field("x", schemapb.DataType_Double), doubleList(math.NaN(), math.Inf(1), math.Inf(-1))),
		"float_vector": floatColumn("x", 2, nan, 1, inf, 1, -inf, 1),
		"array": plain(field("x", schemapb.DataType_Array, elements(schemapb.DataType_Float), param("max_capacity", 8)),
			arrayList(schemapb.DataType_Float, floatList(nan), floatList(inf, 1), floatList(-inf))),
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w *world) {
				columns, vector := []column{keyColumn(), c}, "x"
				if c.field.GetDataType() != schemapb.DataType_FloatVector {
					columns, vector = append(columns, vectorColumn()), "v"
				}
				if w.lite || name != "float_vector" {
					s := w.apply("c", columns...)
					w.load(s.ref, vector, "L2")
					w.holds(s.ref, true, columns...)
					return
				}
				var fields []*schemapb.FieldSchema
				var data []*schemapb.FieldData
				for _, c := range columns {
					fields, data = append(fields, c.field), append(data, c.rows)
				}
				ref := w.create("c", fields...)
				err := w.target.Upsert(t.Context(), ref, "", pack(t, data...))
				wantCode(t, err, handlers.Unclear, handlers.CodeUnknown)
			})
		})
	}
}
