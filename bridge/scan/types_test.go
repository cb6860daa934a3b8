//go:build servers

package scan_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/natsmq"
	"kitestream/bridge/scan"
	"kitestream/jetstream/rows"
	"kitestream/test/servers"
)

// schemaOf is a schema of the columns' fields; a $meta among them makes it dynamic.
func schemaOf(name string, columns []column) *schemapb.CollectionSchema {
	s := &schemapb.CollectionSchema{Name: name}
	for _, c := range columns {
		if c.field.GetName() == "$meta" {
			s.EnableDynamicField = true
			continue
		}
		s.AutoID = s.AutoID || c.field.GetAutoID()
		s.Fields = append(s.Fields, c.field)
	}
	return s
}

// metaColumn is of fields beyond the schema.
func metaColumn() column {
	c := plain(field("$meta", schemapb.DataType_JSON), jsonList(`{"x":1,"y":{"z":["ü",null]}}`, `{}`, `{"big":9007199254740993}`))
	c.rows.IsDynamic = true
	return c
}

func keyColumn() column { return column{idField(), longs("id", 1, 2, 3)} }

func vectorColumn() column {
	return floatColumn("v", 2, math.MaxFloat32, -math.MaxFloat32, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 0.1, 1)
}

// data is the rows of columns, but for keys that the server makes.
func data(columns []column) []*schemapb.FieldData {
	var out []*schemapb.FieldData
	for _, c := range columns {
		if !c.field.GetAutoID() {
			out = append(out, c.rows)
		}
	}
	return out
}

// written are the rows of a collection's Insert messages on the source's queue.
func (w *world) written(name string, n int) *rows.Rows {
	w.t.Helper()
	d, err := w.raw.DescribeCollection(w.t.Context(), &milvuspb.DescribeCollectionRequest{DbName: w.db, CollectionName: name})
	w.said(d.GetStatus(), err)
	cfg := natsmq.DefaultConfig()
	cfg.URL = servers.SourceOn(w.t, servers.NATSMQ).MQURL
	q := mqtest.Connect(w.t.(*testing.T), natsmq.Connect, cfg)
	r, err := q.Open(w.t.Context(), d.GetPhysicalChannelNames()[0], "")
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	var parts []rows.Part
	for found := 0; found < n; {
		m, err := r.Next(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		var head commonpb.MsgHeader
		if err := proto.Unmarshal(m.Payload, &head); err != nil || head.GetBase().GetMsgType() != commonpb.MsgType_Insert {
			continue
		}
		body, err := rows.ParseInsert(m.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		if body.CollectionID != d.GetCollectionID() {
			continue
		}
		var raw msgpb.InsertRequest
		if err := proto.Unmarshal(m.Payload, &raw); err != nil {
			w.t.Fatal(err)
		}
		all := rows.Part{Rows: body.Rows}
		for i := range int(raw.GetNumRows()) {
			all.Index = append(all.Index, i)
		}
		parts, found = append(parts, all), found+len(all.Index)
	}
	out, err := rows.Gather(parts)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// pack makes Rows of columns, as a bridge does.
func pack(t testing.TB, n int, columns []*schemapb.FieldData) *rows.Rows {
	t.Helper()
	data := make([][]byte, len(columns))
	for i, c := range columns {
		b, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		data[i] = b
	}
	r, err := rows.Parse(data, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// byKey has the rows in the order of keys, and the columns in that of names.
func byKey(t testing.TB, r *rows.Rows) []*schemapb.FieldData {
	t.Helper()
	keys, err := r.Keys("id")
	if err != nil {
		t.Fatal(err)
	}
	index := make([]int, keys.Len())
	for i := range index {
		index[i] = i
	}
	slices.SortFunc(index, func(a, b int) int {
		if keys.Strings != nil {
			return strings.Compare(keys.Strings[a], keys.Strings[b])
		}
		return int(min(1, max(-1, keys.Ints[a]/2-keys.Ints[b]/2)))
	})
	fields, err := r.Take(index).FieldData()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(fields, func(a, b *schemapb.FieldData) int { return strings.Compare(a.GetFieldName(), b.GetFieldName()) })
	return fields
}

// TestRowsAreTheQueues compares what is read of a 2.3.5 with what its queue carries: each field's message, bit for bit, in
// segments that grow and that are sealed.
func TestRowsAreTheQueues(t *testing.T) {
	w := newWorld(t)
	autoKey := column{idField(auto), nil}
	binary := column{field("b", schemapb.DataType_BinaryVector, param("dim", 16)), &schemapb.FieldData{
		FieldName: "b", Type: schemapb.DataType_BinaryVector, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: 16, Data: &schemapb.VectorField_BinaryVector{BinaryVector: []byte{0xff, 0x01, 0x80, 0x00, 0, 0}},
		}},
	}}
	text := column{textID(), texts("id", "", "ü\"\\\n", "470648117777806097")}
	for name, columns := range map[string][]column{
		"all":    slices.Concat([]column{keyColumn()}, scalarColumns(), []column{vectorColumn()}, arrayColumns(), []column{metaColumn()}),
		"auto":   {vectorColumn(), autoKey, plain(numberField(), longList(3, 2, 1))},
		"binary": {text, binary, metaColumn()},
		"behind": {vectorColumn(), plain(numberField(), longList(7, 8, 9)), keyColumn()},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, client: w.client, raw: w.raw, db: w.db}
			w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: 1}, schemaOf(name, columns))
			w.insert(name, "", data(columns)...)
			vector, index, metric := "v", "FLAT", "L2"
			if name == "binary" {
				vector, index, metric = "b", "BIN_FLAT", "HAMMING"
			}
			w.load(name, vector, index, metric)
			want := byKey(t, w.written(name, 3))
			for _, state := range []string{"growing", "sealed"} {
				got, err := w.collection(name).Read(t.Context(), scan.Page{Partition: "_default", Guarantee: w.now()})
				if err != nil {
					t.Fatal(err)
				}
				for i, f := range got.Fields[:len(columns)] {
					if f.GetFieldName() != columns[i].field.GetName() {
						t.Errorf("%s: field %d is %s, want %s", state, i, f.GetFieldName(), columns[i].field.GetName())
					}
				}
				have := byKey(t, pack(t, got.N, got.Fields))
				if len(have) != len(want) {
					t.Fatalf("%s: %d fields, want %d", state, len(have), len(want))
				}
				for i := range want {
					if !proto.Equal(have[i], want[i]) {
						t.Errorf("%s: read %v\nthe queue has %v", state, have[i], want[i])
					}
				}
				w.flush(name)
			}
		})
	}
}

