package handlers

import (
	"context"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// definition carries one event that is not about rows out: it makes it so, and is content when it is so already. The
// names are the event's. The body is read only where it says more.
type definition func(ctx context.Context, e *jetstream.Event) error

// table is the definition for each kind of event that is not about rows.
func table(t Target) map[jetstream.Kind]definition {
	return map[jetstream.Kind]definition{
		jetstream.CreateDatabase:   createDatabase(t),
		jetstream.DropDatabase:     dropDatabase(t),
		jetstream.CreateCollection: createCollection(t),
		jetstream.DropCollection:   dropCollection(t),
		jetstream.CreatePartition:  createPartition(t),
		jetstream.DropPartition:    dropPartition(t),
	}
}

func createDatabase(t Databases) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.CreateDatabase(ctx, e.Database) }
}

func dropDatabase(t Databases) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.DropDatabase(ctx, e.Database) }
}

func createCollection(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateCollectionRequest{}
		if err := proto.Unmarshal(e.Body, req); err != nil {
			return permanent(CodeEvent, fmt.Errorf("read event %s: %w", e.ID, err))
		}
		req.DbName, req.CollectionName = e.Database, e.Collection
		return t.CreateCollection(ctx, req)
	}
}

func dropCollection(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.DropCollection(ctx, refOf(e)) }
}

func createPartition(t Partitions) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		return t.CreatePartition(ctx, refOf(e), e.Partition)
	}
}

func dropPartition(t Partitions) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		return t.DropPartition(ctx, refOf(e), e.Partition)
	}
}

func refOf(e *jetstream.Event) Ref { return Ref{e.Database, e.Collection} }

// nameOf is what the event is about, for errors.
func nameOf(e *jetstream.Event) string {
	switch {
	case e.Collection == "":
		return e.Database
	case e.Partition == "":
		return refOf(e).String()
	}
	return refOf(e).String() + "/" + e.Partition
}
