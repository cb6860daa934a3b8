package rules_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

// FuzzWhere: no expression makes Parse, Fits or Keep panic, take much memory, or give another result the next time. What
// Fits a schema can be evaluated.
func FuzzWhere(f *testing.F) {
	for _, where := range []string{
		"id > 1", "price != nil && price < 3", `"red" in tags`, "any(nums, # < 0)", "doc?.a?.b == 5", `dynamic["x"] >= 1`, "ok ? n > 0 : n == 0",
		`txt matches "^a"`, "let x = 1; x", "id in 1..9", "count(split(txt, ''), # == 'a') > 1", "not ok", "map(nums, # + 1)[0] > 1", "1 + 1 == 2",
		`txt + txt + txt contains "aa"`, "sum(nums) ** 2 > 3", `{"a": 1}.a == n`, "nums[1:] == []", "txt | lower() | hasPrefix('a')", "b'\\xff' == nil", "if ok {true} else {false}",
		"max(1, nil) > 3", "id % 0 == 1", "-9223372036854775808 / -1 == id", "'k' in dynamic", "int(txt) > 0",
	} {
		f.Add(where)
	}
	all := fourRows(f)
	f.Fuzz(func(t *testing.T, where string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		defer func() {
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
				t.Errorf("allocated %d bytes", got)
			}
		}()
		r, err := rules.Parse(jetstream.Rule{Where: where})
		if err != nil {
			var fe *jetstream.FieldError
			if !errors.As(err, &fe) || strings.TrimSpace(where) == "" {
				t.Errorf("parse: %v", err)
			}
			return
		}
		fits := r.Fits(schema())
		first, err := r.Keep(all)
		if err != nil && fits == nil {
			t.Errorf("it fits, but: %v", err)
		}
		again, _ := r.Keep(all)
		if len(first.Index)+first.Failed > 4 || len(first.Index) != len(again.Index) || first.Failed != again.Failed {
			t.Errorf("kept %+v, then %+v", first, again)
		}
	})
}
