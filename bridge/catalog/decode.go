package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Milvus's etcdpb messages are decoded by hand: the module that has them generated brings a server with it, and of each
// message a few fields matter. Fields that are not known are passed over, as protobuf wants it. Nothing that is
// returned keeps the memory of the value alive.

// field is one field of a message as it is on the wire.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	int   uint64
	bytes []byte
}

var errWireType = errors.New("has another type")

// walk visits every field of a message, in order.
func walk(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.int, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := visit(f); err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
	}
	return nil
}

func (f field) uint64(to *uint64) error {
	if f.typ != protowire.VarintType {
		return errWireType
	}
	*to = f.int
	return nil
}

func (f field) int64(to *int64) error {
	if f.typ != protowire.VarintType {
		return errWireType
	}
	*to = int64(f.int)
	return nil
}

func (f field) int32(to *int32) error {
	var n int64
	if err := f.int64(&n); err != nil {
		return err
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return fmt.Errorf("%d does not fit 32 bits", n)
	}
	*to = int32(n)
	return nil
}

func (f field) string(to *string) error {
	if f.typ != protowire.BytesType {
		return errWireType
	}
	if !utf8.Valid(f.bytes) {
		return errors.New("is not UTF-8")
	}
	*to = string(f.bytes)
	return nil
}

func (f field) appendString(to *[]string) error {
	var s string
	err := f.string(&s)
	*to = append(*to, s)
	return err
}

func (f field) bool(to *bool) error {
	var n uint64
	err := f.uint64(&n)
	*to = n != 0
	return err
}

func (f field) appendPair(to *[]*commonpb.KeyValuePair) error {
	p := &commonpb.KeyValuePair{}
	*to = append(*to, p)
	return f.message(p)
}

// walk visits every field of a message within the message.
func (f field) walk(visit func(field) error) error {
	if f.typ != protowire.BytesType {
		return errWireType
	}
	return walk(f.bytes, visit)
}

func (f field) message(to proto.Message) error {
	if f.typ != protowire.BytesType {
		return errWireType
	}
	return proto.Unmarshal(f.bytes, to)
}

// decodeDatabase reads an etcdpb.DatabaseInfo.
func decodeDatabase(b []byte, id int64) (*Database, error) {
	db := &Database{}
	var state, created uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 2:
			return f.string(&db.Name)
		case 3:
			return f.int64(&db.ID)
		case 4:
			return f.uint64(&state)
		case 5:
			return f.uint64(&created)
		case 6:
			return f.appendPair(&db.Properties)
		}
		return nil
	})
	if err == nil {
		err = checkIdentity(db.Name, db.ID, id)
	}
	if err == nil {
		db.State, err = databaseState(state)
	}
	if err != nil {
		return nil, err
	}
	db.ID, db.Created = id, databaseTime(created)
	return db, nil
}

// info is what a collection's own key says of it.
type info struct {
	db         int64 // from the key; noDatabase for a legacy key
	rev        int64 // at which the key was written
	id         int64
	schema     *schemapb.CollectionSchema // without fields, but for collections of before Milvus 2.1
	created    uint64
	virtual    []string
	channels   []string
	shards     int32
	starts     map[string][]byte
	level      commonpb.ConsistencyLevel
	state      State
	properties []*commonpb.KeyValuePair
}

// decodeCollection reads an etcdpb.CollectionInfo.
func decodeCollection(b []byte, id int64) (*info, error) {
	in := &info{schema: &schemapb.CollectionSchema{}, starts: map[string][]byte{}}
	var state uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.int64(&in.id)
		case 2:
			return f.message(in.schema)
		case 3:
			return f.uint64(&in.created)
		case 13:
			return f.uint64(&state)
		}
		return in.setting(f)
	})
	if err == nil {
		err = checkIdentity(in.schema.GetName(), in.id, id)
	}
	if err == nil && len(in.virtual) != len(in.channels) {
		err = fmt.Errorf("%d virtual channels on %d physical ones", len(in.virtual), len(in.channels))
	}
	if err == nil {
		in.state, err = stateOf(state)
	}
	if err != nil {
		return nil, err
	}
	in.id = id
	return in, nil
}

// setting takes the fields that say how a collection is laid out.
func (in *info) setting(f field) error {
	switch f.num {
	case 7:
		return f.appendString(&in.virtual)
	case 8:
		return f.appendString(&in.channels)
	case 10:
		return f.int32(&in.shards)
	case 11:
		return in.start(f)
	case 12:
		var level int32
		err := f.int32(&level)
		in.level = commonpb.ConsistencyLevel(level)
		return err
	case 14:
		return f.appendPair(&in.properties)
	}
	return nil
}

// start reads one commonpb.KeyDataPair, whose key is a physical channel.
func (in *info) start(f field) error {
	p := &commonpb.KeyDataPair{}
	if err := f.message(p); err != nil {
		return err
	}
	in.starts[p.GetKey()] = bytes.Clone(p.GetData())
	return nil
}

// decodePartition reads an etcdpb.PartitionInfo.
func decodePartition(b []byte, o object) (*Partition, error) {
	p := &Partition{}
	var state uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.int64(&p.ID)
		case 2:
			return f.string(&p.Name)
		case 3:
			return f.uint64(&p.Created)
		case 5:
			return f.uint64(&state)
		}
		return nil
	})
	if err == nil {
		err = checkIdentity(p.Name, p.ID, o.id)
	}
	if err == nil {
		p.State, err = stateOf(state)
	}
	if err != nil {
		return nil, err
	}
	p.ID = o.id
	return p, nil
}

// part is a generated message of which one key of a collection holds one.
type part interface {
	proto.Message
	GetName() string
}

// decodePart reads a part of a collection into an empty message. The id is the one that the message itself carries.
func decodePart[P part](b []byte, to P, ownID func(P) int64, id int64) (P, error) {
	if err := proto.Unmarshal(b, to); err != nil {
		return to, err
	}
	return to, checkIdentity(to.GetName(), ownID(to), id)
}

// checkIdentity refuses what decodes by chance, such as the empty value: every object has a name, and carries the id
// that is in its key. Old versions may have left the id out.
func checkIdentity(name string, id, keyID int64) error {
	if name == "" {
		return errors.New("has no name")
	}
	if id != 0 && id != keyID {
		return fmt.Errorf("is of id %d, which is not that of the key", id)
	}
	return nil
}

// stateOf maps etcdpb.CollectionState and PartitionState, which are the same.
func stateOf(n uint64) (State, error) {
	if n > uint64(Dropped) {
		return 0, fmt.Errorf("state %d is unknown", n)
	}
	return State(n), nil
}

// databaseState maps etcdpb.DatabaseState, which begins with an "unknown" that Milvus does not show to its users either.
func databaseState(n uint64) (State, error) {
	if n == 0 {
		return Creating, nil
	}
	return stateOf(n - 1)
}

// databaseTime makes a TSO of a database's time of creation. Milvus has the time in nanoseconds since 1970 there, where
// everything else has a TSO. Nanoseconds of the years from 2000 on are TSOs of the years from 2084 on.
func databaseTime(n uint64) uint64 {
	const year2000 = 946_684_800_000_000_000
	if n < year2000 {
		return n
	}
	const nanosPerMilli = 1_000_000
	return n / nanosPerMilli << 18
}
