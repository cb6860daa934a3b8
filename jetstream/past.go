package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// Past is what has become of things since the events that a rewound target is given again. The target is not taken back to
// older names: what it dropped and renamed stays so, and the events are told as it is now. Their rows are applied to the
// collection under the name that it has got since; what has been dropped since is left out, and so is a setting that was set
// otherwise since. Thus a name never means two collections, nothing is dropped or renamed a second time, and no lane waits
// for another on the way. A nil Past is that of a target that was never rewound. It does not change.
type Past struct {
	rewound   rewound
	dropped   map[int64]uint64        // collection: its drop
	databases map[int64]uint64        // database: its drop
	parts     map[partOf]uint64       // the last drop of a partition of that name
	names     map[int64]QualifiedName // collection: the name that it was given last
	former    map[int64][]QualifiedName
	settings  map[string]uint64 // Setting.Key: the last event that says all of it
	checked   []*Event          // what unsafe looks at
	target    string
}

type partOf struct {
	collection int64
	name       string
}

// rewound is what a target's last rewind has left in its barriers' record, and must know as long as any of its events may be
// applied again.
type rewound struct {
	From uint64 `json:"from"` // the first event that any lane may come to again
	// Until is the last barrier that the target had carried out. Those of a collection that had stopped are carried out only up
	// to Cuts, if it is there; the lanes had passed over the rest.
	Until uint64           `json:"until"`
	Cuts  map[int64]uint64 `json:"cuts,omitempty"`
}

// reach is the last sequence up to which the target has carried out the barriers of a collection.
func (r rewound) reach(collection int64) uint64 {
	if cut, ok := r.Cuts[collection]; ok {
		return cut
	}
	return r.Until
}

// OpenPast reads what a target's workers have to know before they apply anything. It stays right until the target is rewound
// again. The error wraps ErrMalformed or ErrVersion if an event that matters can't be read.
func OpenPast(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID) (*Past, error) {
	rec, _, err := loadRecord[barrierRecord](ctx, kv, id.record(barrierKind))
	if err != nil || rec.Rewound == nil {
		return nil, err
	}
	return readPast(ctx, js, id, *rec.Rewound)
}

// errFar ends a scan.
var errFar = errors.New("what follows does not matter")

// retold are the kinds of which an earlier event may have to be told otherwise.
func retold() []Kind {
	all := []Kind{DropCollection, DropDatabase, DropPartition, RenameCollection, DropAlias, AlterField}
	for _, k := range Kinds() {
		if k.Setting() {
			all = append(all, k)
		}
	}
	return all
}

func readPast(ctx context.Context, js natsjs.JetStream, id TargetID, r rewound) (*Past, error) {
	task := id.Task.Name
	p := &Past{target: id.Name, rewound: r, dropped: map[int64]uint64{}, databases: map[int64]uint64{}, parts: map[partOf]uint64{},
		names: map[int64]QualifiedName{}, former: map[int64][]QualifiedName{}, settings: map[string]uint64{}}
	var filters []string
	for _, k := range retold() {
		filters = append(filters, KindSubjects(task, k))
	}
	err := Scan(ctx, js, task, filters, r.From, func(e *Event) error {
		if e.Seq > r.Until {
			return errFar
		}
		return p.learn(e)
	})
	if err != nil && !errors.Is(err, errFar) {
		return nil, fmt.Errorf("read what has become of collections since sequence %d of task %s: %w", r.From, task, err)
	}
	return p, nil
}

func (p *Past) learn(e *Event) error {
	if e.Seq > p.rewound.reach(e.CollectionID) || e.Target != "" && e.Target != p.target {
		return nil
	}
	switch e.Kind {
	case DropCollection:
		p.dropped[e.CollectionID] = e.Seq
	case DropDatabase:
		p.databases[e.DatabaseID] = e.Seq
	case DropPartition:
		p.parts[partOf{e.CollectionID, e.Partition}] = e.Seq
	case RenameCollection:
		to, err := e.NewName()
		if err != nil {
			return err
		}
		p.names[e.CollectionID] = to
		p.former[e.CollectionID] = append(p.former[e.CollectionID], e.Name())
		p.checked = append(p.checked, e)
	case AlterField:
		p.checked = append(p.checked, e)
	}
	if !compacted(e) {
		return nil
	}
	set, err := SettingOf(e)
	if err == nil && set.Whole {
		p.settings[set.Key] = e.Seq
	}
	return err
}

