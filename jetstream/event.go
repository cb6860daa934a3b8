package jetstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The lane numbers that mean more, or are no lane. Lanes count from 0.
const (
	SettingsLane = 0 // the lane of settings: every task has it

	AllLanes = -1 // the event is stored once and every lane's consumer is given it
	NoLane   = -2 // the event is for bridges only; no lane's consumer is given it
)

// CatalogChannel stands in Event.Channel for events that come from the source's etcd and from no queue channel.
const CatalogChannel = "catalog"

// SnapshotChannel stands in Event.Channel for rows that were read through the source's API.
const SnapshotChannel = "snapshot"

// Version is the version of the event's headers and body, sent as the header "ce-kitestreamversion".
const Version = 1

// Event is one ordered change on a task's stream. On the wire it is a CloudEvent in the NATS binding's binary mode
// (cloudevents/spec v1.0.2, bindings/nats-protocol-binding.md): attributes as headers "ce-…", the body as it is.
type Event struct {
	ID         string // the same however often the change is read; also the Nats-Msg-Id
	Kind       Kind
	Channel    string // physical channel on the source, or CatalogChannel
	Lane       int    // 0…lanes-1, AllLanes or NoLane
	Database   string // "default" where the source names none
	Collection string // empty for events of a database
	Partition  string // empty: none named, or every partition (Delete with PartitionID -1)

	DatabaseID   int64 // the source's ids; 0 where the kind has none
	CollectionID int64
	PartitionID  int64    // -1: every partition
	Channels     []string // CreateCollection only: the collection's physical channels on the source, one a shard

	TS       uint64 // source timestamp (TSO: unix ms << 18 | logical)
	Position string // source queue position of the message it came from; empty on CatalogChannel
	Resume   string // the bridge's resume point (bridge.Resume as text) at which reading begins to see this event again
	Rows     int    // rows or keys in Body
	RowSum   uint64 // rows and keys of this collection on this lane up to and including this event
	Body     []byte

	// Snapshot is which copy of existing rows of its collection the event belongs to, from 1; 0: none. A CreateCollection that
	// has one says that they follow, before EndSnapshot.
	Snapshot int
	// Target is the only target that the event is for; empty: it is for all.
	Target string

	Source string    // the source's name (ce-source)
	Seq    uint64    // stream sequence; set when read, ignored when published
	Time   time.Time // when the source made the change, from TS (ce-time); set when read
}

// Header names of an event. Extension attributes keep to CloudEvents' rule: lower-case letters and digits.
const (
	hdrID           = "ce-id"
	hdrSource       = "ce-source"
	hdrSpec         = "ce-specversion"
	hdrType         = "ce-type"
	hdrTime         = "ce-time"
	hdrSchema       = "ce-dataschema"
	hdrContentType  = "content-type"
	hdrVersion      = "ce-kitestreamversion"
	hdrTS           = "ce-sourcets"
	hdrPosition     = "ce-position"
	hdrResume       = "ce-resume"
	hdrRows         = "ce-rows"
	hdrRowSum       = "ce-rowsum"
	hdrPartition    = "ce-partition"
	hdrDatabaseID   = "ce-databaseid"
	hdrCollectionID = "ce-collectionid"
	hdrPartitionID  = "ce-partitionid"
	hdrChannels     = "ce-channels"
	hdrSnapshot     = "ce-snapshot"
	hdrTarget       = "ce-target"
	contentJSON     = "application/json"
	typePrefix      = "io.milvus."
)

// Physical is the wall-clock part of a source timestamp.
func Physical(ts uint64) time.Time { return time.UnixMilli(int64(ts >> 18)).UTC() }

