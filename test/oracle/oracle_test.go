package oracle_test

import (
	"math"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/test/oracle"
)

// numbers is a schema of a key, a number and a vector.
func numbers(fields ...*schemapb.FieldSchema) *schemapb.CollectionSchema {
	return &schemapb.CollectionSchema{Name: "numbers", Fields: append([]*schemapb.FieldSchema{
		{Name: "id", IsPrimaryKey: true, DataType: schemapb.DataType_Int64},
		{Name: "x", DataType: schemapb.DataType_Double},
		{Name: "vec", DataType: schemapb.DataType_FloatVector},
	}, fields...)}
}

func ids(v ...int64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "id", Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}},
	}}
}

func doubles(v ...float64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "x", Type: schemapb.DataType_Double, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: v}}},
	}}
}

// vectors are of dimension 2.
func vectors(v ...float32) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "vec", Type: schemapb.DataType_FloatVector, Field: &schemapb.FieldData_Vectors{
		Vectors: &schemapb.VectorField{Dim: 2, Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}},
	}}
}

func model(t *testing.T, schema *schemapb.CollectionSchema) *oracle.Model {
	t.Helper()
	m, err := oracle.NewModel("default", schema)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// three is a model with rows 1, 2 and 3.
func three(t *testing.T) *oracle.Model {
	t.Helper()
	m := model(t, numbers())
	must(t, m.Write("", ids(1, 2, 3), doubles(.1, .2, .3), vectors(1, 1, 2, 2, 3, 3)))
	return m
}

func TestModel(t *testing.T) {
	m := three(t)
	m.CreatePartition("p")
	must(t, m.Write("p", ids(1, 7), doubles(7, 7), vectors(1, 1, 7, 7)))
	must(t, m.Write("", ids(2, 4), doubles(.22, .4), vectors(2, 2, 4, 4)))
	must(t, m.Delete("", ids(1)))         // in both partitions
	must(t, m.Delete("_default", ids(7))) // not there
	want := model(t, numbers())
	must(t, want.Write("_default", ids(2, 3, 4), doubles(.22, .3, .4), vectors(2, 2, 3, 3, 4, 4)))
	want.CreatePartition("p")
	must(t, want.Write("p", ids(7), doubles(7), vectors(7, 7)))
	if d := oracle.Compare(want.Table(), m.Table()); !d.Equal() {
		t.Error(d)
	}
	if got := m.Table().Total(); got != 4 {
		t.Errorf("%d rows, want 4", got)
	}
	m.DropPartition("p")
	if err := m.Write("p", ids(8), doubles(8), vectors(8, 8)); err == nil {
		t.Error("wrote to a dropped partition")
	}
	if got := m.Table().Total(); got != 3 {
		t.Errorf("%d rows without the partition, want 3", got)
	}
	if err := m.Write("", ids(8), vectors(8, 8)); err == nil {
		t.Error("wrote rows without a column")
	}
}

// TestModelPartitionKey checks that partitions are nobody's business where a partition key chooses them.
func TestModelPartitionKey(t *testing.T) {
	m := model(t, &schemapb.CollectionSchema{Name: "keyed", Fields: []*schemapb.FieldSchema{
		{Name: "id", IsPrimaryKey: true}, {Name: "x", IsPartitionKey: true},
	}})
	must(t, m.Write("", ids(1, 2), doubles(1, 2)))
	if _, ok := m.Table().Rows[oracle.Key{PK: "2"}]; !ok {
		t.Errorf("no row 2 in %v", m.Table().Rows)
	}
}

// TestCompare changes a target in one way at a time.
func TestCompare(t *testing.T) {
	nan := math.Float64frombits(0x7ff8000000000001)
	for name, tc := range map[string]struct {
		change func(*oracle.Table, *oracle.Model)
		want   []string // parts of the verdict
	}{
		"equal":   {func(*oracle.Table, *oracle.Model) {}, []string{"equal: 1 collections, 3 rows"}},
		"missing": {func(_ *oracle.Table, m *oracle.Model) { must(t, m.Delete("", ids(2))) }, []string{"2 differences", "row _default/2: source has it, target has nothing", "count"}},
		"extra":   {func(_ *oracle.Table, m *oracle.Model) { must(t, m.Write("", ids(9), doubles(9), vectors(9, 9))) }, []string{"row _default/9: source has nothing, target has it"}},
		"value":   {func(_ *oracle.Table, m *oracle.Model) { must(t, m.Write("", ids(2), doubles(nan), vectors(2, 2))) }, []string{"1 differences", "row _default/2, field x: source has 0.2, target has NaN(7ff8000000000001)"}},
		"one bit": {func(_ *oracle.Table, m *oracle.Model) {
			must(t, m.Write("", ids(2), doubles(.2), vectors(2, math.Nextafter32(2, 3))))
		}, []string{"1 differences", "field vec: source has [2 2 … 2] #"}},
		"twice": {func(tt *oracle.Table, _ *oracle.Model) {
			tt.Counts["_default"]++
			tt.Stored[oracle.Key{Partition: "_default", PK: "3"}] = 2
		}, []string{"2 differences", "row _default/3: source has it 1 times, target has it 2 times", `count of partition "_default": source has 3, target has 4`}},
		"fields":    {func(tt *oracle.Table, _ *oracle.Model) { tt.Fields = tt.Fields[1:] }, []string{"1 differences", "fields: source has id vec x, target has vec x"}},
		"partition": {func(_ *oracle.Table, m *oracle.Model) { m.DropPartition("_default") }, []string{"4 differences"}},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := three(t), three(t)
			tc.change(target.Table(), target)
			d := oracle.Compare(source.Table(), target.Table())
			for _, w := range tc.want {
				if !strings.Contains(d.String(), w) {
					t.Errorf("verdict lacks %q:\n%s", w, d)
				}
			}
		})
	}
}

