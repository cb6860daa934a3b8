package bridge

import (
	"context"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// dropAliases publishes the drop of aliases that are gone, or that name now what the task does not follow.
func (s *sequencer) dropAliases(ctx context.Context, v *catalog.View) (int, error) {
	for _, key := range s.ledger.sortedAliases() {
		if col := s.ledger.collections[s.ledger.aliases[key]]; col != nil && s.parted(col) {
			continue
		}
		a := v.Aliases[key]
		gone := v.AliasGone(key) || a != nil && a.State != catalog.Created
		if gone || a != nil && a.CollectionID != s.ledger.aliases[key] && s.follows(a.CollectionID) == nil && !s.expects(v, a.CollectionID) {
			if err := s.publishDropAlias(ctx, key); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// nameAliases publishes aliases that are new, or name another collection than before.
func (s *sequencer) nameAliases(ctx context.Context, v *catalog.View) (waiting int, err error) {
	if s.task.Leaves(jetstream.LeaveAlias) {
		return 0, nil
	}
	for _, key := range slices.SortedFunc(maps.Keys(v.Aliases), compareAliases) {
		a := v.Aliases[key]
		col := s.follows(a.CollectionID)
		if a.State != catalog.Created || col == nil || s.ledger.aliases[key] == a.CollectionID || dropped(v, a.CollectionID) {
			continue
		}
		if s.unready(col, key) {
			waiting++
			continue
		}
		if err := s.publishAlias(ctx, col, key); err != nil {
			return 0, err
		}
	}
	return waiting, nil
}

// unready reports whether the alias has to wait: for its collection to come into the database, or for a collection that
// still has the name.
func (s *sequencer) unready(col *ledgerCollection, key catalog.AliasKey) bool {
	if col.DatabaseID != key.DatabaseID {
		return true
	}
	old := s.ledger.at(s.task, jetstream.QualifiedName{Database: col.Database, Collection: key.Name}, 0)
	return old != nil && old.Database == col.Database && old.Name == key.Name
}

func (s *sequencer) publishAlias(ctx context.Context, col *ledgerCollection, key catalog.AliasKey) error {
	if _, known := s.ledger.aliases[key]; known {
		return s.publishSetting(ctx, jetstream.AlterAlias, col, col.ID,
			&milvuspb.AlterAliasRequest{DbName: col.Database, CollectionName: col.Name, Alias: key.Name})
	}
	return s.publishSetting(ctx, jetstream.CreateAlias, col, col.ID,
		&milvuspb.CreateAliasRequest{DbName: col.Database, CollectionName: col.Name, Alias: key.Name})
}

func (s *sequencer) publishDropAlias(ctx context.Context, key catalog.AliasKey) error {
	col := s.ledger.collections[s.ledger.aliases[key]]
	return s.publishSetting(ctx, jetstream.DropAlias, col, col.ID, &milvuspb.DropAliasRequest{DbName: col.Database, Alias: key.Name})
}

// publishDropAliases publishes the drop of all aliases of a collection, with which Milvus would neither drop it nor move
// it to another database.
func (s *sequencer) publishDropAliases(ctx context.Context, col *ledgerCollection) error {
	for _, key := range s.ledger.aliasesOf(col.ID) {
		if err := s.publishDropAlias(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// follows is the collection if it is published, or nil.
func (s *sequencer) follows(id int64) *ledgerCollection {
	if col := s.ledger.collections[id]; col != nil && !s.over(col) {
		return col
	}
	return nil
}

// expects reports whether the collection is one whose creation is to come.
func (s *sequencer) expects(v *catalog.View, id int64) bool {
	col := v.Collections[id]
	if col == nil || col.State != catalog.Created || s.ledger.collections[id] != nil {
		return false
	}
	db := v.Databases[col.DatabaseID]
	return db != nil && s.task.Selects(db.Name, col.Name)
}

// dropped reports whether the source has dropped the collection, or is about to.
func dropped(v *catalog.View, id int64) bool {
	col := v.Collections[id]
	return v.CollectionGone(id) || col != nil && col.State > catalog.Creating
}
