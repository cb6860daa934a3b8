package milvus

import (
	"context"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/encoding/protowire"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// fieldsData is the number of fields_data in milvuspb's UpsertRequest and InsertRequest.
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
	res, err := t.service.Delete(ctx, &milvuspb.DeleteRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: s.partition(partition),
		Expr: inKeys(s.Key, keys),
	})
	return t.changed(ref, check(res, err))
}

// inKeys is the expression: field in [key, …]. Milvus reads a string in it with Go's strconv.Unquote, so Quote writes
// what it reads, whatever is in the key.
func inKeys(field string, keys rows.Keys) string {
	var b strings.Builder
	b.WriteString(field)
	b.WriteString(" in [")
	text := make([]byte, 0, 64)
	for i := range keys.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if keys.Strings != nil {
			text = strconv.AppendQuote(text[:0], keys.Strings[i])
		} else {
			text = strconv.AppendInt(text[:0], keys.Ints[i], 10)
		}
		b.Write(text)
	}
	b.WriteByte(']')
	return b.String()
}
