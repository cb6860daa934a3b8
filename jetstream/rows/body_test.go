package rows_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

const someTS = 451234567890123456

func randomTimes(rng *rand.Rand, n int) []uint64 {
	if rng.IntN(2) == 0 {
		return list(n, func() uint64 { return someTS })
	}
	return list(n, func() uint64 { return someTS + rng.Uint64N(3) })
}

// randomInsert is a message as the source's queue has it.
func randomInsert(rng *rand.Rand, n int) *msgpb.InsertRequest {
	m := &msgpb.InsertRequest{
		Base:      &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert, MsgID: randomInt(rng), Timestamp: 77, SourceID: 9, Properties: map[string]string{"a": "b"}},
		ShardName: "by-dev-rootcoord-dml_0_45v0", DbName: "db", CollectionName: randomText(rng), PartitionName: "_default",
		DbID: 1, CollectionID: randomInt(rng), PartitionID: randomInt(rng), SegmentID: 5, Timestamps: randomTimes(rng, n),
		RowIDs: list(n, rng.Int64), FieldsData: randomTable(rng, n), NumRows: uint64(n), Version: msgpb.InsertDataVersion_ColumnBased,
	}
	if rng.IntN(2) == 0 {
		m.Namespace = proto.String(randomText(rng))
	}
	return m
}

// keptInsert is the part of m that an event holds, with the rows in index only.
func keptInsert(m *msgpb.InsertRequest, index []int) *msgpb.InsertRequest {
	out := &msgpb.InsertRequest{
		ShardName: m.ShardName, DbName: m.DbName, CollectionName: m.CollectionName, PartitionName: m.PartitionName,
		DbID: m.DbID, CollectionID: m.CollectionID, PartitionID: m.PartitionID, Namespace: m.Namespace,
		FieldsData: naiveTake(m.FieldsData, index), NumRows: uint64(len(index)), Version: m.Version,
	}
	pick(&out.Timestamps, m.Timestamps, index, 1)
	return out
}

func TestInsertRoundTrip(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		m := randomInsert(rng, n)
		body, err := rows.ParseInsert(marshal(t, m))
		if err != nil {
			t.Fatalf("ParseInsert: %v", err)
		}
		if body.MsgID != m.Base.MsgID || body.Collection != m.CollectionName || body.PartitionID != m.PartitionID || body.DatabaseID != m.DbID {
			t.Errorf("ParseInsert = %+v", body.Head)
		}
		checkTimes(t, &body.Head, m.Timestamps, m.Base.Timestamp)
		wantInsert(t, body, m)
		for _, index := range someIndexes(rng, n) {
			part := body.Take(index)
			checkTimes(t, &part.Head, keptInsert(m, index).Timestamps, body.TS)
			wantInsert(t, part, keptInsert(m, index))
		}
	})
}

// wantInsert checks what Append makes of body, and that it can be read again.
func wantInsert(t *testing.T, body *rows.InsertBody, want *msgpb.InsertRequest) {
	t.Helper()
	b := body.Append([]byte("x"))[1:]
	if len(b) != body.Size() {
		t.Errorf("Append appended %d bytes, Size = %d", len(b), body.Size())
	}
	all := make([]int, body.Rows.Len())
	for i := range all {
		all[i] = i
	}
	var got msgpb.InsertRequest
	if err := proto.Unmarshal(b, &got); err != nil {
		t.Fatalf("unmarshal what Append made: %v", err)
	}
	wantTable(t, "Append", got.FieldsData, want.FieldsData)
	kept := keptInsert(want, all)
	kept.FieldsData, got.FieldsData = nil, nil
	if !proto.Equal(&got, kept) {
		t.Errorf("Append made\n%v\nwant\n%v", &got, kept)
	}
	again, err := rows.ParseInsert(b)
	if err != nil {
		t.Fatalf("ParseInsert of what Append made: %v", err)
	}
	if second := again.Append(nil); string(second) != string(b) {
		t.Error("a body that is read and written again differs")
	}
}

// checkTimes compares a head with the timestamps of each row, or of a message without rows.
func checkTimes(t *testing.T, h *rows.Head, each []uint64, none uint64) {
	t.Helper()
	if len(each) == 0 {
		if h.TS != none || h.Timestamps != nil {
			t.Errorf("without rows, TS = %d and %d, want %d", h.TS, h.Timestamps, none)
		}
		return
	}
	if h.TS != slices.Min(each) {
		t.Errorf("TS = %d, want %d", h.TS, slices.Min(each))
	}
	if (h.Timestamps == nil) != (slices.Min(each) == slices.Max(each)) {
		t.Errorf("Timestamps = %d for %d", h.Timestamps, each)
	}
	for i, want := range each {
		if got := h.TSAt(i); got != want {
			t.Errorf("TSAt(%d) = %d, want %d", i, got, want)
		}
	}
}

