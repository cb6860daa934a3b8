//go:build servers

package milvus_test

import (
	"math"
	"slices"
	"testing"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// TestKeysBeside asks for keys in ranges, and besides some. The largest of all keys a 2.3.5 gives to no query by a range.
func TestKeysBeside(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		ref := w.create("c", idField(), vectorField(2))
		w.must(w.target.CreatePartition(t.Context(), ref, "p"))
		all := []int64{math.MinInt64, -5, 0, 1, 2, 3, 70, math.MaxInt64 - 1}
		w.upsert(ref, "p", longs("id", all...), vectors("v", 2, len(all), 0))
		w.upsert(ref, "_default", longs("id", 7), vectors("v", 2, 1, 0))
		w.load(ref, "v", "L2")
		key := func(v int64) *rows.Key { return &rows.Key{Int: v} }
		for _, tc := range []struct {
			r         handlers.Range
			partition string
			want      []int64
		}{
			{handlers.Range{}, "p", all},
			{handlers.Range{}, "", append([]int64{7}, all...)},
			{handlers.Range{After: key(0), Until: key(3)}, "p", []int64{1, 2, 3}},
			{handlers.Range{After: key(math.MinInt64), Until: key(0)}, "p", []int64{-5, 0}},
			{handlers.Range{Until: key(math.MinInt64)}, "p", []int64{math.MinInt64}},
			{handlers.Range{After: key(math.MaxInt64)}, "p", nil},
			{handlers.Range{After: key(-6), Keep: rows.Keys{Ints: []int64{0, 2, 999}}}, "p", []int64{-5, 1, 3, 70, math.MaxInt64 - 1}},
		} {
			got, err := w.target.KeysBeside(t.Context(), ref, tc.partition, tc.r)
			w.must(err)
			slices.Sort(got.Ints)
			slices.Sort(tc.want)
			if !slices.Equal(got.Ints, tc.want) {
				t.Errorf("%+v of partition %q: %v, want %v", tc.r, tc.partition, got.Ints, tc.want)
			}
		}
	})
}

// TestTextKeysBeside is for keys of text.
func TestTextKeysBeside(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		ref := w.create("c", textID(), vectorField(2))
		all := []string{"", `"`, `\`, "a", "b\n", "é"}
		w.upsert(ref, "_default", texts("id", all...), vectors("v", 2, len(all), 0))
		w.load(ref, "v", "L2")
		for _, tc := range []struct {
			r    handlers.Range
			want []string
		}{
			{handlers.Range{}, all},
			{handlers.Range{After: &rows.Key{}, Until: &rows.Key{String: "a"}, Keep: rows.Keys{Strings: []string{`\`}}}, []string{`"`, "a"}},
		} {
			got, err := w.target.KeysBeside(t.Context(), ref, "_default", tc.r)
			w.must(err)
			if slices.Sort(got.Strings); !slices.Equal(got.Strings, tc.want) {
				t.Errorf("%+v: %q, want %q", tc.r, got.Strings, tc.want)
			}
		}
	})
}
