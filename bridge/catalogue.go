package bridge

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// syncTimeout bounds one question to the source's etcd; the channel that asked waits and asks again.
const syncTimeout = 2 * time.Second

// The names that Milvus gives by itself, on the target as on the source, and the id of that database.
const (
	defaultDatabase   = "default"
	defaultDatabaseID = 1
	defaultPartition  = "_default"
)

// catalogue takes into account what the queue does not tell: databases, partitions without rows, names, settings, and the
// channels of collections that are new. What has a time in the queue is published not before it, as far as the channels show
// the time. What is to go goes before what takes its place.
func (s *sequencer) catalogue(ctx context.Context) error {
	v := s.meta.View()
	if v.Revision == s.seen && s.waiting == 0 {
		return nil
	}
	waiting := 0
	for _, step := range []func(context.Context, *catalog.View) (int, error){
		s.dropAliases, s.databases, s.renames, s.goneCollections, s.goneDatabases, s.openNewChannels, s.unmade, s.settleAll, s.nameAliases, s.access,
	} {
		n, err := step(ctx, v)
		if err != nil {
			return err
		}
		waiting += n
	}
	s.seen, s.waiting = v.Revision, waiting
	if s.stale { // who sees the revision as taken into account is to see which collections are live
		s.show()
	}
	s.progress.catalogued(v.Revision, s.waiting)
	return nil
}

// databases publishes databases that are new, and the properties of all.
func (s *sequencer) databases(ctx context.Context, v *catalog.View) (waiting int, err error) {
	for _, id := range slices.Sorted(maps.Keys(v.Databases)) {
		db := v.Databases[id]
		if db.State != catalog.Created || !s.task.SelectsDatabase(db.Name) {
			continue
		}
		wait, err := s.ensureDatabase(ctx, v, db, db.Created)
		if err != nil {
			return 0, err
		}
		if wait != "" {
			waiting++
			continue
		}
		if err := s.alterDatabase(ctx, db); err != nil {
			return 0, err
		}
	}
	return waiting, nil
}

// goneCollections counts the collections that etcd no longer has and whose drop the queue has still to tell: Milvus answers a
// drop before it sends the message. Of one that is stopped nothing is published before that, so its drop is published at once.
func (s *sequencer) goneCollections(ctx context.Context, v *catalog.View) (waiting int, err error) {
	for _, id := range slices.Sorted(s.collectionIDs()) {
		col := s.ledger.collections[id]
		switch {
		case col.Unmade || !dropped(v, id):
		case s.parted(col):
			s.forget(col)
		case s.over(col):
			if err := s.publishDropCollection(ctx, col, s.now()); err != nil {
				return 0, err
			}
		default:
			waiting++
		}
	}
	return waiting, nil
}

// goneDatabases publishes the drop of databases that etcd no longer has. It returns how many have to wait for the drop
// of their collections, which the channels tell.
func (s *sequencer) goneDatabases(ctx context.Context, v *catalog.View) (waiting int, err error) {
	if s.task.Snapshot == jetstream.SnapshotOnly {
		return 0, nil
	}
	for _, id := range slices.Sorted(maps.Keys(s.ledger.databases)) {
		if id == defaultDatabaseID || !v.DatabaseGone(id) && (v.Databases[id] == nil || v.Databases[id].State == catalog.Created) {
			continue
		}
		if len(s.ledger.collectionsOf(id)) > 0 {
			waiting++
			continue
		}
		if err := s.dropDatabase(ctx, s.ledger.databases[id]); err != nil {
			return 0, err
		}
	}
	return waiting, nil
}

// lookAgain has the catalogue taken into account again although it has not changed: the ledger has.
func (s *sequencer) lookAgain() {
	s.seen = 0
	s.progress.catalogued(0, s.waiting)
}

// ensureDatabase publishes a database's creation unless that has been done. An older one of its name goes first, from which
// everything had gone by the time ts.
func (s *sequencer) ensureDatabase(ctx context.Context, v *catalog.View, db *catalog.Database, ts uint64) (wait string, err error) {
	if db.Name == defaultDatabase || s.ledger.databases[db.ID] != nil {
		return "", nil
	}
	if old := s.ledger.databaseNamed(db.Name); old != nil {
		for _, col := range s.ledger.collectionsOf(old.ID) {
			if wait, err := s.leave(ctx, v, col, db, ts); wait != "" || err != nil {
				return wait, err
			}
		}
		if err := s.dropDatabase(ctx, old); err != nil {
			return "", err
		}
	}
	body, err := proto.Marshal(&milvuspb.CreateDatabaseRequest{DbName: db.Name}) // its properties come after: a target may refuse those
	if err != nil {
		return "", err
	}
	return "", s.publishSchema(ctx, &jetstream.Event{
		ID: schemaID(jetstream.CreateDatabase, db.ID), Kind: jetstream.CreateDatabase, TS: db.Created,
		Database: db.Name, DatabaseID: db.ID, Body: body,
	})
}

