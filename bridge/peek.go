package bridge

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/mq"
)

// change is one message of a channel as far as ordering needs to know it. The payload is decoded later, and only where
// the task has selected its collection.
type change struct {
	kind       commonpb.MsgType
	collection int64  // Insert and Delete only: the source's id
	ts         uint64 // the time it takes effect: the rows' timestamp, not the base's (which an upsert leaves 0)
	position   mq.Position
	payload    []byte
	print      fingerprint
	late       bool  // it came after a tick that had promised nothing of its age would come any more
	broken     error // it could not be read
}

// fingerprint tells a message that a producer sent again from one that says something new.
type fingerprint struct {
	msgID int64
	hash  uint64
}

// rank orders what carries equal timestamps. An upsert is a Delete and an Insert of one timestamp, in either order on
// the queue; applied delete last the rows would vanish (Guarantee 3).
func (c *change) rank() int {
	switch c.kind {
	case commonpb.MsgType_Delete:
		return 0
	case commonpb.MsgType_Insert:
		return 1
	default:
		return 2
	}
}

var errNoTimestamp = errors.New("message carries no timestamp")

// peek reads the kind and timestamp of a queue message without decoding its rows.
func peek(m mq.Message) (change, error) {
	raw, err := firstBytes(m.Payload, 1)
	if err != nil {
		return change{}, err
	}
	var base commonpb.MsgBase
	if err := proto.Unmarshal(raw, &base); err != nil {
		return change{}, fmt.Errorf("decode message base: %w", err)
	}
	c := change{kind: base.GetMsgType(), ts: base.GetTimestamp(), position: m.Position, payload: m.Payload}
	if c.kind == commonpb.MsgType_Insert || c.kind == commonpb.MsgType_Delete {
		if err := c.rowHeader(); err != nil {
			return change{}, err
		}
		if id := base.GetMsgID(); id != 0 {
			c.print = fingerprint{msgID: id, hash: xxhash.Sum64(m.Payload)}
		}
	}
	if c.kind == commonpb.MsgType_Undefined {
		return change{}, errors.New("message has no type")
	}
	return c, nil
}

// firstBytes finds a length-delimited field of a message that stands, as Milvus writes it, first.
func firstBytes(b []byte, num protowire.Number) ([]byte, error) {
	var found []byte
	err := eachField(b, func(n protowire.Number, t protowire.Type, v []byte) (bool, error) {
		if n != num || t != protowire.BytesType {
			return false, nil
		}
		var size int
		if found, size = protowire.ConsumeBytes(v); size < 0 {
			return false, protowire.ParseError(size)
		}
		return true, nil
	})
	return found, err
}

// rowHeader reads collectionID (field 7) and the timestamps (field 10, all equal) of an InsertRequest or DeleteRequest.
func (c *change) rowHeader() error {
	const collectionID, timestamps = 7, 10
	var seen bool
	stamp := func(v uint64) error {
		if seen && v != c.ts {
			return fmt.Errorf("rows of one message have timestamps %d and %d", c.ts, v)
		}
		c.ts, seen = v, true
		return nil
	}
	err := eachField(c.payload, func(n protowire.Number, t protowire.Type, v []byte) (bool, error) {
		switch {
		case n == collectionID && t == protowire.VarintType:
			u, _ := protowire.ConsumeVarint(v)
			c.collection = int64(u)
		case n == timestamps && t == protowire.VarintType:
			u, _ := protowire.ConsumeVarint(v)
			return false, stamp(u)
		case n == timestamps && t == protowire.BytesType:
			return false, eachVarint(v, stamp)
		}
		return false, nil
	})
	if err == nil && !seen {
		err = errNoTimestamp
	}
	return err
}

// eachVarint walks a packed field.
func eachVarint(b []byte, fn func(uint64) error) error {
	packed, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return protowire.ParseError(n)
	}
	for len(packed) > 0 {
		v, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := fn(v); err != nil {
			return err
		}
		packed = packed[n:]
	}
	return nil
}

// eachField walks the fields of a serialized message. fn is given the bytes from the value on, and says when to stop.
func eachField(b []byte, fn func(protowire.Number, protowire.Type, []byte) (bool, error)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("decode message: %w", protowire.ParseError(n))
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(num, typ, b)
		if size < 0 {
			return fmt.Errorf("decode message field %d: %w", num, protowire.ParseError(size))
		}
		if stop, err := fn(num, typ, b[:size]); stop || err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
