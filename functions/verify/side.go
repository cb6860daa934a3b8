package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/scan"
	"kitestream/handlers/rules"
	"kitestream/jetstream/rows"
)

// side is one of the two collections that are compared.
type side struct {
	what   string // "source" or "target"
	client *scan.Client
	col    *scan.Collection
	keep   func(*scan.Rows) ([]int, error) // of the rows, those that count; nil: all
	once   bool                            // it is to store each key once
	begun  uint64                          // of the last begin: reads see all that was answered before
}

// patience is how long a side may go on being away before a verification gives up.
const patience = time.Minute

// again asks until the answer is no passing error, or the side was away for too long.
func (s *side) again(ctx context.Context, ask func() error) error {
	pause := 100 * time.Millisecond
	for end := time.Now().Add(patience); ; pause = min(2*pause, 2*time.Second) {
		err := ask()
		if err == nil || !scan.IsTransient(err) || time.Now().After(end) {
			if err != nil {
				err = fmt.Errorf("%s: %w", s.what, err)
			}
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
}

// now is a timestamp of the side, for reads that are to see all that it has answered so far.
func (s *side) now(ctx context.Context) (ts uint64, err error) {
	err = s.again(ctx, func() error {
		ts, err = s.client.Now(ctx)
		return err
	})
	return ts, err
}

// read reads one page of rows.
func (s *side) read(ctx context.Context, p scan.Page) (out *scan.Rows, err error) {
	err = s.again(ctx, func() error {
		out, err = s.col.Read(ctx, p)
		return err
	})
	return out, err
}

// loaded is what of the collection is loaded, as soon as nothing of it is being loaded any more, or that takes too long.
func (s *side) loaded(ctx context.Context) (is scan.Loading, err error) {
	look := time.NewTicker(loadLook)
	defer look.Stop()
	for end := time.Now().Add(patience); ; {
		var state commonpb.LoadState
		err = s.again(ctx, func() (err error) {
			res, err := checked(s.client.Service().GetLoadState(ctx, &milvuspb.GetLoadStateRequest{DbName: s.col.Database, CollectionName: s.col.Name}))
			if err != nil {
				return fmt.Errorf("ask whether %s is loaded: %w", s.col, err)
			}
			state = res.GetState()
			is, err = s.col.Loaded(ctx)
			return err
		})
		if err != nil || state != commonpb.LoadState_LoadStateLoading || time.Now().After(end) {
			return is, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return is, ctx.Err()
		}
	}
}

// loadLook is the time between looks whether a collection is loaded by now.
const loadLook = 200 * time.Millisecond

// lookup reads the rows of some keys as they are now.
func (s *side) lookup(ctx context.Context, f *fields, partition string, keys []scan.Key) (*page, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	var found *scan.Rows
	err = s.again(ctx, func() error {
		found, err = s.col.Lookup(ctx, partition, keys, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	p, err := f.newPage(found, s.keep)
	if err == nil {
		err = s.askMany(ctx, partition, found, p, now)
	}
	return p, err
}

// askMany finds the keys of a page that are stored more than once, if there are any.
func (s *side) askMany(ctx context.Context, partition string, got *scan.Rows, p *page, guarantee uint64) error {
	if got.Stored <= int64(got.N) {
		return nil
	}
	return s.again(ctx, func() (err error) {
		p.many, err = s.col.Repeated(ctx, partition, got.Keys, guarantee)
		return err
	})
}

// keyRange is a range of keys of one partition: behind after, up to and with until.
type keyRange struct {
	partition    string
	after, until scan.Key
}

// fetched is a page of a stream, or why there is none.
type fetched struct {
	page *page
	err  error
}

// stream reads the range page by page, one page ahead of the one that waits to be taken. It ends with ctx.
func (s *side) stream(ctx context.Context, f *fields, r keyRange) <-chan fetched {
	out := make(chan fetched)
	go func() {
		defer close(out)
		ask := scan.Page{Partition: r.partition, After: r.after, Until: r.until, Guarantee: s.begun}
		for {
			got, err := s.read(ctx, ask)
			var p *page
			if err == nil {
				p, err = f.newPage(got, s.keep)
			}
			if err == nil && s.once {
				err = s.askMany(ctx, r.partition, got, p, s.begun)
			}
			select {
			case out <- fetched{p, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || got.Done {
				return
			}
			ask.After = got.Last
		}
	}()
	return out
}

// cursor goes through the rows of a stream.
type cursor struct {
	in   <-chan fetched
	page *page
	k    int
	n    int64 // rows that were passed
}

// next has the cursor at a row; false at the stream's end.
func (c *cursor) next(ctx context.Context) (bool, error) {
	for c.page == nil || c.k >= len(c.page.keys) {
		got, ok := <-c.in
		switch {
		case !ok:
			return false, ctx.Err()
		case got.err != nil:
			return false, got.err
		}
		c.page, c.k = got.page, 0
	}
	return true, nil
}

func (c *cursor) key() scan.Key { return c.page.keys[c.k] }

func (c *cursor) row() row { return c.page.row(c.k) }

func (c *cursor) pass() { c.k++; c.n++ }

// keeper is which of the source's rows a rule lets be replicated, or nil if it is all of them.
func keeper(rule *rules.Rule) func(*scan.Rows) ([]int, error) {
	if rule == nil || !rule.Filters() {
		return nil
	}
	return func(from *scan.Rows) ([]int, error) {
		var encoded [][]byte
		for _, fd := range from.Fields {
			if _, scalar := fd.GetField().(*schemapb.FieldData_Scalars); !scalar {
				continue // no expression reads a vector
			}
			b, err := proto.Marshal(fd)
			if err != nil {
				return nil, fmt.Errorf("encode field %q: %w", fd.GetFieldName(), err)
			}
			encoded = append(encoded, b)
		}
		r, err := rows.Parse(encoded, from.N)
		if err != nil {
			return nil, err
		}
		kept, err := rule.Keep(r)
		return kept.Index, err
	}
}
