package rows_test

import (
	"math/rand/v2"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

// Every benchmark counts the bytes of the encoded message: 5,000 rows of an integer key and 128 floats.
const (
	benchRows = 5000
	benchDim  = 128
)

func benchMessage(b *testing.B) []byte {
	b.Helper()
	return marshal(b, benchRequest(benchRows))
}

func benchRequest(n int) *msgpb.InsertRequest {
	rng := rand.New(rand.NewPCG(1, 1))
	return &msgpb.InsertRequest{
		CollectionName: "c", CollectionID: 45, PartitionID: 46, NumRows: uint64(n), Version: msgpb.InsertDataVersion_ColumnBased,
		Timestamps: list(n, func() uint64 { return someTS }), RowIDs: list(n, rng.Int64),
		FieldsData: []*schemapb.FieldData{
			longColumn("id", list(n, func() int64 { return someTS + rng.Int64N(1<<40) })...),
			vectorColumn(benchDim, list(n*benchDim, rng.Float32)...),
		},
	}
}

func benchBody(b *testing.B) (*rows.InsertBody, int) {
	b.Helper()
	message := benchMessage(b)
	body, err := rows.ParseInsert(message)
	if err != nil {
		b.Fatal(err)
	}
	return body, len(message)
}

func benchLanes(b *testing.B, body *rows.InsertBody, lanes int) [][]int {
	b.Helper()
	keys, err := body.Rows.Keys("id")
	if err != nil {
		b.Fatal(err)
	}
	return keys.Lanes(lanes)
}

func BenchmarkParseInsert(b *testing.B) {
	message := benchMessage(b)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := rows.ParseInsert(message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	column := marshal(b, benchRequest(benchRows).FieldsData[1])
	b.SetBytes(int64(len(column)))
	for b.Loop() {
		if _, err := rows.Parse([][]byte{column}, benchRows); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGeneratedUnmarshal is what Parse is compared to.
func BenchmarkGeneratedUnmarshal(b *testing.B) {
	message := benchMessage(b)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		var m msgpb.InsertRequest
		if err := proto.Unmarshal(message, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeysAndLanes(b *testing.B) {
	body, _ := benchBody(b)
	b.SetBytes(benchRows * 8)
	for b.Loop() {
		benchLanes(b, body, 4)
	}
}

func BenchmarkTakeInto4Lanes(b *testing.B) {
	body, size := benchBody(b)
	lanes := benchLanes(b, body, 4)
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, index := range lanes {
			body.Rows.Take(index)
		}
	}
}

func benchParts(b *testing.B, count int) ([]*rows.Rows, int) {
	b.Helper()
	parts, size := make([]*rows.Rows, count), 0
	for i := range parts {
		parts[i] = mustParse(b, benchRequest(benchRows/count).FieldsData, benchRows/count)
		size += parts[i].Size()
	}
	return parts, size
}

func BenchmarkConcat100Parts(b *testing.B) {
	parts, size := benchParts(b, 100)
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := rows.Concat(parts...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGather takes every other row of 100 parts.
func BenchmarkGather(b *testing.B) {
	all, size := benchParts(b, 100)
	parts := make([]rows.Part, len(all))
	for i, r := range all {
		parts[i].Rows = r
		for k := 0; k < r.Len(); k += 2 {
			parts[i].Index = append(parts[i].Index, k)
		}
	}
	b.SetBytes(int64(size / 2))
	for b.Loop() {
		if _, err := rows.Gather(parts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTo(b *testing.B) {
	body, size := benchBody(b)
	b.SetBytes(int64(size))
	buffer := make([]byte, 0, body.Rows.Size())
	for b.Loop() {
		body.Rows.AppendTo(buffer, 13)
	}
}

func BenchmarkAppendToFresh(b *testing.B) {
	body, size := benchBody(b)
	b.SetBytes(int64(size))
	for b.Loop() {
		body.Rows.AppendTo(nil, 13)
	}
}

// BenchmarkBridge is a message's whole way through a bridge: read, cut into the events of 4 lanes, written.
func BenchmarkBridge(b *testing.B) {
	message := benchMessage(b)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		body, err := rows.ParseInsert(message)
		if err != nil {
			b.Fatal(err)
		}
		for _, index := range benchLanes(b, body, 4) {
			for _, run := range body.Fit(index, 1<<20-4096) {
				body.Take(run).Append(nil)
			}
		}
	}
}

// BenchmarkTakeOfManyFields is a message without vectors: what a row costs beside its bytes.
func BenchmarkTakeOfManyFields(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	r := mustParse(b, randomTable(rng, benchRows)[:12], benchRows)
	lanes := rows.Keys{Ints: list(benchRows, rng.Int64)}.Lanes(4)
	b.SetBytes(int64(r.Size()))
	for b.Loop() {
		for _, index := range lanes {
			r.Take(index)
		}
	}
}

func BenchmarkParseOfManyFields(b *testing.B) {
	columns := marshalAll(b, randomTable(rand.New(rand.NewPCG(1, 1)), benchRows)[:12])
	size := 0
	for _, c := range columns {
		size += len(c)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := rows.Parse(columns, benchRows); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemcpy is the machine's measure for all of these.
func BenchmarkMemcpy(b *testing.B) {
	from := benchMessage(b)
	to := make([]byte, len(from))
	b.SetBytes(int64(len(from)))
	for b.Loop() {
		copy(to, from)
	}
}
