package bridge_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
)

// history makes what a source would have written in some minutes of mixed changes: the queue's messages, with all that
// milvus-wire.md says of their order, and the meta as etcd shows it at any moment; and it keeps what the rows should be
// in the end. It is a seeded generator, so that a failure can be had again.
type history struct {
	rng     *rand.Rand
	ts      uint64
	ids     int64
	value   int64
	pending map[string][]stamped      // per channel: sent, not yet in the queue
	queue   map[string][]mq.Message   // per channel
	written map[string][]uint64       // per channel and message: its timestamp
	dbs     []*simDatabase            // all that ever were
	cols    []*simCollection          // all that ever were
	live    map[string]*simCollection // by database.name
	newer   bool                      // the source gives its messages properties, as from about 2.5 on
	drops   []func()                  // drops that were answered and whose messages are still to come
	aliases versions[map[catalog.AliasKey]int64]

	accessRNG  *rand.Rand // its own, so that it does not disturb the rest
	access     versions[*catalog.Access]
	unreadable versions[map[string]error]
}

type stamped struct {
	ts         uint64
	raw        []byte
	properties map[string]string
}

type simDatabase struct {
	id               int64
	name             string
	created, dropped uint64
	properties       versions[map[string]string]
}

type simCollection struct {
	id               int64
	db               *simDatabase
	name             string
	channels         []string
	starts           map[string][]byte
	created, dropped uint64
	forgotten        bool // etcd forgets it at once when it is dropped
	partitions       map[string]*simPartition
	every            []*simPartition
	rows             map[rowKey]int64
	log              []rowChange
	simSettings
}

type simPartition struct {
	id               int64
	name             string
	created, dropped uint64
}

type rowKey struct {
	partition string
	pk        int64
}

const simChannels = 4

func newHistory(seed uint64, steps int) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 1)), accessRNG: rand.New(rand.NewPCG(seed, 3)), ts: 1000 << 18, ids: 100, pending: map[string][]stamped{},
		queue: map[string][]mq.Message{}, written: map[string][]uint64{}, live: map[string]*simCollection{}}
	h.dbs = append(h.dbs, &simDatabase{id: 1, name: "default", created: 1})
	h.newer = h.rng.IntN(2) == 0
	for range steps {
		h.step()
		h.dropLater(10)
	}
	h.ts += 50 << 18
	h.dropLater(1)
	for range 3 { // the source goes quiet, and ticks on
		h.ts += 50 << 18
		h.tick(h.ts)
	}
	for range h.rng.IntN(3) { // Milvus repeats ticks while its schema changes, and may end a channel on one
		h.tick(h.ts)
	}
	return h
}

// begin is when there first is a collection that the tasks select: before that nothing is read, so that nothing more is
// shown either.
func (h *history) begin() uint64 {
	for _, c := range h.cols {
		if c.name != "x1" {
			return c.created
		}
	}
	return h.ts
}

func (h *history) id() int64 { h.ids++; return h.ids }

func (h *history) step() {
	h.ts += uint64(1+h.rng.IntN(40)) << 18
	switch n := h.rng.IntN(100); {
	case n < 6:
		h.createCollection()
	case n < 9:
		h.dropCollection()
	case n < 13:
		h.createPartition()
	case n < 16:
		h.dropPartition()
	case n < 18:
		h.databases()
	case n < 38:
		h.setting()
		h.someAccess()
	case n < 60:
		h.insert()
	case n < 72:
		h.upsert()
	case n < 84:
		h.remove()
	default:
		h.tick(h.ts - uint64(h.rng.IntN(60))<<18)
	}
}

func (h *history) database(name string) *simDatabase {
	for _, d := range h.dbs {
		if d.name == name && d.dropped == 0 {
			return d
		}
	}
	return nil
}

// databases makes the second database where it is not there, and drops it where it is empty.
func (h *history) databases() {
	d := h.database("other")
	if d == nil {
		h.dbs = append(h.dbs, &simDatabase{id: h.id(), name: "other", created: h.ts})
		return
	}
	for _, c := range h.live {
		if c.db == d {
			return
		}
	}
	d.dropped = h.ts
}

func (h *history) createCollection() {
	names := []string{"a", "b", "c", "x1"}
	name := names[h.rng.IntN(len(names))]
	db := h.database("default")
	if h.rng.IntN(3) == 0 {
		if db = h.database("other"); db == nil {
			return
		}
	}
	if h.free(db, name) {
		h.makeCollection(db, name)
	}
}

