package verify

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// tally is how many rows either side stores.
type tally struct{ src, dst int64 }

// counts compares how many rows the sides store. Numbers that differ count when they stay the same from one look to the next.
func (c *comparison) counts(ctx context.Context, partitions []string) error {
	if c.src.keep != nil || c.out.Unsettled > 0 {
		return nil // what of the source's rows is replicated can't be counted there
	}
	last, err := c.count(ctx, partitions)
	for round := 0; err == nil && last.src != last.dst && round < maxRounds; round++ {
		if err := c.wait(ctx); err != nil {
			return err
		}
		if err := c.begin(ctx); err != nil {
			return err
		}
		var now tally
		if now, err = c.count(ctx, partitions); err == nil && now == last {
			c.judgeCounts(now)
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
func (c *comparison) judgeCounts(now tally) {
	whole := c.cfg.Sample <= 0
	more := now.src - now.dst - (c.out.Missing - c.out.Extra) // that the source stores for no reason found so far
	switch {
	case more < 0:
		c.out.Settings++
		c.print(Difference{Kind: OfCount, Name: "rows that are stored", Source: fmt.Sprint(now.src), Target: fmt.Sprint(now.dst)})
	case more > 0 && whole:
		c.note("the source stores %d rows more than it has keys: a key that was inserted again is there once on the target", more)
	case more > 0:
		c.out.unknown(fmt.Sprintf("the source stores %d rows more than the target: keys that were inserted again, or missing rows; verify without a sample", more))
	}
}

// count counts both sides at once.
func (c *comparison) count(ctx context.Context, partitions []string) (tally, error) {
	var sum tally
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range []struct {
		side side
		to   *int64
	}{{c.src, &sum.src}, {c.dst, &sum.dst}} {
		g.Go(func() error {
			for _, p := range partitions {
				var n int64
				err := s.side.again(ctx, func() (err error) {
					n, err = s.side.col.Count(ctx, p, s.side.begun)
					return err
				})
				if err != nil {
					return err
				}
				*s.to += n
			}
			return nil
		})
	}
	err := g.Wait()
	return sum, err
}
