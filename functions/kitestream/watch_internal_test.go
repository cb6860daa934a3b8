package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

// a is a copy that goes on, b one that waits, c one that has ended.
func someCopies(rows int64) []copied {
	return []copied{
		{"default.a", jetstream.SnapshotStatus{Number: 1, Rows: rows, Total: 10_000, Rate: 500, Seconds: 12, Done: rows == 10_000}},
		{"default.b to far", jetstream.SnapshotStatus{Number: 1, Rows: 3, Error: "the collection is not loaded"}},
		{"default.c", jetstream.SnapshotStatus{Number: 1, Rows: 77, Done: true}},
	}
}

// TestBars looks at what a terminal is sent.
func TestBars(t *testing.T) {
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(screen, &pty.Winsize{Rows: 24, Cols: 160}); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&seen, screen) // ends with an error when the other side is closed
	}()
	s := newShower(tty)
	if _, ok := s.(*bars); !ok {
		t.Fatalf("a terminal is shown %T", s)
	}
	s.show(someCopies(4000))
	time.Sleep(400 * time.Millisecond) // drawn every 150 ms
	s.show(someCopies(10_000))
	s.close()
	_ = tty.Close()
	<-read
	_ = screen.Close()
	text := seen.String()
	for _, want := range []string{"40 %", "4000 of about 10000 rows, 500 rows/s, 12s left", "100 %", "10000 rows, copied", "77 rows, copied", "default.b to far", "3 rows, it waits: the collection is not loaded"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	last := text[strings.LastIndex(text, "default.a"):]
	if line, _, _ := strings.Cut(last, "\n"); !strings.Contains(line, "100 %") || !strings.Contains(line, "copied") {
		t.Errorf("at last the first bar is %q", line)
	}
}

// TestLines: where there is no terminal each copy is told of now and then, and once when it has ended.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	s := newShower(&out)
	s.show(someCopies(4000))
	s.show(someCopies(5000))
	s.show(someCopies(10_000))
	s.show(someCopies(10_000))
	s.close()
	want := "default.a: 4000 of about 10000 rows, 500 rows/s, 12s left\ndefault.b to far: 3 rows, it waits: the collection is not loaded\n" +
		"default.c: 77 rows copied\ndefault.a: 10000 rows copied\n"
	if out.String() != want {
		t.Errorf("said\n%swant\n%s", &out, want)
	}
	if f, err := os.CreateTemp(t.TempDir(), ""); err != nil {
		t.Fatal(err)
	} else if _, ok := newShower(f).(*lines); !ok {
		t.Error("a file is shown bars")
	}
}

// TestWhatIsWatched: a copy for all targets is one, others are shown with their target.
func TestWhatIsWatched(t *testing.T) {
	col := func(name, target string, done bool) control.CollectionView {
		return control.CollectionView{Database: "default", Collection: name, Snapshot: &jetstream.SnapshotStatus{Target: target, Done: done}}
	}
	v := &control.View{Bridge: control.BridgeView{State: control.Running}, Targets: []control.TargetView{
		{Name: "near", Collections: []control.CollectionView{col("a", "", true), {Database: "default", Collection: "b"}}},
		{Name: "far", Collections: []control.CollectionView{col("a", "", true), col("b", "far", true)}},
	}}
	copies := copiesOf(v)
	if len(copies) != 2 || copies[0].name != "default.a" || copies[1].name != "default.b to far" || !ended(v, copies) {
		t.Errorf("watched %+v", copies)
	}
	v.Targets[1].Collections[1] = col("b", "far", false)
	if ended(v, copiesOf(v)) {
		t.Error("one is still under way")
	}
	v.Targets[1].Collections[1] = col("b", "far", true)
	v.Bridge.Blocked = []string{"collection 7: channel x has to show what it still holds"}
	if ended(v, copiesOf(v)) {
		t.Error("one has not begun")
	}
}
