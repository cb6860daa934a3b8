package bridge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// ledger is what the stream says of the source's schema and settings so far: what has been published as made and not
// yet as dropped, and how it was published last. It is a function of the stream's events of CatalogChannel (apply), so a
// bridge that starts can always rebuild it, and one published twice can be told from one that was not (Guarantee 2).
// Maps within its records, but for Partitions, never change: apply puts new ones in their place, so that a copy of a record
// can be written down meanwhile.
type ledger struct {
	databases   map[int64]*ledgerDatabase
	collections map[int64]*ledgerCollection
	aliases     map[catalog.AliasKey]int64 // the collection that the alias names
	side        *mq.Position               // behind which the replicate channel is read first; nil: not looked at yet
	access      ledgerAccess
	stops       map[int64]string // why collections are stopped of which everything else is to come from the stream
}

type ledgerDatabase struct {
	ID         int64             `json:"id"`
	Name       string            `json:"name"`
	Properties map[string]string `json:"properties,omitempty"`
}

type ledgerCollection struct {
	ID         int64                  `json:"id"`
	DatabaseID int64                  `json:"database_id"`
	Database   string                 `json:"database"`
	Name       string                 `json:"name"`
	Key        string                 `json:"key"`                  // the primary key field's name
	Keyed      bool                   `json:"keyed,omitempty"`      // it has a partition key: Milvus places the rows, partitions have no names of their own
	Channels   []string               `json:"channels"`             // physical, one a shard
	Partitions map[int64]string       `json:"partitions,omitempty"` // published ones, by source id
	Gone       []int64                `json:"gone,omitempty"`       // partitions published as dropped
	Fields     map[string]ledgerField `json:"fields,omitempty"`     // by name
	Properties map[string]string      `json:"properties,omitempty"`
	Indexes    map[int64]ledgerIndex  `json:"indexes,omitempty"` // by source id
	Load       *ledgerLoad            `json:"load,omitempty"`    // nil when it is released
	Sums       map[int]uint64         `json:"sums,omitempty"`    // by lane: rows published when it got its name, where it had another before
	Strings    bool                   `json:"strings,omitempty"` // the primary key is a VarChar
	Stopped    string                 `json:"stopped,omitempty"` // why nothing of it is published any more; empty: all is well
	Copy       *ledgerCopy            `json:"copy,omitempty"`    // the copy of its existing rows; nil: there is none
	Unmade     bool                   `json:"unmade,omitempty"`  // its creation was never published; it is here to be shown as stopped
}

func newLedger() *ledger {
	return &ledger{databases: map[int64]*ledgerDatabase{}, collections: map[int64]*ledgerCollection{}, aliases: map[catalog.AliasKey]int64{}, access: newLedgerAccess(), stops: map[int64]string{}}
}

// qualified is the name that the collection was published under last.
func (c *ledgerCollection) qualified() jetstream.QualifiedName {
	return jetstream.QualifiedName{Database: c.Database, Collection: c.Name}
}

// at is where a collection of the source lands, but for one: the other live collection that lands there already, or nil.
func (l *ledger) at(task jetstream.TaskSpec, n jetstream.QualifiedName, but int64) *ledgerCollection {
	place := task.Place(n)
	for _, c := range l.collections {
		if c.ID != but && !c.Unmade && task.Place(c.qualified()) == place {
			return c
		}
	}
	return nil
}

// partitionNamed is the id of the live partition of that name, or 0.
func (c *ledgerCollection) partitionNamed(name string) int64 {
	for id, n := range c.Partitions {
		if n == name {
			return id
		}
	}
	return 0
}

