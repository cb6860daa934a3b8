package milvus

import (
	"context"
	"errors"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
)

// RenameCollection renames the collection, or moves it to another database, which is made if it is not there.
// Aliases follow a rename. A collection that has some is not moved by a 2.3.5, nor was it at the source then.
func (t *Target) RenameCollection(ctx context.Context, from, to handlers.Ref) error {
	t.forget(from)
	t.forget(to)
	if from == to {
		return nil
	}
	done, err := t.renamed(ctx, from, to)
	if err != nil || done {
		return err
	}
	if from.Database != to.Database {
		if err := t.CreateDatabase(ctx, to.Database); err != nil {
			return err
		}
	}
	if err := t.rename(ctx, from, to); err != nil || from.Database == to.Database {
		return err
	}
	return t.moved(ctx, from, to)
}

func (t *Target) rename(ctx context.Context, from, to handlers.Ref) error {
	s, err := t.service.RenameCollection(ctx, &milvuspb.RenameCollectionRequest{
		DbName: from.Database, OldName: from.Collection,
		NewDBName: to.Database, NewName: to.Collection, // a 2.3.5 that is given no new database takes it to be "default"
	})
	return checkStatus(s, err)
}

// moved looks after a move to another database: a Milvus Lite takes the new name and not the new database.
func (t *Target) moved(ctx context.Context, from, to handlers.Ref) error {
	_, err := t.describe(ctx, to)
	if !isCode(err, CodeNoCollection, CodeNoDatabase) {
		return err
	}
	stayed := handlers.Ref{Database: from.Database, Collection: to.Collection}
	if err := t.rename(ctx, stayed, from); err != nil {
		return err
	}
	return refuse(CodeUnsupported, "the target's version can't move %s to another database: make it anew there by a snapshot", from)
}

// renamed reports whether the collection has the new name already. That something else has it is an error.
func (t *Target) renamed(ctx context.Context, from, to handlers.Ref) (bool, error) {
	d, err := t.describe(ctx, to)
	if isCode(err, CodeNoCollection, CodeNoDatabase) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if isAlias(d, to) {
		return false, refuse(CodeNameTaken, "%s can't be renamed to %s, which is an alias on the target, of %s: drop it there, then resume the task",
			from, to, d.GetSchema().GetName())
	}
	d, err = t.describe(ctx, from)
	switch {
	case isCode(err, CodeNoCollection, CodeNoDatabase):
		return true, nil
	case err != nil:
		return false, err
	case isAlias(d, from):
		return true, nil
	}
	return false, refuse(CodeNameTaken, "%s can't be renamed to %s: the target has a collection of that name. Rename or drop one of the two there, then resume the task",
		from, to)
}

// AddField adds the field if it is not there.
func (t *Target) AddField(ctx context.Context, ref handlers.Ref, field *fieldSchema) error {
	t.shapes.forget(ref)
	want := targetField(field)
	found, err := t.hasField(ctx, ref, want)
	if err != nil || found {
		return err
	}
	b, err := proto.Marshal(want)
	if err != nil {
		return refuse(handlers.CodeEvent, "encode field: %w", err)
	}
	s, err := t.service.AddCollectionField(ctx, &milvuspb.AddCollectionFieldRequest{
		DbName: ref.Database, CollectionName: ref.Collection, Schema: b,
	})
	err = checkStatus(s, err)
	t.shapes.forget(ref)
	var known *handlers.Error
	if errors.As(err, &known) && known.Code == CodeVersion {
		return refuse(CodeUnsupported, "the target's version can't add field %q (%s) to %s, which Milvus 2.6 can: upgrade the target, "+
			"or make the collection anew there by a snapshot: %w", want.GetName(), want.GetDataType(), ref, known.Err)
	}
	if err == nil {
		return nil
	}
	// Another worker may have been faster, or an earlier call that timed out.
	if found, again := t.hasField(ctx, ref, want); found || isCode(again, CodeSchema) {
		return again
	}
	return err
}

// hasField reports whether the collection has the field. One of that name that is not the same is an error.
func (t *Target) hasField(ctx context.Context, ref handlers.Ref, want *fieldSchema) (bool, error) {
	d, err := t.describe(ctx, ref)
	if err != nil {
		return false, err
	}
	for _, have := range d.GetSchema().GetFields() {
		if have.GetName() != want.GetName() {
			continue
		}
		if diff := fieldDifferences(want, have); len(diff) > 0 {
			return false, refuse(CodeSchema, "the target has a field %q in %s that is another: %s", want.GetName(), ref, strings.Join(diff, "; "))
		}
		return true, nil
	}
	return false, nil
}
