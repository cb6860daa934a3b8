package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"google.golang.org/protobuf/proto"
)

// schemaKind is one of the shapes of Churn's collections.
type schemaKind int

const (
	plain   schemaKind = iota
	keyed              // by a partition key
	dynamic            // with VarChar keys and a binary vector
	kinds
)

func (k schemaKind) request(db, name string, rng *rand.Rand) (*milvuspb.CreateCollectionRequest, error) {
	field := func(name string, t entity.FieldType) *entity.Field {
		return entity.NewField().WithName(name).WithDataType(t)
	}
	s := entity.NewSchema().WithName(name)
	switch k {
	case plain:
		s = s.WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
			WithField(field("n", entity.FieldTypeInt64)).
			WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4))
	case keyed:
		s = s.WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
			WithField(field("n", entity.FieldTypeInt64).WithIsPartitionKey(true)).
			WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4))
	default:
		s = s.WithDynamicFieldEnabled(true).
			WithField(field("id", entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(64)).
			WithField(field("n", entity.FieldTypeInt64)).
			WithField(field("vec", entity.FieldTypeBinaryVector).WithDim(16))
	}
	raw, err := proto.Marshal(s.ProtoMessage())
	if err != nil {
		return nil, err
	}
	req := &milvuspb.CreateCollectionRequest{DbName: db, CollectionName: name, Schema: raw, ShardsNum: int32(1 + rng.IntN(2)),
		ConsistencyLevel: commonpb.ConsistencyLevel_Bounded}
	if k == keyed {
		req.NumPartitions = 3
	}
	switch rng.IntN(3) {
	case 0: // rows are to live on, so the TTL is long
		req.Properties = pairsOf("collection.ttl.seconds=" + strconv.Itoa(86400*(1+rng.IntN(9))))
	case 1:
		req.Properties = pairsOf("mmap.enabled=true collection.ttl.seconds=864000")
	}
	return req, nil
}

// indexes are parameters that an index may have, by field.
func (k schemaKind) indexes() map[string][]string {
	all := map[string][]string{
		"n": {"", "index_type=STL_SORT"},
		"vec": {
			`index_type=FLAT metric_type=L2`, `index_type=IVF_FLAT metric_type=L2 params={"nlist":16}`,
			`index_type=IVF_FLAT metric_type=IP params={"nlist":"32"}`,
			`index_type=HNSW metric_type=L2 params={"M":8,"efConstruction":32}`, `index_type=HNSW metric_type=L2 M=16 efConstruction=40`,
			`index_type=AUTOINDEX metric_type=L2`, `index_type=AUTOINDEX`,
		},
	}
	if k == dynamic {
		all["vec"] = []string{`index_type=BIN_FLAT metric_type=HAMMING`, `index_type=BIN_FLAT metric_type=JACCARD`,
			`index_type=BIN_IVF_FLAT metric_type=HAMMING params={"nlist":16}`}
	}
	return all
}

// pairsOf reads "key=value key=value".
func pairsOf(text string) (all []*commonpb.KeyValuePair) {
	for _, p := range strings.Fields(text) {
		k, v, _ := strings.Cut(p, "=")
		all = append(all, &commonpb.KeyValuePair{Key: k, Value: v})
	}
	return all
}

func (c *Churn) upsert(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	return c.write(ctx, col)
}

// churnKeys is how many keys a collection uses.
const churnKeys = 500

// write upserts rows of a seeded choice of keys to one of a collection's partitions.
func (c *Churn) write(ctx context.Context, col *churned) (string, error) {
	ids := c.keys()
	req := &milvuspb.UpsertRequest{DbName: col.db, CollectionName: col.name, NumRows: uint32(len(ids)), FieldsData: c.columns(col.kind, ids)}
	if col.kind != keyed {
		req.PartitionName = pick(c, append([]string{"_default"}, col.parts...))
	}
	r, err := c.svc.Upsert(ctx, req)
	if err == nil {
		err = answered(r.GetStatus(), nil)
	}
	return fmt.Sprintf("upsert %d rows to %s/%s", len(ids), col, req.GetPartitionName()), err
}

func (c *Churn) keys() []int64 {
	set := map[int64]bool{}
	for range 1 + c.rng.IntN(80) {
		set[c.rng.Int64N(churnKeys)] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func (c *Churn) columns(kind schemaKind, ids []int64) []*schemapb.FieldData {
	n, extra, bits := make([]int64, len(ids)), make([][]byte, len(ids)), make([][]byte, len(ids))
	vec, names := make([][]float32, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		names[i] = textKey(id)
		if n[i] = c.rng.Int64N(1000); kind == keyed {
			n[i] = id % 17 // a key stays where it is: moving is another test
		}
		extra[i] = fmt.Appendf(nil, `{"note": %d}`, c.rng.IntN(100))
		bits[i] = []byte{byte(c.rng.Uint32()), byte(c.rng.Uint32())}
		vec[i] = []float32{c.rng.Float32(), c.rng.Float32(), float32(id), -1}
	}
	cols := []entity.Column{entity.NewColumnInt64("n", n)}
	if kind == dynamic {
		cols = append(cols, entity.NewColumnVarChar("id", names), entity.NewColumnBinaryVector("vec", 16, bits), entity.NewColumnJSONBytes("", extra).WithIsDynamic(true))
	} else {
		cols = append(cols, entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", 4, vec))
	}
	data := make([]*schemapb.FieldData, len(cols))
	for i, col := range cols {
		data[i] = col.FieldData()
	}
	return data
}

func textKey(id int64) string { return "key " + strconv.FormatInt(id, 10) }

func (c *Churn) delete(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	var in []string
	for _, id := range c.keys() {
		if col.kind == dynamic {
			in = append(in, strconv.Quote(textKey(id)))
		} else {
			in = append(in, strconv.FormatInt(id, 10))
		}
	}
	req := &milvuspb.DeleteRequest{DbName: col.db, CollectionName: col.name, Expr: "id in [" + strings.Join(in, ",") + "]"}
	if col.kind != keyed && c.rng.IntN(2) == 0 {
		req.PartitionName = pick(c, append([]string{"_default"}, col.parts...))
	}
	r, err := c.svc.Delete(ctx, req)
	if err == nil {
		err = answered(r.GetStatus(), nil)
	}
	return fmt.Sprintf("delete %d keys from %s/%s", len(in), col, req.GetPartitionName()), err
}

// answered is the error of a call that failed or was refused.
func answered(s *commonpb.Status, err error) error {
	if err != nil {
		return err
	}
	if s.GetCode() != 0 || s.GetErrorCode() != commonpb.ErrorCode_Success {
		return errors.New("Milvus says no: " + s.GetReason() + " (code " + strconv.Itoa(int(s.GetCode())) + ")")
	}
	return nil
}