// TestNullsAndVectors reads of a Milvus Lite what a 2.3.5 can't hold: nulls in full form, sparse vectors, several vectors.
func TestNullsAndVectors(t *testing.T) {
	w := newLite(t)
	columns := []column{keyColumn(), vectorColumn(), floatColumn("w", 1, 1, -2, 3e-40),
		sparseColumn("s", sparse(0, 0.1, 1048575, math.MaxFloat32), sparse(7, math.SmallestNonzeroFloat32), sparse(1, 1, 2, 2, 3, 3))}
	for i, valid := range [][]bool{{true, true, false}, {false, true, true}, {false, false, false}, {true, true, true}} {
		for _, c := range append(scalarColumns(nullable), arrayColumns(nullable)...) {
			c.field.Name += string(rune('a' + i))
			c.rows.FieldName = c.field.Name
			columns = append(columns, c.with(valid...))
		}
	}
	w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: 1}, schemaOf("c", columns))
	w.insert("c", "", compressed(t, pack(t, 3, data(columns)))...)
	w.load("c", "v", "FLAT", "L2")
	got, err := w.collection("c").Read(t.Context(), scan.Page{Partition: "_default"})
	if err != nil {
		t.Fatal(err)
	}
	pack(t, got.N, got.Fields) // in the form that everybody reads
	for i, f := range got.Fields {
		want := columns[i]
		if f.GetFieldName() != want.field.GetName() || want.field.GetNullable() && !slices.Equal(f.GetValidData(), want.rows.GetValidData()) {
			t.Errorf("field %d: %s valid %v, want %s %v", i, f.GetFieldName(), f.GetValidData(), want.field.GetName(), want.rows.GetValidData())
			continue
		}
		for row := range 3 {
			if v := want.rows.GetValidData(); len(v) > 0 && !v[row] {
				continue
			}
			a, b := one(t, f, row), one(t, want.rows, row)
			if f.GetType() == schemapb.DataType_JSON && sameJSON(t, a, b) {
				continue
			}
			if x := a.GetVectors().GetSparseFloatVector(); x != nil { // the largest dimension of the answer
				x.Dim = b.GetVectors().GetSparseFloatVector().GetDim()
				a.GetVectors().Dim = b.GetVectors().GetDim()
			}
			a.FieldId, a.ValidData, b.ValidData = 0, nil, nil
			if !proto.Equal(a, b) {
				t.Errorf("row %d: read %v, want %v", row, a, b)
			}
		}
	}
}

// compressed are the columns as a request has them: null rows have no value.
func compressed(t testing.TB, r *rows.Rows) []*schemapb.FieldData {
	t.Helper()
	var in msgpb.InsertRequest
	if err := proto.Unmarshal(r.AppendTo(nil, 13, rows.CompressNulls), &in); err != nil { // 13 is fields_data
		t.Fatal(err)
	}
	return in.GetFieldsData()
}

// one is a column of one row.
func one(t testing.TB, f *schemapb.FieldData, row int) *schemapb.FieldData {
	t.Helper()
	fields, err := pack(t, 3, []*schemapb.FieldData{f}).Take([]int{row}).FieldData()
	if err != nil {
		t.Fatal(err)
	}
	return fields[0]
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
