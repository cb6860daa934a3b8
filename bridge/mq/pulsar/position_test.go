package pulsar_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	client "github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
)

// noPositions are what is no position of Pulsar.
func noPositions() []mq.Position {
	return []mq.Position{
		"0", "x", ":", "1:", ":1", "1:2:", "1:2:0", "1:2:-1", "1:2:3:4", "01:2", "1:02", "+1:2", "-1:2", "1:-1", "1:2 ", "1/2",
		"1:2@", "1:2@0", "1:2@x", "1:2@-5", "1:2@3@4", "1@3", "@3", "9223372036854775808:1", "1:2:2147483648",
	}
}

// noBytes are what Milvus could not have stored.
func noBytes() [][]byte {
	return [][]byte{
		nil, {}, {1}, make([]byte, 8), binary.LittleEndian.AppendUint64(nil, 27), []byte("27:4"),
		client.EarliestMessageID().Serialize(),
		client.NewMessageID(27, -1, -1, 0).Serialize(),
		client.NewMessageID(27, 4, -1, 3).Serialize(),
		client.NewMessageID(27, 4, -2, 0).Serialize(),
	}
}

func TestCompare(t *testing.T) {
	q := unconnected(t) // needs no server
	mqtest.Compare(t, q, mqtest.Order{
		{"1:1", "1:2", -1, nil},
		{"1:9", "1:10", -1, nil},
		{"9:5", "10:0", -1, nil}, // over ledgers
		{"10:0", "9:5", 1, nil},
		{"1:2", "1:2:1", -1, nil}, // in a batch
		{"1:2:9", "1:2:10", -1, nil},
		{"1:2:9", "1:3", -1, nil},
		{"0:0", "0:0", 0, nil},
		{"7:1@5", "7:1", 0, nil},
		{"7:1", "7:1@5", 0, nil},
		{"7:1@5", "7:2@4", -1, nil}, // a producer's clock may step back
		{"7:1@5", "7:1@6", 0, mq.ErrPosition},
		{"9223372036854775807:1", "9223372036854775806:1", 1, nil},
		{"", "1:1", 0, mq.ErrPosition},
		{"1:1", "", 0, mq.ErrPosition},
	})
}

func TestNoPositions(t *testing.T) {
	q := unconnected(t)
	for _, p := range noPositions() {
		if c, err := q.Compare(p, p); !errors.Is(err, mq.ErrPosition) {
			t.Errorf("compare %q with itself = %d, %v", p, c, err)
		}
	}
	for _, b := range noBytes() {
		if p, err := q.FromMilvus(b); !errors.Is(err, mq.ErrPosition) {
			t.Errorf("position from %x = %q, %v", b, p, err)
		}
	}
}

func TestFromMilvus(t *testing.T) {
	q := unconnected(t)
	for want, id := range map[mq.Position]client.MessageID{
		"27:4":                  client.NewMessageID(27, 4, -1, -1), // as a producer without batches is told
		"0:0":                   client.NewMessageID(0, 0, 0, 0),    // as a consumer is given it
		"27:4:2":                client.NewMessageID(27, 4, 2, 0),
		"9223372036854775806:7": client.NewMessageID(math.MaxInt64-1, 7, -1, 0),
	} {
		if got, err := q.FromMilvus(id.Serialize()); err != nil || got != want {
			t.Errorf("position from %v = %q, %v; want %q", id, got, err, want)
		}
	}
}

// FuzzPosition: what is accepted has one spelling, so equal positions are equal strings, and no slash.
func FuzzPosition(f *testing.F) {
	q := unconnected(f)
	mqtest.FuzzPosition(f, q, func(t *testing.T, p mq.Position) {
		if strings.Contains(string(p), "/") {
			t.Errorf("%q holds a slash", p)
		}
		if c, err := q.Compare("0:0", p); err != nil || c > 0 {
			t.Errorf("%q stands before the first: %d, %v", p, c, err)
		}
	}, append(noPositions(), "1:2", "0:0", "27:4@1763844204024", "27:4:2@1763844204024", "1:2:2147483647")...)
}

// FuzzFromMilvus: what is accepted can be opened at and compared.
func FuzzFromMilvus(f *testing.F) {
	for _, b := range noBytes() {
		f.Add(b)
	}
	f.Add(client.NewMessageID(27, 4, 2, 0).Serialize())
	q := unconnected(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := q.FromMilvus(b)
		if err != nil {
			if !errors.Is(err, mq.ErrPosition) {
				t.Errorf("%x = %v, which is not ErrPosition", b, err)
			}
			return
		}
		if c, err := q.Compare(p, p); err != nil || c != 0 {
			t.Errorf("%x = %q, which is not itself: %d, %v", b, p, c, err)
		}
	})
}
