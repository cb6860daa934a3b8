package jetstream_test

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kitestream/jetstream"
)

// An event's subject says which filters it passes.
func ExampleSubject() {
	e := &jetstream.Event{
		ID: "by-dev-rootcoord-dml_0:17:2:0", Kind: jetstream.Insert, Channel: "by-dev-rootcoord-dml_0", Lane: 2,
		Database: "default", Collection: "books v1.2",
	}
	fmt.Println(jetstream.Subject("orders", e))
	fmt.Println(jetstream.LaneSubjects("orders", 2))
	fmt.Println(jetstream.ChannelSubjects("orders", e.Channel))
	// Output:
	// ks.orders.by-dev-rootcoord-dml_0.2.default.books=20v1=2E2.insert
	// [ks.orders.*.2.> ks.orders.*.all.>]
	// ks.orders.by-dev-rootcoord-dml_0.>
}

// Any NATS client may read the events; this one is told what an event says.
func ExampleParseEvent() {
	m := (&jetstream.Event{
		ID: "by-dev-rootcoord-dml_0:17:2:0", Kind: jetstream.Delete, Channel: "by-dev-rootcoord-dml_0", Lane: 2,
		Database: "default", Collection: "books", TS: 450_000_000_000_000_000, Rows: 3, RowSum: 120,
	}).Msg("orders")

	e, err := jetstream.ParseEvent(m.Subject, m.Header, m.Data)
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Kind, e.Rows, "rows of", e.Collection, "on lane", e.Lane, "at", e.Time.Year())
	// Output: delete 3 rows of books on lane 2 at 2024
}

// A bridge takes the stream over, looks where it stands, and goes on from there.
func ExampleOpenPublisher() {
	ctx := context.Background()
	nc, err := nats.Connect(nats.DefaultURL, nats.MaxReconnects(-1))
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		panic(err)
	}
	pub, err := jetstream.OpenPublisher(ctx, js, jetstream.PublisherConfig{Task: "orders", Holder: "bridge-1", Epoch: 42})
	if err != nil {
		panic(err)
	}
	last, err := jetstream.LastEvent(ctx, js, "orders", jetstream.ChannelSubjects("orders", "by-dev-rootcoord-dml_0"))
	if err != nil {
		panic(err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pub.Run(ctx) })
	g.Go(func() error {
		fmt.Println("going on behind", last.Position)
		if err := pub.Publish(ctx, &jetstream.Event{ID: "the next one"}); err != nil {
			return err
		}
		pub.Mark(func(seq uint64) { fmt.Println("stored up to", seq) })
		return pub.Flush(ctx)
	})
	panic(g.Wait()) // errors.Is(err, jetstream.ErrFenced): another bridge has taken over
}
