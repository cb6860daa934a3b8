package bridge_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// model is a target Milvus that refuses what a real one refuses, and besides everything that is there or gone already.
type model struct {
	t       *testing.T
	target  modelTarget
	ids     map[string]uint64
	dbs     map[string]*modelDatabase
	cols    map[string]*modelCollection // by database.name
	aliases map[string]string           // by database.alias: the collection's name
	sums    map[string]uint64
	allowed modelAccess
	at      *jetstream.Event
}

type modelDatabase struct {
	id         int64
	properties map[string]string
}

type modelCollection struct {
	flushed    uint64 // time of its last flush
	id         int64
	rows       map[string]map[int64]int64 // by partition
	properties map[string]string
	fields     map[string]bool
	indexes    map[string]modelIndex // by name
	load       *modelLoad
}

type modelIndex struct {
	field  string
	params map[string]string
}

// modelLoad is what is loaded.
type modelLoad struct {
	whole    bool
	replicas int32
	parts    map[string]bool
}

func (m *model) must(ok bool, what string, args ...any) {
	m.t.Helper()
	if !ok {
		m.t.Fatalf("event %d %s (%s.%s): %s", m.at.Seq, m.at.ID, m.at.Database, m.at.Collection, fmt.Sprintf(what, args...))
	}
}

func (m *model) body(to proto.Message) {
	m.t.Helper()
	err := proto.Unmarshal(m.at.Body, to)
	m.must(err == nil && len(to.ProtoReflect().GetUnknown()) == 0, "its body is %v, %v", to, err)
}

func (m *model) apply(e *jetstream.Event) {
	m.t.Helper()
	if e.Kind.ForBridges() {
		return
	}
	m.at = e
	m.must(m.ids[e.ID] == 0, "is on the stream twice, before at %d", m.ids[e.ID])
	m.ids[e.ID] = e.Seq
	m.count(e)
	if e.Target != "" && e.Target != m.target.name {
		return
	}
	lane := jetstream.AllLanes
	if e.Kind.Setting() {
		lane = jetstream.SettingsLane
	}
	channel := jetstream.CatalogChannel
	if e.Kind == jetstream.Flush {
		channel = simSide
	}
	m.must(e.Kind.Rows() || e.Kind == jetstream.Prune || e.Lane == lane && e.Channel == channel, "is on lane %d of channel %s", e.Lane, e.Channel)
	if m.access(e) {
		return
	}
	db := m.dbs[e.Database]
	switch e.Kind {
	case jetstream.CreateDatabase:
		m.must(db == nil, "the database is there")
		var r milvuspb.CreateDatabaseRequest
		m.body(&r)
		m.dbs[e.Database] = &modelDatabase{id: e.DatabaseID, properties: map[string]string{}} // handlers give it none
		return
	case jetstream.CreateCollection:
		m.createCollection(e)
		return
	}
	m.must(db != nil && db.id == e.DatabaseID, "the database is %v", db)
	switch e.Kind {
	case jetstream.DropDatabase:
		for name := range m.cols {
			m.must(!strings.HasPrefix(name, e.Database+"."), "the database has %s", name)
		}
		delete(m.dbs, e.Database)
	case jetstream.AlterDatabase:
		var r milvuspb.AlterDatabaseRequest
		m.body(&r)
		db.properties = m.alter(db.properties, r.GetProperties(), r.GetDeleteKeys())
	default:
		col := m.cols[e.Database+"."+e.Collection]
		m.must(col != nil && col.id == e.CollectionID, "the collection is %v", col)
		m.applyTo(col, e)
	}
}

func (m *model) createCollection(e *jetstream.Event) {
	m.t.Helper()
	m.must(m.dbs[e.Database] != nil, "there is no database")
	if c := m.cols[e.Database+"."+e.Collection]; c != nil && c.id == e.CollectionID && e.Snapshot > 1 {
		return // it is copied anew
	}
	m.mustBeFree(e.Database, e.Collection)
	var r milvuspb.CreateCollectionRequest
	var schema schemapb.CollectionSchema
	m.body(&r)
	if err := proto.Unmarshal(r.GetSchema(), &schema); err != nil {
		m.t.Fatal(err)
	}
	col := &modelCollection{id: e.CollectionID, rows: map[string]map[int64]int64{"_default": {}}, properties: set(nil, r.GetProperties()),
		fields: map[string]bool{}, indexes: map[string]modelIndex{}}
	for _, f := range schema.GetFields() {
		col.fields[f.GetName()] = true
	}
	m.cols[e.Database+"."+e.Collection] = col
}

