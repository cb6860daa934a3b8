package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"kitestream/functions/control"
	"kitestream/test/load"
)

// write writes to the source for a while, and shows how far the target is meanwhile.
func (d *demo) write(ctx context.Context, w *load.Writer) error {
	say(fmt.Sprintf("Writing to the source for %.0f s: inserts, upserts, deletes, partitions dropped, a collection dropped and made again", d.writing.Seconds()))
	until, stop := context.WithTimeout(ctx, d.writing)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(until, 2*time.Millisecond) }()
	every := time.Second
	if terminal() {
		every = 250 * time.Millisecond
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case err := <-ended:
			d.progress(ctx, w, "\n")
			if err == nil && ctx.Err() == nil {
				err = w.Recreate(ctx) // at least once
			}
			if err != nil {
				return fmt.Errorf("write to the source: %w", err)
			}
			return ctx.Err()
		case <-t.C:
			end := "\n"
			if terminal() {
				end = "\r"
			}
			d.progress(ctx, w, end)
		}
	}
}

// progress shows one line: what was written, and how far the target is behind.
func (d *demo) progress(ctx context.Context, w *load.Writer, end string) {
	out, err := d.task(ctx, "get", "demo", "-o", "json")
	if err != nil {
		return // `task wait` tells
	}
	var v control.View
	if json.Unmarshal(out, &v) != nil || len(v.Targets) == 0 {
		return
	}
	var pending uint64
	for _, l := range v.Targets[0].Lanes {
		pending += l.Pending
	}
	fmt.Printf("    source: %5d calls, %7d rows written and deleted | stream: event %6d | target: %-8s lag %s, %d events pending      %s",
		w.Ops(), w.Rows(), v.Bridge.Seq, v.Targets[0].State, v.Targets[0].Text, pending, end)
}

func terminal() bool {
	st, err := os.Stdout.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func indent(out []byte) {
	for _, line := range bytes.Split(bytes.TrimRight(out, "\n"), []byte("\n")) {
		fmt.Printf("    %s\n", line)
	}
}
