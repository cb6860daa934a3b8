package oracle

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
)

func TestProbe(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	c, err := client.NewClient(ctx, client.Config{Address: "127.0.0.1:28420"})
	if err != nil {
		t.Fatal(err)
	}
	o, err := Dial("127.0.0.1:28420", "")
	if err != nil {
		t.Fatal(err)
	}
	for shards := int32(1); shards<=2; shards++ {
	t.Log("shards", shards)
	c.DropCollection(ctx, "p2")
	f := func(n string, ty entity.FieldType) *entity.Field { return entity.NewField().WithName(n).WithDataType(ty) }
	schema := entity.NewSchema().WithName("p2").
		WithField(f("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(f("i8", entity.FieldTypeInt8)).
		WithField(f("v", entity.FieldTypeFloatVector).WithDim(4))
	if err := c.CreateCollection(ctx, schema, shards); err != nil {
		t.Fatal(err)
	}
	n := 16
	ids, is, vs := make([]int64, n), make([]int8, n), make([][]float32, n)
	for i := range n {
		ids[i] = int64(i) - 4
		vs[i] = []float32{float32(i) + 0.1, 0, -1, 1e-30}
	}
	cols := func(k int8) []entity.Column {
	for i := range n { is[i] = k }
		return []entity.Column{entity.NewColumnInt64("id", ids), entity.NewColumnInt8("i8", is), 
			entity.NewColumnFloatVector("v", 4, vs)}
	}
	q := func(what string) {
		for _, of := range [][]string{{"id", "i8"}, {"count(*)"}} {
			e := "not (id in [])"
			if of[0] == "count(*)" { e = "" }
			r, err := o.svc.Query(ctx, &milvuspb.QueryRequest{DbName: "default", CollectionName: "p2", Expr: e, OutputFields: of, ConsistencyLevel: commonpb.ConsistencyLevel_Strong})
			if err != nil || r.GetStatus().GetCode() != 0 { t.Log(what, err, r.GetStatus()) }
			s := what
			for _, fd := range r.GetFieldsData() {
				s+= fmt.Sprint("  ", fd.FieldName, fd.GetScalars().GetLongData().GetData(), fd.GetScalars().GetIntData().GetData())
			}
			t.Log(s)
		}
	}
	if err := o.Load(ctx, "default", "p2"); err != nil { t.Fatal(err) }
	for k := range int8(4) {
	if _, err := c.Insert(ctx, "p2", "", cols(k)...); err != nil {
		t.Fatal(err)
	}
	q(fmt.Sprint("inserted", k))
	tb, err := o.Read(ctx, "default", "p2"); t.Log(len(tb.Rows), tb.Counts, tb.Stored, err)
		if k == 2 { if err := c.Flush(ctx, "p2", false); err != nil { t.Fatal(err) }
	q("flushed")
		}
	}
	if _, err := c.Upsert(ctx, "p2", "", cols(50)...); err != nil { t.Fatal(err) }
	q("upserted")
	tb, err := o.Read(ctx, "default", "p2")
	t.Log(tb, err)
	time.Sleep(2*time.Second)
	q("later")
	}
}
