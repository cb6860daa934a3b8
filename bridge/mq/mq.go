// Package mq reads the message queue that a source Milvus writes its changes to.
//
// Milvus spreads the changes of all collections over a few channels (by-dev-rootcoord-dml_0, …), each an ordered log
// in Pulsar, in Kafka or in the NATS server that Milvus embeds ("natsmq"). This package says what the bridge needs of
// such a queue; each kind of queue is a child package named after what it talks to, and no other package imports that
// client library. What flows in: a channel's name and the position to go on from. What flows out: the channel's
// messages from there on, undecoded, each with its position; or a GapError when they can't be had without a hole.
//
// A Queue only ever reads: it takes no durable place in the source's broker, acknowledges nothing and so holds nothing
// back there, unless it is told to (the anchor of pulsar). Where reading has got to is the caller's to keep (guarantee 1): it is the Position of a Message.
//
// Package mqtest holds the contract that every child passes on its real broker.
package mq

import "context"

// Position is where a message stands in its channel, as text. It is opaque: only the queue that made it can read it,
// and only Positions can compare it. The same message always has the same position, however often it is read.
type Position string

// Message is one message of a channel, as Milvus wrote it. Payload and Properties are the receiver's to keep.
type Message struct {
	Position   Position
	Payload    []byte
	Properties map[string]string // nil when Milvus sent none
}

// Queue opens the channels of one source for reading. Its methods may be called concurrently.
type Queue interface {
	// Open returns a reader whose first message is the one at from, or the oldest when from is empty. It does not
	// wait for the broker or the channel: the reader does, in Next, for as long as it takes. An error is final, and
	// wraps ErrPosition when from is not a position of this kind of queue.
	//
	// The reader must be closed; it outlives ctx.
	Open(ctx context.Context, channel string, from Position) (Reader, error)

	// Last returns the position of the channel's newest message, empty when the channel holds none or is not there.
	// Everything appended before the call stands at or before it. When the broker does not answer, the error says so,
	// and calling again later is right.
	Last(ctx context.Context, channel string) (Position, error)

	Positions

	// Close closes every reader and the connection. What is called afterwards returns ErrClosed.
	Close() error
}

// Anchored is a Queue that can have its broker keep what is still to be read, whatever the broker's retention says. An
// anchor belongs to an owner, a task: it outlives the process, and only Abandon ends it. Where anchors are not asked for, both
// methods do nothing.
type Anchored interface {
	// Release says that the owner needs nothing before upTo of a channel any more. The broker keeps what stands at upTo and
	// behind, from the first call on until the next. An error means that it keeps more than it need: calling again later
	// is right.
	Release(ctx context.Context, owner, channel string, upTo Position) error

	// Abandon gives a channel's anchor up. It must be called when the owner is not going to read the channel any more, or
	// the broker keeps everything for ever. An error means that it has not been given up: call again.
	Abandon(ctx context.Context, owner, channel string) error

	// Leave ends this process's part in the owner's anchors, which stay in the broker: another process has them now.
	Leave(owner string)
}

// Positions understands positions without reading. It needs no broker.
type Positions interface {
	// FromMilvus reads a position as Milvus stores it, for example in a collection's start positions. Bytes that
	// Milvus could not have stored are an error that wraps ErrPosition.
	FromMilvus(b []byte) (Position, error)

	// Compare orders two positions of one channel: negative when a stands before b, zero when they are the same,
	// positive when a stands after b. Positions that cannot be ordered are an error that wraps ErrPosition.
	Compare(a, b Position) (int, error)
}

// Reader reads one channel in order, each message once and none left out (guarantees 1 and 5).
type Reader interface {
	// Next returns the next message, and waits for it as long as it takes: for the broker to come back, for the
	// channel to be created, for Milvus to write. It returns an error only
	//   - when ctx ends: that error; nothing is lost, and Next may be called again;
	//   - when the messages that should come next are gone: a *GapError, now and at every later call;
	//   - after Close: ErrClosed.
	// One goroutine at a time may call it. What a caller does not take is left in the broker but for a bounded
	// number of bytes.
	Next(ctx context.Context) (Message, error)

	// Close ends a Next that waits and frees what the reader holds, here and in the broker. It may be called from
	// any goroutine, more than once.
	Close() error
}