func (h *history) makeCollection(db *simDatabase, name string) *simCollection {
	c := &simCollection{id: h.id(), db: db, name: name, created: h.ts, starts: map[string][]byte{},
		partitions: map[string]*simPartition{}, rows: map[rowKey]int64{}, forgotten: h.rng.IntN(2) == 0}
	first := h.rng.IntN(simChannels)
	for i := range 1 + h.rng.IntN(3) {
		c.channels = append(c.channels, simChannel((first+i)%simChannels))
	}
	p := &simPartition{id: h.id(), name: "_default", created: h.ts}
	c.partitions[p.name], c.every = p, append(c.every, p)
	h.live[db.name+"."+name], h.cols = c, append(h.cols, c)
	c.names.add(h.ts, simName{db, name})
	schema := &schemapb.CollectionSchema{Name: name, Fields: []*schemapb.FieldSchema{
		{FieldID: 0, Name: "RowID", DataType: schemapb.DataType_Int64},
		{FieldID: 1, Name: "Timestamp", DataType: schemapb.DataType_Int64},
		{FieldID: 100, Name: "pk", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		{FieldID: 101, Name: "value", DataType: schemapb.DataType_Int64},
		{FieldID: 102, Name: "vec", DataType: schemapb.DataType_FloatVector, TypeParams: pairs(map[string]string{"dim": "4"})},
	}}
	c.fields.add(h.ts, schema.Fields[2:])
	for _, ch := range c.channels {
		// It stands in the queue before a client can know that the collection is there.
		h.append(ch, stamped{ts: h.ts, raw: must(proto.Marshal(&msgpb.CreateCollectionRequest{
			Base: base(commonpb.MsgType_CreateCollection, 0, h.ts), CollectionID: c.id, Schema: must(proto.Marshal(schema)),
			PhysicalChannelNames: c.channels, PartitionIDs: []int64{p.id},
		}))})
		c.starts[ch] = []byte(h.queue[ch][len(h.queue[ch])-1].Position)
	}
	return c
}

// dropLater sends drops' messages, one in n of those that wait. Milvus answers a drop when its meta says so and sends the
// messages afterwards, with a time of then: the name may have been given anew, and written to, in between.
func (h *history) dropLater(n int) {
	h.drops = slices.DeleteFunc(h.drops, func(send func()) bool {
		now := h.rng.IntN(n) == 0
		if now {
			h.ts++
			send()
		}
		return now
	})
}

func (h *history) dropCollection() {
	c := h.any()
	if c == nil {
		return
	}
	h.dropAliasesOf(c)
	c.dropped = h.ts
	delete(h.live, c.db.name+"."+c.name)
	h.drops = append(h.drops, func() {
		for _, ch := range c.channels {
			h.send(ch, &msgpb.DropCollectionRequest{Base: base(commonpb.MsgType_DropCollection, 0, h.ts), CollectionID: c.id, CollectionName: c.name})
		}
	})
	if h.rng.IntN(2) == 0 { // made again before that
		h.ts += 1 << 18
		again := h.makeCollection(c.db, c.name)
		h.ts += 1 << 18
		h.write(again, h.partition(again), false)
	}
}

func (h *history) createPartition() {
	c := h.any()
	name := "p" + strconv.Itoa(h.rng.IntN(3))
	if c == nil || c.partitions[name] != nil {
		return
	}
	h.makePartition(c, name)
}

func (h *history) makePartition(c *simCollection, name string) *simPartition {
	p := &simPartition{id: h.id(), name: name, created: h.ts}
	c.partitions[name], c.every = p, append(c.every, p)
	if l := c.load.last(); l != nil && l.Type == catalog.LoadCollection {
		h.loaded(c, l.Type, append(slices.Collect(maps.Keys(l.Partitions)), p.id))
	}
	return p
}

func (h *history) dropPartition() {
	c := h.any()
	if c == nil {
		return
	}
	p := h.partition(c)
	if p.name == "_default" {
		return
	}
	h.releasePartition(c, p)
	p.dropped = h.ts
	delete(c.partitions, p.name)
	for k := range c.rows {
		if k.partition == p.name {
			h.set(c, k, 0)
		}
	}
	h.drops = append(h.drops, func() {
		for _, ch := range c.channels {
			h.send(ch, &msgpb.DropPartitionRequest{Base: base(commonpb.MsgType_DropPartition, 0, h.ts), CollectionID: c.id, PartitionID: p.id, PartitionName: p.name})
		}
	})
	if h.rng.IntN(2) == 0 { // made again before that
		h.ts += 1 << 18
		h.write(c, h.makePartition(c, p.name), false)
	}
}

// any is a live collection, or nil.
func (h *history) any() *simCollection {
	names := slices.Sorted(maps.Keys(h.live))
	if len(names) == 0 {
		return nil
	}
	return h.live[names[h.rng.IntN(len(names))]]
}

func (h *history) partition(c *simCollection) *simPartition {
	names := slices.Sorted(maps.Keys(c.partitions))
	return c.partitions[names[h.rng.IntN(len(names))]]
}

// keys are some primary keys, by the channel that they go to.
func (h *history) keys(c *simCollection) map[string][]int64 {
	out := map[string][]int64{}
	for range 1 + h.rng.IntN(12) {
		pk := int64(h.rng.IntN(40))
		ch := c.channels[int(pk)%len(c.channels)]
		if !slices.Contains(out[ch], pk) {
			out[ch] = append(out[ch], pk)
		}
	}
	return out
}

func (h *history) insert() {
	if c := h.any(); c != nil {
		h.write(c, h.partition(c), false)
	}
}

func (h *history) upsert() {
	if c := h.any(); c != nil {
		h.write(c, h.partition(c), true)
	}
}

func (h *history) write(c *simCollection, p *simPartition, upsert bool) {
	byChannel := h.keys(c)
	for _, ch := range slices.Sorted(maps.Keys(byChannel)) {
		pks := byChannel[ch]
		values := make([]int64, len(pks))
		for i, pk := range pks {
			h.value++
			values[i] = h.value
			h.set(c, rowKey{p.name, pk}, h.value)
		}
		b := base(commonpb.MsgType_Insert, h.id(), h.ts)
		if upsert {
			b.Timestamp = 0
			h.sendDelete(c, ch, p, pks)
		}
		msg := &msgpb.InsertRequest{Base: b, ShardName: ch + "_v", CollectionID: c.id, CollectionName: c.name, PartitionID: p.id, PartitionName: p.name,
			Timestamps: repeated(h.ts, len(pks)), RowIDs: make([]int64, len(pks)), NumRows: uint64(len(pks)), Version: msgpb.InsertDataVersion_ColumnBased,
			FieldsData: []*schemapb.FieldData{longs("value", 101, values), longs("pk", 100, pks)}}
		for _, f := range c.fields.last()[3:] { // those that were added
			msg.FieldsData = append(msg.FieldsData, longs(f.Name, f.FieldID, values))
		}
		h.send(ch, msg)
		if h.rng.IntN(20) == 0 { // the producer's answer was lost: it sends again
			h.send(ch, msg)
		}
	}
}

func (h *history) remove() {
	c := h.any()
	if c == nil {
		return
	}
	p := h.partition(c)
	if h.rng.IntN(2) == 0 {
		p = nil
	}
	byChannel := h.keys(c)
	for _, ch := range slices.Sorted(maps.Keys(byChannel)) {
		for k := range c.rows {
			if slices.Contains(byChannel[ch], k.pk) && (p == nil || k.partition == p.name) {
				h.set(c, k, 0)
			}
		}
		h.sendDelete(c, ch, p, byChannel[ch])
	}
}

func (h *history) sendDelete(c *simCollection, ch string, p *simPartition, pks []int64) {
	msg := &msgpb.DeleteRequest{Base: base(commonpb.MsgType_Delete, h.id(), h.ts), ShardName: ch + "_v", CollectionID: c.id, CollectionName: c.name,
		PartitionID: -1, Timestamps: repeated(h.ts, len(pks)), NumRows: int64(len(pks)),
		PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: pks}}}}
	if p != nil {
		msg.PartitionID, msg.PartitionName = p.id, p.name
	}
	h.send(ch, msg)
}

