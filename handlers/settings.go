package handlers

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/jetstream"
)

// The definitions of settings. A target that refuses one for good goes on without it: see batch.refused.

func alterDatabase(t Properties) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.AlterDatabaseRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		req.DbName = databaseOf(e)
		return t.AlterDatabase(ctx, req)
	}
}

func alterCollection(t Properties) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.AlterCollectionRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.AlterCollection(ctx, req)
	}
}

func alterField(t Properties) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.AlterCollectionFieldRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.AlterField(ctx, req)
	}
}

// createAlias and alterAlias are the same: whether there is an alias of that name depends on how often the event came.
func createAlias(t Aliases) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateAliasRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.SetAlias(ctx, refIn(e, "", req.GetAlias()), refOf(e))
	}
}

func alterAlias(t Aliases) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.AlterAliasRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.SetAlias(ctx, refIn(e, "", req.GetAlias()), refOf(e))
	}
}

func dropAlias(t Aliases) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.DropAliasRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.DropAlias(ctx, refIn(e, "", req.GetAlias()))
	}
}

func createIndex(t Indexes) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateIndexRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.CreateIndex(ctx, req)
	}
}

func alterIndex(t Indexes) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.AlterIndexRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.AlterIndex(ctx, req)
	}
}

func dropIndex(t Indexes) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.DropIndexRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.DropIndex(ctx, req)
	}
}

func loadCollection(t Loads) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.LoadCollectionRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.LoadCollection(ctx, req)
	}
}

func releaseCollection(t Loads) definition {
	return func(ctx context.Context, e *jetstream.Event) error { return t.ReleaseCollection(ctx, refOf(e)) }
}

func loadPartitions(t Loads) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.LoadPartitionsRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		ref := refOf(e)
		req.DbName, req.CollectionName = ref.Database, ref.Collection
		return t.LoadPartitions(ctx, req)
	}
}

func releasePartitions(t Loads) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.ReleasePartitionsRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.ReleasePartitions(ctx, refOf(e), req.GetPartitionNames())
	}
}
