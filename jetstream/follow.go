package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

var errWatchEnded = errors.New("watch ended")

// follower is told what a bucket holds, all from one goroutine.
type follower interface {
	// begin: what full is given next is not older than this moment.
	begin()
	// full is given every key there is. It comes first, and again whenever changes may have been missed.
	full(entries []natsjs.KeyValueEntry)
	// change is given each change that came after: a value, or a deletion or expiry.
	change(e natsjs.KeyValueEntry)
}

// follow tells f what the bucket holds below the filter until ctx ends, and returns ctx's error. It begins anew after
// every reconnect: the client's own watcher would notice a restarted server only by its missing heartbeats, seconds
// later, and lose the expiries of the meantime.
func follow(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, filter string, f follower) error {
	conn := js.Conn()
	connected := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(connected)
	for tries := 0; ctx.Err() == nil; {
		err := followOnce(ctx, kv, filter, f, connected)
		if err == nil {
			tries = 0
			continue
		}
		pause(ctx, tries, connected)
		tries++
	}
	return ctx.Err()
}

// followOnce returns nil when the connection has been made anew, else why the watch ended.
func followOnce(ctx context.Context, kv natsjs.KeyValue, filter string, f follower, connected <-chan nats.Status) error {
	f.begin()
	w, stop, err := watch(ctx, kv, filter)
	if err != nil {
		return err
	}
	defer stop()
	var initial []natsjs.KeyValueEntry
	whole := false
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case e == nil:
				whole = true
				f.full(initial)
				initial = nil
			case whole:
				f.change(e)
			case e.Operation() == natsjs.KeyValuePut:
				initial = append(initial, e)
			}
		case <-connected:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch is kv.Watch with a stop that leaves nothing behind: the client's callback may stand blocked on a full channel,
// and its goroutine ends only when that is read on.
func watch(ctx context.Context, kv natsjs.KeyValue, filter string) (natsjs.KeyWatcher, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	w, err := kv.Watch(ctx, filter)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("watch %s in %s: %w", filter, kv.Bucket(), err)
	}
	return w, func() {
		cancel() // unsubscribes
		for range w.Updates() {
		}
	}, nil
}

// snapshot reads every key below the filter that has a value.
func snapshot(ctx context.Context, kv natsjs.KeyValue, filter string) ([]natsjs.KeyValueEntry, error) {
	w, stop, err := watch(ctx, kv, filter)
	if err != nil {
		return nil, err
	}
	defer stop()
	var all []natsjs.KeyValueEntry
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil, fmt.Errorf("list %s in %s: %w", filter, kv.Bucket(), errWatchEnded)
			case e == nil:
				return all, nil
			case e.Operation() == natsjs.KeyValuePut:
				all = append(all, e)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("list %s in %s: %w", filter, kv.Bucket(), ctx.Err())
		}
	}
}

// pause waits before the next try, the longer the more there were, about 10 ms to 1 s; a new connection ends it early.
func pause(ctx context.Context, tries int, connected <-chan nats.Status) {
	longest := min(10*time.Millisecond<<min(tries, 10), time.Second)
	t := time.NewTimer(longest/2 + rand.N(longest/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-connected:
	case <-ctx.Done():
	}
}

// attempt runs fn under a context that ends after limit, or as soon as the connection has been made anew: what was
// asked over the old one is never answered.
func attempt(ctx context.Context, conn *nats.Conn, limit time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	connected := conn.StatusChanged(nats.CONNECTED)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-connected:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel()
		<-done
		conn.RemoveStatusListener(connected)
	}()
	return fn(ctx)
}
