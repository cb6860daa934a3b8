package verify

import (
	"context"
	"fmt"
)

// tally is how many rows either side stores.
type tally struct{ src, dst int64 }

// counts compares how many rows the sides store. A key that is stored twice shows only here. Numbers that differ count when they
// stay the same from one look to the next.
func (c *comparison) counts(ctx context.Context, partitions []string) error {
	if c.src.keep != nil || c.out.Unsettled > 0 {
		return nil // what of the source's rows is replicated can't be counted there
	}
	whole := c.cfg.Sample <= 0
	last, err := c.count(ctx, partitions)
	for round := 0; err == nil && last.src != last.dst && round < maxRounds; round++ {
		if err := c.wait(ctx); err != nil {
			return err
		}
		var now tally
		if now, err = c.count(ctx, partitions); err == nil && now == last {
			c.judgeCounts(now, whole)
			return nil
		}
		last = now
	}
	if err == nil && last.src != last.dst {
		c.note("the numbers of rows change too often to be compared")
	}
	return err
}

// judgeCounts says what numbers mean that are at rest and not the same.
func (c *comparison) judgeCounts(now tally, whole bool) {
	more := now.src - now.dst - (c.out.Missing - c.out.Extra) // that the source stores for no reason found so far
	switch {
	case whole && more == 0:
	case more < 0:
		c.out.Settings++
		c.print(Difference{Kind: OfCount, Name: "rows that are stored", Source: fmt.Sprint(now.src), Target: fmt.Sprint(now.dst)})
	case whole:
		c.note("the source stores %d rows more than it has keys: a key that was inserted again is there once on the target", more)
	case more > 0:
		c.out.unknown(fmt.Sprintf("the source stores %d rows more than the target: keys that were inserted again, or missing rows; verify without a sample", more))
	}
}

func (c *comparison) count(ctx context.Context, partitions []string) (tally, error) {
	var sum tally
	for _, p := range partitions {
		for _, s := range []struct {
			side side
			to   *int64
		}{{c.dst, &sum.dst}, {c.src, &sum.src}} {
			now, err := s.side.now(ctx)
			if err != nil {
				return sum, err
			}
			var n int64
			err = s.side.again(ctx, func() (err error) {
				n, err = s.side.col.Count(ctx, p, now)
				return err
			})
			if err != nil {
				return sum, err
			}
			*s.to += n
		}
	}
	return sum, nil
}
