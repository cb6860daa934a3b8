package bridge

import (
	"context"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// Milvus answers a drop as soon as its meta says so, and sends the queue's message afterwards, with a time of then. By that
// time the name may have been given anew and written to. So the drop of the older one of a name takes effect, at the
// latest, when the younger one begins; its own message, which comes later, finds it gone. An older one that is there still
// has another name: its rename is published then (rename.go).

// succeed publishes the drop of an older collection that had been dropped by a time, or says what that has to wait for.
// Where no time is known, its own message has to come, unless nothing of it is published any more.
func (s *sequencer) succeed(ctx context.Context, old *ledgerCollection, ts uint64) (wait string, err error) {
	switch {
	case s.parted(old):
		s.forget(old)
		return "", nil
	case s.over(old):
		return "", s.publishDropCollection(ctx, old, max(ts, s.now()))
	case ts == 0:
		return fmt.Sprintf("the channels have to come to the drop of an older collection %s", old.qualified()), nil
	case !s.allReached(old, ts):
		return fmt.Sprintf("all channels of an older collection %s have to come to where its name was given anew", old.qualified()), nil
	}
	return "", s.publishDropCollection(ctx, old, ts)
}

// leave has a collection leave its database, which was dropped by a time and of whose name there is a younger one.
func (s *sequencer) leave(ctx context.Context, v *catalog.View, col *ledgerCollection, younger *catalog.Database, ts uint64) (wait string, err error) {
	if dropped(v, col.ID) {
		return s.succeed(ctx, col, ts)
	}
	switch _, db := nameOf(v, col.ID); {
	case db == nil || db.ID == col.DatabaseID:
		return fmt.Sprintf("the catalogue can't tell what has become of the older %s", col.qualified()), nil
	case db.ID == younger.ID: // by way of another database
		to := aside(col)
		to.Database = defaultDatabase
		return "", s.publishRename(ctx, col, to)
	}
	if wait, err := s.rename(ctx, v, col, ts, nil); wait != "" || err != nil || col.DatabaseID == younger.ID {
		return wait, err
	}
	if s.ledger.databases[col.DatabaseID] != nil && col.Database == younger.Name {
		return fmt.Sprintf("%s is stopped and can't leave a database that was dropped", col.qualified()), nil
	}
	return "", nil
}

// publishDropCollection publishes the drop of a collection, and before it of its aliases.
func (s *sequencer) publishDropCollection(ctx context.Context, col *ledgerCollection, ts uint64) error {
	if err := s.publishDropAliases(ctx, col); err != nil {
		return err
	}
	body, err := proto.Marshal(&milvuspb.DropCollectionRequest{DbName: col.Database, CollectionName: col.Name})
	if err != nil {
		return err
	}
	return s.publishSchema(ctx, &jetstream.Event{
		ID: schemaID(jetstream.DropCollection, col.ID), Kind: jetstream.DropCollection, TS: ts,
		Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID, Body: body,
	})
}

// succession is what becomes of a partition's creation.
type succession int

const (
	succeeds succession = iota // it is the only one of its name, or may be made now
	waits                      // for the rows of the older one of its name
	outlived                   // it was dropped: it is said so, or a younger one has its name
)

// succeedPartition makes room for a partition that begins at a time: an older one of its name is dropped first.
func (s *sequencer) succeedPartition(ctx context.Context, col *ledgerCollection, id int64, name string, ts uint64) (succession, error) {
	if slices.Contains(col.Gone, id) {
		return outlived, nil
	}
	old := col.partitionNamed(name)
	switch {
	case old == 0:
		return succeeds, nil
	case old > id: // ids grow
		return outlived, nil
	case !s.allReached(col, ts):
		return waits, nil
	}
	return succeeds, s.publishDropPartition(ctx, col, old, ts)
}

func (s *sequencer) publishDropPartition(ctx context.Context, col *ledgerCollection, id int64, ts uint64) error {
	name := col.Partitions[id]
	body, err := proto.Marshal(&milvuspb.DropPartitionRequest{DbName: col.Database, CollectionName: col.Name, PartitionName: name})
	if err != nil {
		return err
	}
	return s.publishSchema(ctx, &jetstream.Event{
		ID: schemaID(jetstream.DropPartition, id), Kind: jetstream.DropPartition, TS: ts,
		Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID,
		Partition: name, PartitionID: id, Body: body,
	})
}
