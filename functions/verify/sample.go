package verify

import (
	"context"
	"hash/fnv"
	"math/rand/v2"

	"kitestream/bridge/scan"
)

// How many keys a range of a sample has: a tenth of the sample, so that the ranges are several, within these bounds.
const (
	leastRange = 10
	mostRange  = 1000
)

// partition compares the rows of a partition, or the ranges of a sample of them.
func (c *comparison) partition(ctx context.Context, name string) error {
	if c.cfg.Sample <= 0 || c.cfg.Sample >= 100 {
		return c.rows(ctx, keyRange{partition: name})
	}
	var stored int64
	err := c.src.again(ctx, func() (err error) {
		stored, err = c.src.col.Count(ctx, name, c.src.begun)
		return err
	})
	if err != nil {
		return err
	}
	share := c.cfg.Sample / 100
	d := drawing{random: c.random(name), share: share, size: max(leastRange, min(mostRange, int(float64(stored)*share/10)))}
	ask := scan.Page{Partition: name, Guarantee: c.src.begun, KeysOnly: true}
	for {
		got, err := c.src.read(ctx, ask)
		if err != nil {
			return err
		}
		for _, r := range d.draw(name, got) {
			if err := c.rows(ctx, r); err != nil {
				return err
			}
		}
		if got.Done {
			return nil
		}
		ask.After = got.Last
	}
}

// random is the partition's own, so that what is chosen of one does not hang on the others.
func (c *comparison) random(partition string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.out.Source.String() + "/" + partition)) // a hash takes everything
	return rand.New(rand.NewPCG(c.cfg.Seed, h.Sum64()))
}

// drawing chooses ranges of keys at random, while it is shown all keys.
type drawing struct {
	random *rand.Rand
	share  float64
	size   int

	after scan.Key // where the range begins that is being filled
	n     int      // keys in it
	drawn bool     // any so far
}

// draw gives the ranges that end in these keys and were chosen. The last range of all has no end, and is chosen if no other was.
func (d *drawing) draw(partition string, rows *scan.Rows) []keyRange {
	var out []keyRange
	end := func(until scan.Key, must bool) {
		if d.random.Float64() < d.share || must {
			out = append(out, keyRange{partition, d.after, until})
			d.drawn = true
		}
		d.after, d.n = until, 0
	}
	for _, k := range rows.Keys {
		if d.n++; d.n == d.size {
			end(k, false)
		}
	}
	if rows.Done {
		end(scan.Key{}, !d.drawn)
	}
	return out
}
