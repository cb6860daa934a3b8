package mqtest

import (
	"errors"
	"testing"

	"kitestream/bridge/mq"
)

// Order is what Compare must say of two positions.
type Order []struct {
	A, B mq.Position
	Want int
	Err  error
}

// Compare holds a child's positions to an order.
func Compare(t *testing.T, q mq.Positions, all Order) {
	t.Helper()
	for _, tc := range all {
		if got, err := q.Compare(tc.A, tc.B); got != tc.Want || !errors.Is(err, tc.Err) {
			t.Errorf("compare %q with %q = %d, %v; want %d, %v", tc.A, tc.B, got, err, tc.Want, tc.Err)
		}
	}
}

// FuzzPosition checks that a position is either itself or refused, and what else the child says of one that is accepted.
func FuzzPosition(f *testing.F, q mq.Positions, also func(*testing.T, mq.Position), seeds ...mq.Position) {
	for _, p := range seeds {
		f.Add(string(p))
	}
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
		also(t, p)
	})
}
