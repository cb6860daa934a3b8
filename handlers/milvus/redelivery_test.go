//go:build servers

package milvus_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// model is what of one collection a source has set. Its steps are the changes that a real one would have let somebody make.
type model struct {
	r       *rand.Rand
	indexes map[string]string // field by the index's name
	loaded  map[string]bool   // partitions
	aliases map[string]bool
	n       int
}

var modelPartitions = []string{"_default", "p1", "p2"}

func newModel(r *rand.Rand) *model {
	return &model{r: r, indexes: map[string]string{}, loaded: map[string]bool{}, aliases: map[string]bool{}}
}

// next is one more change, as an event of the bridge.
func (m *model) next() (jetstream.Kind, proto.Message) {
	for {
		if kind, body := m.step(); body != nil {
			m.n++
			return kind, body
		}
	}
}

// step makes a change, or none if the one that it came upon can't be made now.
func (m *model) step() (jetstream.Kind, proto.Message) {
	vector := slices.Contains(slices.Collect(maps.Values(m.indexes)), "v")
	switch m.r.IntN(10) {
	case 0, 1:
		return m.createIndex()
	case 2:
		if len(m.loaded) > 0 || len(m.indexes) == 0 {
			return "", nil
		}
		name := m.any(slices.Collect(maps.Keys(m.indexes)))
		on := m.indexes[name]
		delete(m.indexes, name)
		return jetstream.DropIndex, &milvuspb.DropIndexRequest{FieldName: on, IndexName: name}
	case 3:
		if !vector {
			return "", nil
		}
		for _, p := range modelPartitions {
			m.loaded[p] = true
		}
		return jetstream.LoadCollection, &milvuspb.LoadCollectionRequest{ReplicaNumber: 1}
	case 4:
		clear(m.loaded)
		return jetstream.ReleaseCollection, &milvuspb.ReleaseCollectionRequest{}
	case 5:
		if !vector {
			return "", nil
		}
		p := m.any(modelPartitions)
		m.loaded[p] = true
		return jetstream.LoadPartitions, &milvuspb.LoadPartitionsRequest{PartitionNames: []string{p}, ReplicaNumber: 1}
	case 6:
		p := m.any(modelPartitions)
		delete(m.loaded, p)
		return jetstream.ReleasePartitions, &milvuspb.ReleasePartitionsRequest{PartitionNames: []string{p}}
	case 7:
		return jetstream.AlterCollection, &milvuspb.AlterCollectionRequest{
			Properties: pairs("collection.ttl.seconds", fmt.Sprint(1000+m.r.IntN(3)), m.any([]string{"a", "b"}), fmt.Sprint(m.n)),
		}
	}
	return m.alias()
}

func (m *model) createIndex() (jetstream.Kind, proto.Message) {
	on, name := m.any([]string{"v", "n", "s"}), m.any([]string{"i1", "i2", "i3"})
	if _, taken := m.indexes[name]; taken || slices.Contains(slices.Collect(maps.Values(m.indexes)), on) {
		return "", nil
	}
	m.indexes[name] = on
	req := &milvuspb.CreateIndexRequest{FieldName: on, IndexName: name}
	switch on {
	case "v":
		req.ExtraParams = pairs("index_type", "IVF_FLAT", "metric_type", m.any([]string{"L2", "IP"}), "params", fmt.Sprintf(`{"nlist":%d}`, 16+m.r.IntN(2)))
	case "s":
		req.ExtraParams = pairs("index_type", "Trie")
	}
	return jetstream.CreateIndex, req
}

func (m *model) alias() (jetstream.Kind, proto.Message) {
	name := "_" + m.any([]string{"x", "y"})
	if m.aliases[name] {
		delete(m.aliases, name)
		return jetstream.DropAlias, &milvuspb.DropAliasRequest{Alias: name}
	}
	m.aliases[name] = true
	return jetstream.CreateAlias, &milvuspb.CreateAliasRequest{Alias: name}
}

func (m *model) any(of []string) string {
	slices.Sort(of)
	return of[m.r.IntN(len(of))]
}

// settled is all that is set of a collection, in words.
func (w *world) settled(ref handlers.Ref) string {
	w.t.Helper()
	aliases := strings.ReplaceAll(fmt.Sprint(w.aliases(ref)), ref.Collection, "")
	return fmt.Sprintf("indexes %q, loaded %q, aliases %s, properties %v", w.indexed(ref), w.inMemory(ref), aliases, w.properties(ref))
}

// TestRedeliveredSettings applies random sequences of settings, with redeliveries: again and again it goes back to an earlier
// event and on from there, as a consumer does whose worker died. What comes of it is what comes of each once.
func TestRedeliveredSettings(t *testing.T) {
	w := newWorld(t)
	h, err := handlers.New(w.target, handlers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		m := newModel(r)
		steps := make([]jetstream.Kind, 30)
		bodies := make([]proto.Message, len(steps))
		for i := range steps {
			steps[i], bodies[i] = m.next()
		}
		apply := func(ref handlers.Ref, i int) handlers.Result {
			body, err := proto.Marshal(inCollection(bodies[i], ref.Collection))
			if err != nil {
				t.Fatal(err)
			}
			e := &jetstream.Event{ID: fmt.Sprint(i), Kind: steps[i], Database: ref.Database, Collection: ref.Collection, CollectionID: 1, Body: body}
			res := h.Apply(t.Context(), []*jetstream.Event{e})
			if res.Err != nil || len(res.Stopped) > 0 {
				t.Fatalf("%s: %+v", e.Kind, res)
			}
			return res
		}
		once, often := w.withPartitions(fmt.Sprint("once", round)), w.withPartitions(fmt.Sprint("often", round))
		for i := range steps {
			if res := apply(once, i); len(res.Unmet) > 0 {
				t.Errorf("step %d, %s: %v", i, steps[i], res.Unmet[0].Err)
			}
		}
		var order []int
		for i, left := 0, 6; i < len(steps); i++ {
			order = append(order, i)
			apply(often, i)
			if left > 0 && r.IntN(5) == 0 {
				left--
				i = max(-1, i-1-r.IntN(8))
			}
		}
		if got, want := w.settled(often), w.settled(once); got != want {
			t.Errorf("round %d, in the order %d of\n%v:\n%s\nwant\n%s", round, order, steps, got, want)
		}
		equal(t, "loaded", w.inMemory(once), slices.Sorted(maps.Keys(m.loaded))...)
		for _, line := range w.indexed(once) {
			if words := strings.Fields(line); m.indexes[words[0]] != words[1] {
				t.Errorf("index %q, want %v", line, m.indexes)
			}
		}
		if got := len(w.indexed(once)); got != len(m.indexes) {
			t.Errorf("%d indexes, want %v", got, m.indexes)
		}
	}
}

// inCollection is the request with aliases that begin with the collection's name.
func inCollection(body proto.Message, name string) proto.Message {
	body = proto.Clone(body)
	switch req := body.(type) {
	case *milvuspb.CreateAliasRequest:
		req.Alias = name + req.Alias
	case *milvuspb.DropAliasRequest:
		req.Alias = name + req.Alias
	}
	return body
}

func (w *world) withPartitions(name string) handlers.Ref {
	w.t.Helper()
	ref := w.plain(name)
	for _, p := range modelPartitions {
		w.must(w.target.CreatePartition(w.t.Context(), ref, p))
	}
	return ref
}
