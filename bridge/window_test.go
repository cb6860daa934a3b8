package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/mq"
)

// message is a change as a reader would peek it; the tests write channels as lists of them.
func message(at int, kind commonpb.MsgType, ts uint64) change {
	return change{position: mq.Position(fmt.Sprint(at)), kind: kind, ts: ts}
}

// shown is what windows a channel makes, as text: tick and positions.
func shown(w *windows, msgs []change) string {
	var out []string
	for _, m := range msgs {
		if win := w.add(m); win != nil {
			var at []string
			for _, c := range win.changes {
				at = append(at, string(c.position))
			}
			out = append(out, fmt.Sprintf("%d:%s", win.to.TS, strings.Join(at, ",")))
		}
	}
	return strings.Join(out, " ")
}

const (
	tick   = commonpb.MsgType_TimeTick
	insert = commonpb.MsgType_Insert
	remove = commonpb.MsgType_Delete
)

func TestWindowOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		msgs []change
		want string
	}{
		"sorted by time, not by arrival":           {[]change{message(1, insert, 30), message(2, insert, 10), message(3, tick, 40)}, "40:2,1"},
		"newer than the tick waits":                {[]change{message(1, insert, 50), message(2, insert, 10), message(3, tick, 40), message(4, tick, 60)}, "40:2 60:1"},
		"an upsert's delete goes first":            {[]change{message(1, insert, 10), message(2, remove, 10), message(3, tick, 40)}, "40:2,1"},
		"an upsert's delete already first":         {[]change{message(1, remove, 10), message(2, insert, 10), message(3, tick, 40)}, "40:1,2"},
		"equal times keep the queue's order":       {[]change{message(1, insert, 10), message(2, insert, 10), message(3, tick, 10)}, "10:1,2"},
		"a tick that says the same again":          {[]change{message(1, tick, 40), message(2, insert, 50), message(3, tick, 40), message(4, tick, 50)}, "40: 40: 50:2"},
		"a tick that goes back says the same":      {[]change{message(1, tick, 40), message(2, insert, 40), message(3, tick, 30), message(4, tick, 50)}, "40: 40:2 50:"},
		"exactly the tick's time belongs to it":    {[]change{message(1, insert, 40), message(2, tick, 40)}, "40:1"},
		"without a tick nothing comes out":         {[]change{message(1, insert, 40), message(2, insert, 41)}, ""},
		"what waits comes out once, with the next": {[]change{message(1, insert, 90), message(2, tick, 40), message(3, tick, 80), message(4, tick, 90)}, "40: 80: 90:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shown(newWindows(Resume{}), tc.msgs); got != tc.want {
				t.Errorf("windows = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWindowLeavesOutRepeats(t *testing.T) {
	twice := message(1, insert, 10)
	twice.print = fingerprint{msgID: 7, hash: 9}
	again, other := twice, message(3, insert, 10)
	again.position = "2"
	other.print = fingerprint{msgID: 7, hash: 10} // same id, other bytes: not a repeat
	w := newWindows(Resume{})
	if got, want := shown(w, []change{twice, again, other, message(4, tick, 20)}), "20:1,3"; got != want {
		t.Errorf("windows = %q, want %q", got, want)
	}
	again.position = "5"
	if got, want := shown(w, []change{again, message(6, tick, 30)}), "30:"; got != want {
		t.Errorf("a repeat in the next window: %q, want %q", got, want)
	}
}

func TestWindowMarksLateMessages(t *testing.T) {
	w := newWindows(Resume{})
	shown(w, []change{message(1, tick, 40)})
	w.add(message(2, insert, 30))
	win := w.add(message(3, tick, 50))
	if len(win.changes) != 1 || !win.changes[0].late {
		t.Errorf("changes = %+v, want one, late", win.changes)
	}
}

// TestWindowsResume cuts random channels at every window, resumes there, and wants the very same windows again.
func TestWindowsResume(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var msgs []change
		now := uint64(100)
		for i := range 120 {
			switch rng.IntN(4) {
			case 0:
				now += uint64(rng.IntN(20))
				msgs = append(msgs, message(i, tick, now))
			case 1:
				msgs = append(msgs, message(i, remove, now+1+uint64(rng.IntN(60))))
			default:
				msgs = append(msgs, message(i, insert, now+1+uint64(rng.IntN(60))))
			}
		}
		all := cutAll(newWindows(Resume{}), msgs)
		for i, win := range all {
			from := slices.IndexFunc(msgs, func(c change) bool { return c.position == win.to.Start })
			again := cutAll(newWindows(win.to), msgs[from:])
			if a, b := fmt.Sprint(all[i+1:]), fmt.Sprint(again); a != b {
				t.Fatalf("seed %d: resumed at %s:\n%s\nwant\n%s", seed, win.to, b, a)
			}
		}
	}
}

func cutAll(w *windows, msgs []change) (out []window) {
	for _, m := range msgs {
		if win := w.add(m); win != nil {
			out = append(out, *win)
		}
	}
	return out
}

func TestResumeText(t *testing.T) {
	for _, r := range []Resume{{}, {Start: "5"}, {Start: "12:3:0", Tick: "12:9:0", TS: 470648149190115329}} {
		if got, err := ParseResume(r.String()); err != nil || got != r {
			t.Errorf("%q reads back as %v, %v", r, got, err)
		}
	}
	for _, bad := range []string{"", "1/2", "1/2/x", "1//5", "1/2/3/4", "1/2/-1"} {
		if r, err := ParseResume(bad); err == nil {
			t.Errorf("%q was read as %v", bad, r)
		}
	}
}

func FuzzPeek(f *testing.F) {
	raw, err := proto.Marshal(&msgpb.InsertRequest{Base: &commonpb.MsgBase{MsgType: insert, MsgID: 3}, CollectionID: 7, Timestamps: []uint64{9, 9}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := peek(mq.Message{Position: "1", Payload: b})
		if err == nil && (c.kind == insert || c.kind == remove) && c.ts == 0 && len(b) == 0 {
			t.Error("an empty message has rows")
		}
	})
}

func TestPeek(t *testing.T) {
	marshal := func(m proto.Message) mq.Message {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return mq.Message{Position: "1", Payload: raw}
	}
	upserted := marshal(&msgpb.InsertRequest{Base: &commonpb.MsgBase{MsgType: insert, MsgID: 3}, CollectionID: 7, Timestamps: []uint64{9, 9}})
	c, err := peek(upserted)
	if err != nil || c.ts != 9 || c.collection != 7 || c.kind != insert || c.print.msgID != 3 {
		t.Errorf("an upsert's insert, whose base has no time: %+v, %v", c, err)
	}
	for name, m := range map[string]mq.Message{
		"rows of two times": marshal(&msgpb.InsertRequest{Base: &commonpb.MsgBase{MsgType: insert}, Timestamps: []uint64{9, 10}}),
		"rows of no time":   marshal(&msgpb.DeleteRequest{Base: &commonpb.MsgBase{MsgType: remove}}),
		"no type":           marshal(&msgpb.DeleteRequest{}),
		"garbage":           {Payload: []byte("\xff\xff\xff")},
	} {
		if c, err := peek(m); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}