func (s *sequencer) dropDatabase(ctx context.Context, db *ledgerDatabase) error {
	body, err := proto.Marshal(&milvuspb.DropDatabaseRequest{DbName: db.Name})
	if err != nil {
		return err
	}
	return s.publishSchema(ctx, &jetstream.Event{
		ID: schemaID(jetstream.DropDatabase, db.ID), Kind: jetstream.DropDatabase, TS: s.now(),
		Database: db.Name, DatabaseID: db.ID, Body: body,
	})
}

// now is the newest source time that any channel has shown.
func (s *sequencer) now() uint64 {
	var ts uint64
	for _, c := range s.channels {
		ts = max(ts, c.resume.TS)
	}
	return ts
}

// openNewChannels begins to read the channels of selected collections that are not being read: each from the oldest of
// its collections' starts. Channels that are being read come to a new collection by themselves.
func (s *sequencer) openNewChannels(ctx context.Context, v *catalog.View) (int, error) {
	var cols []*catalog.Collection
	for _, id := range slices.Sorted(maps.Keys(v.Collections)) {
		if s.expects(v, id) && !s.onlyAdopts(v.Collections[id]) {
			cols = append(cols, v.Collections[id])
		}
	}
	return 0, s.openChannels(ctx, cols...)
}

// openChannels begins to read those of the collections' channels that are not being read.
func (s *sequencer) openChannels(ctx context.Context, cols ...*catalog.Collection) error {
	begin := map[string]mq.Position{}
	for _, col := range cols {
		for _, ch := range col.Channels {
			if err := s.earlier(begin, ch, col); err != nil {
				s.log.Error("collection has no start that can be read", keyCollection, col.Name, keyChannel, ch, keyError, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(begin)) {
		if err := s.open(ctx, name, Resume{Start: begin[name]}); err != nil {
			return err
		}
	}
	return nil
}

// earlier notes the collection's start on the channel where it is the oldest so far.
func (s *sequencer) earlier(begin map[string]mq.Position, ch string, col *catalog.Collection) error {
	if s.channels[ch] != nil {
		return nil
	}
	at, err := s.queue.FromMilvus(col.Starts[ch])
	if err != nil {
		return err
	}
	if was, ok := begin[ch]; ok {
		if n, err := s.queue.Compare(was, at); err != nil || n <= 0 {
			return err
		}
	}
	begin[ch] = at
	return nil
}

// newPartitions publishes the creation of partitions that etcd shows and no row has named yet. It returns how many
// have to wait: their own time must have come on every channel, or the queue has still to tell of their drop.
func (s *sequencer) newPartitions(ctx context.Context, d difference) (waiting int, err error) {
	if d.col.Keyed {
		return 0, nil
	}
	for pid := range d.col.Partitions {
		if p := d.seen.Partitions[pid]; p != nil && p.State > catalog.Creating || d.view.PartitionGone(d.col.ID, pid) {
			waiting++
		}
	}
	for _, pid := range slices.Sorted(maps.Keys(d.seen.Partitions)) {
		p := d.seen.Partitions[pid]
		if p.State != catalog.Created || p.Name == defaultPartition || d.col.Partitions[pid] != "" {
			continue
		}
		wait, err := s.newPartition(ctx, d.col, pid, p)
		if err != nil {
			return 0, err
		}
		if wait {
			waiting++
		}
	}
	return waiting, nil
}

// newPartition publishes the creation of a partition, or says that its time has not come on every channel.
func (s *sequencer) newPartition(ctx context.Context, col *ledgerCollection, id int64, p *catalog.Partition) (wait bool, err error) {
	if !s.allReached(col, p.Created) {
		return true, nil
	}
	become, err := s.succeedPartition(ctx, col, id, p.Name, p.Created)
	if err != nil || become == outlived {
		return false, err
	}
	return false, s.createPartition(ctx, col, id, p.Name, p.Created)
}

func (s *sequencer) createPartition(ctx context.Context, col *ledgerCollection, id int64, name string, ts uint64) error {
	body, err := proto.Marshal(&milvuspb.CreatePartitionRequest{DbName: col.Database, CollectionName: col.Name, PartitionName: name})
	if err != nil {
		return err
	}
	return s.publishSchema(ctx, &jetstream.Event{
		ID: schemaID(jetstream.CreatePartition, id), Kind: jetstream.CreatePartition, TS: ts,
		Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID,
		Partition: name, PartitionID: id, Body: body,
	})
}
