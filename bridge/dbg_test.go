package bridge_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"kitestream/jetstream"
)

func (s *copySim) debug(pk int64) {
	for _, c := range s.h.cols {
		for _, l := range c.log {
			if l.key.pk == pk {
				fmt.Println("LOG", c.name, c.id, l)
			}
		}
	}
	_ = jetstream.Scan(s.ctx, s.srv.JetStream(), s.spec.Name, []string{jetstream.StreamSubjects(s.spec.Name)}, 1, func(e *jetstream.Event) error {
		switch e.Kind {
		case jetstream.Insert:
			var r msgpb.InsertRequest
			_ = proto.Unmarshal(e.Body, &r)
			m := map[string][]int64{}
			for _, f := range r.FieldsData {
				m[f.FieldName] = f.GetScalars().GetLongData().GetData()
			}
			for i, k := range m["pk"] {
				if k == pk {
					fmt.Println("EV", e.Seq, e.ID, e.Kind, e.Collection, e.CollectionID, e.Partition, e.TS, m["value"][i], "resume", e.Resume)
				}
			}
		case jetstream.Delete:
			var r msgpb.DeleteRequest
			_ = proto.Unmarshal(e.Body, &r)
			for _, k := range r.GetPrimaryKeys().GetIntId().GetData() {
				if k == pk {
					fmt.Println("EV", e.Seq, e.ID, e.Kind, e.Collection, e.CollectionID, e.Partition, e.TS)
				}
			}
		default:
			fmt.Println("EV", e.Seq, e.ID, e.Kind, e.Collection, e.TS, e.Resume)
		}
		return nil
	})
}