func randomDelete(rng *rand.Rand, n int) *msgpb.DeleteRequest {
	m := &msgpb.DeleteRequest{
		Base:      &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete, MsgID: randomInt(rng), Timestamp: 77},
		ShardName: "by-dev-rootcoord-dml_0_45v0", DbName: "db", CollectionName: "c", DbID: 1, CollectionID: 45, PartitionID: -1,
		Timestamps: randomTimes(rng, n), NumRows: int64(n), SegmentId: 6,
	}
	if rng.IntN(2) == 0 {
		m.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: list(n, func() int64 { return randomInt(rng) })}}}
	} else {
		m.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_StrId{StrId: &schemapb.StringArray{Data: list(n, func() string { return randomText(rng) })}}}
	}
	return m
}

func keptDelete(m *msgpb.DeleteRequest, index []int) *msgpb.DeleteRequest {
	out := proto.Clone(m).(*msgpb.DeleteRequest)
	out.Base, out.SegmentId, out.Timestamps, out.NumRows, out.PrimaryKeys = nil, 0, nil, int64(len(index)), nil
	pick(&out.Timestamps, m.Timestamps, index, 1)
	if len(index) == 0 {
		return out
	}
	if m.GetPrimaryKeys().GetStrId() != nil {
		ids := &schemapb.StringArray{}
		pick(&ids.Data, m.GetPrimaryKeys().GetStrId().GetData(), index, 1)
		out.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_StrId{StrId: ids}}
		return out
	}
	ids := &schemapb.LongArray{}
	pick(&ids.Data, m.GetPrimaryKeys().GetIntId().GetData(), index, 1)
	out.PrimaryKeys = &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: ids}}
	return out
}

func TestDeleteRoundTrip(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		m := randomDelete(rng, n)
		body, err := rows.ParseDelete(marshal(t, m))
		if err != nil {
			t.Fatalf("ParseDelete: %v", err)
		}
		if body.MsgID != m.Base.MsgID || body.Keys.Len() != n || body.PartitionID != -1 {
			t.Errorf("ParseDelete = %+v", body.Head)
		}
		checkTimes(t, &body.Head, m.Timestamps, m.Base.Timestamp)
		for _, index := range someIndexes(rng, n) {
			part := body.Take(index)
			b := part.Append([]byte("x"))[1:]
			if len(b) != part.Size() {
				t.Errorf("Append appended %d bytes, Size = %d", len(b), part.Size())
			}
			var got msgpb.DeleteRequest
			if err := proto.Unmarshal(b, &got); err != nil {
				t.Fatalf("unmarshal what Append made: %v", err)
			}
			if want := keptDelete(m, index); !proto.Equal(&got, want) {
				t.Errorf("Append made\n%v\nwant\n%v", &got, want)
			}
			again, err := rows.ParseDelete(b)
			if err != nil {
				t.Fatalf("ParseDelete of what Append made: %v", err)
			}
			if second := again.Append(nil); string(second) != string(b) {
				t.Error("a body that is read and written again differs")
			}
		}
	})
}

// Milvus before 2.2 has integer keys in a field of their own, and num_rows nowhere; some versions fill both fields.
func TestDeleteOfTheOldForm(t *testing.T) {
	both := &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: []int64{3, -4}}}}
	for name, m := range map[string]*msgpb.DeleteRequest{
		"old":   {Int64PrimaryKeys: []int64{3, -4}, Timestamps: []uint64{9, 9}},
		"both":  {Int64PrimaryKeys: []int64{3, -4}, Timestamps: []uint64{9, 9}, PrimaryKeys: both, NumRows: 2},
		"empty": {Int64PrimaryKeys: []int64{3, -4}, Timestamps: []uint64{9, 9}, PrimaryKeys: &schemapb.IDs{}},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := rows.ParseDelete(marshal(t, m))
			if err != nil {
				t.Fatalf("ParseDelete: %v", err)
			}
			if !slices.Equal(body.Keys.Ints, []int64{3, -4}) || body.TS != 9 {
				t.Errorf("ParseDelete = %+v", body)
			}
		})
	}
}

// Fit has to hold what it promises for any limit: bodies within it, or of one row, and every row in one of them.
func TestFit(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		insert, err := rows.ParseInsert(marshal(t, randomInsert(rng, n)))
		if err != nil {
			t.Fatal(err)
		}
		remove, err := rows.ParseDelete(marshal(t, randomDelete(rng, n)))
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range someIndexes(rng, n)[:5] { // those that name no row twice
			for _, limit := range []int{-1, 0, 100, insert.Size() / 3, insert.Size()} {
				checkFit(t, index, insert.Fit(index, limit), limit, func(run []int) int { return len(insert.Take(run).Append(nil)) })
			}
			for _, limit := range []int{0, 50, remove.Size() / 3, remove.Size()} {
				checkFit(t, index, remove.Fit(index, limit), limit, func(run []int) int { return len(remove.Take(run).Append(nil)) })
			}
		}
	})
}

