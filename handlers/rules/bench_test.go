package rules_test

import (
	"strconv"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

func manyRows(b *testing.B, n int) *rows.Rows {
	b.Helper()
	ids, prices, valid := make([]int64, n), make([]float64, n), make([]bool, n)
	names, docs, tags := make([]string, n), make([]string, n), make([]*schemapb.ScalarField, n)
	for i := range n {
		ids[i], prices[i], valid[i] = int64(i)*7919, float64(i%100), i%10 != 0
		names[i], docs[i] = "name "+strconv.Itoa(i%50), `{"k":`+strconv.Itoa(i%10)+`,"s":"some text","list":[1,2,3]}`
		tags[i] = texts("red", "blue")
	}
	return table(b, valid,
		scalars("id", schemapb.DataType_Int64, longs(ids...)),
		scalars("price", schemapb.DataType_Double, &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: prices}}}),
		scalars("txt", schemapb.DataType_VarChar, texts(names...)),
		scalars("tags", schemapb.DataType_Array, arrays(tags...)),
		scalars("$meta", schemapb.DataType_JSON, jsons(docs...)),
	)
}

// BenchmarkKeep has the cost of a rule for each row.
func BenchmarkKeep(b *testing.B) {
	const n = 5000
	all := manyRows(b, n)
	for name, where := range map[string]string{
		"number":       "id > 1000",
		"nullable":     "price != nil && price > 50",
		"two_fields":   `price > 50 and txt startsWith "name 1"`,
		"one_of":       `txt in ["name 1", "name 2", "name 3"]`,
		"array":        `"red" in tags`,
		"dynamic":      `dynamic["k"] == 3`,
		"fails_always": "dynamic.none.x > 3",
	} {
		b.Run(name, func(b *testing.B) {
			r, err := rules.Parse(jetstream.Rule{Where: where})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Keep(all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
		})
	}
}
