package jetstream_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/jetstream"
)

// fullEvent has every field set.
func fullEvent() *jetstream.Event {
	return &jetstream.Event{
		ID: "by-dev-rootcoord-dml_0:17:3:0", Kind: jetstream.Insert, Channel: "by-dev-rootcoord-dml_0", Lane: 3, Database: "default",
		Collection: "books", Partition: "_default", DatabaseID: 1, CollectionID: 450, PartitionID: -1, TS: 450_000_000_000_000_000,
		Position: "17", Resume: "15 449999999999999999", Rows: 2, RowSum: 1 << 63, Body: []byte{1, 2, 3}, Source: "default", Snapshot: 2, Target: "standby",
	}
}

func TestEventHeaders(t *testing.T) {
	m := fullEvent().Msg("orders")
	got := map[string]string{}
	for k, v := range m.Header {
		got[k] = v[0]
	}
	want := map[string]string{
		"Nats-Msg-Id": "by-dev-rootcoord-dml_0:17:3:0", "ce-id": "by-dev-rootcoord-dml_0:17:3:0", "ce-specversion": "1.0",
		"ce-source": "milvus/default", "ce-type": "io.milvus.insert", "ce-time": "2024-05-24T19:50:00.457Z",
		"ce-dataschema": "milvus.proto.msg.InsertRequest", "content-type": "application/protobuf", "ce-kitestreamversion": "1",
		"ce-sourcets": "450000000000000000", "ce-position": "17", "ce-resume": "15 449999999999999999", "ce-rows": "2",
		"ce-rowsum": "9223372036854775808", "ce-partition": "_default", "ce-databaseid": "1", "ce-collectionid": "450", "ce-partitionid": "-1",
		"ce-snapshot": "2", "ce-target": "standby",
	}
	want["ce-time"] = jetstream.Physical(450_000_000_000_000_000).Format(time.RFC3339Nano)
	if !maps.Equal(got, want) {
		t.Errorf("headers = %v, want %v", got, want)
	}
	if m.Subject != "ks.orders.by-dev-rootcoord-dml_0.3.default.books.insert" {
		t.Errorf("subject = %s", m.Subject)
	}
}

func TestEventThroughTheServer(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	for _, kind := range allKinds {
		e := fullEvent()
		e.ID, e.Kind, e.Collection = "e:"+string(kind), kind, "a collection.*>é"
		if !kind.Rows() {
			e.Lane, e.Rows, e.RowSum = jetstream.AllLanes, 0, 0
		}
		if err := u.Publish(r.ctx, e); err != nil {
			t.Fatal(err)
		}
		r.flush(u)
		got, err := jetstream.LastEvent(r.ctx, r.js, pubTask, jetstream.StreamSubjects(pubTask))
		if err != nil {
			t.Fatal(err)
		}
		e.Seq, e.Time = got.Seq, jetstream.Physical(e.TS)
		if !reflect.DeepEqual(got, e) {
			t.Errorf("event came back as %+v, want %+v", got, e)
		}
	}
}

func TestParseEventRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(subject *string, h nats.Header)
		want  error
	}{
		"version":       {func(_ *string, h nats.Header) { h.Set("ce-kitestreamversion", "2") }, jetstream.ErrVersion},
		"no_version":    {func(_ *string, h nats.Header) { h.Del("ce-kitestreamversion") }, jetstream.ErrVersion},
		"kind":          {func(s *string, _ nats.Header) { *s = "ks.t.c.0.d.c.truncate" }, jetstream.ErrVersion},
		"subject":       {func(s *string, _ nats.Header) { *s = "ks.t.c.0" }, jetstream.ErrMalformed},
		"no_id":         {func(_ *string, h nats.Header) { h.Del("ce-id") }, jetstream.ErrMalformed},
		"other_type":    {func(_ *string, h nats.Header) { h.Set("ce-type", "io.milvus.delete") }, jetstream.ErrMalformed},
		"no_ts":         {func(_ *string, h nats.Header) { h.Del("ce-sourcets") }, jetstream.ErrMalformed},
		"negative_ts":   {func(_ *string, h nats.Header) { h.Set("ce-sourcets", "-1") }, jetstream.ErrMalformed},
		"rows":          {func(_ *string, h nats.Header) { h.Set("ce-rows", "-1") }, jetstream.ErrMalformed},
		"no_rowsum":     {func(_ *string, h nats.Header) { h.Del("ce-rowsum") }, jetstream.ErrMalformed},
		"collection_id": {func(_ *string, h nats.Header) { h.Set("ce-collectionid", "x") }, jetstream.ErrMalformed},
		"snapshot":      {func(_ *string, h nats.Header) { h.Set("ce-snapshot", "0") }, jetstream.ErrMalformed},
		"no_headers":    {func(_ *string, h nats.Header) { clear(h) }, jetstream.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			m := fullEvent().Msg("orders")
			tc.spoil(&m.Subject, m.Header)
			if e, err := jetstream.ParseEvent(m.Subject, m.Header, m.Data); !errors.Is(err, tc.want) {
				t.Errorf("ParseEvent = %+v, %v, want %v", e, err, tc.want)
			}
		})
	}
}