func checkFit(t *testing.T, index []int, runs [][]int, limit int, size func([]int) int) {
	t.Helper()
	if got := slices.Concat(runs...); !slices.Equal(got, index) {
		t.Errorf("Fit(%v, %d) = %v", index, limit, runs)
	}
	for _, run := range runs {
		if len(run) == 0 {
			t.Errorf("Fit(%v, %d) has an empty run: %v", index, limit, runs)
		}
		if got := size(run); got > limit && len(run) > 1 {
			t.Errorf("Fit to %d made a body of %d bytes and %d rows", limit, got, len(run))
		}
	}
}

func TestFitOfAllIsOneBody(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	body, err := rows.ParseInsert(marshal(t, randomInsert(rng, 50)))
	if err != nil {
		t.Fatal(err)
	}
	all := someIndexes(rng, 50)[2]
	if runs := body.Fit(all, body.Size()); len(runs) != 1 {
		t.Errorf("all rows fit, but Fit cut them into %d", len(runs))
	}
	if runs := body.Fit(all, body.Size()/2+1000); len(runs) > 3 {
		t.Errorf("about half of the rows fit, but Fit cut them into %d", len(runs))
	}
}

func TestParseInsertRefuses(t *testing.T) {
	good := func() *msgpb.InsertRequest {
		return &msgpb.InsertRequest{Timestamps: []uint64{9}, NumRows: 1, Version: 1, FieldsData: []*schemapb.FieldData{longColumn("f", 1)}}
	}
	for _, tc := range []struct {
		name  string
		edit  func(*msgpb.InsertRequest)
		err   error
		words string
	}{
		{"rows as blobs", func(m *msgpb.InsertRequest) {
			m.Version, m.FieldsData, m.RowData = 0, nil, []*commonpb.Blob{{Value: []byte("x")}}
		}, rows.ErrUnsupported, "row-based"},
		{"rows as blobs beside columns", func(m *msgpb.InsertRequest) { m.RowData = []*commonpb.Blob{{}} }, rows.ErrUnsupported, "row-based"},
		{"a version to come", func(m *msgpb.InsertRequest) { m.Version = 2 }, rows.ErrUnsupported, "data version 2"},
		{"a delete", func(m *msgpb.InsertRequest) { m.Base = &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete} }, rows.ErrMalformed, "message is Delete, not Insert"},
		{"fewer rows than columns have", func(m *msgpb.InsertRequest) { m.NumRows, m.Timestamps = 0, nil }, rows.ErrMalformed, "1 rows instead of 0"},
		{"no columns", func(m *msgpb.InsertRequest) { m.FieldsData = nil }, rows.ErrMalformed, "1 rows in 0 columns"},
		{"too few timestamps", func(m *msgpb.InsertRequest) { m.Timestamps = nil }, rows.ErrMalformed, "timestamps: 0 for 1 rows"},
		{"too many timestamps", func(m *msgpb.InsertRequest) { m.Timestamps = []uint64{9, 9} }, rows.ErrMalformed, "timestamps: 2 for 1 rows"},
		{"an absurd count", func(m *msgpb.InsertRequest) { m.NumRows = 1 << 63 }, rows.ErrMalformed, ""},
		{"a field to come", func(m *msgpb.InsertRequest) {
			m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
		}, rows.ErrUnsupported, "field 99 is unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := good()
			tc.edit(m)
			_, err := rows.ParseInsert(marshal(t, m))
			checkRefusal(t, err, tc.err, "parse insert message", tc.words)
		})
	}
	if _, err := rows.ParseInsert(marshal(t, good())); err != nil {
		t.Errorf("the message that the cases spoil: %v", err)
	}
}

