package rows_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/jetstream/rows"
)

// These values decide on the lane of a row. If one changes, changes of one row already on a stream and those to come
// are on different lanes, and their order is lost.
func TestHashIsTheSameForEver(t *testing.T) {
	ints := rows.Keys{Ints: []int64{0, 1, -1, 42, 451234567890123456, math.MinInt64, math.MaxInt64}}
	for i, want := range []uint64{
		0x34c96acdcadb1bbb, 0x9f29cb17a2a49995, 0x85d136adb773c6c9, 0xb556806fb6d14353,
		0xadc976d13c2b9cb8, 0x3f425eacf01544e0, 0xff70cc60366e770c,
	} {
		if got := ints.Hash(i); got != want {
			t.Errorf("Hash of %d = %#x, want %#x", ints.Ints[i], got, want)
		}
	}
	strings := rows.Keys{Strings: []string{"", "a", "kite", "漢字", "a key that is longer than the thirty-two bytes of a block"}}
	for i, want := range []uint64{
		0xef46db3751d8e999, 0xd24ec4f1a98c6e5b, 0x303f92573326297d, 0x133f9c23770b64f5, 0x7932d50758e563fa,
	} {
		if got := strings.Hash(i); got != want {
			t.Errorf("Hash of %q = %#x, want %#x", strings.Strings[i], got, want)
		}
	}
}

func TestKeysOfRows(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		r := mustParse(t, table, n)
		ints, err := r.Keys("f2_é")
		if err != nil || !slices.Equal(ints.Ints, table[2].GetScalars().GetLongData().GetData()) || ints.Strings != nil || ints.Len() != n {
			t.Errorf("Keys of integers = %v, %v", ints, err)
		}
		strings, err := r.Keys("f5_é")
		if err != nil || !slices.Equal(strings.Strings, table[5].GetScalars().GetStringData().GetData()) || strings.Ints != nil || strings.Len() != n {
			t.Errorf("Keys of strings = %v, %v", strings, err)
		}
	})
}

func TestKeysRefuses(t *testing.T) {
	r := mustParse(t, randomTable(rand.New(rand.NewPCG(1, 1)), 2), 2)
	for _, field := range []string{"nosuch", "f1_é", "f8_é", "f12_é"} { // none, Int16, JSON, vectors
		if _, err := r.Keys(field); !errors.Is(err, rows.ErrFields) {
			t.Errorf("Keys(%q) = %v, want ErrFields", field, err)
		}
	}
}

func TestKeysAtAndTake(t *testing.T) {
	ints := rows.Keys{Ints: []int64{7, 0, -3}}
	if got := ints.Take([]int{2, 0, 2}); !slices.Equal(got.Ints, []int64{-3, 7, -3}) || got.At(1) != (rows.Key{Int: 7}) {
		t.Errorf("Take = %v", got)
	}
	strings := rows.Keys{Strings: []string{"", "x"}}
	if got := strings.Take([]int{1, 0}); !slices.Equal(got.Strings, []string{"x", ""}) || got.At(0) != (rows.Key{String: "x"}) {
		t.Errorf("Take = %v", got)
	}
	if none := strings.Take(nil); none.Len() != 0 || (rows.Keys{}).Len() != 0 {
		t.Errorf("Take of nothing has %d keys", none.Len())
	}
}

func TestLanes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	keys := rows.Keys{Ints: list(20000, func() int64 { return rng.Int64N(15000) })}
	for _, lanes := range []int{1, 2, 4, 7, 64} {
		index := keys.Lanes(lanes)
		if len(index) != lanes {
			t.Fatalf("%d lanes, want %d", len(index), lanes)
		}
		seen := make([]bool, keys.Len())
		for lane, rows := range index {
			if !slices.IsSorted(rows) {
				t.Errorf("rows of lane %d of %d are out of order", lane, lanes)
			}
			if len(rows) < 10000/lanes {
				t.Errorf("lane %d of %d has only %d rows", lane, lanes, len(rows))
			}
			for _, i := range rows {
				if seen[i] || keys.Hash(i)%uint64(lanes) != uint64(lane) {
					t.Errorf("row %d is on lane %d of %d", i, lane, lanes)
				}
				seen[i] = true
			}
		}
		if slices.Contains(seen, false) {
			t.Errorf("a row is on none of %d lanes", lanes)
		}
	}
}

func TestKeysAreCopies(t *testing.T) {
	fd := &schemapb.FieldData{FieldName: "k", Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
		Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: []string{"one", "two"}}}}}}
	b := marshal(t, fd)
	r, err := rows.Parse([][]byte{b}, 2)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys("k")
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !slices.Equal(keys.Strings, []string{"one", "two"}) {
		t.Errorf("Keys = %q after the message was changed", keys.Strings)
	}
}
