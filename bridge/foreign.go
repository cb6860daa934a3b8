package bridge

import (
	"strconv"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
)

// foreign are the collections that share the channels and that the task does not follow. The sequencer finds them out;
// readers ask, each in its own goroutine.
type foreign struct {
	mu  sync.RWMutex
	ids map[int64]bool
}

func newForeign() *foreign { return &foreign{ids: map[int64]bool{}} }

func (f *foreign) add(collection int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[collection] = true
}

func (f *foreign) remove(collection int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, collection)
}

func (f *foreign) has(collection int64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.ids[collection]
}

// The properties that sources from about 2.5 on give their messages (milvus-wire.md, section 2); older ones give none.
const (
	propertyType       = "msg_type" // name of the message's type
	propertyCollection = "collection_id"
)

// rowsIn reports whether a message's properties say that it is rows or keys of a foreign collection: then nobody has to look
// into it. Up to 16 channels are shared by all collections, so that may be most of what is read.
func (f *foreign) rowsIn(properties map[string]string) bool {
	switch properties[propertyType] {
	case commonpb.MsgType_Insert.String(), commonpb.MsgType_Delete.String():
	default:
		return false
	}
	id, err := strconv.ParseInt(properties[propertyCollection], 10, 64)
	return err == nil && f.has(id)
}
