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
// latest, when the younger one begins; its own message, which comes later, finds it gone.

// succeed publishes the drop of the older collection that had the name until a time, or says what that has to wait for.
func (s *sequencer) succeed(ctx context.Context, old *ledgerCollection, ts uint64) (wait string, err error) {
	now, _, err := s.lookUp(ctx, old.ID)
	if err != nil {
		return waitForCatalogue(err), nil
	}
	if now != nil && now.State <= catalog.Creating {
		return fmt.Sprintf("the collection that was %s.%s is there still, under another name", old.Database, old.Name), nil
	}
	if !s.allReached(old, ts) {
		return fmt.Sprintf("all channels of an older collection %s.%s have to come to where its name was given anew", old.Database, old.Name), nil
	}
	return "", s.publishDropCollection(ctx, old, ts)
}

func (s *sequencer) publishDropCollection(ctx context.Context, col *ledgerCollection, ts uint64) error {
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
