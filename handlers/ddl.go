package handlers

import (
	"context"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// definition carries one event that is not about rows out: it makes it so, and is content when it is so already. The
// names are the event's. The body is read only where it says more.
type definition func(ctx context.Context, e *jetstream.Event) error

// table is the definition for each kind of event that is not about rows.
func table(t Target, o Options) map[jetstream.Kind]definition {
	return map[jetstream.Kind]definition{
		jetstream.CreateDatabase:   createDatabase(t),
		jetstream.DropDatabase:     dropDatabase(t),
		jetstream.CreateCollection: createCollection(t),
		jetstream.DropCollection:   dropCollection(t),
		jetstream.RenameCollection: renameCollection(t),
		jetstream.AddField:         addField(t),
		jetstream.Prune:            prune(t, o),
		jetstream.CreatePartition:  createPartition(t),
		jetstream.DropPartition:    dropPartition(t),
		jetstream.Flush:            flush(t),

		jetstream.AlterDatabase:     alterDatabase(t),
		jetstream.AlterCollection:   alterCollection(t),
		jetstream.AlterField:        alterField(t),
		jetstream.CreateAlias:       createAlias(t),
		jetstream.AlterAlias:        alterAlias(t),
		jetstream.DropAlias:         dropAlias(t),
		jetstream.CreateIndex:       createIndex(t),
		jetstream.AlterIndex:        alterIndex(t),
		jetstream.DropIndex:         dropIndex(t),
		jetstream.LoadCollection:    loadCollection(t),
		jetstream.ReleaseCollection: releaseCollection(t),
		jetstream.LoadPartitions:    loadPartitions(t),
		jetstream.ReleasePartitions: releasePartitions(t),

		jetstream.CreateCredential: createCredential(t, targetSpec(o)),
		jetstream.UpdateCredential: updateCredential(t, o.Secret),
		jetstream.DeleteCredential: deleteCredential(t),
		jetstream.CreateRole:       createRole(t),
		jetstream.DropRole:         dropRole(t),
		jetstream.OperateUserRole:  operateUserRole(t),
		jetstream.OperatePrivilege: operatePrivilege(t),
	}
}

// read reads the event's body.
func read(e *jetstream.Event, into proto.Message) error {
	if err := proto.Unmarshal(e.Body, into); err != nil {
		return permanent(CodeEvent, fmt.Errorf("read event %s: %w", e.ID, err))
	}
	return nil
}

func createDatabase(t Databases) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.CreateDatabase(ctx, databaseOf(e)) }
}

func dropDatabase(t Databases) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.DropDatabase(ctx, databaseOf(e)) }
}

func createCollection(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateCollectionRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.CreateCollection(ctx, req)
	}
}

func dropCollection(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.DropCollection(ctx, refOf(e)) }
}

func renameCollection(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.RenameCollectionRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		if req.GetNewName() == "" {
			return permanent(CodeEvent, fmt.Errorf("event %s has no new name", e.ID))
		}
		return t.RenameCollection(ctx, refOf(e), refIn(e, req.GetNewDBName(), req.GetNewName()))
	}
}

func addField(t Collections) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req, field := &milvuspb.AddCollectionFieldRequest{}, &schemapb.FieldSchema{}
		if err := read(e, req); err != nil {
			return err
		}
		if err := proto.Unmarshal(req.GetSchema(), field); err != nil {
			return permanent(CodeEvent, fmt.Errorf("read field of event %s: %w", e.ID, err))
		}
		return t.AddField(ctx, refOf(e), field)
	}
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

func flush(t Flusher) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.Flush(ctx, refOf(e)) }
}