// databaseNamed is the live database of that name, or nil.
func (l *ledger) databaseNamed(name string) *ledgerDatabase {
	for _, d := range l.databases {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// collectionsOf are the published live collections of a database, by id.
func (l *ledger) collectionsOf(database int64) []*ledgerCollection {
	var out []*ledgerCollection
	for _, id := range slices.Sorted(maps.Keys(l.collections)) {
		if l.collections[id].DatabaseID == database && !l.collections[id].Unmade {
			out = append(out, l.collections[id])
		}
	}
	return out
}

// channels are the physical channels that live collections stand on.
func (l *ledger) channels() []string {
	set := map[string]bool{}
	for _, c := range l.collections {
		for _, ch := range c.Channels {
			set[ch] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// apply takes one event of CatalogChannel into account, a second time without effect. What one target alone is told says what all
// have been told before, but that existing rows are copied to it.
func (l *ledger) apply(e *jetstream.Event) error {
	if e.Target != "" {
		if c := l.collections[e.CollectionID]; c != nil && e.Kind == jetstream.CreateCollection {
			return c.begun(e)
		}
		return nil
	}
	switch e.Kind {
	case jetstream.CreateDatabase:
		if l.databases[e.DatabaseID] == nil {
			l.databases[e.DatabaseID] = &ledgerDatabase{ID: e.DatabaseID, Name: e.Database}
		}
		return nil
	case jetstream.DropDatabase:
		delete(l.databases, e.DatabaseID)
		maps.DeleteFunc(l.aliases, func(k catalog.AliasKey, _ int64) bool { return k.DatabaseID == e.DatabaseID })
		return nil
	case jetstream.AlterDatabase:
		return l.alterDatabase(e)
	case jetstream.CreateCollection:
		return l.createCollection(e)
	case jetstream.DropCollection:
		delete(l.collections, e.CollectionID)
		maps.DeleteFunc(l.aliases, func(_ catalog.AliasKey, id int64) bool { return id == e.CollectionID })
		return nil
	case jetstream.CreateAlias, jetstream.AlterAlias, jetstream.DropAlias:
		return l.alias(e)
	case jetstream.CreateCredential, jetstream.DeleteCredential, jetstream.CreateRole, jetstream.DropRole, jetstream.OperateUserRole, jetstream.OperatePrivilege:
		return l.access.apply(e)
	}
	if c := l.collections[e.CollectionID]; c != nil {
		return l.applyTo(c, e)
	}
	return nil
}

// applyTo takes an event of a live collection into account.
func (l *ledger) applyTo(c *ledgerCollection, e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.RenameCollection:
		return l.rename(c, e)
	case jetstream.EndSnapshot:
		c.ended(e)
	case jetstream.CreatePartition:
		if !slices.Contains(c.Gone, e.PartitionID) && c.Partitions[e.PartitionID] == "" {
			c.Partitions[e.PartitionID] = e.Partition
			c.Load = c.Load.made(e.Partition)
		}
	case jetstream.DropPartition:
		delete(c.Partitions, e.PartitionID)
		c.Load = c.Load.without(e.Partition)
		if !slices.Contains(c.Gone, e.PartitionID) {
			c.Gone = append(c.Gone, e.PartitionID)
		}
	case jetstream.AlterCollection, jetstream.AddField, jetstream.AlterField:
		return c.applyDefinition(e)
	case jetstream.CreateIndex, jetstream.AlterIndex, jetstream.DropIndex:
		return c.applyIndex(e)
	case jetstream.LoadCollection, jetstream.ReleaseCollection, jetstream.LoadPartitions, jetstream.ReleasePartitions:
		return c.applyLoad(e)
	}
	return nil
}

// alterDatabase notes properties, also those of the default database, which is never created.
func (l *ledger) alterDatabase(e *jetstream.Event) error {
	var req milvuspb.AlterDatabaseRequest
	if err := decode(e, &req); err != nil {
		return err
	}
	db := ledgerDatabase{ID: e.DatabaseID, Name: e.Database}
	if was := l.databases[e.DatabaseID]; was != nil {
		db = *was
	} else if e.Database != defaultDatabase {
		return nil
	}
	db.Properties = altered(db.Properties, req.GetProperties(), req.GetDeleteKeys())
	l.databases[db.ID] = &db
	return nil
}

// createCollection makes the record of a create_collection event.
func (l *ledger) createCollection(e *jetstream.Event) error {
	req, schema := &milvuspb.CreateCollectionRequest{}, &schemapb.CollectionSchema{}
	if err := decode(e, req); err != nil {
		return err
	}
	if err := proto.Unmarshal(req.GetSchema(), schema); err != nil {
		return fmt.Errorf("decode schema in event %s: %w", e.ID, err)
	}
	if c := l.collections[e.CollectionID]; c != nil {
		return c.begun(e)
	}
	c := &ledgerCollection{ID: e.CollectionID, DatabaseID: e.DatabaseID, Database: e.Database, Name: e.Collection,
		Channels: e.Channels, Partitions: map[int64]string{}, Properties: asMap(req.GetProperties()), Fields: map[string]ledgerField{}, Stopped: l.stops[e.CollectionID]}
	for _, f := range schema.GetFields() {
		c.Keyed = c.Keyed || f.GetIsPartitionKey()
		if f.GetIsPrimaryKey() {
			c.Key, c.Strings = f.GetName(), f.GetDataType() == schemapb.DataType_VarChar
		}
		c.Fields[f.GetName()] = ledgerField{ID: f.GetFieldID(), Params: asMap(f.GetTypeParams())}
	}
	for _, f := range schema.GetStructArrayFields() { // their columns are named so, and nothing else is asked of them
		c.Fields[f.GetName()] = ledgerField{ID: f.GetFieldID()}
	}
	l.collections[e.CollectionID] = c
	return c.begun(e)
}

func decode(e *jetstream.Event, to proto.Message) error {
	if err := proto.Unmarshal(e.Body, to); err != nil {
		return fmt.Errorf("decode event %s: %w", e.ID, err)
	}
	return nil
}