func TestParseDeleteRefuses(t *testing.T) {
	keys := func(keys ...int64) *schemapb.IDs {
		return &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}}
	}
	unknown := func(num protowire.Number) func(*msgpb.DeleteRequest) {
		return func(m *msgpb.DeleteRequest) {
			m.ProtoReflect().SetUnknown(appendString(nil, num, "x"))
		}
	}
	for _, tc := range []struct {
		name  string
		edit  func(*msgpb.DeleteRequest)
		err   error
		words string
	}{
		{"an expression", unknown(14), rows.ErrUnsupported, "by an expression"},
		{"an expression alone", func(m *msgpb.DeleteRequest) { proto.Reset(m); unknown(14)(m) }, rows.ErrUnsupported, "by an expression"},
		{"a field to come", unknown(15), rows.ErrUnsupported, "field 15 is unknown"},
		{"an insert", func(m *msgpb.DeleteRequest) { m.Base = &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert} }, rows.ErrMalformed, "message is Insert, not Delete"},
		{"no keys", func(m *msgpb.DeleteRequest) { m.PrimaryKeys = nil }, rows.ErrMalformed, "0 keys for 1 rows"},
		{"too many keys", func(m *msgpb.DeleteRequest) { m.PrimaryKeys = keys(1, 2) }, rows.ErrMalformed, "2 keys for 1 rows"},
		{"keys that differ", func(m *msgpb.DeleteRequest) { m.Int64PrimaryKeys = []int64{2} }, rows.ErrMalformed, "differ"},
		{"too few timestamps", func(m *msgpb.DeleteRequest) { m.Timestamps = nil }, rows.ErrMalformed, "0 for 1 rows"},
		{"a negative count", func(m *msgpb.DeleteRequest) { m.NumRows = -1 }, rows.ErrMalformed, ""},
		{"an absurd count", func(m *msgpb.DeleteRequest) { m.NumRows = 1 << 62 }, rows.ErrMalformed, ""},
		{"keys of another kind", func(m *msgpb.DeleteRequest) { m.PrimaryKeys.ProtoReflect().SetUnknown(appendString(nil, 3, "x")) }, rows.ErrUnsupported, "field 3 is unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &msgpb.DeleteRequest{Timestamps: []uint64{9}, NumRows: 1, PrimaryKeys: keys(1)}
			tc.edit(m)
			_, err := rows.ParseDelete(marshal(t, m))
			checkRefusal(t, err, tc.err, "parse delete message", tc.words)
		})
	}
}

func checkRefusal(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error = %q, want it to say %q", err, w)
		}
	}
}

func TestParseOfEmptyMessages(t *testing.T) {
	insert, err := rows.ParseInsert(nil)
	if err != nil || insert.Rows.Len() != 0 {
		t.Errorf("ParseInsert of nothing = %v, %v", insert, err)
	}
	remove, err := rows.ParseDelete(nil)
	if err != nil || remove.Keys.Len() != 0 || len(remove.Append(nil)) != 0 {
		t.Errorf("ParseDelete of nothing = %v, %v", remove, err)
	}
}

// Bodies are a public contract, and streams outlive programs: see TestAppendToGolden.
func TestBodyGolden(t *testing.T) {
	head := rows.Head{Database: "d", Collection: "c", Partition: "p", ShardName: "s", DatabaseID: 1, CollectionID: 2, PartitionID: -1, MsgID: 5, TS: 300}
	const wantHead = "\x12\x01s\x1a\x01d\x22\x01c\x2a\x01p\x30\x01\x38\x02\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x52\x02\xac\x02"
	remove := rows.DeleteBody{Head: head, Keys: rows.Keys{Strings: []string{"k"}}}
	if got, want := string(remove.Append(nil)), wantHead+"\x58\x01\x62\x05\x12\x03\x0a\x01k"; got != want {
		t.Errorf("Append of a delete = %q, want %q", got, want)
	}
	remove.Keys = rows.Keys{Ints: []int64{300}}
	if got, want := string(remove.Append(nil)), wantHead+"\x58\x01\x62\x06\x0a\x04\x0a\x02\xac\x02"; got != want {
		t.Errorf("Append of a delete = %q, want %q", got, want)
	}
	insert := rows.InsertBody{Head: head, Rows: mustParse(t, []*schemapb.FieldData{longColumn("f", 1)}, 1)}
	if got, want := string(insert.Append(nil)), wantHead+"\x6a\x0c\x08\x05\x12\x01f\x1a\x05\x1a\x03\x0a\x01\x01\x70\x01\x78\x01"; got != want {
		t.Errorf("Append of an insert = %q, want %q", got, want)
	}
}

func ExampleInsertBody_Fit() {
	ids := longColumn("id", 1, 2, 3, 4, 5, 6)
	message, _ := proto.Marshal(&msgpb.InsertRequest{
		CollectionName: "birds", Version: msgpb.InsertDataVersion_ColumnBased, NumRows: 6,
		Timestamps: slices.Repeat([]uint64{someTS}, 6), FieldsData: []*schemapb.FieldData{ids},
	})
	body, err := rows.ParseInsert(message)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := body.Rows.Keys("id")
	if err != nil {
		fmt.Println(err)
		return
	}
	const lanes, maxBody = 2, 64
	for lane, index := range keys.Lanes(lanes) {
		for part, run := range body.Fit(index, maxBody) {
			event := body.Take(run).Append(nil)
			fmt.Printf("lane %d, part %d: rows %v, fits: %t\n", lane, part, run, len(event) <= maxBody)
		}
	}
	// Output:
	// lane 0, part 0: rows [1], fits: true
	// lane 1, part 0: rows [0 2 3], fits: true
	// lane 1, part 1: rows [4 5], fits: true
}
