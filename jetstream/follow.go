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

var (
	errWatchEnded = errors.New("watch ended")
	errStalled    = errors.New("listing came to a halt")
)

// stallAfter is how long a listing may say nothing before it is begun anew. The client ends a listing when it has had as
// many entries as there were at its begin; an entry that expires or is removed just then never comes, and it waits for
// ever (nats.go 1.55, kv.go).
const stallAfter = 2 * time.Second

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
	w := following{conn: js.Conn(), kv: kv, filter: filter, to: f}
	w.connected = w.conn.StatusChanged(nats.CONNECTED)
	defer w.conn.RemoveStatusListener(w.connected)
	for tries := 0; ctx.Err() == nil; {
		if err := w.once(ctx); err == nil || errors.Is(err, errReconnected) {
			tries = 0
			continue
		}
		pause(ctx, tries, w.connected)
		tries++
	}
	return ctx.Err()
}

type following struct {
	conn      *nats.Conn
	kv        natsjs.KeyValue
	filter    string
	to        follower
	connected chan nats.Status
}

// once returns nil when the connection has been made anew, else why the watch ended.
func (f *following) once(ctx context.Context) error {
	f.to.begin()
	w, stop, err := watch(ctx, f.conn, f.kv, f.filter)
	if err != nil {
		return err
	}
	defer stop()
	var initial []natsjs.KeyValueEntry
	whole := false
	stall := time.NewTimer(stallAfter)
	defer stall.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			stall.Reset(stallAfter)
			switch {
			case !ok:
				return errWatchEnded
			case e == nil:
				whole = true
				f.to.full(initial)
				initial = nil
			case whole:
				f.to.change(e)
			case e.Operation() == natsjs.KeyValuePut:
				initial = append(initial, e)
			}
		case <-stall.C:
			if !whole {
				return errStalled
			}
		case <-f.connected:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch is kv.Watch with a stop that leaves nothing behind: the client's callback may stand blocked on a full channel,
// and its goroutine ends only when that is read on.
func watch(ctx context.Context, conn *nats.Conn, kv natsjs.KeyValue, filter string) (natsjs.KeyWatcher, func(), error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var w natsjs.KeyWatcher
	err := attempt(ctx, conn, requestTimeout, func(asking context.Context) (err error) {
		defer context.AfterFunc(asking, cancel)()
		w, err = kv.Watch(running, filter)
		return err
	})
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("watch %s in %s: %w", filter, kv.Bucket(), err)
	}
	detach := context.AfterFunc(ctx, cancel)
	return w, func() {
		detach()
		cancel() // unsubscribes
		for range w.Updates() {
		}
	}, nil
}

// snapshot reads every key below the filter that has a value.
func snapshot(ctx context.Context, conn *nats.Conn, kv natsjs.KeyValue, filter string) ([]natsjs.KeyValueEntry, error) {
	for {
		all, err := list(ctx, conn, kv, filter)
		if !errors.Is(err, errStalled) {
			return all, err
		}
	}
}

// list is one try at a snapshot.
func list(ctx context.Context, conn *nats.Conn, kv natsjs.KeyValue, filter string) ([]natsjs.KeyValueEntry, error) {
	w, stop, err := watch(ctx, conn, kv, filter)
	if err != nil {
		return nil, err
	}
	defer stop()
	var all []natsjs.KeyValueEntry
	stall := time.NewTimer(stallAfter)
	defer stall.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			stall.Reset(stallAfter)
			switch {
			case !ok:
				return nil, fmt.Errorf("list %s in %s: %w", filter, kv.Bucket(), errWatchEnded)
			case e == nil:
				return all, nil
			case e.Operation() == natsjs.KeyValuePut:
				all = append(all, e)
			}
		case <-stall.C:
			return nil, errStalled
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

// requestTimeout is after how long without an answer something is asked again, or given up where the caller decides.
const requestTimeout = 5 * time.Second

// errReconnected says that a question may have been lost with the connection, or its answer.
var errReconnected = errors.New("connection was made anew")

// attempt runs fn under a context that ends after limit, or as soon as the connection has been made anew: what was
// asked over the old one is never answered. Then the error wraps errReconnected. Without a connection only limit counts.
func attempt(ctx context.Context, conn *nats.Conn, limit time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if conn == nil {
		return fn(ctx)
	}
	connected := conn.StatusChanged(nats.CONNECTED)
	done := make(chan bool, 1)
	go func() {
		select {
		case <-connected:
			cancel()
			done <- true
		case <-ctx.Done():
			done <- false
		}
	}()
	err := fn(ctx)
	cancel()
	anew := <-done
	conn.RemoveStatusListener(connected)
	if err != nil && anew {
		return fmt.Errorf("%w: %w", errReconnected, err)
	}
	return err
}
