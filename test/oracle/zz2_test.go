package oracle
import (
	"context"
	"testing"
	"time"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)
func TestBig(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Second)
	defer cancel()
	c, _ := client.NewClient(ctx, client.Config{Address: "127.0.0.1:28420"})
	o, _ := Dial("127.0.0.1:28420", "")
	c.DropCollection(ctx, "p3")
	f := func(n string, ty entity.FieldType) *entity.Field { return entity.NewField().WithName(n).WithDataType(ty) }
	schema := entity.NewSchema().WithName("p3").
		WithField(f("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(f("v", entity.FieldTypeFloatVector).WithDim(128))
	if err := c.CreateCollection(ctx, schema, 2); err != nil { t.Fatal(err) }
	t0:=time.Now()
	for b := range 20 {
	n:=5000
	ids, vs := make([]int64, n), make([][]float32, n)
	for i := range n { ids[i] = int64(b*n+i); vs[i]=make([]float32,128); vs[i][5]=float32(i) }
	if _,err:=c.Insert(ctx,"p3","",entity.NewColumnInt64("id",ids),entity.NewColumnFloatVector("v",128,vs)); err!=nil{t.Fatal(err)}
	}
	t.Log("insert",time.Since(t0))
	t0=time.Now()
	if err := o.Load(ctx, "default", "p3"); err != nil { t.Fatal(err) }
	t.Log("load",time.Since(t0))
	for _,k:=range []int{500,2000,5000} {
	rowsPerQuery=k
	t0=time.Now()
	tb, err := o.Read(ctx, "default", "p3"); 
	t.Log(k, len(tb.Rows), tb.Counts, tb.Stored, err, time.Since(t0))
	}
}
