package bridge_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
)

// versions are what something was at any time.
type versions[T any] []version[T]

type version[T any] struct {
	ts    uint64
	value T
}

func (v *versions[T]) add(ts uint64, value T) { *v = append(*v, version[T]{ts, value}) }

func (v *versions[T]) at(ts uint64) (value T) {
	for _, e := range *v {
		if e.ts <= ts {
			value = e.value
		}
	}
	return value
}

func (v *versions[T]) last() T { return v.at(^uint64(0)) }

type simName struct {
	db   *simDatabase
	name string
}

// simSettings is what of a collection stands in etcd alone.
type simSettings struct {
	names      versions[simName]
	properties versions[map[string]string]
	fields     versions[[]*schemapb.FieldSchema]
	indexes    versions[map[int64]*catalog.Index]
	load       versions[*catalog.Load]
}

func (c *simCollection) show(col *catalog.Collection, now uint64) {
	col.Properties = pairs(c.simSettings.properties.at(now))
	col.Schema = &schemapb.CollectionSchema{Name: col.Name, Fields: c.fields.at(now)}
	col.Indexes, col.Load = c.indexes.at(now), c.load.at(now)
}

func pairs(m map[string]string) (out []*commonpb.KeyValuePair) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, &commonpb.KeyValuePair{Key: k, Value: m[k]})
	}
	return out
}

// setting changes something that only etcd tells, as far as a Milvus would allow it.
func (h *history) setting() {
	c := h.any()
	if c == nil {
		return
	}
	switch h.rng.IntN(13) {
	case 0:
		h.renameSome(c)
	case 1:
		h.swap(c)
	case 2:
		c.simSettings.properties.add(h.ts, h.someProperties(c.simSettings.properties.last()))
	case 3:
		h.addField(c)
	case 4:
		h.index(c)
	case 5, 6:
		h.loadSome(c)
	case 7:
		h.alias(c)
	case 8, 9:
		h.index(c)
	case 10:
		h.loadSome(c)
	case 12:
		h.flush(c)
	case 11:
		c.db.properties.add(h.ts, h.someProperties(c.db.properties.last()))
	}
}

// someProperties has one of them set, altered or deleted.
func (h *history) someProperties(was map[string]string) map[string]string {
	m := maps.Clone(was)
	if m == nil {
		m = map[string]string{}
	}
	key := []string{"collection.ttl.seconds", "mmap.enabled"}[h.rng.IntN(2)]
	if m[key] != "" && h.rng.IntN(2) == 0 {
		delete(m, key)
	} else {
		m[key] = strconv.Itoa(h.rng.IntN(1000))
	}
	return m
}

// free reports whether neither a collection nor an alias has the name.
func (h *history) free(db *simDatabase, name string) bool {
	_, alias := h.aliases.last()[catalog.AliasKey{DatabaseID: db.id, Name: name}]
	return !alias && h.live[db.name+"."+name] == nil
}

// renameSome renames within or beyond the selection's reach of names, never into or out of the selection.
func (h *history) renameSome(c *simCollection) {
	db, name := c.db, []string{"a", "b", "c", "al1"}[h.rng.IntN(4)]
	if h.rng.IntN(3) == 0 {
		db = h.dbs[0]
		if other := h.database("other"); c.db == db && other != nil {
			db = other
		}
	}
	if c.name == "x1" || !h.free(db, name) || db != c.db && len(h.aliasesOf(c)) > 0 {
		return
	}
	h.rename(c, db, name)
}

func (h *history) rename(c *simCollection, db *simDatabase, name string) {
	h.ts++
	delete(h.live, c.db.name+"."+c.name)
	c.db, c.name = db, name
	h.live[db.name+"."+name] = c
	c.names.add(h.ts, simName{db, name})
}

// swap has two collections change names, in three steps.
func (h *history) swap(c *simCollection) {
	d := h.any()
	if c == d || c.db != d.db || c.name == "x1" || d.name == "x1" || !h.free(c.db, "aside") {
		return
	}
	mine, its := c.name, d.name
	h.rename(c, c.db, "aside")
	h.rename(d, d.db, mine)
	h.rename(c, c.db, its)
}

func (h *history) addField(c *simCollection) {
	was := c.fields.last()
	id := int64(100 + len(was))
	c.fields.add(h.ts, append(slices.Clone(was), &schemapb.FieldSchema{FieldID: id, Name: fmt.Sprint("f", id), DataType: schemapb.DataType_Int64, Nullable: true}))
	h.ts++
	h.write(c, h.partition(c), false)
}