func TestKindsTravel(t *testing.T) {
	barriers := []jetstream.Kind{jetstream.DropAlias, jetstream.DropCollection, jetstream.DropDatabase, jetstream.DropPartition, jetstream.Flush, jetstream.RenameCollection}
	var got []jetstream.Kind
	for _, k := range allKinds {
		if k.Barrier() {
			got = append(got, k)
		}
		if k.Rows() && k.Barrier() || k.Setting() && (k.Rows() || k.Barrier()) {
			t.Errorf("%s travels in more than one way", k)
		}
	}
	if !slices.Equal(got, barriers) {
		t.Errorf("barriers = %v, want %v", got, barriers)
	}
}

// FuzzEvent makes a message of any event and reads it back.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"ID":"a","Kind":"insert","Channel":"c","Database":"d","TS":12,"Rows":1,"RowSum":5,"Source":"s","Body":"aGk="}`))
	f.Add([]byte(`{"ID":"é","Kind":"drop_collection","Lane":-1,"Position":" x","PartitionID":-1,"DatabaseID":9223372036854775807}`))
	f.Add([]byte(`{"ID":"f","Kind":"fence","Lane":-2,"Channel":"fence","Resume":"\u0000"}`))
	f.Fuzz(func(t *testing.T, spec []byte) {
		var e jetstream.Event
		if json.Unmarshal(spec, &e) != nil || e.ID == "" {
			t.Skip()
		}
		e.Kind = allKinds[uint(len(e.Kind))%uint(len(allKinds))]
		e.Lane, e.Rows, e.Seq, e.Time = max(e.Lane, jetstream.NoLane), max(e.Rows, 0), 0, jetstream.Physical(e.TS)
		e.Snapshot = max(e.Snapshot, 0)
		if !e.Kind.Rows() {
			e.Rows, e.RowSum = 0, 0
		}
		m := e.Msg("task")
		got, err := jetstream.ParseEvent(m.Subject, m.Header, m.Data)
		if err != nil || !reflect.DeepEqual(*got, e) {
			t.Errorf("event came back as %+v, %v, want %+v", got, err, e)
		}
	})
}

// FuzzParseEvent reads any message, and what could be read comes back the same from the message made of it.
func FuzzParseEvent(f *testing.F) {
	for _, k := range allKinds {
		e := fullEvent()
		e.Kind = k
		m := e.Msg("orders")
		h, err := json.Marshal(m.Header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Subject, h, m.Data)
	}
	f.Add("ks.t.c.0.d.c.insert", []byte(`{"ce-id":["x"],"ce-kitestreamversion":["1"],"ce-type":["io.milvus.insert"],"ce-sourcets":["0"],"ce-rows":["+1"],"ce-rowsum":["1"]}`), []byte(nil))
	f.Fuzz(func(t *testing.T, subject string, header, body []byte) {
		h := nats.Header{}
		if json.Unmarshal(header, &h) != nil {
			t.Skip()
		}
		e, err := jetstream.ParseEvent(subject, h, body)
		if err != nil {
			if !errors.Is(err, jetstream.ErrMalformed) && !errors.Is(err, jetstream.ErrVersion) {
				t.Errorf("ParseEvent = %v, which wraps neither ErrMalformed nor ErrVersion", err)
			}
			return
		}
		a, err := jetstream.ParseSubject(subject)
		if err != nil {
			t.Fatal(err)
		}
		m := e.Msg(a.Task)
		again, err := jetstream.ParseEvent(m.Subject, m.Header, m.Data)
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("event came back as %+v, %v, want %+v", again, err, e)
		}
	})
}
