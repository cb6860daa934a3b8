package handlers

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

// cut takes out of an event that is not about rows what the rule leaves out. It reports whether anything is left.
func cut(e *jetstream.Event, rule *rules.Rule) (left bool, err error) {
	switch e.Kind {
	case jetstream.CreatePartition, jetstream.DropPartition:
		return rule.TakesPartition(e.Partition), nil
	case jetstream.CreateCollection:
		return change(e, &milvuspb.CreateCollectionRequest{}, func(req *milvuspb.CreateCollectionRequest) (bool, error) {
			return true, cutSchema(e, req, rule)
		})
	case jetstream.AddField:
		return change(e, &milvuspb.AddCollectionFieldRequest{}, func(req *milvuspb.AddCollectionFieldRequest) (bool, error) {
			field := &schemapb.FieldSchema{}
			if err := proto.Unmarshal(req.GetSchema(), field); err != nil {
				return false, permanent(CodeEvent, fmt.Errorf("read field of event %s: %w", e.ID, err))
			}
			return !rule.Drops(field.GetName()), nil
		})
	case jetstream.AlterField:
		return change(e, &milvuspb.AlterCollectionFieldRequest{}, about(rule, (*milvuspb.AlterCollectionFieldRequest).GetFieldName))
	case jetstream.CreateIndex:
		return change(e, &milvuspb.CreateIndexRequest{}, about(rule, (*milvuspb.CreateIndexRequest).GetFieldName))
	case jetstream.DropIndex:
		return change(e, &milvuspb.DropIndexRequest{}, about(rule, (*milvuspb.DropIndexRequest).GetFieldName))
	case jetstream.LoadCollection, jetstream.LoadPartitions, jetstream.ReleasePartitions:
		return cutLoad(e, rule)
	}
	return true, nil
}

// about lets pass what is about a field that the target has.
func about[M any](rule *rules.Rule, field func(M) string) func(M) (bool, error) {
	return func(req M) (bool, error) { return !rule.Drops(field(req)), nil }
}

// cutSchema takes the rule's fields out of the schema of a new collection. A collection that came after the task was
// made may not fit the rule.
func cutSchema(e *jetstream.Event, req *milvuspb.CreateCollectionRequest, rule *rules.Rule) error {
	schema := &schemapb.CollectionSchema{}
	err := proto.Unmarshal(req.GetSchema(), schema)
	if err != nil {
		return permanent(CodeEvent, fmt.Errorf("read schema of event %s: %w", e.ID, err))
	}
	if err := rule.Fits(schema); err != nil {
		return permanent(CodeRule, fmt.Errorf("the collection does not fit its rule: %w", err))
	}
	if req.Schema, err = proto.Marshal(rule.Cut(schema)); err != nil {
		return permanent(CodeEvent, fmt.Errorf("write schema of event %s: %w", e.ID, err))
	}
	return nil
}

// cutLoad takes partitions and fields that the target has not out of what is loaded or released.
func cutLoad(e *jetstream.Event, rule *rules.Rule) (bool, error) {
	others := func(partition string) bool { return !rule.TakesPartition(partition) }
	switch e.Kind {
	case jetstream.LoadPartitions:
		return change(e, &milvuspb.LoadPartitionsRequest{}, func(req *milvuspb.LoadPartitionsRequest) (bool, error) {
			req.PartitionNames = slices.DeleteFunc(req.GetPartitionNames(), others)
			req.LoadFields = slices.DeleteFunc(req.GetLoadFields(), rule.Drops)
			return len(req.PartitionNames) > 0, nil
		})
	case jetstream.ReleasePartitions:
		return change(e, &milvuspb.ReleasePartitionsRequest{}, func(req *milvuspb.ReleasePartitionsRequest) (bool, error) {
			req.PartitionNames = slices.DeleteFunc(req.GetPartitionNames(), others)
			return len(req.PartitionNames) > 0, nil
		})
	}
	return change(e, &milvuspb.LoadCollectionRequest{}, func(req *milvuspb.LoadCollectionRequest) (bool, error) {
		req.LoadFields = slices.DeleteFunc(req.GetLoadFields(), rule.Drops)
		return true, nil
	})
}

// cutRows takes the fields and, as an index, the rows out of an insert that the rule leaves out.
func cutRows(c *changes, rule *rules.Rule) error {
	if rule == nil {
		return nil
	}
	if rule.Filters() {
		kept, err := rule.Keep(c.rows)
		if err != nil {
			return err
		}
		c.keep, c.failed, c.why = kept.Index, kept.Failed, kept.Why
	}
	if fields := rule.DropFields(); len(fields) > 0 {
		c.rows = c.rows.Without(fields...)
	}
	return nil
}

// failing tells, once for each collection, that its expression fails for some rows, which are not replicated.
func (h *Handlers) failing(s source, f *fold) {
	if f.why == nil {
		return
	}
	h.placement.mu.Lock()
	defer h.placement.mu.Unlock()
	if h.placement.told[s] {
		return
	}
	h.placement.told[s] = true
	h.o.Log.Warn("a rule's expression fails for rows, which are not replicated", slog.String(keyDatabase, s.Database),
		slog.String(keyCollection, s.Collection), slog.Any(keyError, f.why))
}
