package control_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"kitestream/functions/control"
)

// Payloads that no endpoint may take: each is broken by construction, however it was drawn.
func hostile(rng *rand.Rand) []byte {
	valid := `{"name":"orders","source":"default","select":[{"collections":["*"]}],"lanes":2,"targets":[{"name":"x","uri":"http://h:1"}]}`
	switch rng.IntN(9) {
	case 0: // noise
		b := make([]byte, 1+rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return append([]byte{byte('a' + rng.IntN(26))}, b...)
	case 1: // cut short
		return []byte(valid[:1+rng.IntN(len(valid)-1)])
	case 2: // an unknown field at the end, in anything
		return []byte(fmt.Sprintf(`{"name":"orders","x%d":%d}`, rng.Uint32(), rng.Uint32()))
	case 3: // one byte flipped to one that is in no JSON outside strings, before the first string
		return []byte(string(rune(1+rng.IntN(8))) + valid)
	case 4: // deep
		n := 1 + rng.IntN(50)
		if n == 1 {
			n = 11000 // deeper than encoding/json goes
		}
		return []byte(strings.Repeat(`{"name":`, n) + "1" + strings.Repeat("}", n))
	case 5: // names of tasks that can't be
		name, _ := json.Marshal([]string{"", ".", "*", ">", "a.b", "A", strings.Repeat("a", 49), "ks.>", "\x00", "../x", "$KV"}[rng.IntN(11)])
		return []byte(`{"name":` + string(name) + `}`)
	case 6: // wrong types
		return []byte(fmt.Sprintf(`{"name":%s}`, []string{"1", "[]", "{}", "true", "1e999", "-0"}[rng.IntN(6)]))
	case 7: // two of them
		return []byte(valid + " " + valid)
	default: // wild but well-formed
		return []byte([]string{`null`, `[]`, `"x"`, `1`, `{"":""}`, ` `, "\xef\xbb\xbf{}", `{"name":null,"lanes":-1}`}[rng.IntN(8)])
	}
}

func TestHostileRequestsChangeNothing(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	r.bridge(task, replicating(0), nil)
	record := func() string {
		e, err := r.buckets.Tasks.Get(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(e.Revision(), string(e.Value()))
	}
	before := record()
	seed := uint64(time.Now().UnixNano())
	codes := map[control.Code]bool{}
	for _, h := range control.Codes() {
		codes[h.Code] = true
	}
	const total, callers = 10000, 8
	endpoints := []string{"create", "get", "pause", "resume", "delete", "position", "list"}
	var wg sync.WaitGroup
	for c := range callers {
		nc := r.srv.Conn()
		rng := rand.New(rand.NewPCG(seed, uint64(c)))
		wg.Go(func() {
			for range total / callers {
				subject, body := "kitestream.task."+endpoints[rng.IntN(len(endpoints))], hostile(rng)
				m, err := nc.Request(subject, body, 20*time.Second)
				if err != nil {
					t.Errorf("seed %d: %s %.200q: %v", seed, subject, body, err)
					return
				}
				var e control.Error
				if err := json.NewDecoder(bytes.NewReader(m.Data)).Decode(&e); err != nil || !codes[e.Code] || e.Code == control.CodeInternal {
					t.Errorf("seed %d: %s %.200q: answered %.300s", seed, subject, body, m.Data)
				}
			}
		})
	}
	wg.Wait()
	if after := record(); after != before {
		t.Errorf("seed %d: the task's record was\n%s\nand is\n%s", seed, before, after)
	}
	if list, err := r.client.List(t.Context()); err != nil || len(list.Tasks) != 1 {
		t.Errorf("seed %d: tasks are %+v, %v", seed, list, err)
	}
}
