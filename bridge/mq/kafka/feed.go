package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// feed fetches from one leader, portion by portion, from an offset on. While the reader unpacks and hands out one
// portion, the feed has the next: together they are the reader's bound. It never mends itself: once a portion says why
// nothing follows, the reader makes another feed from its place.
//
// Guarantee 5: what it gives is contiguous. A broker answers a fetch at an offset that it has no more with an error,
// and never with what it has instead; and a batch must begin where the last one ended, unless the log is known to have
// a hole there (compaction leaves one) because it still begins at or before the hole.
type feed struct {
	link *link
	at   leader
	max  int32 // bytes in a portion, one larger batch aside

	out  chan portion
	more chan struct{} // holds a token when the next portion may be fetched
	quit context.CancelFunc
	wg   sync.WaitGroup
}

// A topic without an id may become another one of the same name between two fetches. The reader must make sure of it
// after a pause that is long enough for that.
const pauseWithoutID = time.Second

var errPaused = errors.New("topic without an id was not fetched from for a while")

// startFeed begins to fetch.
func startFeed(ctx context.Context, l *link, at leader, offset int64, maxBytes int) *feed {
	ctx, quit := context.WithCancel(ctx)
	f := &feed{link: l, at: at, max: int32(maxBytes), out: make(chan portion), more: make(chan struct{}, 1), quit: quit}
	f.wg.Go(func() { f.run(ctx, offset) })
	return f
}

// stop drops what was not taken, and the connection if a broker is about to answer on it.
func (f *feed) stop() {
	f.quit()
	f.wg.Wait()
}

// goOn lets the feed fetch what follows the portion that was taken last.
func (f *feed) goOn() { f.more <- struct{}{} }

// run sends the first answer even when it is empty, as a sign that the leader serves the partition.
func (f *feed) run(ctx context.Context, offset int64) {
	ask := fetchRequest{offset: offset, maxBytes: f.max}
	for heard := time.Now(); ; {
		p := portion{err: errPaused}
		if f.at.id != [16]byte{} || time.Since(heard) < pauseWithoutID {
			p, heard = f.fetch(ctx, ask), time.Now()
		}
		idle := p.err == nil && len(p.batches) == 0
		if idle && ask.waitMS > 0 {
			continue
		}
		ask.waitMS = int32(fetchWait.Milliseconds())
		select {
		case f.out <- p:
		case <-ctx.Done():
			return
		}
		if p.err != nil {
			return
		}
		if !idle {
			ask.offset = p.batches[len(p.batches)-1].next
		}
		select {
		case <-f.more:
		case <-ctx.Done():
			return
		}
	}
}

// fetch asks once and takes the answer apart.
func (f *feed) fetch(ctx context.Context, ask fetchRequest) portion {
	answer, err := f.link.fetch(ctx, f.at, ask)
	if err != nil {
		return portion{err: err}
	}
	p := portion{answer: answer, bytes: len(answer.RecordBatches)}
	p.batches, err = chain(answer.RecordBatches, ask.offset, func(want int64) error {
		return f.hole(ctx, want, answer.LogStartOffset)
	})
	if err != nil {
		p.err = fmt.Errorf("read batches of topic %s from %d: %w", f.at.topic, ask.offset, err)
	}
	return p
}

// hole returns an error unless nothing was ever to be had at an offset that the log has passed over. The answer that
// passed over it may have been on its way while the log was trimmed, so the leader is asked once more.
func (f *feed) hole(ctx context.Context, want, logStart int64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	first, err := f.link.offset(ctx, f.at, oldest, uncommitted)
	if err != nil {
		return err
	}
	if max(first, logStart) > want {
		return fmt.Errorf("the log begins at %d, behind %d, now", first, want)
	}
	return nil
}
