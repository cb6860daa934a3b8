package catalog

import (
	"maps"
	"testing"

	"kitestream/bridge/catalog/catalogtest"
)

func TestLoadLife(t *testing.T) {
	m := newModel("p/")
	key, part := catalogtest.LoadKey(10), catalogtest.PartitionLoadKey
	state := func(id int64, state int) change {
		return put(part(10, id), catalogtest.PartitionLoad(10, id, state))
	}
	steps := []struct {
		what    string
		changes []change
		want    *Load
	}{
		{"a collection", orders(catalogtest.Created), nil},
		{"load", []change{put(key, catalogtest.Load(10, 2, catalogtest.Loading, catalogtest.LoadPartitions))}, &Load{Loading, LoadPartitions, 2, nil}},
		{"its partitions", []change{state(20, 1), state(21, 1)}, &Load{Loading, LoadPartitions, 2, map[int64]LoadState{20: Loading, 21: Loading}}},
		{"one is loaded", []change{state(20, 2)}, &Load{Loading, LoadPartitions, 2, map[int64]LoadState{20: Loaded, 21: Loading}}},
		{"all is loaded", []change{state(21, 2), put(key, catalogtest.Load(10, 2, 2, 1))}, &Load{Loaded, LoadPartitions, 2, map[int64]LoadState{20: Loaded, 21: Loaded}}},
		{"load collection", []change{put(key, catalogtest.Load(10, 2, 2, 2))}, &Load{Loaded, LoadCollection, 2, map[int64]LoadState{20: Loaded, 21: Loaded}}},
		{"release partition", []change{del(part(10, 20))}, &Load{Loaded, LoadCollection, 2, map[int64]LoadState{21: Loaded}}},
		{"release collection", []change{del(key)}, nil},
		{"its last partition", []change{del(part(10, 21))}, nil},
		{"load anew", []change{put(key, catalogtest.Load(10, 1, 1, 2)), state(21, 1)}, &Load{Loading, LoadCollection, 1, map[int64]LoadState{21: Loading}}},
		{"tombstones", []change{dead(key), dead(part(10, 21))}, nil},
	}
	var views []*View
	for i, step := range steps {
		views = append(views, apply(m, int64(i+1), step.changes...))
	}
	for i, step := range steps { // after all: no View changes
		v := views[i]
		if got := v.Collections[10].Load; !sameLoad(got, step.want) {
			t.Errorf("%s: load is %+v, want %+v", step.what, got, step.want)
		}
		if got := v.CollectionReleased(10); got != (step.want == nil) {
			t.Errorf("%s: collection is released: %t", step.what, got)
		}
		if got := v.PartitionReleased(10, 20); got != (step.want == nil || step.want.Partitions[20] == 0) {
			t.Errorf("%s: partition is released: %t", step.what, got)
		}
	}
}

func sameLoad(a, b *Load) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.State == b.State && a.Type == b.Type && a.Replicas == b.Replicas && maps.Equal(a.Partitions, b.Partitions)
}

func TestLoadWithoutCollection(t *testing.T) {
	m := newModel("p/")
	load := []change{put(catalogtest.LoadKey(10), catalogtest.Load(10, 1, 2, 2)), put(catalogtest.PartitionLoadKey(10, 20), catalogtest.PartitionLoad(10, 20, 2))}
	if v := apply(m, 1, load...); text(v) != "" || !v.CollectionReleased(10) || !v.PartitionReleased(10, 20) {
		t.Errorf("a load makes a collection of its own: %s", text(v))
	}
	if v := apply(m, 2, orders(0)...); v.Collections[10].Load == nil || v.PartitionReleased(10, 20) {
		t.Errorf("a load that was there before its collection: %s", text(v))
	}
	if v := apply(m, 3, put(catalogtest.FieldKey(10, 100), []byte("junk"))); v.CollectionReleased(10) || v.PartitionReleased(10, 20) {
		t.Error("what a collection that can't be read has loaded is known to be released")
	}
	gone := []change{del(catalogtest.CollectionKey(1, 10))}
	for _, c := range children() {
		gone = append(gone, del(c.key))
	}
	apply(m, 4, gone...)
	if v := apply(m, 5, del(load[0].key), del(load[1].key)); text(v) != "" || len(m.records) != 0 {
		t.Errorf("something is left: %s, %d records", text(v), len(m.records))
	}
}

func TestDecodeLoadRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":            {},
		"another collection": catalogtest.Load(11, 1, 2, 2),
		"no state":           catalogtest.Load(10, 1, 0, 2),
		"unknown state":      catalogtest.Load(10, 1, 3, 2),
		"no type":            catalogtest.Load(10, 1, 2, 0),
		"unknown type":       catalogtest.Load(10, 1, 2, 3),
		"cut off":            catalogtest.Load(10, 1, 2, 2)[:9],
		"many replicas":      catalogtest.Load(10, 1<<40, 2, 2),
		"wrong wire type":    append(catalogtest.Load(10, 1, 2, 2), 4<<3|2, 0),
	} {
		if l, err := decodeLoad(b, 10); err == nil {
			t.Errorf("%s: decoded as %+v", name, l)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":            {},
		"another collection": catalogtest.PartitionLoad(11, 20, 2),
		"another partition":  catalogtest.PartitionLoad(10, 21, 2),
		"no state":           catalogtest.PartitionLoad(10, 20, 0),
		"unknown state":      catalogtest.PartitionLoad(10, 20, 3),
		"wrong wire type":    append(catalogtest.PartitionLoad(10, 20, 2), 4<<3|2, 0),
	} {
		if s, err := decodePartitionLoad(b, object{kindPartitionLoad, 10, 20, ""}); err == nil {
			t.Errorf("partition, %s: decoded as %s", name, s)
		}
	}
}
