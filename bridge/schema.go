package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// Events of the schema have ids made of the source's ids, which Milvus never gives twice.
func schemaID(kind jetstream.Kind, id int64) string {
	return string(kind) + ":" + strconv.FormatInt(id, 10)
}

// createCollection publishes a collection's creation when the first of its channels comes to it. The message has
// neither the database nor the settings, which etcd has; and only etcd knows whether the creation was carried through.
func (s *sequencer) createCollection(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	var m msgpb.CreateCollectionRequest
	if err := proto.Unmarshal(ch.payload, &m); err != nil {
		return "", s.parkChange(ctx, c, ch, codeUnreadable, err)
	}
	id := m.GetCollectionID()
	if s.ledger.collections[id] != nil || s.foreign.has(id) {
		return "", nil
	}
	v, err := s.lookUp(ctx, id)
	if err != nil {
		return waitForCatalogue(err), nil
	}
	col := v.Collections[id]
	name, db := nameOf(v, id)
	if db == nil || col.State > catalog.Creating || !s.task.Selects(db.Name, col.Name) {
		// Not followed; or dropped again by now: nothing of it would remain. Replaying it could not even be put in
		// order, when channels begin at different times and its name has been given anew since.
		s.foreign.add(id)
		return "", nil
	}
	if col.State == catalog.Creating {
		return fmt.Sprintf("the source is still creating collection %s.%s", db.Name, col.Name), nil
	}
	if wait, err := s.proven(ctx, col); wait != "" || err != nil {
		return wait, err
	}
	if why := s.lost(v, col); why != nil {
		return s.missed(ctx, v, col, why)
	}
	if wait, err := s.ensureDatabase(ctx, v, db, ch.ts); wait != "" || err != nil {
		return wait, err
	}
	wait, err = s.vacate(ctx, v, naming{id: id, name: name, databaseID: db.ID, ts: ch.ts, path: []int64{id}})
	var taken *takenError
	if errors.As(err, &taken) {
		s.stopUnmade(v, col, taken)
		return "", nil
	}
	if wait != "" || err != nil {
		return wait, err
	}
	e, err := createEvent(col, db, &m, ch.ts)
	if err != nil {
		s.stopUnmade(v, col, err)
		return "", s.parkChange(ctx, c, ch, codeUnreadable, err)
	}
	if err := s.publishSchema(ctx, e); err != nil {
		return "", err
	}
	s.lookAgain()
	return "", s.openChannels(ctx, col)
}

// lookUp is a View that shows the collection if etcd has it, which is asked where it is not known yet.
func (s *sequencer) lookUp(ctx context.Context, id int64) (*catalog.View, error) {
	if v := s.meta.View(); v.Collections[id] != nil {
		return v, nil
	}
	return s.viewSynced(ctx)
}

func waitForCatalogue(err error) string { return "the source's etcd does not answer: " + err.Error() }

// createEvent makes the event that creates the collection on a target as it was created on the source: with the fields
// that the queue's message gives, for etcd may have later ones, and with the settings that only etcd has.
func createEvent(col *catalog.Collection, db *catalog.Database, m *msgpb.CreateCollectionRequest, ts uint64) (*jetstream.Event, error) {
	var schema schemapb.CollectionSchema
	if err := proto.Unmarshal(m.GetSchema(), &schema); err != nil {
		return nil, fmt.Errorf("decode schema of collection %s.%s: %w", db.Name, col.Name, err)
	}
	req, err := createRequest(db, col, &schema, len(m.GetPartitionIDs()))
	if err != nil {
		return nil, err
	}
	body, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode creation of collection %s.%s: %w", db.Name, col.Name, err)
	}
	return &jetstream.Event{
		ID: schemaID(jetstream.CreateCollection, col.ID), Kind: jetstream.CreateCollection, TS: ts,
		Database: db.Name, DatabaseID: db.ID, Collection: col.Name, CollectionID: col.ID, Channels: col.Channels, Body: body,
	}, nil
}

// CreateRequest is what would create the collection on a target as it is on the source now, for plans.
func CreateRequest(db *catalog.Database, col *catalog.Collection) (*milvuspb.CreateCollectionRequest, error) {
	return createRequest(db, col, proto.CloneOf(col.Schema), len(col.Partitions))
}

func createRequest(db *catalog.Database, col *catalog.Collection, schema *schemapb.CollectionSchema, partitions int) (*milvuspb.CreateCollectionRequest, error) {
	user := schema.Fields[:0]
	const firstUserField = 100 // RowID and Timestamp are the server's own
	var keyed bool
	for _, f := range schema.GetFields() {
		if f.GetFieldID() >= firstUserField {
			user = append(user, f)
			keyed = keyed || f.GetIsPartitionKey()
		}
	}
	schema.Fields, schema.Name = user, col.Name
	raw, err := proto.Marshal(schema)
	if err != nil {
		return nil, fmt.Errorf("encode schema of collection %s.%s: %w", db.Name, col.Name, err)
	}
	req := &milvuspb.CreateCollectionRequest{
		Base:   &commonpb.MsgBase{MsgType: commonpb.MsgType_CreateCollection},
		DbName: db.Name, CollectionName: col.Name, Schema: raw, ShardsNum: col.Shards,
		ConsistencyLevel: col.Consistency, Properties: col.Properties,
	}
	if keyed {
		req.NumPartitions = int64(partitions)
	}
	return req, nil
}

// dropCollection publishes the drop once, when all of the collection's channels have come to it.
func (s *sequencer) dropCollection(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	var m msgpb.DropCollectionRequest
	if err := proto.Unmarshal(ch.payload, &m); err != nil {
		return "", s.parkChange(ctx, c, ch, codeUnreadable, err)
	}
	col := s.ledger.collections[m.GetCollectionID()]
	if col == nil {
		return "", nil // not followed, or published when another channel came to it
	}
	if col.Unmade || s.parted(col) {
		s.forget(col)
		return "", nil
	}
	if !s.allReached(col, ch.ts) {
		return fmt.Sprintf("the other channels have to come to the drop of %s.%s", col.Database, col.Name), nil
	}
	return "", s.publishDropCollection(ctx, col, ch.ts)
}

// dropPartition publishes the drop once, when all of the collection's channels have come to it.
func (s *sequencer) dropPartition(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	var m msgpb.DropPartitionRequest
	if err := proto.Unmarshal(ch.payload, &m); err != nil {
		return "", s.parkChange(ctx, c, ch, codeUnreadable, err)
	}
	col := s.ledger.collections[m.GetCollectionID()]
	if col == nil || col.Partitions[m.GetPartitionID()] == "" || s.parted(col) {
		return "", nil
	}
	if !s.allReached(col, ch.ts) {
		return fmt.Sprintf("the other channels have to come to the drop of partition %s of %s.%s", m.GetPartitionName(), col.Database, col.Name), nil
	}
	return "", s.publishDropPartition(ctx, col, m.GetPartitionID(), ch.ts)
}
