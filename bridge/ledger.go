package bridge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// ledger is what the stream says of the source's schema so far: which databases, collections and partitions have been
// published as created and not yet as dropped. It is a function of the stream's schema events (apply), so a bridge that
// starts can always rebuild it, and one published twice can be told from one that was not (Guarantee 2).
type ledger struct {
	databases   map[int64]*ledgerDatabase
	collections map[int64]*ledgerCollection
}

type ledgerDatabase struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type ledgerCollection struct {
	ID         int64            `json:"id"`
	DatabaseID int64            `json:"database_id"`
	Database   string           `json:"database"`
	Name       string           `json:"name"`
	Key        string           `json:"key"`        // the primary key field's name
	Keyed      bool             `json:"keyed"`      // it has a partition key: Milvus places the rows, partitions have no names of their own
	Channels   []string         `json:"channels"`   // physical, one a shard
	Partitions map[int64]string `json:"partitions"` // published ones, by source id
	Gone       []int64          `json:"gone"`       // partitions published as dropped
	Stopped    string           `json:"stopped"`    // why nothing of it is published any more; empty: all is well
}

func newLedger() *ledger {
	return &ledger{databases: map[int64]*ledgerDatabase{}, collections: map[int64]*ledgerCollection{}}
}

// named is the live collection of that name, or nil.
func (l *ledger) named(database, name string) *ledgerCollection {
	for _, c := range l.collections {
		if c.Name == name && c.Database == database {
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

// collectionsOf are the live collections of a database, by id.
func (l *ledger) collectionsOf(database int64) []*ledgerCollection {
	var out []*ledgerCollection
	for _, id := range slices.Sorted(maps.Keys(l.collections)) {
		if l.collections[id].DatabaseID == database {
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

// apply takes one schema event of the stream into account, a second time without effect. It returns the records that
// changed, as keys of the ledger's store.
func (l *ledger) apply(e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.CreateDatabase:
		l.databases[e.DatabaseID] = &ledgerDatabase{ID: e.DatabaseID, Name: e.Database}
	case jetstream.DropDatabase:
		delete(l.databases, e.DatabaseID)
	case jetstream.CreateCollection:
		c, err := collectionOf(e)
		if err != nil {
			return err
		}
		if _, ok := l.collections[e.CollectionID]; !ok {
			l.collections[e.CollectionID] = c
		}
	case jetstream.DropCollection:
		delete(l.collections, e.CollectionID)
	case jetstream.CreatePartition:
		if c := l.collections[e.CollectionID]; c != nil && !slices.Contains(c.Gone, e.PartitionID) {
			c.Partitions[e.PartitionID] = e.Partition
		}
	case jetstream.DropPartition:
		if c := l.collections[e.CollectionID]; c != nil {
			delete(c.Partitions, e.PartitionID)
			if !slices.Contains(c.Gone, e.PartitionID) {
				c.Gone = append(c.Gone, e.PartitionID)
			}
		}
	}
	return nil
}

// collectionOf makes the ledger's record of a create_collection event.
func collectionOf(e *jetstream.Event) (*ledgerCollection, error) {
	req, schema := &milvuspb.CreateCollectionRequest{}, &schemapb.CollectionSchema{}
	if err := proto.Unmarshal(e.Body, req); err != nil {
		return nil, fmt.Errorf("decode event %s: %w", e.ID, err)
	}
	if err := proto.Unmarshal(req.GetSchema(), schema); err != nil {
		return nil, fmt.Errorf("decode schema in event %s: %w", e.ID, err)
	}
	c := &ledgerCollection{ID: e.CollectionID, DatabaseID: e.DatabaseID, Database: e.Database, Name: e.Collection,
		Channels: e.Channels, Partitions: map[int64]string{}}
	for _, f := range schema.GetFields() {
		c.Keyed = c.Keyed || f.GetIsPartitionKey()
		if f.GetIsPrimaryKey() {
			c.Key = f.GetName()
		}
	}
	return c, nil
}
