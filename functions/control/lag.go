package control

import (
	"fmt"
	"time"

	"kitestream/jetstream"
)

// Lag is computed here and nowhere else. A lane with nothing pending and nothing unacked has no lag. Of the others:
//
//   - in rows, a collection's lag is what the stream holds of it for the lane behind the lane's checkpoint, from sums that
//     the events themselves carry, so that restarts change nothing;
//   - in seconds it is the age of the first change that the lane has not applied: all before that is on the target.
//
// When every lane has applied everything the rest is how far the stream itself is behind the source.

// collectionLag is how far one collection is behind on a target.
func (f *facts) collectionLag(t *targetFacts, c jetstream.CollectionStatus) Lag {
	if f.task.State == jetstream.TaskPaused {
		return Lag{Text: string(Paused)}
	}
	var rows uint64
	var oldest time.Time
	for n := range t.lanes {
		behind, first := t.lanes[n].behind(n, c)
		rows += behind
		oldest = earlier(oldest, first)
	}
	return f.lag(rows, oldest)
}

// targetLag is that of all its collections together: the rows' sum and the oldest event.
func (f *facts) targetLag(t *targetFacts, collections []CollectionView) Lag {
	if f.task.State == jetstream.TaskPaused {
		return Lag{Text: string(Paused)}
	}
	var rows uint64
	for _, c := range collections {
		if c.Rows != nil {
			rows += *c.Rows
		}
	}
	var oldest time.Time
	for n := range t.lanes {
		if l := &t.lanes[n]; l.lags() && l.next != nil {
			oldest = earlier(oldest, moment(l.next.TS))
		}
	}
	return f.lag(rows, oldest)
}

// behind is how many rows of a collection the stream holds for the lane that the lane has not applied, and the source
// time of the first change of it; zero for none.
func (l *laneFacts) behind(lane int, c jetstream.CollectionStatus) (rows uint64, oldest time.Time) {
	if !l.lags() {
		return 0, time.Time{}
	}
	if l.next != nil && l.next.CollectionID == c.ID {
		oldest = moment(l.next.TS)
	}
	if n, ok := l.counted[c.ID]; ok {
		return n.rows, earlier(oldest, moment(n.oldest))
	}
	published, applied := c.Rows[lane], l.applied(c.ID)
	if published <= applied {
		return 0, oldest
	}
	if oldest.IsZero() && l.next != nil {
		oldest = moment(l.next.TS) // it can't be older
	}
	return published - applied, oldest
}

func (f *facts) lag(rows uint64, oldest time.Time) Lag {
	if !oldest.IsZero() {
		age := max(0, f.at.Sub(oldest))
		return Lag{Text: text(age, rows), Seconds: seconds(age), Rows: &rows}
	}
	age, known := f.behindSource()
	if !known {
		return Lag{Text: "unknown", Rows: &rows}
	}
	return Lag{Text: text(age, rows), Seconds: seconds(age), Rows: &rows}
}

// behindSource is how far the stream is behind the source: 0 while the bridge keeps up with the source's ticks.
func (f *facts) behindSource() (age time.Duration, known bool) {
	b := f.bridge
	switch {
	case b == nil:
		return 0, false
	case b.WatermarkTS == 0 && len(b.Collections) > 0:
		return 0, false
	case b.WatermarkTS == 0:
		return 0, true // nothing to read
	}
	now := b.At // a status is up to a second old, which is no lag
	if f.at.Sub(b.At) > stale {
		now = f.at
	}
	if age = now.Sub(moment(b.WatermarkTS)); age < tickDelay {
		return 0, true
	}
	return age, true
}

func text(age time.Duration, rows uint64) string {
	if rows == 0 {
		return age.Round(100 * time.Millisecond).String()
	}
	return fmt.Sprintf("%v, %d rows", age.Round(100*time.Millisecond), rows)
}

// seconds is a duration to the millisecond.
func seconds(d time.Duration) *float64 {
	s := max(0, d.Round(time.Millisecond).Seconds())
	return &s
}

// earlier is the earlier of two moments that are not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
