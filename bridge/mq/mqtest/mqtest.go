// Package mqtest is the contract of a message queue reader (mq.Queue), as a test suite. Every child of bridge/mq runs
// it on its real broker; what is asked of all of them stands here and nowhere else.
//
// What flows in is a Broker, which lets the suite write to channels, trim them and break them; what flows out is a
// verdict by case, each named for what it promises.
//
// Beside the suite it holds what the children's own tests have in common: numbered messages and how they are read
// (Expect, UntilGap), a Channel with tests that go by a Proxy, a Log, an Authority, and Milvus as the writer.
package mqtest

import (
	"crypto/rand"
	"maps"
	"slices"
	"testing"

	"kitestream/bridge/mq"
)

// Broker is the hold that the suite has on a real broker. Every function is called on the test's own goroutine and
// ends the test when it cannot do what it says. Only Restart may be nil: then another Broker of the same kind must
// have one.
type Broker struct {
	// Connect makes a queue for this test alone. The suite closes it.
	Connect func(t *testing.T) mq.Queue
	// Create makes an empty channel.
	Create func(t testing.TB, channel string)
	// Append writes messages in this order and returns, once they are stored, where they stand.
	Append func(t testing.TB, channel string, msgs ...Message) []mq.Position
	// Cut, unless it is nil, is called before the message to which Trim may be called is appended: for brokers that keep a
	// channel in pieces and remove whole ones.
	Cut func(t testing.TB, channel string)
	// Trim removes at least every message before to, and neither to nor anything behind it.
	Trim func(t *testing.T, channel string, to mq.Position)
	// Delete removes a channel with all it holds, if it is there.
	Delete func(t testing.TB, channel string)
	// Restart ends the broker the hard way and returns when it takes messages again. Its data stay.
	Restart func(t *testing.T)

	// Ahead is the position n messages behind the newest: with 1 that of the next message to be written.
	Ahead func(t *testing.T, channel string, n int) mq.Position
	// Milvus is a position in the bytes in which Milvus keeps it.
	Milvus func(t *testing.T, p mq.Position) []byte
	// NoPositions and NoBytes are what Open and Compare, and FromMilvus, must refuse.
	NoPositions []mq.Position
	NoBytes     [][]byte

	// MaxPayload is the size in bytes of the largest message that the broker takes.
	MaxPayload int
	// Prefetch is how many bytes a reader may hold that its caller has not taken, one message aside.
	Prefetch int
	// Foreign names, by parts of their stacks, goroutines that belong to the broker, where it runs in this process.
	Foreign []string
}

// Message is a message to be written.
type Message struct {
	Payload    []byte
	Properties map[string]string
}

// cases are tests by the promise that each holds the reader to.
type cases map[string]func(*suite)

// Run runs every case as a subtest.
func Run(t *testing.T, b Broker) {
	groups := []cases{readingCases(), positionCases(), gapCases(), callerCases(), closeCases(), flowCases()}
	if b.Restart != nil {
		groups = append(groups, restartCases())
	}
	for _, group := range groups {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			t.Run(name, func(t *testing.T) { group[name](newSuite(t, b)) })
		}
	}
}

// newChannel is the name of a channel that does not exist. Whatever gets created under it is gone after the test.
func (b Broker) newChannel(t *testing.T) string {
	name := "kitestream-contract-" + rand.Text()
	t.Cleanup(func() { b.Delete(t, name) })
	return name
}
