package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
)

// change is one key as etcd has it from a revision on.
type change struct {
	key   string // without the prefix that all have
	value []byte
	gone  bool  // deleted, or overwritten by a tombstone: Milvus means the same by both
	rev   int64 // of the change
}

// model is the reducer: it takes changes in, and gives Views out. It does no I/O. Applying the changes of a range one by
// one ends in the same View as loading the keys that are left. One goroutine at a time may use it.
type model struct {
	prefix  string
	records map[int64]*record // by collection
	aliases map[object]*Alias // by key; nil for one that can't be read
	access  access
	last    *View
}

func newModel(prefix string) *model {
	return &model{prefix: prefix, records: map[int64]*record{}, aliases: map[object]*Alias{}, access: newAccess(), last: &View{
		Databases: map[int64]*Database{}, Collections: map[int64]*Collection{}, Aliases: map[AliasKey]*Alias{}, Access: &Access{}, prefix: prefix,
	}}
}

// record is what etcd holds of one collection. Its parts come and go in transactions of their own, before or after the
// collection's key.
type record struct {
	infos      map[int64]*info // by database: a collection that is moved has two keys
	fields     map[int64]*schemapb.FieldSchema
	structs    map[int64]*schemapb.StructArrayFieldSchema
	functions  map[int64]*schemapb.FunctionSchema
	partitions map[int64]*Partition
	indexes    map[int64]*Index
	loads      loads
	unreadable map[object]struct{}        // what keeps the collection out of the view
	schema     *schemapb.CollectionSchema // of the above; nil when it has to be made anew
}

func (r *record) empty() bool {
	return len(r.infos)+len(r.fields)+len(r.structs)+len(r.functions)+len(r.partitions)+len(r.indexes)+len(r.unreadable) == 0 && r.loads.empty()
}

// edit is a View in the making. It shares its maps with the view before until it writes to them.
type edit struct {
	m    *model
	view View

	ownDatabases, ownCollections, ownAliases, ownUnreadable bool

	touched  map[int64]struct{} // collections that have to be made anew
	accessed bool               // what is about users and roles has to be made anew
}

func (m *model) edit() *edit {
	return &edit{m: m, view: *m.last, touched: map[int64]struct{}{}}
}

// add takes one change in. A value that does not decode takes its object out of the view and disturbs nothing else.
func (e *edit) add(c change) {
	o, err := parseKey(c.key)
	if err == nil && o.kind == kindOther {
		return
	}
	if err == nil {
		switch o.kind {
		case kindDatabase:
			err = e.database(o, c)
		case kindAlias:
			err = e.alias(o, c)
		case kindUser, kindRole, kindMember, kindGrantee, kindPrivilege:
			err = e.access(o, c)
		default:
			err = e.part(o, c)
		}
	}
	if c.gone {
		err = nil // of an object that nobody could name, too
	}
	e.note(e.m.prefix+c.key, err)
}

// finish makes the next View of all that was added. The edit must not be used any more.
func (e *edit) finish(rev int64) *View {
	for id := range e.touched {
		r := e.m.records[id]
		show(&e.view.Collections, &e.ownCollections, id, r.build())
		if r.empty() {
			delete(e.m.records, id)
		}
	}
	if e.accessed {
		e.view.Access = e.m.access.build()
	}
	v := e.view
	v.Revision = rev
	e.m.last = &v
	return &v
}

func (e *edit) database(o object, c change) (err error) {
	var db *Database
	if !c.gone {
		db, err = decodeDatabase(c.value, o.id)
	}
	show(&e.view.Databases, &e.ownDatabases, o.id, db)
	return err
}

// show keeps an object in one of the view's maps, or removes it when it is nil. The first time the map becomes the edit's
// own.
func show[K comparable, V any](m *map[K]*V, own *bool, key K, v *V) {
	if v == nil && (*m)[key] == nil {
		return
	}
	if !*own {
		*m, *own = maps.Clone(*m), true
	}
	set(m, key, v, v == nil)
}

// note keeps or forgets that a key is unreadable.
func (e *edit) note(key string, err error) {
	if _, was := e.view.Unreadable[key]; err == nil && !was {
		return
	}
	if !e.ownUnreadable {
		e.view.Unreadable, e.ownUnreadable = maps.Clone(e.view.Unreadable), true
	}
	if err != nil {
		err = fmt.Errorf("decode %s: %w", key, err)
	}
	set(&e.view.Unreadable, key, err, err == nil)
	if len(e.view.Unreadable) == 0 {
		e.view.Unreadable = nil
	}
}

// part takes in a change of a collection's own key or of one of its parts.
func (e *edit) part(o object, c change) error {
	id := o.collection()
	r := e.m.records[id]
	if r == nil {
		r = &record{}
		e.m.records[id] = r
	}
	e.touched[id] = struct{}{}
	err := r.take(o, c)
	if o.vital() {
		r.schema = nil
		set(&r.unreadable, o, struct{}{}, err == nil)
	}
	return err
}

