package kafka_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
)

func config(brokers string) kafka.Config {
	cfg := kafka.DefaultConfig()
	cfg.Brokers = brokers
	return cfg
}

// unconnected is a queue without a broker.
func unconnected(t testing.TB) *kafka.Queue {
	t.Helper()
	return mqtest.Connect(t, kafka.Connect, config("127.0.0.1:1"))
}

func TestCompare(t *testing.T) {
	q := unconnected(t) // needs no broker
	mqtest.Compare(t, q, mqtest.Order{
		{"1", "2", -1, nil},
		{"9", "10", -1, nil},
		{"10", "9", 1, nil},
		{"7", "7", 0, nil},
		{"7@5", "7", 0, nil},
		{"7", "7@5", 0, nil},
		{"7@5", "7@5", 0, nil},
		{"7@5", "8@4", -1, nil}, // a clock may step back
		{"7@5", "7@6", 0, mq.ErrPosition},
		{"9223372036854775807", "9223372036854775806", 1, nil},
		{"0", "1", -1, nil},
		{"", "1", 0, mq.ErrPosition},
		{"1", "", 0, mq.ErrPosition},
	})
}

// FuzzPosition: what is accepted has one spelling, so equal positions are equal strings.
func FuzzPosition(f *testing.F) {
	q := unconnected(f)
	mqtest.FuzzPosition(f, q, func(t *testing.T, p mq.Position) {
		if c, err := q.Compare(p, p+"0"); p != "0" && err == nil && c >= 0 && !strings.Contains(string(p), "@") {
			t.Errorf("%q does not stand before %q0: %d", p, p, c)
		}
	}, "", "1", "27@1763844204024", "0", "-1", "1@", "1@0", "01", "9223372036854775808@1", "1@9223372036854775808")
}

func FuzzFromMilvus(f *testing.F) {
	for _, b := range [][]byte{nil, make([]byte, 8), {1, 0, 0, 0, 0, 0, 0, 0}, []byte("12345678"), []byte("123456789")} {
		f.Add(b)
	}
	q := unconnected(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := q.FromMilvus(b)
		if (err == nil) != (len(b) == 8 && b[7] < 128) {
			t.Fatalf("%x = %q, %v", b, p, err)
		}
		if err == nil && string(p) != fmt.Sprint(binary.LittleEndian.Uint64(b)) {
			t.Errorf("%x = %q", b, p)
		}
	})
}
