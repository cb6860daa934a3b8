package milvus

import (
	"context"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// CreateDatabase makes the database if it is not there.
func (t *Target) CreateDatabase(ctx context.Context, name string) error {
	found, err := t.hasDatabase(ctx, name)
	if err != nil || found {
		return err
	}
	s, err := t.service.CreateDatabase(ctx, &milvuspb.CreateDatabaseRequest{DbName: name})
	err = checkStatus(s, err)
	if err == nil {
		return nil
	}
	// Another worker may have been faster; Milvus 2.3 has no code for that.
	if found, again := t.hasDatabase(ctx, name); again == nil && found {
		return nil
	}
	return err
}

// DropDatabase removes the database if it is there. One that still holds collections, which then are not the source's,
// stays: the error is a handlers.CodeNotEmpty.
func (t *Target) DropDatabase(ctx context.Context, name string) error {
	t.shapes.forgetDatabase(name)
	found, err := t.hasDatabase(ctx, name)
	if err != nil || !found {
		return err
	}
	left, err := t.service.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: name})
	if err := check(left, err); err != nil {
		return err
	}
	if names := left.GetCollectionNames(); len(names) > 0 {
		return refuse(handlers.CodeNotEmpty, "database %s still holds %s", name, strings.Join(names, ", "))
	}
	s, err := t.service.DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: name})
	return unless(checkStatus(s, err), CodeNoDatabase)
}

func (t *Target) hasDatabase(ctx context.Context, name string) (bool, error) {
	l, err := t.service.ListDatabases(ctx, &milvuspb.ListDatabasesRequest{})
	if err := check(l, err); err != nil {
		return false, err
	}
	return slices.Contains(l.GetDbNames(), name), nil
}
