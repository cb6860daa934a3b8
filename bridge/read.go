package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kitestream/bridge/scan"
)

// SourceAPI is the source's Milvus as copies ask it; NewSourceAPI makes one. All methods are safe for concurrent use.
type SourceAPI interface {
	// Now is a source timestamp later than all that the source has answered so far.
	Now(ctx context.Context) (uint64, error)
	// Collection is the collection of that name as it is now. The error wraps scan.ErrNoCollection if there is none.
	Collection(ctx context.Context, database, name string) (SourceCollection, error)
}

// SourceCollection is a collection as copies read it; see scan.Collection. What it reads is of the collection, and of the partition,
// that had the names when it was asked for: if they name others by the time of the answer, the error is scan.ErrRecreated.
type SourceCollection interface {
	Identity() int64
	// PartitionID is the id of the partition of that name, or 0.
	PartitionID(name string) int64
	Read(ctx context.Context, p scan.Page) (*scan.Rows, error)
	Lookup(ctx context.Context, partition string, keys []scan.Key, guarantee uint64) (*scan.Rows, error)
	Count(ctx context.Context, partition string, guarantee uint64) (int64, error)
	Load(ctx context.Context) error
	Release(ctx context.Context) error
}

// NewSourceAPI is the API of the source that a client is connected to.
func NewSourceAPI(c *scan.Client) SourceAPI { return clientAPI{c} }

type clientAPI struct{ *scan.Client }

func (a clientAPI) Collection(ctx context.Context, database, name string) (SourceCollection, error) {
	c, err := a.Client.Collection(ctx, database, name)
	if err != nil {
		return nil, err
	}
	return clientCollection{c}, nil
}

type clientCollection struct{ *scan.Collection }

func (c clientCollection) Identity() int64 { return c.ID }

func (c clientCollection) Release(ctx context.Context) error { return c.Collection.Release(ctx) }

func (c clientCollection) PartitionID(name string) int64 {
	for _, p := range c.Partitions {
		if p.Name == name {
			return p.ID
		}
	}
	return 0
}

// reading is one question to the source's API about rows of a collection, and its answer: rows that the source held at
// some time between low and high. Only the sequencer's goroutine may look at one, but for the time between ask and answer.
type reading struct {
	collection int64
	partition  copyPartition
	page       scan.Page
	keys       []scan.Key // of a repair: these keys instead of a page
	low        uint64     // everything up to here is in the answer
	load       bool       // the collection may be loaded for it
	count      bool       // how many rows there are in all is asked too
	release    bool       // nothing is asked: the collection is to be released
	done       func(seq uint64, err error)

	answered bool
	rows     *scan.Rows
	high     uint64 // nothing after it is in the answer
	all      int64
	err      error
}

// copyPartition is a partition of the source; the zero value is all of a collection whose partitions have no names.
type copyPartition struct {
	id   int64
	name string
}

// errMoved says that a name names something else by now.
var errMoved = errors.New("the source has given the name to another one")

// answer asks the source. name is what the source calls the collection now, as far as is known.
func (r *reading) answer(ctx context.Context, api SourceAPI, database, name string) error {
	col, err := api.Collection(ctx, database, name)
	switch {
	case err != nil:
		return err
	case col.Identity() != r.collection, r.partition.name != "" && col.PartitionID(r.partition.name) != r.partition.id:
		return fmt.Errorf("read %s.%s, partition %q: %w", database, name, r.partition.name, errMoved)
	case r.release:
		return col.Release(ctx)
	}
	r.page.Partition, r.page.Guarantee = r.partition.name, r.low
	ask := func() error {
		if r.keys != nil {
			r.rows, err = col.Lookup(ctx, r.partition.name, r.keys, r.low)
		} else {
			r.rows, err = col.Read(ctx, r.page)
		}
		return err
	}
	err = ask()
	if errors.Is(err, scan.ErrNotLoaded) && r.load {
		if err := col.Load(ctx); err != nil {
			return err
		}
		err = ask()
	}
	if err != nil {
		return err
	}
	if r.count {
		if r.all, err = col.Count(ctx, "", r.low); err != nil {
			return err
		}
	}
	r.high, err = api.Now(ctx)
	return err
}

// readTimeout bounds one question; a collection that is loaded for it may take longer.
const (
	readTimeout = 30 * time.Second
	loadTimeout = 10 * time.Minute
)

// ask has a reading answered in a goroutine of its own; the sequencer finds it in its inbox.
func (s *sequencer) ask(r *reading, database, name string) {
	s.reads++
	s.spawn(func(ctx context.Context) {
		limit := readTimeout
		if r.load {
			limit += loadTimeout
		}
		within, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		r.err = r.answer(within, s.api, database, name)
		if r.err == nil && s.rate != nil && r.rows != nil {
			r.err = s.rate.WaitN(ctx, min(r.rows.N, s.rate.Burst()))
		}
		select {
		case s.answers <- r:
			s.notify()
		case <-ctx.Done():
		}
	})
}