// TestCompareSourceDuplicates checks that a target may merge what clients stored twice in the source.
func TestCompareSourceDuplicates(t *testing.T) {
	source, target := three(t), three(t)
	source.Table().Counts["_default"]++
	source.Table().Stored[oracle.Key{Partition: "_default", PK: "3"}] = 2
	must(t, target.Write("", ids(3), doubles(33), vectors(3, 3)))
	if d := oracle.Compare(source.Table(), target.Table()); !d.Equal() {
		t.Error(d)
	}
	must(t, target.Delete("", ids(3)))
	if d := oracle.Compare(source.Table(), target.Table()); d.Equal() {
		t.Error("a missing row was not seen")
	}
}

func TestDiffIsShort(t *testing.T) {
	m := three(t)
	for i := range int64(100) {
		must(t, m.Write("", ids(i+10), doubles(1), vectors(1, 1)))
	}
	s := oracle.Compare(m.Table(), three(t).Table()).String()
	if n := strings.Count(s, "\n"); n > 25 || !strings.Contains(s, "more") {
		t.Errorf("%d lines:\n%s", n, s)
	}
}

// TestValues holds that two values have one text only if they are the same.
func TestValues(t *testing.T) {
	schema := &schemapb.CollectionSchema{Name: "s", EnableDynamicField: true, Fields: []*schemapb.FieldSchema{{Name: "id", IsPrimaryKey: true}}}
	long := strings.Repeat("x", 1000)
	docs := []string{`{"a":1}`, `{"a": 1}`, `{"a":1.0}`, `null`, ``, long, long + "y", "y" + long, `"`, `\"`, "\x00", "\xff", "\xfe"}
	seen := map[string]string{}
	for _, d := range docs {
		m := model(t, schema)
		must(t, m.Write("", ids(1), &schemapb.FieldData{IsDynamic: true, Field: &schemapb.FieldData_Scalars{
			Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: [][]byte{[]byte(d)}}}},
		}}))
		got := m.Table().Rows[oracle.Key{Partition: oracle.DefaultPartition, PK: "1"}][0]
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q both read %s", d, other, got)
		}
		seen[got] = d
		if len(got) > 200 {
			t.Errorf("%d bytes for %.20q…", len(got), d)
		}
	}
}
