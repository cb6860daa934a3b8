package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	errFormat    = errors.New("batch is not in the format of Kafka 0.11 or later")
	errCutOff    = errors.New("batch holds fewer messages than it says")
	errDisorder  = errors.New("batches are out of order")
	errNoBatch   = errors.New("broker sent no whole batch")
	errCorrupted = errors.New("batch is damaged")
)

// Where things stand in a record batch (format 2), in bytes. The length counts what follows it.
const (
	atLength    = 8
	atMagic     = 16
	atLastDelta = 23
	lengthAfter = 12
	batchHeader = 61
)

// batch is a record batch as the broker stores it: messages, packed together by the client that wrote them, or the mark
// that ends a transaction. It says which offsets it takes up, whether or not there is a message at each.
type batch struct {
	first, next int64 // its offsets are first…next-1
	raw         []byte
}

// cut takes the first batch off. It returns none when there is only part of one, as at the end of an answer.
func cut(in []byte) (b batch, rest []byte, err error) {
	if len(in) < lengthAfter {
		return batch{}, nil, nil
	}
	size := lengthAfter + int64(int32(binary.BigEndian.Uint32(in[atLength:])))
	switch {
	case size < batchHeader:
		return batch{}, nil, errCorrupted
	case size > int64(len(in)):
		return batch{}, nil, nil
	case in[atMagic] != 2:
		return batch{}, nil, fmt.Errorf("format %d: %w", in[atMagic], errFormat)
	}
	b.first = int64(binary.BigEndian.Uint64(in))
	last := int64(int32(binary.BigEndian.Uint32(in[atLastDelta:])))
	if b.first < 0 || last < 0 {
		return batch{}, nil, errCorrupted
	}
	b.next, b.raw = b.first+last+1, in[:size]
	return b, in[size:], nil
}

// chain returns the whole batches of an answer as far as they follow upon each other from want on. Before it passes over
// offsets that no batch takes up, it asks whether it may.
func chain(answer []byte, want int64, hole func(want int64) error) ([]batch, error) {
	var all []batch
	for rest := answer; ; {
		var b batch
		var err error
		if b, rest, err = cut(rest); err != nil {
			return all, err
		}
		switch {
		case b.raw == nil && len(all) == 0 && len(answer) > 0:
			return nil, errNoBatch
		case b.raw == nil:
			return all, nil
		case b.next <= want, b.first < want && len(all) > 0:
			return all, errDisorder
		case b.first > want:
			if err := hole(want); err != nil {
				return all, err
			}
		}
		all, want = append(all, b), b.next
	}
}

// portion is what came by one fetch: whole batches that follow upon each other.
type portion struct {
	batches []batch
	answer  *kmsg.FetchResponseTopicPartition
	bytes   int
	err     error // why nothing comes after the batches
}

// units are the batches in the parts that can be unpacked by themselves. Which messages of a transaction that was
// broken off must be left out shows only over all that came by a fetch; Milvus writes none, so each batch is a part.
func (p portion) units() [][]batch {
	if len(p.batches) == 0 {
		return nil
	}
	if len(p.answer.AbortedTransactions) > 0 {
		return [][]batch{p.batches}
	}
	units := make([][]batch, len(p.batches))
	for i := range p.batches {
		units[i] = p.batches[i : i+1]
	}
	return units
}

// unpack returns the messages of a unit from an offset on, in order, without the marks that end transactions and what
// was written in ones that were broken off.
func (p portion) unpack(topic string, unit []batch, from int64, d kgo.Decompressor) ([]*kgo.Record, error) {
	part := *p.answer
	part.RecordBatches = unit[0].raw
	if len(unit) > 1 { // all of them, one after the other in the answer
		size := 0
		for _, b := range unit {
			size += len(b.raw)
		}
		part.RecordBatches = p.answer.RecordBatches[:size]
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: topic,
	}, &part, d, nil)
	first, end := unit[0].first, unit[len(unit)-1].next
	switch {
	case got.Err != nil:
		return nil, fmt.Errorf("unpack messages of topic %s from %d: %w", topic, first, got.Err)
	case next < end:
		return nil, fmt.Errorf("unpack messages of topic %s from %d: %w", topic, first, errCutOff)
	}
	return got.Records, nil
}