// take keeps what the change says; what is gone or does not decode is forgotten.
func (r *record) take(o object, c change) (err error) {
	switch o.kind {
	case kindCollection:
		var in *info
		if !c.gone {
			if in, err = decodeCollection(c.value, o.id); err == nil {
				in.db, in.rev = o.parent, c.rev
			}
		}
		set(&r.infos, o.parent, in, in == nil)
	case kindPartition:
		err = takeOwn(&r.partitions, o, c, decodePartition)
	case kindIndex:
		err = takeOwn(&r.indexes, o, c, decodeIndex)
	case kindLoad, kindPartitionLoad:
		err = r.loads.take(o, c)
	case kindField:
		if o.id < firstUserField {
			return nil // whatever its value: the server makes these by itself
		}
		err = takePart(&r.fields, o, c, &schemapb.FieldSchema{}, (*schemapb.FieldSchema).GetFieldID)
	case kindStructField:
		err = takePart(&r.structs, o, c, &schemapb.StructArrayFieldSchema{}, (*schemapb.StructArrayFieldSchema).GetFieldID)
	case kindFunction:
		err = takePart(&r.functions, o, c, &schemapb.FunctionSchema{}, (*schemapb.FunctionSchema).GetId)
	}
	return err
}

// takeOwn keeps a part of which the decoder may say, by nil, that it is gone.
func takeOwn[V any](to *map[int64]*V, o object, c change, decode func([]byte, object) (*V, error)) (err error) {
	var v *V
	if !c.gone {
		v, err = decode(c.value, o)
	}
	set(to, o.id, v, v == nil)
	return err
}

// firstUserField is the lowest id that a user's field has: below are RowID (0) and Timestamp (1).
const firstUserField = 100

func takePart[P part](to *map[int64]P, o object, c change, empty P, ownID func(P) int64) error {
	if c.gone {
		delete(*to, o.id)
		return nil
	}
	p, err := decodePart(c.value, empty, ownID, o.id)
	set(to, o.id, p, err != nil)
	return err
}

// set keeps a value in a map that may be nil yet, or removes it.
func set[K comparable, V any](m *map[K]V, key K, v V, remove bool) {
	switch {
	case remove:
		delete(*m, key)
	case *m == nil:
		*m = map[K]V{key: v}
	default:
		(*m)[key] = v
	}
}

// info is the collection's own key. Should there be two, while it is moved between databases or to one, the later
// counts, and a legacy key only when there is no other.
func (r *record) info() *info {
	var best *info
	for _, in := range r.infos {
		if best == nil || in.after(best) {
			best = in
		}
	}
	return best
}

func (in *info) after(other *info) bool {
	if (in.db == noDatabase) != (other.db == noDatabase) {
		return other.db == noDatabase
	}
	return in.rev > other.rev || in.rev == other.rev && in.db > other.db
}

// build makes the Collection, or nil when it has no key, or one of its keys can't be read: half a schema is none.
func (r *record) build() *Collection {
	in := r.info()
	if in == nil || len(r.unreadable) > 0 {
		return nil
	}
	if r.schema == nil {
		r.schema = r.buildSchema(in)
	}
	c := &Collection{
		ID: in.id, DatabaseID: in.db, Name: in.schema.GetName(), State: in.state, Schema: r.schema,
		Channels: in.channels, VirtualChannels: in.virtual, Starts: in.starts, Created: in.created, Shards: in.shards,
		Consistency: in.level, Properties: in.properties, Partitions: maps.Clone(r.partitions),
		Indexes: maps.Clone(r.indexes), Load: r.loads.build(),
	}
	if in.db == noDatabase {
		c.DatabaseID = defaultDatabase
	}
	if c.State == Created && len(c.Schema.GetFields()) == 0 {
		c.State = Creating // no version writes this; were one to, it would not be complete
	}
	return c
}

// buildSchema puts the parts into the schema of the collection's key, by id.
func (r *record) buildSchema(in *info) *schemapb.CollectionSchema {
	s := proto.CloneOf(in.schema)
	fields := map[int64]*schemapb.FieldSchema{}
	for _, f := range s.GetFields() {
		if f.GetFieldID() >= firstUserField {
			fields[f.GetFieldID()] = f
		}
	}
	maps.Copy(fields, r.fields)
	s.Fields, s.StructArrayFields, s.Functions = byID(fields), byID(r.structs), byID(r.functions)
	if len(s.GetProperties()) == 0 {
		s.Properties = in.properties // the schema's own are empty in etcd
	}
	return s
}

func byID[V any](m map[int64]V) []V {
	out := make([]V, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
