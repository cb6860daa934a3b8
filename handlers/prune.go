package handlers

import (
	"context"
	"fmt"

	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// prune removes what the target has of a range of keys and the source does not. Later changes of the lane come after it, so that
// it can't hit a row that is newer.
func prune(t RowWriter, o Options) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		body, err := jetstream.ParsePrune(e.Body)
		if err != nil {
			return permanent(CodeEvent, fmt.Errorf("event %s: %w", e.ID, err))
		}
		if e.Lane < 0 || e.Lane >= body.Lanes {
			return permanent(CodeEvent, fmt.Errorf("event %s is on lane %d of %d", e.ID, e.Lane, body.Lanes))
		}
		beside, err := t.KeysBeside(ctx, refOf(e), e.Partition, Range{After: body.After, Until: body.Until, Keep: body.Keys})
		if err != nil {
			return err
		}
		gone := beside.Take(beside.Lanes(body.Lanes)[e.Lane])
		for _, keys := range o.cutKeys(gone) {
			if err := t.Delete(ctx, refOf(e), e.Partition, keys); err != nil {
				return err
			}
		}
		return nil
	}
}

// Range is a range of primary keys, less some.
type Range struct {
	After, Until *rows.Key // behind the one, up to and with the other; nil: no end
	Keep         rows.Keys
}
