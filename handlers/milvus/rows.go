package milvus

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/encoding/protowire"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// fieldsData is the number of fields_data in milvuspb's UpsertRequest and in its InsertRequest.
const fieldsData protowire.Number = 5

// Upsert writes the rows in one request. Their columns go into the request as bytes: to this program's protobuf they
// are a field that it doesn't know, and to the target they are its fields_data.
func (t *Target) Upsert(ctx context.Context, ref handlers.Ref, partition string, r *rows.Rows) error {
	s, err := t.shape(ctx, ref)
	if err != nil {
		return err
	}
	columns, err := s.encode(r)
	if err != nil {
		return t.changed(ref, err)
	}
	req := &milvuspb.UpsertRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: s.partition(partition), NumRows: uint32(r.Len()),
	}
	req.ProtoReflect().SetUnknown(columns)
	done, err := t.alone(ctx, s)
	if err != nil {
		return err
	}
	defer done()
	if s.lite {
		return t.changed(ref, t.replace(ctx, req))
	}
	res, err := t.service.Upsert(ctx, req)
	return t.changed(ref, check(res, err))
}

// partition is the name to send: none in a collection with a partition key, which refuses it.
func (s *shape) partition(name string) string {
	if s.PartitionKey {
		return ""
	}
	return name
}

// encode makes the rows what the target takes in requests.
func (s *shape) encode(r *rows.Rows) ([]byte, error) {
	if len(s.computed) > 0 {
		r = r.Without(s.computed...)
	}
	if len(s.defaults) > 0 {
		r = r.MarkValid(s.defaults...)
	}
	b := r.AppendTo(nil, fieldsData, rows.CompressNulls)
	return b, s.check(b)
}

// Delete removes the keys in one request.
func (t *Target) Delete(ctx context.Context, ref handlers.Ref, partition string, keys rows.Keys) error {
	s, err := t.shape(ctx, ref)
	if err != nil {
		return err
	}
	done, err := t.alone(ctx, s)
	if err != nil {
		return err
	}
	defer done()
	res, err := t.service.Delete(ctx, &milvuspb.DeleteRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: s.partition(partition),
		Expr: s.inKeys(keys),
	})
	return t.changed(ref, check(res, err))
}

// inKeys is the expression: field in [key, …]. A string is written as Milvus, which reads it with Go's strconv.Unquote,
// and Milvus Lite, which knows no escapes but these, both read it back. A Milvus reads the least of all numbers as the
// negative of one that is too large, and refuses it; a difference it works out.
func (s *shape) inKeys(keys rows.Keys) string {
	var b strings.Builder
	b.WriteString(s.Key)
	b.WriteString(" in [")
	for i := range keys.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		s.literal(&b, keys, i)
	}
	b.WriteByte(']')
	return b.String()
}

//nolint:gochecknoglobals // made once; it never changes
var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// literal writes key i as expressions have it.
func (s *shape) literal(b *strings.Builder, keys rows.Keys, i int) {
	switch {
	case keys.Strings != nil:
		b.WriteByte('"')
		_, _ = quoted.WriteString(b, keys.Strings[i]) // a Builder takes everything
		b.WriteByte('"')
	case keys.Ints[i] == math.MinInt64 && !s.lite:
		b.WriteString("-9223372036854775807-1")
	default:
		b.WriteString(strconv.FormatInt(keys.Ints[i], 10))
	}
}