func (h *history) send(ch string, m proto.Message) {
	s := stamped{ts: h.ts, raw: must(proto.Marshal(m))}
	if rows, ok := m.(interface {
		GetBase() *commonpb.MsgBase
		GetCollectionID() int64
	}); ok && h.newer {
		s.properties = map[string]string{"msg_type": rows.GetBase().GetMsgType().String(), "collection_id": fmt.Sprint(rows.GetCollectionID())}
	}
	h.pending[ch] = append(h.pending[ch], s)
}

// tick writes what is pending, out of order as several proxies do: all up to T before the tick, and some of the newer.
func (h *history) tick(t uint64) {
	for i := range simChannels {
		ch := simChannel(i)
		var now, later []stamped
		for _, s := range h.pending[ch] {
			if s.ts <= t || h.rng.IntN(2) == 0 {
				now = append(now, s)
			} else {
				later = append(later, s)
			}
		}
		h.rng.Shuffle(len(now), func(a, b int) { now[a], now[b] = now[b], now[a] })
		h.pending[ch] = later
		for _, s := range now {
			h.append(ch, s)
		}
		h.append(ch, stamped{ts: t, raw: must(proto.Marshal(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType_TimeTick, 0, t)}))})
	}
}

func simChannel(i int) string { return fmt.Sprintf("sim-rootcoord-dml_%d", i) }

