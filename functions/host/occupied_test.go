package host_test

import (
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// A collection stopped because its name was taken on the target, got another name, and a third one has its first name by now. When it is
// made good it is made under that first name, so the third has to wait for it, though nothing has the name on the target.
func TestANameIsKeptForWhoIsToBeMadeUnderIt(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return call == "rename to b" })
	r.create("a", 7)
	r.rename("a", "b", 7)
	r.create("a", 8)
	r.rows("a", 8, 1, 2)
	r.say(jetstream.DropCollection, jetstream.AllLanes, "b", 7, &milvuspb.DropCollectionRequest{})
	r.rename("a", "c", 8)
	r.create("a", 9)
	r.rows("a", 9, 3, 4)
	r.create("other", 10)
	r.rows("other", 10, 1, 2)
	r.until("the other collection goes on", func() bool { return len(r.target.logs("other")) == 3 })
	if s, _ := r.stopOf(9); s.Code != handlers.CodeOccupied || r.target.logs("a") != nil {
		t.Errorf("the third: %+v, done to a: %v", s, r.target.logs("a"))
	}
	r.target.refuse(nil)
	r.until("all are made good", func() bool {
		_, err := r.stops().MarkRetries(t.Context())
		r.must(err)
		return len(r.stops().List()) == 0
	})
	if a, c := r.target.logs("a"), r.target.logs("c"); len(a) != 3 || len(c) != 4 || c[3] != "rename to c" {
		t.Errorf("done to a: %v, to c: %v", a, c)
	}
}
