package kafka_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
)

// unconnected is a queue without a broker.
func unconnected(t testing.TB) *kafka.Queue {
	t.Helper()
	cfg := kafka.DefaultConfig()
	cfg.Brokers = "127.0.0.1:1"
	q, err := kafka.Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func TestCompare(t *testing.T) {
	q := unconnected(t) // needs no broker
	for _, tc := range []struct {
		a, b mq.Position
		want int
		err  error
	}{
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
	} {
		if got, err := q.Compare(tc.a, tc.b); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("compare %q with %q = %d, %v; want %d, %v", tc.a, tc.b, got, err, tc.want, tc.err)
		}
	}
}

// FuzzPosition: what is accepted has one spelling, so equal positions are equal strings.
func FuzzPosition(f *testing.F) {
	for _, s := range []string{"", "1", "27@1763844204024", "0", "-1", "1@", "1@0", "01", "9223372036854775808@1", "1@9223372036854775808"} {
		f.Add(s)
	}
	q := unconnected(f)
	f.Fuzz(func(t *testing.T, s string) {
		p := mq.Position(s)
		c, err := q.Compare(p, p)
		if err != nil {
			if !errors.Is(err, mq.ErrPosition) {
				t.Errorf("compare %q = %v, which is not ErrPosition", s, err)
			}
			return
		}
		if c != 0 {
			t.Errorf("%q is not itself: %d", s, c)
		}
		if c, err := q.Compare(p, p+"0"); s != "0" && err == nil && c >= 0 && !strings.Contains(s, "@") {
			t.Errorf("%q does not stand before %q0: %d", s, s, c)
		}
	})
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
