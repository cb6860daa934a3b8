package natsmq_test

import (
	"encoding/binary"
	"testing"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
)

func TestCompare(t *testing.T) {
	q := connect(t, "nats://127.0.0.1:1") // needs no server
	mqtest.Compare(t, q, mqtest.Order{
		{"1", "2", -1, nil},
		{"9", "10", -1, nil},
		{"10", "9", 1, nil},
		{"7", "7", 0, nil},
		{"7@5", "7", 0, nil},
		{"7", "7@5", 0, nil},
		{"7@5", "7@5", 0, nil},
		{"7@5", "8@4", -1, nil}, // a server's clock may step back
		{"7@5", "7@6", 0, mq.ErrPosition},
		{"18446744073709551615", "18446744073709551614", 1, nil},
		{"", "1", 0, mq.ErrPosition},
		{"1", "", 0, mq.ErrPosition},
	})
}

// FuzzPosition: what is accepted has one spelling, so equal positions are equal strings.
func FuzzPosition(f *testing.F) {
	q := connect(f, "nats://127.0.0.1:1")
	mqtest.FuzzPosition(f, q, func(t *testing.T, p mq.Position) {
		if c, err := q.Compare(p, p+"0"); err == nil && c >= 0 {
			t.Errorf("%q does not stand before %q0: %d", p, p, c)
		}
	}, "", "1", "27@1763844204024594000", "0", "-1", "1@", "1@0", "01", "9223372036854775808@1", "1@9223372036854775808")
}

func FuzzFromMilvus(f *testing.F) {
	for _, b := range [][]byte{nil, make([]byte, 8), {1, 0, 0, 0, 0, 0, 0, 0}, []byte("12345678"), []byte("123456789")} {
		f.Add(b)
	}
	q := connect(f, "nats://127.0.0.1:1")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := q.FromMilvus(b)
		if (err == nil) != (len(b) == 8 && binary.LittleEndian.Uint64(b) != 0) {
			t.Fatalf("%x = %q, %v", b, p, err)
		}
		if err == nil && sequence(t, p) != binary.LittleEndian.Uint64(b) {
			t.Errorf("%x = %q", b, p)
		}
	})
}