// Msg is the event as a message for the task's stream.
func (e *Event) Msg(task string) *nats.Msg {
	m := &nats.Msg{Subject: Subject(task, e), Data: e.Body, Header: make(nats.Header, 20)}
	h := m.Header
	set := func(k, v string) { h[k] = []string{v} }
	set(nats.MsgIdHdr, e.ID)
	set(hdrID, e.ID)
	set(hdrSpec, "1.0")
	set(hdrSource, "milvus/"+e.Source)
	set(hdrType, typePrefix+string(e.Kind))
	set(hdrTime, Physical(e.TS).Format(time.RFC3339Nano))
	set(hdrVersion, strconv.Itoa(Version))
	set(hdrTS, strconv.FormatUint(e.TS, 10))
	if s, ok := dataSchemas[e.Kind]; ok {
		set(hdrSchema, s)
		set(hdrContentType, "application/protobuf")
	}
	if e.Kind == Prune {
		set(hdrContentType, contentJSON)
	}
	optional := map[string]string{hdrPosition: e.Position, hdrResume: e.Resume, hdrPartition: e.Partition, hdrChannels: strings.Join(e.Channels, ","), hdrTarget: e.Target}
	for k, v := range optional {
		if v != "" {
			set(k, v)
		}
	}
	for k, v := range map[string]int64{hdrDatabaseID: e.DatabaseID, hdrCollectionID: e.CollectionID, hdrPartitionID: e.PartitionID, hdrSnapshot: int64(e.Snapshot)} {
		if v != 0 {
			set(k, strconv.FormatInt(v, 10))
		}
	}
	if e.Kind.Rows() {
		set(hdrRows, strconv.Itoa(e.Rows))
		set(hdrRowSum, strconv.FormatUint(e.RowSum, 10))
	}
	return m
}

// ParseEvent reads an event back from its subject, headers and body. The body is kept, not copied. The error wraps
// ErrMalformed for anything that Msg could not have made, ErrVersion for an event of another version or kind.
func ParseEvent(subject string, h nats.Header, body []byte) (*Event, error) {
	s, err := ParseSubject(subject)
	if err != nil {
		return nil, err
	}
	if v := h.Get(hdrVersion); v != strconv.Itoa(Version) {
		return nil, fmt.Errorf("event %q on %s has version %q, this program knows %d: %w", h.Get(hdrID), subject, v, Version, ErrVersion)
	}
	if !s.Kind.known() {
		return nil, fmt.Errorf("event %q on %s is of an unknown kind: %w", h.Get(hdrID), subject, ErrVersion)
	}
	e := &Event{
		ID: h.Get(hdrID), Kind: s.Kind, Channel: s.Channel, Lane: s.Lane, Database: s.Database, Collection: s.Collection,
		Partition: h.Get(hdrPartition), Position: h.Get(hdrPosition), Resume: h.Get(hdrResume), Target: h.Get(hdrTarget), Body: body,
	}
	if v := h.Get(hdrChannels); v != "" {
		e.Channels = strings.Split(v, ",")
	}
	e.Source = strings.TrimPrefix(h.Get(hdrSource), "milvus/")
	if e.ID == "" || h.Get(hdrType) != typePrefix+string(e.Kind) {
		return nil, fmt.Errorf("event on %s has id %q and type %q: %w", subject, e.ID, h.Get(hdrType), ErrMalformed)
	}
	if err := e.parseNumbers(h); err != nil {
		return nil, fmt.Errorf("event %q on %s: %w", e.ID, subject, err)
	}
	e.Time = Physical(e.TS)
	return e, nil
}

// parseNumbers fills the numeric attributes. An absent one is zero, but for TS, which every event carries.
func (e *Event) parseNumbers(h nats.Header) error {
	var err error
	if e.TS, err = strconv.ParseUint(h.Get(hdrTS), 10, 64); err != nil {
		return fmt.Errorf("%s %q is no timestamp: %w", hdrTS, h.Get(hdrTS), ErrMalformed)
	}
	for name, to := range map[string]*int64{hdrDatabaseID: &e.DatabaseID, hdrCollectionID: &e.CollectionID, hdrPartitionID: &e.PartitionID} {
		if v := h.Get(name); v != "" {
			if *to, err = strconv.ParseInt(v, 10, 64); err != nil {
				return fmt.Errorf("%s %q is no id: %w", name, v, ErrMalformed)
			}
		}
	}
	if v := h.Get(hdrSnapshot); v != "" {
		if e.Snapshot, err = strconv.Atoi(v); err != nil || e.Snapshot <= 0 {
			return fmt.Errorf("%s %q is no number of a snapshot: %w", hdrSnapshot, v, ErrMalformed)
		}
	}
	if !e.Kind.Rows() {
		return nil
	}
	if e.Rows, err = strconv.Atoi(h.Get(hdrRows)); err != nil || e.Rows < 0 {
		return fmt.Errorf("%s %q is no count: %w", hdrRows, h.Get(hdrRows), ErrMalformed)
	}
	if e.RowSum, err = strconv.ParseUint(h.Get(hdrRowSum), 10, 64); err != nil {
		return fmt.Errorf("%s %q is no count: %w", hdrRowSum, h.Get(hdrRowSum), ErrMalformed)
	}
	return nil
}
