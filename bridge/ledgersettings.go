package bridge

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// ledgerField is what has been published of a field.
type ledgerField struct {
	ID     int64             `json:"id"`
	Params map[string]string `json:"params,omitempty"`
}

// ledgerIndex is an index as it was published last.
type ledgerIndex struct {
	Name   string            `json:"name"`
	Field  string            `json:"field"`
	Params map[string]string `json:"params,omitempty"`
}

// ledgerLoad is what has been published as loaded. It never changes.
type ledgerLoad struct {
	Whole    bool  `json:"whole,omitempty"` // the collection was loaded, and what is created in it is loaded too
	Replicas int32 `json:"replicas"`
	// Parts are the names of those partitions that are loaded, or, of a Whole one, that are not.
	Parts []string `json:"parts,omitempty"`
	// New are those of a Whole one that were made since: a Milvus loads them of itself, or, if it had loaded partitions first
	// and the rest then, does not (seen on 2.3.5).
	New []string `json:"new,omitempty"`
}

// without is the load when there is no such partition any more.
func (l *ledgerLoad) without(partitions ...string) *ledgerLoad {
	if l == nil {
		return nil
	}
	n := *l
	said := func(p string) bool { return slices.Contains(partitions, p) }
	n.Parts = slices.DeleteFunc(slices.Clone(l.Parts), said)
	n.New = slices.DeleteFunc(slices.Clone(l.New), said)
	return &n
}

// made is the load when there is another partition.
func (l *ledgerLoad) made(partition string) *ledgerLoad {
	if l == nil || !l.Whole {
		return l
	}
	n := *l
	n.New = append(slices.Clone(l.New), partition)
	return &n
}

// with is the load with the partitions among its Parts.
func (l *ledgerLoad) with(partitions ...string) *ledgerLoad {
	n := l.without(partitions...)
	n.Parts = append(n.Parts, partitions...)
	slices.Sort(n.Parts)
	return n
}

func (c *ledgerCollection) applyLoad(e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.LoadCollection:
		var req milvuspb.LoadCollectionRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		c.Load = &ledgerLoad{Whole: true, Replicas: req.GetReplicaNumber()}
	case jetstream.ReleaseCollection:
		c.Load = nil
	case jetstream.LoadPartitions:
		var req milvuspb.LoadPartitionsRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		switch l := c.Load; {
		case l == nil:
			c.Load = (&ledgerLoad{Replicas: req.GetReplicaNumber()}).with(req.GetPartitionNames()...)
		case l.Whole:
			c.Load = l.without(req.GetPartitionNames()...)
		default:
			c.Load = l.with(req.GetPartitionNames()...)
			c.Load.Replicas = req.GetReplicaNumber()
		}
	case jetstream.ReleasePartitions:
		var req milvuspb.ReleasePartitionsRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		if l := c.Load; l != nil && l.Whole {
			c.Load = l.with(req.GetPartitionNames()...)
		} else {
			c.Load = l.without(req.GetPartitionNames()...)
		}
	}
	return nil
}

func (c *ledgerCollection) applyIndex(e *jetstream.Event) error {
	id, err := objectOf(e)
	if err != nil {
		return err
	}
	switch e.Kind {
	case jetstream.CreateIndex:
		var req milvuspb.CreateIndexRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		c.Indexes = with(c.Indexes, id, ledgerIndex{Name: req.GetIndexName(), Field: req.GetFieldName(), Params: asMap(req.GetExtraParams())})
	case jetstream.AlterIndex:
		var req milvuspb.AlterIndexRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		if ix, ok := c.Indexes[id]; ok {
			ix.Params = altered(ix.Params, req.GetExtraParams(), req.GetDeleteKeys())
			c.Indexes = with(c.Indexes, id, ix)
		}
	case jetstream.DropIndex:
		c.Indexes = maps.Clone(c.Indexes)
		delete(c.Indexes, id)
	}
	return nil
}