func (m *model) mustBeFree(db, name string) {
	m.t.Helper()
	m.must(m.cols[db+"."+name] == nil, "there is a collection %s.%s", db, name)
	m.must(m.aliases[db+"."+name] == "", "there is an alias %s.%s", db, name)
}

func (m *model) aliasesOf(e *jetstream.Event) (out []string) {
	for alias, name := range m.aliases {
		if name == e.Collection && strings.HasPrefix(alias, e.Database+".") {
			out = append(out, alias)
		}
	}
	slices.Sort(out)
	return out
}

func (m *model) applyTo(col *modelCollection, e *jetstream.Event) {
	m.t.Helper()
	name := e.Database + "." + e.Collection
	switch e.Kind {
	case jetstream.DropCollection:
		m.must(len(m.aliasesOf(e)) == 0, "it has the aliases %v", m.aliasesOf(e))
		delete(m.cols, name)
	case jetstream.RenameCollection:
		m.rename(col, e)
	case jetstream.CreatePartition:
		m.must(col.rows[e.Partition] == nil, "partition %s is there", e.Partition)
		col.rows[e.Partition] = map[int64]int64{}
		if col.load != nil && col.load.whole {
			col.load.parts[e.Partition] = true
		}
	case jetstream.DropPartition:
		m.must(col.rows[e.Partition] != nil, "there is no partition %s", e.Partition)
		delete(col.rows, e.Partition)
		if col.load != nil { // the handlers release it
			delete(col.load.parts, e.Partition)
		}
	case jetstream.AddField:
		var r milvuspb.AddCollectionFieldRequest
		var f schemapb.FieldSchema
		m.body(&r)
		m.must(proto.Unmarshal(r.GetSchema(), &f) == nil && (!col.fields[f.GetName()] || m.target.behind > 0), "field %s is there", f.GetName())
		col.fields[f.GetName()] = true
	case jetstream.AlterCollection:
		var r milvuspb.AlterCollectionRequest
		m.body(&r)
		a := set(nil, r.GetProperties())
		m.must(col.load == nil || a["mmap.enabled"] == "" && !slices.Contains(r.GetDeleteKeys(), "mmap.enabled"), "it is loaded")
		col.properties = m.alter(col.properties, r.GetProperties(), r.GetDeleteKeys())
	case jetstream.Flush:
		col.flushed = max(col.flushed, e.TS)
	case jetstream.Prune:
		m.prune(e, col)
	case jetstream.Insert, jetstream.Delete:
		m.must(e.TS > col.flushed || e.Snapshot > 0, "a flush of %d came before it, which has the time %d", col.flushed, e.TS)
		m.applyRows(e, col)
	case jetstream.CreateAlias, jetstream.AlterAlias, jetstream.DropAlias:
		m.alias(e)
	case jetstream.CreateIndex, jetstream.AlterIndex, jetstream.DropIndex:
		m.index(col, e)
	default:
		m.load(col, e)
	}
}

func (m *model) rename(col *modelCollection, e *jetstream.Event) {
	m.t.Helper()
	var r milvuspb.RenameCollectionRequest
	m.body(&r)
	m.must(r.GetOldName() == e.Collection && r.GetDbName() == e.Database && m.dbs[r.GetNewDBName()] != nil, "renames %v", &r)
	m.must(r.GetNewDBName() == e.Database || len(m.aliasesOf(e)) == 0, "it has aliases %v", m.aliasesOf(e))
	m.mustBeFree(r.GetNewDBName(), r.GetNewName())
	for _, alias := range m.aliasesOf(e) {
		m.aliases[alias] = r.GetNewName()
	}
	delete(m.cols, e.Database+"."+e.Collection)
	m.cols[r.GetNewDBName()+"."+r.GetNewName()] = col
}

func (m *model) alias(e *jetstream.Event) {
	m.t.Helper()
	var alias string
	switch e.Kind {
	case jetstream.CreateAlias:
		var r milvuspb.CreateAliasRequest
		m.body(&r)
		m.mustBeFree(e.Database, r.GetAlias())
		alias = r.GetAlias()
	case jetstream.AlterAlias:
		var r milvuspb.AlterAliasRequest
		m.body(&r)
		alias = r.GetAlias()
		m.must(m.aliases[e.Database+"."+alias] != "", "there is no alias %s", alias)
	case jetstream.DropAlias:
		var r milvuspb.DropAliasRequest
		m.body(&r)
		m.must(m.aliases[e.Database+"."+r.GetAlias()] == e.Collection, "alias %s is of %s", r.GetAlias(), m.aliases[e.Database+"."+r.GetAlias()])
		delete(m.aliases, e.Database+"."+r.GetAlias())
		return
	}
	m.aliases[e.Database+"."+alias] = e.Collection
}

