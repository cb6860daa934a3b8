package host_test

import (
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/jetstream"
)

// apart returns when the two lanes are held by two workers.
func (r *refusal) apart() {
	r.t.Helper()
	leases, err := jetstream.NewLeases(r.js, r.buckets.Leases, jetstream.LeaseConfig{})
	r.must(err)
	r.until("each worker has a lane", func() bool {
		held, err := leases.Holders(r.t.Context(), "lane")
		r.must(err)
		who := map[string]bool{}
		for _, h := range held {
			who[h] = true
		}
		return len(held) == 2 && len(who) == 2
	})
}

// alias says that a collection gets a further name.
func (r *refusal) alias(name, of string, id int64) {
	r.say(jetstream.CreateAlias, jetstream.SettingsLane, of, id, &milvuspb.CreateAliasRequest{Alias: name})
}

// A name was an alias, and is a collection's then. The lane of the settings is behind; another one may not make the
// collection before that lane has dropped the alias.
func TestAnAliasIsGoneBeforeACollectionHasItsName(t *testing.T) {
	r := newRefusal(t)
	r.apart()
	r.target.dropping = make(chan struct{})
	r.create("a", 7)
	r.alias("x", "a", 7)
	r.until("the alias is there", func() bool { return r.target.named("x") })
	r.rows("a", 7, 1, 2)
	dropAlias(r, "x", "a", 7)
	r.create("x", 8)
	r.rows("x", 8, 3, 4)
	r.until("the other lane has come as far as it gets", func() bool {
		_, stopped := r.stopOf(8)
		return len(r.target.logs("a")) == 4 || stopped
	})
	close(r.target.dropping)
	r.until("the collection has its rows", func() bool { return len(r.target.logs("x")) == 3 })
	if stops := r.stops().List(); len(stops) > 0 {
		t.Errorf("stopped: %+v", stops)
	}
}

func dropAlias(r *refusal, name, of string, id int64) {
	lane := jetstream.SettingsLane
	if !jetstream.DropAlias.Setting() {
		lane = jetstream.AllLanes
	}
	r.say(jetstream.DropAlias, lane, of, id, &milvuspb.DropAliasRequest{Alias: name})
}

// A target that refuses to drop an alias for good goes on without it, and drops it when it is willing.
func TestARefusedDropOfAnAliasIsKept(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return call == "drop alias x" })
	r.create("a", 7)
	r.alias("x", "a", 7)
	dropAlias(r, "x", "a", 7)
	r.rows("a", 7, 1, 2)
	r.until("rows go on, and the drop is kept", func() bool { return len(r.target.logs("a")) == 4 && len(r.unmets().List()) == 1 })
	r.target.refuse(nil)
	r.must(r.unmets().MarkRetry(t.Context(), r.unmets().List()[0].Setting))
	r.until("it is made good", func() bool { return len(r.unmets().List()) == 0 })
	if r.target.named("x") {
		t.Error("the alias is there")
	}
}

// A collection has stopped, and was given aliases that other collections have been given since, or that were dropped. When what it
// passed over is made good, that stays so.
func TestAnAliasThatHasMovedOnStaysThere(t *testing.T) {
	r := newRefusal(t)
	r.create("a", 7)
	r.create("b", 8)
	r.target.refuse(func(call string) bool { return call == "row 1" })
	r.rows("a", 7, 1, 2)
	r.until("it has stopped", func() bool { _, stopped := r.stopOf(7); return stopped })
	for _, name := range []string{"kept", "moved", "back"} {
		r.alias(name, "a", 7)
	}
	r.say(jetstream.AlterAlias, jetstream.SettingsLane, "b", 8, &milvuspb.AlterAliasRequest{Alias: "moved"})
	dropAlias(r, "back", "a", 7)
	r.alias("back", "b", 8)
	r.until("the other has its aliases", func() bool { return r.target.names("moved") == "b" && r.target.names("back") == "b" })
	r.target.refuse(nil)
	r.must(r.stops().MarkRetry(t.Context(), 7))
	r.until("all is made good", func() bool { _, stopped := r.stopOf(7); return !stopped })
	for alias, want := range map[string]string{"kept": "a", "moved": "b", "back": "b"} {
		if got := r.target.names(alias); got != want {
			t.Errorf("alias %s is of %q, want %q", alias, got, want)
		}
	}
}