// index drops an index, or alters it, or makes one where the field has none.
func (h *history) index(c *simCollection) {
	field := []int64{101, 102, 102}[h.rng.IntN(3)]
	is := maps.Clone(c.indexes.last())
	if is == nil {
		is = map[int64]*catalog.Index{}
	}
	for id, ix := range is {
		if ix.FieldID != field {
			continue
		}
		if field == 102 && c.load.last() != nil {
			c.load.add(h.ts, nil)
			h.ts++
		}
		delete(is, id)
		alter := h.rng.IntN(2) == 0
		if alter {
			altered := *ix
			altered.UserParams = pairs(map[string]string{"index_type": "HNSW", "metric_type": "L2", "mmap.enabled": strconv.Itoa(h.rng.IntN(9))})
			is[id] = &altered
			c.load.add(h.ts, nil)
		}
		c.indexes.add(h.ts, is)
		if alter || h.rng.IntN(2) == 0 {
			return
		}
		is, h.ts = maps.Clone(is), h.ts+1 // and another at once
	}
	ix := &catalog.Index{ID: h.id(), Name: fmt.Sprint("by_", field), FieldID: field, Params: pairs(map[string]string{"index_type": "HNSW", "metric_type": "IP"})}
	is[ix.ID] = ix
	c.indexes.add(h.ts, is)
}

// loadSome loads or releases the collection or some of it.
func (h *history) loadSome(c *simCollection) {
	l := c.load.last()
	if l != nil && h.rng.IntN(3) == 0 {
		if h.rng.IntN(2) == 0 {
			c.load.add(h.ts, nil)
		} else {
			h.releasePartition(c, h.partition(c))
		}
		return
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.indexes.last())), func(ix *catalog.Index) bool { return ix.FieldID == 102 }) {
		return
	}
	if h.rng.IntN(2) == 0 {
		var all []int64
		for _, p := range c.partitions {
			all = append(all, p.id)
		}
		h.loaded(c, catalog.LoadCollection, all)
		return
	}
	some := []int64{h.partition(c).id, h.partition(c).id}
	kind := catalog.LoadPartitions
	if l != nil {
		some, kind = append(some, slices.Collect(maps.Keys(l.Partitions))...), l.Type
	}
	h.loaded(c, kind, some)
}

// loaded writes the load of partitions: first what says so, then that they are.
func (h *history) loaded(c *simCollection, kind catalog.LoadType, partitions []int64) {
	replicas := int32(1 + h.rng.IntN(2))
	if l := c.load.last(); l != nil {
		replicas = l.Replicas
		if h.rng.IntN(4) == 0 {
			replicas = 3 - replicas
		}
	} else {
		c.load.add(h.ts, &catalog.Load{State: catalog.Loading, Type: kind, Replicas: replicas, Partitions: map[int64]catalog.LoadState{}})
		h.ts++
	}
	states := map[int64]catalog.LoadState{}
	for _, id := range partitions {
		states[id] = catalog.Loaded
	}
	c.load.add(h.ts, &catalog.Load{State: catalog.Loaded, Type: kind, Replicas: replicas, Partitions: states})
}

func (h *history) releasePartition(c *simCollection, p *simPartition) {
	l := c.load.last()
	if l == nil || l.Partitions[p.id] == 0 {
		return
	}
	n := *l
	n.Partitions = maps.Clone(l.Partitions)
	delete(n.Partitions, p.id)
	if c.load.add(h.ts, &n); len(n.Partitions) == 0 {
		c.load.add(h.ts, nil)
	}
	h.ts++
}

// alias makes an alias, or has it name another collection, or drops it.
func (h *history) alias(c *simCollection) {
	key := catalog.AliasKey{DatabaseID: c.db.id, Name: []string{"al1", "al2", "c"}[h.rng.IntN(3)]}
	is := maps.Clone(h.aliases.last())
	if is == nil {
		is = map[catalog.AliasKey]int64{}
	}
	switch {
	case is[key] == c.id:
		delete(is, key)
	case is[key] != 0, h.free(c.db, key.Name):
		is[key] = c.id
	}
	h.aliases.add(h.ts, is)
}

func (h *history) aliasesOf(c *simCollection) (out []catalog.AliasKey) {
	for k, id := range h.aliases.last() {
		if id == c.id {
			out = append(out, k)
		}
	}
	return out
}

func (h *history) dropAliasesOf(c *simCollection) {
	if len(h.aliasesOf(c)) == 0 {
		return
	}
	is := maps.Clone(h.aliases.last())
	maps.DeleteFunc(is, func(_ catalog.AliasKey, id int64) bool { return id == c.id })
	h.aliases.add(h.ts, is)
	h.ts++
}

// simSide is the source's replicate channel.
const simSide = "sim-replicate-msg"

func (h *history) flush(c *simCollection) {
	m := &milvuspb.FlushRequest{Base: base(commonpb.MsgType_Flush, h.id(), h.ts), DbName: c.db.name, CollectionNames: []string{c.name}}
	h.append(simSide, stamped{ts: h.ts, raw: must(proto.Marshal(m))})
}