func (m *model) index(col *modelCollection, e *jetstream.Event) {
	m.t.Helper()
	switch e.Kind {
	case jetstream.CreateIndex:
		var r milvuspb.CreateIndexRequest
		m.body(&r)
		_, there := col.indexes[r.GetIndexName()]
		m.must(!there && col.fields[r.GetFieldName()], "index %s is there: %v, or no field %s", r.GetIndexName(), there, r.GetFieldName())
		for name, ix := range col.indexes {
			m.must(ix.field != r.GetFieldName(), "field %s has index %s", ix.field, name)
		}
		col.indexes[r.GetIndexName()] = modelIndex{r.GetFieldName(), set(nil, r.GetExtraParams())}
	case jetstream.AlterIndex:
		var r milvuspb.AlterIndexRequest
		m.body(&r)
		ix, there := col.indexes[r.GetIndexName()]
		m.must(there, "there is no index %s", r.GetIndexName())
		ix.params = m.alter(ix.params, r.GetExtraParams(), r.GetDeleteKeys())
		col.indexes[r.GetIndexName()] = ix
	case jetstream.DropIndex:
		var r milvuspb.DropIndexRequest
		m.body(&r)
		ix, there := col.indexes[r.GetIndexName()]
		m.must(there && ix.field == r.GetFieldName(), "there is no index %s", r.GetIndexName())
		m.must(col.load == nil || ix.field != "vec", "it is loaded")
		delete(col.indexes, r.GetIndexName())
	}
}

func (m *model) load(col *modelCollection, e *jetstream.Event) {
	m.t.Helper()
	names := func(parts []string) []string {
		for _, p := range parts {
			m.must(col.rows[p] != nil, "there is no partition %s", p)
		}
		return parts
	}
	switch e.Kind {
	case jetstream.LoadCollection:
		var r milvuspb.LoadCollectionRequest
		m.body(&r)
		m.must(col.served(), "its vectors have no index")
		col.load = &modelLoad{whole: true, replicas: r.GetReplicaNumber(), parts: map[string]bool{}}
		for p := range col.rows {
			col.load.parts[p] = true
		}
	case jetstream.LoadPartitions:
		var r milvuspb.LoadPartitionsRequest
		m.body(&r)
		m.must(col.served(), "its vectors have no index")
		if col.load == nil {
			col.load = &modelLoad{parts: map[string]bool{}}
		}
		col.load.replicas = r.GetReplicaNumber()
		for _, p := range names(r.GetPartitionNames()) {
			col.load.parts[p] = true
		}
	case jetstream.ReleaseCollection:
		m.must(col.load != nil, "it is not loaded")
		col.load = nil
	case jetstream.ReleasePartitions:
		var r milvuspb.ReleasePartitionsRequest
		m.body(&r)
		for _, p := range names(r.GetPartitionNames()) {
			m.must(col.load != nil && col.load.parts[p], "partition %s is not loaded", p)
			delete(col.load.parts, p)
		}
	default:
		m.must(false, "what is it?")
	}
}

// served reports whether the vectors have an index, without which nothing is loaded.
func (c *modelCollection) served() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(c.indexes)), func(ix modelIndex) bool { return ix.field == "vec" })
}

// count looks whether the sum of rows that an event tells is right.
func (m *model) count(e *jetstream.Event) {
	m.t.Helper()
	if !e.Kind.Rows() {
		return
	}
	key := fmt.Sprint(e.CollectionID, "/", e.Lane)
	if _, begun := m.sums[key]; !begun && m.target.behind > 0 {
		m.sums[key] = e.RowSum - uint64(e.Rows)
	}
	m.sums[key] += uint64(e.Rows)
	m.must(m.sums[key] == e.RowSum, "row sum %d, counted %d", e.RowSum, m.sums[key])
}

func (m *model) applyRows(e *jetstream.Event, col *modelCollection) {
	m.t.Helper()
	if e.Kind == jetstream.Insert {
		part := col.rows[e.Partition]
		m.must(part != nil, "there is no partition %s", e.Partition)
		var r msgpb.InsertRequest
		m.body(&r)
		fields := map[string]*schemapb.FieldData{}
		for _, f := range r.GetFieldsData() {
			m.must(col.fields[f.GetFieldName()], "there is no field %s", f.GetFieldName())
			fields[f.GetFieldName()] = f
		}
		values := fields["value"].GetScalars().GetLongData().GetData()
		for i, pk := range fields["pk"].GetScalars().GetLongData().GetData() {
			part[pk] = values[i]
		}
		return
	}
	var r msgpb.DeleteRequest
	m.body(&r)
	for p := range col.rows {
		if e.PartitionID == -1 || e.Partition == p {
			for _, pk := range r.GetPrimaryKeys().GetIntId().GetData() {
				delete(col.rows[p], pk)
			}
		}
	}
}

