package mqtest

import (
	"context"
	"testing"
	"time"
)

// Patience is how long what must happen may take. A broker that restarts takes most of it.
const Patience = time.Minute

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually returns when something is so.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, Patience)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Do repeats a request until the broker does what it says. It may be called in clean-ups, when t.Context() has ended.
func Do(t testing.TB, what string, request func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, 5*time.Second)
		err := request(try)
		stop()
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
