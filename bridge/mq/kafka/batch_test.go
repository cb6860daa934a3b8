package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawBatch is a batch with messages at these offsets, counted from first, that takes up length offsets.
func rawBatch(first int64, length int32, at ...int32) []byte {
	var records []byte
	for _, delta := range at {
		r := kmsg.Record{OffsetDelta: delta, Value: []byte("message")}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // without the length itself
		records = r.AppendTo(records)
	}
	b := kmsg.RecordBatch{
		FirstOffset: first, Length: int32(batchHeader - lengthAfter + len(records)), Magic: 2,
		LastOffsetDelta: length - 1, FirstTimestamp: 1763844204024, MaxTimestamp: 1763844204024,
		ProducerID: -1, NumRecords: int32(len(at)), Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func TestCut(t *testing.T) {
	two := append(rawBatch(7, 3, 0, 1, 2), rawBatch(10, 5, 4)...)
	one, rest, err := cut(two)
	if err != nil || one.first != 7 || one.next != 10 || len(rest)+len(one.raw) != len(two) {
		t.Fatalf("first batch = %d…%d, %v", one.first, one.next, err)
	}
	other, rest, err := cut(rest)
	if err != nil || other.first != 10 || other.next != 15 || len(rest) != 0 {
		t.Fatalf("second batch = %d…%d, %v", other.first, other.next, err)
	}
	for n := range len(other.raw) {
		if b, _, err := cut(other.raw[:n]); b.raw != nil || err != nil {
			t.Fatalf("%d bytes of a batch = %d…%d, %v", n, b.first, b.next, err)
		}
	}
	for at, want := range map[int]error{atMagic: errFormat, atLength: errCorrupted, 0: errCorrupted, atLastDelta: errCorrupted} {
		bad := bytes.Clone(other.raw)
		bad[at] = 0xff
		if _, _, err := cut(bad); !errors.Is(err, want) {
			t.Errorf("damaged at %d: %v, want %v", at, err, want)
		}
	}
}

func unpackAll(raw []byte, from int64) ([]*kgo.Record, error) {
	b, _, err := cut(raw)
	if err != nil || b.raw == nil {
		return nil, err
	}
	p := portion{batches: []batch{b}, answer: &kmsg.FetchResponseTopicPartition{RecordBatches: raw}}
	return p.unpack("topic", p.units()[0], from, kgo.DefaultDecompressor())
}

func TestUnpack(t *testing.T) {
	raw := rawBatch(100, 6, 0, 2, 5) // as compaction leaves it
	for from, want := range map[int64][]int64{0: {100, 102, 105}, 101: {102, 105}, 105: {105}, 106: nil} {
		got, err := unpackAll(raw, from)
		if err != nil || len(got) != len(want) {
			t.Fatalf("from %d: %d messages, %v; want %d", from, len(got), err, len(want))
		}
		for i, r := range got {
			if r.Offset != want[i] || markOf(r).stamp != 1763844204024 {
				t.Errorf("from %d: message %d at %v, want at %d", from, i, markOf(r), want[i])
			}
		}
	}
}

// TestUnpackRefusesDamage: whatever byte is wrong, messages do not just go missing.
func TestUnpackRefusesDamage(t *testing.T) {
	good := rawBatch(100, 3, 0, 1, 2)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		b, _, err := cut(bad)
		if err != nil || b.raw == nil {
			continue
		}
		got, err := unpackAll(bad, 0)
		if err == nil && (i >= 21 || len(got) != 3) { // what comes before, the checksum does not cover
			t.Errorf("byte %d is wrong: %d messages, no error", i, len(got))
		}
	}
}

// FuzzChain: whatever a broker sends, what is passed on is contiguous, and nothing is read out of bounds.
func FuzzChain(f *testing.F) {
	f.Add([]byte{}, int64(0))
	f.Add(append(rawBatch(7, 3, 0, 1, 2), rawBatch(10, 5, 4)...), int64(8))
	f.Add(append(rawBatch(7, 3, 0, 1, 2), rawBatch(9, 5, 4)...), int64(7))
	f.Add(rawBatch(100, 3, 0, 1, 2)[:70], int64(100))
	f.Fuzz(func(t *testing.T, raw []byte, want int64) {
		all, _ := chain(raw, want, func(int64) error { return errDisorder })
		p := portion{batches: all, answer: &kmsg.FetchResponseTopicPartition{RecordBatches: raw}}
		for i, b := range all {
			if b.next <= want || i > 0 && b.first != want || i == 0 && b.first > want {
				t.Fatalf("batch %d…%d when %d was wanted", b.first, b.next, want)
			}
			if got, err := p.unpack("topic", all[i:i+1], want, kgo.DefaultDecompressor()); err == nil {
				for _, r := range got {
					if r.Offset < want || r.Offset >= b.next {
						t.Fatalf("message at %d of batch %d…%d", r.Offset, b.first, b.next)
					}
				}
			}
			want = b.next
		}
	})
}
