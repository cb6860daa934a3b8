package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// A followed collection is followed by its id, whatever it is called. A View shows the names as they are, all at once, and
// the ledger those that were published: from the one to the other the collections are renamed one by one, each when
// nothing has its name any more. Rows are published under the ledger's name, so a rename may come at any time.

// takenError says that a collection can't be published under its name.
type takenError struct {
	name, by, place jetstream.QualifiedName
}

func (e *takenError) Error() string {
	return fmt.Sprintf("%s would land on %s, where %s lands; map one of them elsewhere, then delete the task and create it anew", e.name, e.place, e.by)
}

// renames publishes the renames that the catalogue shows.
func (s *sequencer) renames(ctx context.Context, v *catalog.View) (waiting int, err error) {
	for _, id := range slices.Sorted(s.collectionIDs()) {
		col := s.ledger.collections[id]
		if col.Unmade || s.parted(col) || dropped(v, id) {
			continue
		}
		wait, err := s.rename(ctx, v, col, 0, nil)
		if err != nil {
			return 0, err
		}
		if wait != "" {
			waiting++
		}
	}
	return waiting, nil
}

// nameOf is the name that the catalogue shows for a collection; nothing when it does not.
func nameOf(v *catalog.View, id int64) (n jetstream.QualifiedName, db *catalog.Database) {
	col := v.Collections[id]
	if col == nil || v.Databases[col.DatabaseID] == nil {
		return n, nil
	}
	db = v.Databases[col.DatabaseID]
	return jetstream.QualifiedName{Database: db.Name, Collection: col.Name}, db
}

// rename publishes the collection's rename to the name that the catalogue shows, if that is another one, or says what it
// waits for. What has the new name gives it up first; path has the collections that wait for this one to do so. A time, if
// there is one, is that at which a younger collection needs the old name: who had the new one was dropped before that.
func (s *sequencer) rename(ctx context.Context, v *catalog.View, col *ledgerCollection, ts uint64, path []int64) (wait string, err error) {
	to, db := nameOf(v, col.ID)
	if db == nil || to == col.qualified() && db.ID == col.DatabaseID {
		return "", nil
	}
	if wait, err := s.ensureDatabase(ctx, v, db, cmp.Or(ts, db.Created)); wait != "" || err != nil {
		return wait, err
	}
	wait, err = s.vacate(ctx, v, naming{id: col.ID, name: to, databaseID: db.ID, ts: ts, path: append(path, col.ID)})
	var taken *takenError
	if errors.As(err, &taken) {
		s.stop(col, taken)
		return "", nil
	}
	if wait != "" || err != nil {
		return wait, err
	}
	return "", s.publishRename(ctx, col, to)
}

// naming is a name that a collection is to get.
type naming struct {
	id         int64
	name       jetstream.QualifiedName
	databaseID int64
	ts         uint64
	path       []int64
}

// vacate makes a name free, or says what that has to wait for. The error is a *takenError when it is not going to be free.
func (s *sequencer) vacate(ctx context.Context, v *catalog.View, n naming) (wait string, err error) {
	key := catalog.AliasKey{DatabaseID: n.databaseID, Name: n.name.Collection}
	if _, ok := s.ledger.aliases[key]; ok { // no alias any more, for names are unique
		if err := s.publishDropAlias(ctx, key); err != nil {
			return "", err
		}
	}
	old := s.ledger.at(s.task, n.name, n.id)
	if old == nil {
		return "", nil
	}
	has, db := nameOf(v, old.ID)
	switch {
	case dropped(v, old.ID):
		return s.succeed(ctx, old, n.ts)
	case db == nil:
		return fmt.Sprintf("the catalogue can't tell what has become of the older %s", old.qualified()), nil
	case has == old.qualified() && has == n.name:
		return fmt.Sprintf("the catalogue shows another collection %s", has), nil
	case has == old.qualified():
		return "", &takenError{name: n.name, by: has, place: s.task.Place(has)}
	case slices.Contains(n.path, old.ID): // a circle: it steps aside, and gets its name later
		return "", s.publishRename(ctx, old, aside(old))
	}
	if wait, err = s.rename(ctx, v, old, n.ts, n.path); wait != "" || err != nil {
		return wait, err
	}
	if s.ledger.at(s.task, n.name, n.id) == old { // stopped
		return "", &takenError{name: n.name, by: old.qualified(), place: s.task.Place(n.name)}
	}
	return "", nil
}

// aside is a name for a collection until it can get the one that it is to have. It begins like the old one, so that the
// task maps it likewise.
func aside(col *ledgerCollection) jetstream.QualifiedName {
	const longest = 255
	id := "_" + strconv.FormatInt(col.ID, 10)
	return jetstream.QualifiedName{Database: col.Database, Collection: col.Name[:min(len(col.Name), longest-len(id))] + id}
}

func (s *sequencer) publishRename(ctx context.Context, col *ledgerCollection, to jetstream.QualifiedName) error {
	if to.Database != col.Database {
		if err := s.publishDropAliases(ctx, col); err != nil {
			return err
		}
	}
	sums := map[string]string{}
	for lane := range s.task.Lanes {
		sum, err := s.sum(ctx, col, sumKey{col.ID, lane})
		if err != nil {
			return err
		}
		if sum > 0 {
			sums[sumProperty+strconv.Itoa(lane)] = strconv.FormatUint(sum, 10)
		}
	}
	s.log.Info("collection renamed", keyCollection, col.qualified().String(), "to", to.String())
	return s.publishSetting(ctx, jetstream.RenameCollection, col, col.ID, &milvuspb.RenameCollectionRequest{
		Base:   &commonpb.MsgBase{MsgType: commonpb.MsgType_RenameCollection, Properties: sums},
		DbName: col.Database, OldName: col.Name, NewDBName: to.Database, NewName: to.Collection,
	})
}
