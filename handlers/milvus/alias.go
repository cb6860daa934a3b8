package milvus

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// SetAlias creates the alias, or moves it if it is there.
func (t *Target) SetAlias(ctx context.Context, alias, of handlers.Ref) error {
	if alias.Database != of.Database {
		return refuse(CodeRefused, "alias %s and collection %s are not in one database, which they have to be: change the task's map", alias, of)
	}
	s, err := t.service.CreateAlias(ctx, &milvuspb.CreateAliasRequest{
		DbName: of.Database, CollectionName: of.Collection, Alias: alias.Collection,
	})
	created := setting(checkStatus(s, err), "aliases")
	if !isRefusal(created) || isCode(created, CodeNoCollection, CodeNoDatabase, CodeUnsupported, CodeNotAllowed) {
		return created
	}
	s, err = t.service.AlterAlias(ctx, &milvuspb.AlterAliasRequest{
		DbName: of.Database, CollectionName: of.Collection, Alias: alias.Collection,
	})
	altered := setting(checkStatus(s, err), "aliases")
	if altered == nil || !isRefusal(altered) {
		return altered
	}
	if d, err := t.describe(ctx, alias); err == nil && !isAlias(d, alias) {
		return refuse(CodeNameTaken, "the target has a collection %s, so that no alias can have the name: rename or drop it there, then resume the task", alias)
	}
	if isCode(altered, CodeNoAlias) {
		return created
	}
	return altered
}

// DropAlias removes the alias if it is there.
func (t *Target) DropAlias(ctx context.Context, alias handlers.Ref) error {
	s, err := t.service.DropAlias(ctx, &milvuspb.DropAliasRequest{DbName: alias.Database, Alias: alias.Collection})
	err = unless(setting(checkStatus(s, err), "aliases"), CodeNoAlias, CodeNoCollection, CodeNoDatabase)
	if isUnclear(err) { // as a 2.3.5 answers if the database is not there
		if found, again := t.hasDatabase(ctx, alias.Database); again == nil && !found {
			return nil
		}
	}
	return err
}
