package verify

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kitestream/bridge/scan"
)

const (
	lookAtOnce = 500                    // keys of one look-up
	looks      = 4                      // look-ups that are under way at once: a server lets each wait for its next tick
	watchMost  = 5000                   // rows that are watched while the target is waited for
	watchPause = 100 * time.Millisecond // between two looks at them
)

// settle looks at rows again and again, each time after the target has applied what the source held by then.
//
// A row is fine when the target has it as the source has had it at some moment since: what it lacks then is on its way. A row
// differs for sure when it is not fine, and neither side has changed since the look before. The others that are not fine are unsettled.
func (c *comparison) settle(ctx context.Context, items []item) (sure []found, unsettled []item, err error) {
	for round := 0; len(items) > 0; round++ {
		if round == maxRounds {
			return sure, items, nil
		}
		seen, err := c.watch(ctx, items)
		if err != nil {
			return nil, nil, err
		}
		s, left, err := c.lookAll(ctx, items, seen)
		if err != nil {
			return nil, nil, err
		}
		sure, items = append(sure, s...), left
	}
	return sure, nil, nil
}

// sights are hashes of what the source had of rows, each since the moment up to which the target has all.
type sights map[place]map[uint64]bool

type place struct {
	partition string
	key       scan.Key
}

// watch waits until the target has all that the source holds now, and looks at the source's rows all the while: those that are
// written to over and over would never be found the same on both sides otherwise.
func (c *comparison) watch(ctx context.Context, items []item) (sights, error) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan struct{})
	waited := make(chan error, 1)
	waiting.Go(func() {
		waited <- c.waitSynced(ctx, sync.OnceFunc(func() { close(synced) }))
	})
	seen := sights{}
	if len(items) > watchMost {
		return seen, <-waited
	}
	select {
	case <-synced:
	case err := <-waited:
		return seen, err
	}
	for {
		if err := c.sight(ctx, items, seen); err != nil {
			return nil, err
		}
		select {
		case err := <-waited:
			return seen, err
		case <-time.After(watchPause):
		}
	}
}

// sight looks at the source's rows once.
func (c *comparison) sight(ctx context.Context, items []item, seen sights) error {
	var mu sync.Mutex // guards seen
	return inChunks(ctx, items, func(ctx context.Context, partition string, chunk []item) error {
		src, err := c.src.lookup(ctx, c.fields, partition, keysOf(chunk))
		if err != nil {
			return err
		}
		have := src.byKey()
		mu.Lock()
		defer mu.Unlock()
		for _, i := range chunk {
			at := place{partition, i.key}
			if seen[at] == nil {
				seen[at] = map[uint64]bool{}
			}
			seen[at][c.fields.print(have[i.key])] = true
		}
		return nil
	})
}

// inChunks does something to rows, some of one partition at a time.
func inChunks(ctx context.Context, items []item, do func(ctx context.Context, partition string, chunk []item) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looks)
	parts := byPartition(items)
	for _, partition := range slices.Sorted(maps.Keys(parts)) {
		for chunk := range slices.Chunk(parts[partition], lookAtOnce) {
			g.Go(func() error { return do(ctx, partition, chunk) })
		}
	}
	return g.Wait()
}

// lookAll looks at rows of both sides once.
func (c *comparison) lookAll(ctx context.Context, items []item, seen sights) (sure []found, left []item, err error) {
	var mu sync.Mutex // guards sure and left
	err = inChunks(ctx, items, func(ctx context.Context, partition string, chunk []item) error {
		s, l, err := c.look(ctx, partition, chunk, seen)
		mu.Lock()
		defer mu.Unlock()
		sure, left = append(sure, s...), append(left, l...)
		return err
	})
	slices.SortFunc(sure, func(a, b found) int { return cmp.Or(cmp.Compare(a.partition, b.partition), a.key.Compare(b.key)) })
	return sure, left, err
}

// look looks at rows of one partition. The target is read first: so what it lacks of the source's row was written after.
func (c *comparison) look(ctx context.Context, partition string, items []item, seen sights) (sure []found, left []item, err error) {
	keys := keysOf(items)
	dst, err := c.dst.lookup(ctx, c.fields, partition, keys)
	if err != nil {
		return nil, nil, err
	}
	src, err := c.src.lookup(ctx, c.fields, partition, keys)
	if err != nil {
		return nil, nil, err
	}
	srcRows, dstRows := src.byKey(), dst.byKey()
	var buf [2][]byte
	for _, i := range items {
		a, b := srcRows[i.key], dstRows[i.key]
		now := item{i.partition, i.key, c.fields.print(a), c.fields.print(b)}
		switch {
		case c.same(i.key, a, b, &buf):
			if src.storesMany(i.key) && now.src != now.dst {
				c.repeated.Add(1)
			}
		case seen[place{partition, i.key}][now.dst] && !dst.storesMany(i.key):
		case now != i:
			left = append(left, now)
		default:
			f := found{item: now}
			if len(c.out.Differences)+len(sure) < c.cfg.MaxDifferences {
				f.diffs = c.fields.describe(partition, i.key, a, b)
			}
			sure = append(sure, f)
		}
	}
	return sure, left, nil
}
