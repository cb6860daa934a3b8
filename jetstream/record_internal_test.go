package jetstream

import (
	"errors"
	"testing"
)

// FuzzRecords feeds every decoder of a bucket's record with bytes of all kinds: an error that wraps ErrMalformed, or a
// record whose check passes; never a panic.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{"holder":"a","session":"b"}`,
		`{"consumer":"standby_1_0_5_0","epoch":5,"session":"x","floor":3}`, `{"consumer":"_0_0_0"}`,
		`{"passed":3,"seq":9,"lanes":2,"arrived":[1,0]}`, `{"seq":9,"lanes":2,"arrived":[1,1]}`, `{"lanes":-1,"arrived":[-1]}`,
		`{"collection_id":7,"collection":"c","lanes":{"0":5},"retry":true}`, `{"lanes":{"x":5}}`, `{"lanes":{"-1":5}}`,
		`{"worker":"w","rows":{"7":1}}`, `{"id":"x","state":"running","spec":{"name":"orders","source":"default","lanes":4,
			"select":[{"database":"default","collections":["*"]}],"targets":[{"name":"a","uri":"h:1"}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decode[leaseRecord](t, data)
		decode[laneRecord](t, data)
		decode[Task](t, data)
		decode[BridgeStatus](t, data)
		decode[LaneStatusRecord](t, data)
		if b, ok := decode[barrierRecord](t, data); ok {
			for lane := range 3 {
				b.floor(lane)
				b.state(9, lane)
				c := b
				c.arrive(9, lane, 3)
			}
		}
		if s, ok := decode[Stop](t, data); ok {
			s.Holds(0)
		}
	})
}

func decode[T checked](t *testing.T, data []byte) (T, bool) {
	rec, err := decodeRecord[T]("k", data)
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Errorf("error = %v, want ErrMalformed", err)
	}
	return rec, err == nil
}

// FuzzConsumerName: what parses is what String writes, and what String writes parses.
func FuzzConsumerName(f *testing.F) {
	f.Add("standby", 3, uint64(7), uint64(0))
	f.Add("a_1_2_3", 63, uint64(1)<<63, uint64(9))
	f.Add("", 0, uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, target string, lane int, epoch, generation uint64) {
		_, _ = parseConsumerName(target)
		if lane < 0 {
			return
		}
		want := consumerName{target, lane, epoch, generation}
		got, err := parseConsumerName(want.String())
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", want, got, err)
		}
	})
}

// FuzzParseTask: a task file is refused, or its spec can be validated, resolved and read back.
func FuzzParseTask(f *testing.F) {
	f.Add([]byte("name: orders\nselect: [{collections: ['*']}]\ntargets: [{name: a, uri: 'h:1'}]\n"))
	f.Add([]byte(`{"name": "a", "lanes": 1e3}`))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		spec, err := ParseTask(file)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error = %v, want ErrMalformed", err)
			}
			return
		}
		valid := spec.Validate() == nil
		r := spec.Resolve([]QualifiedName{{"default", "a"}})
		if valid && len(spec.Select) == 0 || len(r.Matched) > 1 {
			t.Errorf("%+v is valid and comes to %+v", spec, r)
		}
	})
}