// alter sets or deletes: no Milvus does both at once.
func (m *model) alter(was map[string]string, pairs []*commonpb.KeyValuePair, gone []string) map[string]string {
	m.t.Helper()
	m.must((len(pairs) == 0) != (len(gone) == 0), "sets %v and deletes %v", pairs, gone)
	out := set(was, pairs)
	for _, k := range gone {
		m.must(out[k] != "", "there is no %s", k)
		delete(out, k)
	}
	return out
}

func set(was map[string]string, pairs []*commonpb.KeyValuePair) map[string]string {
	out := maps.Clone(was)
	if out == nil {
		out = map[string]string{}
	}
	for _, p := range pairs {
		out[p.GetKey()] = p.GetValue()
	}
	return out
}

// rows are the model's rows by collection, partition and key.
func (m *model) rows() map[string]map[string]map[int64]int64 {
	out := map[string]map[string]map[int64]int64{}
	for name, c := range m.cols {
		out[name] = c.rows
	}
	return out
}

// settings are everything but the rows, a line each.
func (m *model) settings() []string {
	out := m.allowed.lines()
	for name, db := range m.dbs {
		out = append(out, fmt.Sprintf("database %s %v", name, db.properties))
	}
	for alias, name := range m.aliases {
		out = append(out, fmt.Sprintf("alias %s of %s", alias, name))
	}
	for name, c := range m.cols {
		out = append(out, fmt.Sprintf("collection %s %v fields %v", name, c.properties, slices.Sorted(maps.Keys(c.fields))))
		for ix, i := range c.indexes {
			out = append(out, fmt.Sprintf("index %s of %s on %s %v", ix, name, i.field, i.params))
		}
		if l := c.load; l != nil {
			out = append(out, fmt.Sprintf("load %s whole %v replicas %d %v", name, l.whole, l.replicas, slices.Sorted(maps.Keys(l.parts))))
		}
	}
	slices.Sort(out)
	return out
}

// settings are what model.settings should be in the end, by what etcd shows then.
func (h *history) settings(spec jetstream.TaskSpec) []string {
	out := h.lastAccess(spec)
	v := h.view(h.ts)
	name := func(id int64) string {
		return v.Databases[v.Collections[id].DatabaseID].Name + "." + v.Collections[id].Name
	}
	for _, db := range v.Databases {
		if spec.SelectsDatabase(db.Name) {
			out = append(out, fmt.Sprintf("database %s %v", db.Name, set(nil, db.Properties)))
		}
	}
	for key, a := range v.Aliases {
		if col := v.Collections[a.CollectionID]; spec.Selects(v.Databases[key.DatabaseID].Name, col.Name) {
			out = append(out, fmt.Sprintf("alias %s.%s of %s", v.Databases[key.DatabaseID].Name, key.Name, col.Name))
		}
	}
	for id, c := range v.Collections {
		if c.State != catalog.Created || !spec.Selects(v.Databases[c.DatabaseID].Name, c.Name) {
			continue
		}
		fields := map[int64]string{}
		var names, parts []string
		for _, f := range c.Schema.GetFields() {
			names, fields[f.GetFieldID()] = append(names, f.GetName()), f.GetName()
		}
		slices.Sort(names)
		out = append(out, fmt.Sprintf("collection %s %v fields %v", name(id), set(nil, c.Properties), names))
		for _, ix := range c.Indexes {
			built := set(nil, ix.Params)
			if fields[ix.FieldID] != "vec" {
				built = set(nil, nil) // of a scalar's index that nobody gave a type the target chooses one
			}
			out = append(out, fmt.Sprintf("index %s of %s on %s %v", ix.Name, name(id), fields[ix.FieldID], set(built, ix.UserParams)))
		}
		if c.Load == nil {
			continue
		}
		for p := range c.Load.Partitions {
			parts = append(parts, c.Partitions[p].Name)
		}
		slices.Sort(parts)
		out = append(out, fmt.Sprintf("load %s whole %v replicas %d %v", name(id), c.Load.Type == catalog.LoadCollection, c.Load.Replicas, parts))
	}
	slices.Sort(out)
	return out
}