// compacted reports whether of several such events for one thing only the last ones are applied again: then an index is not
// built only to be dropped, and an alias is not given to what has been dropped since. Users and roles go together, and are
// told from the start.
func compacted(e *Event) bool { return e.Kind.Setting() && e.CollectionID != 0 || e.Kind == DropAlias }

// Now is the event as it is to be applied now; false: nothing is left of it to do.
func (p *Past) Now(e *Event) (*Event, bool) {
	switch {
	case p == nil:
		return e, true
	case e.Seq > p.rewound.reach(e.CollectionID):
		return e, !p.movedOn(e)
	}
	if p.over(e) {
		return nil, false
	}
	now, renamed := p.names[e.CollectionID]
	if renamed && e.CollectionID != 0 {
		copied := *e
		copied.Database, copied.Collection = now.Database, now.Collection
		e = &copied
	}
	if e.Kind == LoadPartitions || e.Kind == ReleasePartitions {
		return p.partitions(e)
	}
	return e, true
}

// movedOn reports whether an alias of a collection that had stopped has been given to another one since, or taken from one.
func (p *Past) movedOn(e *Event) bool {
	switch e.Kind {
	case CreateAlias, AlterAlias, DropAlias:
		set, err := SettingOf(e)
		return err == nil && e.Seq < p.settings[set.Key]
	}
	return false
}

// over reports whether an event is over and done with.
func (p *Past) over(e *Event) bool {
	switch e.Kind {
	case RenameCollection, DropPartition, DropAlias, Flush:
		return true // carried out, by all lanes
	}
	if e.CollectionID == 0 {
		return e.DatabaseID != 0 && e.Seq <= p.databases[e.DatabaseID]
	}
	if e.Seq <= p.dropped[e.CollectionID] || e.Partition != "" && e.Seq <= p.parts[partOf{e.CollectionID, e.Partition}] {
		return true
	}
	if !compacted(e) {
		return false
	}
	set, err := SettingOf(e) // an event that can't be read is for the handlers to refuse
	return err == nil && e.Seq < p.settings[set.Key]
}

// partitions leaves out of the event the partitions that have been dropped since: there may be others of those names now.
func (p *Past) partitions(e *Event) (*Event, bool) {
	there := func(names []string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return e.Seq <= p.parts[partOf{e.CollectionID, n}] })
	}
	var left int
	var body proto.Message
	var err error
	if e.Kind == LoadPartitions {
		req := &milvuspb.LoadPartitionsRequest{}
		err = proto.Unmarshal(e.Body, req)
		req.PartitionNames = there(req.PartitionNames)
		left, body = len(req.PartitionNames), req
	} else {
		req := &milvuspb.ReleasePartitionsRequest{}
		err = proto.Unmarshal(e.Body, req)
		req.PartitionNames = there(req.PartitionNames)
		left, body = len(req.PartitionNames), req
	}
	if err != nil { // for the handlers to refuse
		return e, true
	}
	copied := *e
	if copied.Body, err = proto.Marshal(body); err != nil {
		return e, true
	}
	return &copied, left > 0
}

// Names are the names, beside those it has now, under which events of a collection may be on the stream.
func (p *Past) Names(collection int64) []QualifiedName {
	if p == nil {
		return nil
	}
	return p.former[collection]
}

// unsafe is the last event behind a sequence before which nothing can be applied again, and why; nil if all can.
func (p *Past) unsafe(spec TaskSpec, to uint64) (last *Event, why string) {
	for _, e := range p.checked {
		if e.Seq <= max(to, p.dropped[e.CollectionID]) {
			continue
		}
		switch e.Kind {
		case AlterField:
			if wide(e) {
				last, why = e, "it changes how much a field may hold"
			}
		case RenameCollection:
			if to, err := e.NewName(); err != nil || spec.RuleFor(e.Name()) != spec.RuleFor(to) {
				last, why = e, fmt.Sprintf("the task has another rule for the name %s", to)
			}
		}
	}
	return last, why
}

// wide reports whether the event changes how long or how many a field's values may be. The collection can't be made with the
// field as it was before, nor rows be written that only the field of then could hold.
func wide(e *Event) bool {
	req := &milvuspb.AlterCollectionFieldRequest{}
	if err := proto.Unmarshal(e.Body, req); err != nil {
		return true
	}
	for _, kv := range req.GetProperties() {
		if kv.GetKey() == "max_length" || kv.GetKey() == "max_capacity" {
			return true
		}
	}
	return false
}
