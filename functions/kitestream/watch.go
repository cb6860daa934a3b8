package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

const (
	watchEvery = 500 * time.Millisecond // between looks at a task whose copies are shown
	tellEvery  = 5 * time.Second        // between lines about a copy, where there is no terminal
)

// shower shows how far the copies of a task are. Those that it is not told of any more have ended.
type shower interface {
	show(copies []copied)
	close()
}

// copied is how far one collection's existing rows are copied to one target.
type copied struct {
	name string
	jetstream.SnapshotStatus
}

// watch shows how far the copies of existing rows are until all have ended, and gives the task as it is then.
func watch(ctx context.Context, client *control.Client, task string, to io.Writer) (*control.View, error) {
	s := newShower(to)
	defer s.close()
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for {
		v, err := client.Get(ctx, task)
		if err != nil {
			return nil, err
		}
		copies := copiesOf(v)
		s.show(copies)
		if ended(v, copies) {
			return v, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return v, nil
		}
	}
}

// copiesOf are the copies of a task, those that are for all targets once.
func copiesOf(v *control.View) (out []copied) {
	seen := map[string]bool{}
	for _, t := range v.Targets {
		for _, c := range t.Collections {
			if c.Snapshot == nil {
				continue
			}
			name := c.Database + "." + c.Collection
			if c.Snapshot.Target != "" {
				name += " to " + c.Snapshot.Target
			}
			if !seen[name] {
				seen[name] = true
				out = append(out, copied{name, *c.Snapshot})
			}
		}
	}
	return out
}

// ended reports whether no copy is under way, nor about to begin as far as the bridge tells.
func ended(v *control.View, copies []copied) bool {
	for _, c := range copies {
		if !c.Done {
			return false
		}
	}
	return v.Bridge.State == control.Running && len(v.Bridge.Blocked) == 0 || v.State == control.Deleting
}

func newShower(to io.Writer) shower {
	if f, ok := to.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bars{progress: mpb.New(mpb.WithOutput(f), mpb.WithAutoRefresh()), all: map[string]*bar{}}
	}
	return &lines{to: to, told: map[string]time.Time{}}
}

// lines tells of each copy every few seconds.
type lines struct {
	to   io.Writer
	told map[string]time.Time // when of each; the zero time: that it has ended
}

func (l *lines) show(copies []copied) {
	for _, c := range copies {
		last, known := l.told[c.name]
		switch {
		case known && last.IsZero(), !c.Done && time.Since(last) < tellEvery:
		case c.Done:
			l.told[c.name] = time.Time{}
			fmt.Fprintf(l.to, "%s: %d rows copied\n", c.name, c.Rows)
		default:
			l.told[c.name] = time.Now()
			fmt.Fprintf(l.to, "%s: %s\n", c.name, howFar(&c.SnapshotStatus))
		}
	}
}

func (l *lines) close() {}

// bars has a bar for each copy, drawn anew as it grows.
type bars struct {
	progress *mpb.Progress
	all      map[string]*bar
}

type bar struct {
	*mpb.Bar
	at   atomic.Pointer[jetstream.SnapshotStatus]
	done bool
}

func (b *bars) show(copies []copied) {
	for _, c := range copies {
		it := b.all[c.name]
		if it == nil {
			it = b.add(c)
		}
		if it.done { // the same collection may be copied again; its bar stays as it is
			continue
		}
		it.at.Store(&c.SnapshotStatus)
		if it.done = c.Done; c.Done {
			it.SetTotal(cmp.Or(c.Rows, 1), true)
			continue
		}
		it.SetTotal(max(c.Total, c.Rows+1), false) // never full before it has ended
		it.SetCurrent(c.Rows)
	}
}

func (b *bars) add(c copied) *bar {
	it := &bar{}
	it.at.Store(&c.SnapshotStatus)
	it.Bar = b.progress.AddBar(0, mpb.PrependDecorators(decor.Name(c.name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Any(func(decor.Statistics) string { return "  " + howFar(it.at.Load()) }, decor.WCSyncSpaceR)))
	b.all[c.name] = it
	return it
}

func (b *bars) close() {
	for _, it := range b.all {
		if !it.done {
			it.Abort(false)
		}
	}
	b.progress.Wait()
}

// howFar is a line about a copy.
func howFar(s *jetstream.SnapshotStatus) string {
	text := fmt.Sprintf("%d rows", s.Rows)
	if s.Total > 0 && !s.Done {
		text = fmt.Sprintf("%d of about %d rows", s.Rows, s.Total)
	}
	switch {
	case s.Done:
		return text + ", copied"
	case s.Error != "":
		return text + ", it waits: " + s.Error
	case s.Rate > 0:
		return fmt.Sprintf("%s, %.0f rows/s, %v left", text, s.Rate, time.Duration(s.Seconds*float64(time.Second)).Round(time.Second))
	}
	return text
}
