package rig

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/load"
	"kitestream/test/oracle"
	"kitestream/test/servers"
)

// Client is an SDK client of a server that uses a database; none stands for the default one.
func (r *Rig) Client(m *servers.Milvus, database string) client.Client {
	r.Helper()
	c, err := client.NewClient(r.Context(), client.Config{Address: m.Addr, DBName: database})
	if err != nil {
		r.Fatalf("connect to Milvus: %v", err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// Clean drops, at the test's end, the collections of the default database whose names begin with the prefix, from the
// source and the targets, so that the servers that all tests share don't fill up. Call it before processes are started:
// then they have ended when it runs.
func (r *Rig) Clean(prefix string, targets ...*servers.Milvus) {
	for _, m := range append(targets, r.Source) {
		c := r.Client(m, "")
		r.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
			defer cancel()
			all, err := c.ListCollections(ctx)
			if err != nil {
				return // a server that is gone needs no cleaning
			}
			for _, col := range all {
				if strings.HasPrefix(col.Name, prefix) {
					_ = c.DropCollection(ctx, col.Name) // the next test has another prefix
				}
			}
		})
	}
}

// Load is a load.Writer at work in the background.
type Load struct {
	*load.Writer
	r      *Rig
	stop   context.CancelFunc
	done   chan error
	failed atomic.Int64 // calls, where that is allowed
}

// Load makes the writer's collections, under names with the prefix, and begins to write to them, with a pause between
// calls. It writes until Stop, at the latest until the test's end.
func (r *Rig) Load(prefix string, seed uint64, pause time.Duration) *Load {
	r.Helper()
	return r.load(prefix, seed, func(ctx context.Context, l *Load) error { return l.Run(ctx, pause) })
}

// LoadThrough is Load for a source that goes away meanwhile: a call that fails is not made good, and the next one is made
// after a moment.
func (r *Rig) LoadThrough(prefix string, seed uint64, pause time.Duration) *Load {
	r.Helper()
	return r.load(prefix, seed, func(ctx context.Context, l *Load) error {
		for ctx.Err() == nil {
			if err := l.Run(ctx, pause); err == nil {
				break
			}
			l.failed.Add(1)
			select {
			case <-time.After(5 * look):
			case <-ctx.Done():
			}
		}
		return nil
	})
}

func (r *Rig) load(prefix string, seed uint64, write func(context.Context, *Load) error) *Load {
	r.Helper()
	l := &Load{Writer: load.New(r.Client(r.Source, ""), seed, prefix), r: r, done: make(chan error, 1)}
	if err := l.Setup(r.Context()); err != nil {
		r.Fatal(err)
	}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(r.Context())
	go func() { l.done <- write(ctx, l) }()
	r.Cleanup(func() {
		l.stop()
		if err := <-l.done; err != nil {
			r.Logf("the writer ended: %v", err)
		}
		close(l.done)
	})
	return l
}

// Stop ends the writing. A call that failed fails the test.
func (l *Load) Stop() {
	l.r.Helper()
	l.stop()
	err := <-l.done
	l.done <- nil // for the cleanup
	if err != nil {
		l.r.Fatalf("write to the source: %v", err)
	}
	l.r.Logf("written: %d rows and keys in %d calls, of which %d failed", l.Rows(), l.Ops(), l.failed.Load())
}

// Calls returns when the writer has made so many more calls.
func (l *Load) Calls(n int64) {
	l.r.Helper()
	goal := l.Ops() + n
	l.r.Until(fmt.Sprintf("%d calls of the writer", goal), func() bool {
		select {
		case err := <-l.done:
			l.done <- nil // for the cleanup
			l.r.Fatalf("write to the source: %v", err)
		default:
		}
		return l.Ops() >= goal
	})
}

// Table is a collection of the source that one test writes to, with the model of what it ought to hold.
type Table struct {
	Database, Name string
	Client         client.Client
	r              *Rig
	key            string // the primary key's name
	model          *oracle.Model
}

// Table makes a collection.
func (r *Rig) Table(database string, s *entity.Schema, shards int32, opts ...client.CreateCollectionOption) *Table {
	r.Helper()
	tb := &Table{Database: database, Name: s.CollectionName, Client: r.Client(r.Source, database), r: r}
	if err := tb.Client.CreateCollection(r.Context(), s, shards, opts...); err != nil {
		r.Fatalf("create collection %s: %v", tb.Name, err)
	}
	for _, f := range s.Fields {
		if f.PrimaryKey {
			tb.key = f.Name
		}
	}
	var err error
	if tb.model, err = oracle.NewModel(database, s.ProtoMessage()); err != nil {
		r.Fatal(err)
	}
	return tb
}

// Upsert writes rows. A dynamic field is a column "$meta" of JSON.
func (tb *Table) Upsert(partition string, columns ...entity.Column) {
	tb.r.Helper()
	if _, err := tb.Client.Upsert(tb.r.Context(), tb.Name, partition, columns...); err != nil {
		tb.r.Fatalf("upsert to %s: %v", tb.Name, err)
	}
	tb.told(tb.model.Write(partition, fields(columns)...))
}

// Insert writes rows whose keys are not there. Keys that the source gives come back and go into the model.
func (tb *Table) Insert(partition string, columns ...entity.Column) entity.Column {
	tb.r.Helper()
	keys, err := tb.Client.Insert(tb.r.Context(), tb.Name, partition, columns...)
	if err != nil {
		tb.r.Fatalf("insert into %s: %v", tb.Name, err)
	}
	data := fields(columns)
	given := true
	for _, c := range columns {
		given = given && c.Name() != tb.key
	}
	if given {
		fd := keys.FieldData()
		fd.FieldName = tb.key
		data = append(data, fd)
	}
	tb.told(tb.model.Write(partition, data...))
	return keys
}

// Delete deletes rows by key, from one partition or, with no name, from all.
func (tb *Table) Delete(partition string, keys entity.Column) {
	tb.r.Helper()
	var in []string
	fd := keys.FieldData().GetScalars()
	for _, k := range fd.GetLongData().GetData() {
		in = append(in, strconv.FormatInt(k, 10))
	}
	for _, k := range fd.GetStringData().GetData() {
		in = append(in, strconv.Quote(k))
	}
	if err := tb.Client.Delete(tb.r.Context(), tb.Name, partition, fmt.Sprintf("%s in [%s]", tb.key, strings.Join(in, ","))); err != nil {
		tb.r.Fatalf("delete from %s: %v", tb.Name, err)
	}
	tb.told(tb.model.Delete(partition, keys.FieldData()))
}

// CreatePartition makes a partition.
func (tb *Table) CreatePartition(name string) {
	tb.r.Helper()
	if err := tb.Client.CreatePartition(tb.r.Context(), tb.Name, name); err != nil {
		tb.r.Fatalf("create partition %s of %s: %v", name, tb.Name, err)
	}
	tb.model.CreatePartition(name)
}

// DropPartition drops a partition with its rows.
func (tb *Table) DropPartition(name string) {
	tb.r.Helper()
	if err := tb.Client.DropPartition(tb.r.Context(), tb.Name, name); err != nil {
		tb.r.Fatalf("drop partition %s of %s: %v", name, tb.Name, err)
	}
	tb.model.DropPartition(name)
}

// Drop drops the collection.
func (tb *Table) Drop() {
	tb.r.Helper()
	if err := tb.Client.DropCollection(tb.r.Context(), tb.Name); err != nil {
		tb.r.Fatalf("drop %s: %v", tb.Name, err)
	}
}

// told fails the test when the model does not take a call that Milvus took.
func (tb *Table) told(err error) {
	tb.r.Helper()
	if err != nil {
		tb.r.Fatalf("tell the model of %s: %v", tb.Name, err)
	}
}

func fields(columns []entity.Column) []*schemapb.FieldData {
	out := make([]*schemapb.FieldData, len(columns))
	for i, c := range columns {
		out[i] = c.FieldData()
	}
	return out
}