func (h *history) append(ch string, s stamped) {
	at := mq.Position(strconv.Itoa(len(h.queue[ch]) + 1))
	h.queue[ch] = append(h.queue[ch], mq.Message{Position: at, Payload: s.raw, Properties: s.properties})
	h.written[ch] = append(h.written[ch], s.ts)
}

// view is the meta as etcd has it at a moment.
func (h *history) view(now uint64) *catalog.View {
	v := &catalog.View{Revision: int64(now), Databases: map[int64]*catalog.Database{}, Collections: map[int64]*catalog.Collection{},
		Aliases: map[catalog.AliasKey]*catalog.Alias{}, Access: cmp.Or(h.access.at(now), &catalog.Access{}), Unreadable: h.unreadable.at(now)}
	for key, id := range h.aliases.at(now) {
		v.Aliases[key] = &catalog.Alias{Name: key.Name, DatabaseID: key.DatabaseID, CollectionID: id}
	}
	for _, d := range h.dbs {
		if d.created <= now && (d.dropped == 0 || d.dropped > now) {
			v.Databases[d.id] = &catalog.Database{ID: d.id, Name: d.name, State: catalog.Created, Created: d.created, Properties: pairs(d.properties.at(now))}
		}
	}
	for _, c := range h.cols {
		gone := c.dropped != 0 && c.dropped <= now
		if c.created > now || gone && c.forgotten {
			continue
		}
		col := &catalog.Collection{ID: c.id, DatabaseID: c.names.at(now).db.id, Name: c.names.at(now).name, State: catalog.Created, Channels: c.channels,
			Starts: c.starts, Created: c.created, Shards: int32(len(c.channels)), Partitions: map[int64]*catalog.Partition{}}
		c.show(col, now)
		if gone {
			col.State = catalog.Dropping
		}
		for _, p := range c.every {
			if p.created <= now && (p.dropped == 0 || p.dropped > now) && !gone {
				col.Partitions[p.id] = &catalog.Partition{ID: p.id, Name: p.name, State: catalog.Created, Created: p.created}
			}
		}
		v.Collections[c.id] = col
	}
	return v
}

// expected is what the followed collections should hold in the end: database.collection, partition, key, value.
func (h *history) expected() map[string]map[string]map[int64]int64 {
	out := map[string]map[string]map[int64]int64{}
	for name, c := range h.live {
		if c.name == "x1" {
			continue
		}
		out[name] = map[string]map[int64]int64{}
		for p := range c.partitions {
			out[name][p] = map[int64]int64{}
		}
		for k, v := range c.rows {
			out[name][k.partition][k.pk] = v
		}
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func base(t commonpb.MsgType, id int64, ts uint64) *commonpb.MsgBase {
	return &commonpb.MsgBase{MsgType: t, MsgID: id, Timestamp: ts}
}

func repeated(ts uint64, n int) []uint64 { return slices.Repeat([]uint64{ts}, n) }

func longs(name string, id int64, v []int64) *schemapb.FieldData {
	return &schemapb.FieldData{Type: schemapb.DataType_Int64, FieldName: name, FieldId: id, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}}}
}
