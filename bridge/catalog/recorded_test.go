package catalog

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
)

var update = flag.Bool("update", false, "write the golden files anew")

// event is one line of a recorded watch.
type event struct {
	change
	line string
}

// recordings are what real servers wrote while they were made to create and drop things: files of events, with the views
// that come of them beside.
func recordings() []string {
	return []string{"testdata/milvus-2.3.5", "testdata/milvus-2.3.5-indexes"}
}

func readEvents(t testing.TB, recording string) []event {
	t.Helper()
	b, err := os.ReadFile(recording + ".events")
	if err != nil {
		t.Fatal(err)
	}
	var out []event
	for s := bufio.NewScanner(strings.NewReader(string(b))); s.Scan(); {
		part := strings.Split(s.Text(), " ")
		rev, err := strconv.ParseInt(part[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		value, err := base64.StdEncoding.DecodeString(part[3])
		if err != nil {
			t.Fatal(err)
		}
		c := change{key: part[2], value: value, rev: rev, gone: part[1] == "DELETE" || string(value) == tombstone}
		out = append(out, event{c, s.Text()})
	}
	return out
}

// accessText says what an Access holds, a line each.
func accessText(a *Access) string {
	var lines []string
	for u := range a.Users {
		lines = append(lines, fmt.Sprintf("  user %q\n", u))
	}
	for r := range a.Roles {
		lines = append(lines, fmt.Sprintf("  role %q\n", r))
	}
	for m := range a.Members {
		lines = append(lines, fmt.Sprintf("  member %q\n", m))
	}
	for g := range a.Grants {
		lines = append(lines, fmt.Sprintf("  grant %q\n", g))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// text is all that a View says, in an order.
func text(v *View) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(v.Databases)) {
		db := v.Databases[id]
		fmt.Fprintf(&b, "  database %d %q %s %d\n", db.ID, db.Name, db.State, db.Created)
	}
	for _, id := range slices.Sorted(maps.Keys(v.Collections)) {
		c := v.Collections[id]
		fmt.Fprintf(&b, "  collection %d %q %s in %d, created %d, %s, %d shards %v %v starts %v %v\n", c.ID, c.Name, c.State,
			c.DatabaseID, c.Created, c.Consistency, c.Shards, c.Channels, c.VirtualChannels, c.Starts, pairs(c.Properties))
		s := c.Schema
		fmt.Fprintf(&b, "    %d schema %q %q dynamic %t %v\n", c.ID, s.GetName(), s.GetDescription(), s.GetEnableDynamicField(), pairs(s.GetProperties()))
		for _, f := range s.GetFields() {
			fmt.Fprintf(&b, "    %d field %d %q %q %s key %t auto %t partition %t dynamic %t %s %v\n", c.ID, f.GetFieldID(), f.GetName(),
				f.GetDescription(), f.GetDataType(), f.GetIsPrimaryKey(), f.GetAutoID(), f.GetIsPartitionKey(), f.GetIsDynamic(),
				f.GetElementType(), pairs(f.GetTypeParams()))
		}
		for _, f := range s.GetFunctions() {
			fmt.Fprintf(&b, "    %d function %d %q\n", c.ID, f.GetId(), f.GetName())
		}
		for _, pid := range slices.Sorted(maps.Keys(c.Partitions)) {
			p := c.Partitions[pid]
			fmt.Fprintf(&b, "    %d partition %d %q %s %d\n", c.ID, p.ID, p.Name, p.State, p.Created)
		}
		if l := c.Load; l != nil {
			fmt.Fprintf(&b, "    %d load of %s %s, %d replicas, partitions %v\n", c.ID, l.Type, l.State, l.Replicas, l.Partitions)
		}
		for _, iid := range slices.Sorted(maps.Keys(c.Indexes)) {
			ix := c.Indexes[iid]
			fmt.Fprintf(&b, "    %d index %d %q of %d auto %t created %d %v %v %v\n", c.ID, ix.ID, ix.Name, ix.FieldID, ix.Auto, ix.Created,
				pairs(ix.TypeParams), pairs(ix.Params), pairs(ix.UserParams))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(v.Aliases), compareAliases) {
		a := v.Aliases[key]
		fmt.Fprintf(&b, "  alias %v %q of %d in %d %s %d\n", key, a.Name, a.CollectionID, a.DatabaseID, a.State, a.Created)
	}
	b.WriteString(accessText(v.Access))
	for _, key := range slices.Sorted(maps.Keys(v.Unreadable)) {
		fmt.Fprintf(&b, "  unreadable %s\n", key)
	}
	return b.String()
}

func compareAliases(a, b AliasKey) int {
	return cmp.Or(cmp.Compare(a.DatabaseID, b.DatabaseID), cmp.Compare(a.Name, b.Name))
}

func pairs(kvs []*commonpb.KeyValuePair) []string {
	var out []string
	for _, kv := range kvs {
		out = append(out, kv.GetKey()+"="+kv.GetValue())
	}
	return out
}

// diff is the lines that went and those that came.
func diff(before, after string) string {
	was, is := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	var b strings.Builder
	for _, l := range was {
		if l != "" && !slices.Contains(is, l) {
			b.WriteString("-" + l)
		}
	}
	for _, l := range is {
		if l != "" && !slices.Contains(was, l) {
			b.WriteString("+" + l)
		}
	}
	return b.String()
}

// TestRecordedMilvus replays a real server's life, revision by revision, and compares what each
// changes in the View with the golden file.
func TestRecordedMilvus(t *testing.T) {
	for _, recording := range recordings() {
		t.Run(recording, func(t *testing.T) { testRecorded(t, recording) })
	}
}

func testRecorded(t *testing.T, recording string) {
	m := newModel("p/")
	var got strings.Builder
	events := readEvents(t, recording)
	for len(events) > 0 {
		rev := events[0].rev
		n := slices.IndexFunc(events, func(e event) bool { return e.rev != rev })
		if n < 0 {
			n = len(events)
		}
		before := text(m.last)
		e := m.edit()
		for _, ev := range events[:n] {
			e.add(ev.change)
		}
		fmt.Fprintf(&got, "revision %d\n%s", rev, diff(before, text(e.finish(rev))))
		events = events[n:]
	}
	golden := recording + ".views"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the views differ from %s; look, and run with -update\n%s", golden, got.String())
	}
}