// applyDefinition notes properties and fields.
func (c *ledgerCollection) applyDefinition(e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.AlterCollection:
		var req milvuspb.AlterCollectionRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		c.Properties = altered(c.Properties, req.GetProperties(), req.GetDeleteKeys())
	case jetstream.AlterField:
		var req milvuspb.AlterCollectionFieldRequest
		if err := decode(e, &req); err != nil {
			return err
		}
		if f, ok := c.Fields[req.GetFieldName()]; ok {
			f.Params = altered(f.Params, req.GetProperties(), req.GetDeleteKeys())
			c.Fields = with(c.Fields, req.GetFieldName(), f)
		}
	case jetstream.AddField:
		var req milvuspb.AddCollectionFieldRequest
		var f schemapb.FieldSchema
		if err := decode(e, &req); err != nil {
			return err
		}
		if err := proto.Unmarshal(req.GetSchema(), &f); err != nil {
			return err
		}
		c.Fields = with(c.Fields, f.GetName(), ledgerField{ID: f.GetFieldID(), Params: asMap(f.GetTypeParams())})
	}
	return nil
}

// alias notes what an alias names.
func (l *ledger) alias(e *jetstream.Event) error {
	var req interface {
		proto.Message
		GetAlias() string
	}
	switch e.Kind {
	case jetstream.CreateAlias:
		req = &milvuspb.CreateAliasRequest{}
	case jetstream.AlterAlias:
		req = &milvuspb.AlterAliasRequest{}
	default:
		req = &milvuspb.DropAliasRequest{}
	}
	if err := decode(e, req); err != nil {
		return err
	}
	key := catalog.AliasKey{DatabaseID: e.DatabaseID, Name: req.GetAlias()}
	if e.Kind == jetstream.DropAlias {
		delete(l.aliases, key)
	} else if l.collections[e.CollectionID] != nil {
		l.aliases[key] = e.CollectionID
	}
	return nil
}

// aliasesOf are the names under which a collection goes beside its own.
func (l *ledger) aliasesOf(collection int64) []catalog.AliasKey {
	var out []catalog.AliasKey
	for _, k := range l.sortedAliases() {
		if l.aliases[k] == collection {
			out = append(out, k)
		}
	}
	return out
}

func (l *ledger) sortedAliases() []catalog.AliasKey {
	return slices.SortedFunc(maps.Keys(l.aliases), compareAliases)
}

func compareAliases(a, b catalog.AliasKey) int {
	if a.DatabaseID != b.DatabaseID {
		return int(min(max(a.DatabaseID-b.DatabaseID, -1), 1))
	}
	return strings.Compare(a.Name, b.Name)
}

// rename notes the collection's new name, and how many of its rows are on the stream under its old ones.
func (l *ledger) rename(c *ledgerCollection, e *jetstream.Event) error {
	var req milvuspb.RenameCollectionRequest
	if err := decode(e, &req); err != nil {
		return err
	}
	c.Name = req.GetNewName()
	if db := req.GetNewDBName(); db != "" {
		c.Database, c.DatabaseID = db, defaultDatabaseID
		if d := l.databaseNamed(db); d != nil {
			c.DatabaseID = d.ID
		}
	}
	c.Sums = map[int]uint64{}
	for key, value := range req.GetBase().GetProperties() {
		if lane, ok := strings.CutPrefix(key, sumProperty); ok {
			n, err := strconv.Atoi(lane)
			if err != nil {
				return err
			}
			if c.Sums[n], err = strconv.ParseUint(value, 10, 64); err != nil {
				return err
			}
		}
	}
	return nil
}

// sumProperty, with a lane's number behind it, is where a rename's body says how many rows of the collection the lane was
// given under its former names. The last event under the new name alone does not tell: there may be none yet.
const sumProperty = "kitestream.rows."

// asMap is a list of pairs without their order, of which a later one of a key counts. Nil when there are none.
func asMap(pairs []*commonpb.KeyValuePair) map[string]string {
	return altered(nil, pairs, nil)
}

// altered is the map with the pairs put in and the keys taken out; nil when nothing is left.
func altered(m map[string]string, pairs []*commonpb.KeyValuePair, gone []string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	for _, p := range pairs {
		out[p.GetKey()] = p.GetValue()
	}
	for _, k := range gone {
		delete(out, k)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// with is a copy of the map with one entry more.
func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	out := maps.Clone(m)
	if out == nil {
		out = map[K]V{}
	}
	out[k] = v
	return out
}
