package rows_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

// What is fuzzed: no input makes a decoder panic, or claim memory out of proportion to it. What a decoder accepts and
// the generated code does too is the same to both, also after it was cut up, put together and written again.

// checkMemory runs a decoder, and fails if it allocates far more than its input. A row takes a byte of input at
// least, and no more than a string's header and key of memory.
func checkMemory(t *testing.T, input int, decode func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(1<<20+100*input) {
		t.Errorf("decoding %d bytes allocated %d", input, got)
	}
}

func FuzzParse(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 3} {
		for _, fd := range randomTable(rng, n) {
			f.Add(marshal(f, fd), n)
		}
	}
	f.Add(marshal(f, longColumn("f", 1)), 1<<40)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		var r *rows.Rows
		var err error
		checkMemory(t, len(b), func() { r, err = rows.Parse([][]byte{b}, n) })
		var want schemapb.FieldData
		if err != nil || proto.Unmarshal(b, &want) != nil {
			return
		}
		wantTable(t, "AppendTo", decode(t, r), []*schemapb.FieldData{&want})
		if r.Len() == 0 {
			return
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		whole, err := rows.Gather([]rows.Part{{Rows: r, Index: all[:n/2]}, {Rows: r.Take(all[n/2:]), Index: all[:n-n/2]}})
		if err != nil {
			t.Fatalf("Gather: %v", err)
		}
		wantTable(t, "cut and put together", decode(t, whole), []*schemapb.FieldData{&want})
		if got := len(r.AppendTo(nil, 13)); got != r.Size() {
			t.Errorf("AppendTo appended %d bytes, Size = %d", got, r.Size())
		}
		decode(t, r, rows.CompressNulls)
	})
}

func FuzzParseInsert(f *testing.F) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{0, 1, 3} {
		m := randomInsert(rng, n)
		f.Add(marshal(f, m))
		m.FieldsData = m.FieldsData[:1]
		f.Add(marshal(f, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var body *rows.InsertBody
		var err error
		checkMemory(t, len(b), func() { body, err = rows.ParseInsert(b) })
		var want msgpb.InsertRequest
		if err != nil || proto.Unmarshal(b, &want) != nil {
			return
		}
		var got msgpb.InsertRequest
		if err := proto.Unmarshal(body.Append(nil), &got); err != nil {
			t.Fatalf("unmarshal what Append made: %v", err)
		}
		want.ProtoReflect().SetUnknown(nil) // of the fields that are not kept not even the wire type is looked at
		want.Base, want.SegmentID, want.RowIDs, want.Version = nil, 0, nil, msgpb.InsertDataVersion_ColumnBased
		if !proto.Equal(&got, &want) {
			t.Errorf("Append made\n%v\nwant\n%v", &got, &want)
		}
		if len(body.Append(nil)) != body.Size() {
			t.Errorf("Append appended %d bytes, Size = %d", len(body.Append(nil)), body.Size())
		}
	})
}

func FuzzParseDelete(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{0, 1, 3} {
		f.Add(marshal(f, randomDelete(rng, n)))
		f.Add(marshal(f, randomDelete(rng, n)))
	}
	f.Add(marshal(f, &msgpb.DeleteRequest{Int64PrimaryKeys: []int64{1, -1}, Timestamps: []uint64{3, 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var body *rows.DeleteBody
		var err error
		checkMemory(t, len(b), func() { body, err = rows.ParseDelete(b) })
		var want msgpb.DeleteRequest
		if err != nil || proto.Unmarshal(b, &want) != nil {
			return
		}
		var got msgpb.DeleteRequest
		if err := proto.Unmarshal(body.Append(nil), &got); err != nil {
			t.Fatalf("unmarshal what Append made: %v", err)
		}
		ids := want.GetPrimaryKeys()
		if len(ids.GetIntId().GetData())+len(ids.GetStrId().GetData()) == 0 {
			ids = nil
		}
		if old := want.Int64PrimaryKeys; old != nil {
			ids = &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: old}}}
		}
		want.ProtoReflect().SetUnknown(nil) // of the field that is not kept not even the wire type is looked at
		want.Base, want.SegmentId, want.Int64PrimaryKeys, want.PrimaryKeys = nil, 0, nil, ids
		want.NumRows = int64(body.Keys.Len())
		if !proto.Equal(&got, &want) {
			t.Errorf("Append made\n%v\nwant\n%v", &got, &want)
		}
		if len(body.Append(nil)) != body.Size() {
			t.Errorf("Append appended %d bytes, Size = %d", len(body.Append(nil)), body.Size())
		}
	})
}
