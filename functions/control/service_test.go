package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/jetstream"
)

func TestLifeOfATask(t *testing.T) {
	r := newServed(t)
	ctx := t.Context()
	made, err := r.client.Create(ctx, spec("orders", "near", "far"))
	if err != nil {
		t.Fatal(err)
	}
	if made.Task.State != control.Running || made.Resolved != nil || !strings.Contains(made.Note, "no bridge of source default is running") {
		t.Errorf("create without a bridge answers %+v", made)
	}
	list, err := r.client.List(ctx)
	if err != nil || len(list.Tasks) != 1 || !slices.Equal(list.Tasks[0].Targets, []string{"near", "far"}) || list.Tasks[0].State != control.Waiting {
		t.Errorf("list = %+v, %v", list, err)
	}
	v, err := r.client.Get(ctx, "orders")
	if err != nil || v.State != control.Waiting || !strings.Contains(v.Why, "no bridge") || v.Do == "" || v.Since.IsZero() || len(v.Targets) != 2 {
		t.Errorf("get without a bridge = %+v, %v", v, err)
	}
	if got, err := r.client.Pause(ctx, "orders"); err != nil || got.Task.State != control.Paused {
		t.Errorf("pause = %+v, %v", got, err)
	}
	if _, err := r.client.Pause(ctx, "orders"); code(err) != control.CodeState {
		t.Errorf("second pause: %v", err)
	}
	if v, err := r.client.Get(ctx, "orders"); err != nil || v.State != control.Paused || v.Targets[0].Text != "paused" || v.Targets[0].Seconds != nil {
		t.Errorf("get when paused = %+v, %v", v, err)
	}
	if got, err := r.client.Resume(ctx, "orders"); err != nil || got.Task.State != control.Running {
		t.Errorf("resume = %+v, %v", got, err)
	}
	if _, err := r.client.Resume(ctx, "orders"); code(err) != control.CodeState {
		t.Errorf("second resume: %v", err)
	}
	if got, err := r.client.Delete(ctx, "orders"); err != nil || got.Task.State != control.Deleting {
		t.Errorf("delete = %+v, %v", got, err)
	}
	for what, err := range map[string]error{
		"get":      second(r.client.Get(ctx, "orders")),
		"pause":    second(r.client.Pause(ctx, "orders")),
		"resume":   second(r.client.Resume(ctx, "orders")),
		"delete":   second(r.client.Delete(ctx, "orders")),
		"position": second(r.client.Position(ctx, control.PositionRequest{Name: "orders"})),
	} {
		if code(err) != control.CodeNotFound {
			t.Errorf("%s of a task that is gone: %v", what, err)
		}
	}
	again, err := r.client.Create(ctx, spec("orders"))
	if err != nil || again.Task.ID == made.Task.ID {
		t.Errorf("create again = %+v, %v", again, err)
	}
}

func second[A any](_ A, err error) error { return err }

func TestCreateShowsWhatIsSelected(t *testing.T) {
	r := newServed(t)
	nc := r.srv.Conn()
	asked := make(chan jetstream.TaskSpec, 1)
	if _, err := nc.QueueSubscribe(host.ResolveSubject("default"), "bridges", func(m *nats.Msg) {
		var s jetstream.TaskSpec
		_ = json.Unmarshal(m.Data, &s)
		asked <- s
		_ = m.Respond([]byte(`{"matched":[{"database":"default","collection":"a"}],"missing":[{"database":"default","collection":"b"}],"empty":[{"database":"default","collection":"x*"}]}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	respond(r, host.DescribeSubject("default"), func(host.DescribeRequest) host.DescribeAnswer { return host.DescribeAnswer{} })
	got, err := r.client.Create(t.Context(), spec("orders"))
	if err != nil || got.Note != "" || got.Resolved == nil {
		t.Fatalf("create = %+v, %v", got, err)
	}
	if s := <-asked; s.Name != "orders" || len(s.Select) != 1 {
		t.Errorf("the bridge was asked for %+v", s)
	}
	if fmt.Sprint(*got.Resolved) != "{[default.a] [default.b] [default.x*]}" {
		t.Errorf("resolved = %v", *got.Resolved)
	}
}

// TestCreateRefusesTwoInOnePlace: what the source holds shows that two collections would be one on the targets.
func TestCreateRefusesTwoInOnePlace(t *testing.T) {
	r := newServed(t)
	nc := r.srv.Conn()
	if _, err := nc.Subscribe(host.ResolveSubject("default"), func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"matched":[{"database":"default","collection":"a"},{"database":"eu","collection":"b"},{"database":"us","collection":"b"}]}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	s := spec("orders")
	s.Select = []jetstream.Selection{{Database: "*", Collections: []string{"*"}}}
	s.Map = []jetstream.Mapping{{Database: "eu", ToDatabase: "all"}, {Database: "us", ToDatabase: "all"}}
	_, err := r.client.Create(t.Context(), s)
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeInvalid || e.Field != "map[1]" || !strings.Contains(e.Message, "eu.b and us.b would both land on all.b") {
		t.Errorf("create = %v", err)
	}
	if list, err := r.client.List(t.Context()); err != nil || len(list.Tasks) != 0 {
		t.Errorf("list = %+v, %v", list, err)
	}
	s.Map[1].ToCollection = "{db}_{collection}"
	if _, err := r.client.Create(t.Context(), s); err != nil {
		t.Errorf("create of what has different places: %v", err)
	}
}

func TestCreateRefusesWhatIsNotWellFormed(t *testing.T) {
	r := newServed(t)
	for name, tc := range map[string]struct{ body, field string }{
		"empty":           {``, ""},
		"not_json":        {`name: orders`, ""},
		"array":           {`[]`, ""},
		"null":            {`null`, ""},
		"two_objects":     {`{"name":"a"}{"name":"b"}`, ""},
		"unknown_field":   {`{"name":"a","colour":"red"}`, "colour"},
		"wrong_type":      {`{"name":"a","lanes":"four"}`, "lanes"},
		"nested_type":     {`{"name":"a","targets":[{"name":1}]}`, "targets.name"},
		"no_name":         {`{"select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}]}`, "name"},
		"name_with_dot":   {`{"name":"a.b","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}]}`, "name"},
		"name_with_star":  {`{"name":"*","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}]}`, "name"},
		"bad_source":      {`{"name":"a","source":"x>y","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}]}`, "source"},
		"no_targets":      {`{"name":"a","select":[{"collections":["*"]}]}`, "targets"},
		"inline_token":    {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1","token":"s"}]}`, "token"},
		"too_many_lanes":  {`{"name":"a","lanes":65,"select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}]}`, "lanes"},
		"map_of_nothing":  {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}],"map":[{"database":"d"}]}`, "map[0]"},
		"map_to_a_brace":  {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}],"map":[{"to_database":"{x}"}]}`, "map[0].to_database"},
		"rule_of_nothing": {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}],"rules":[{"collections":["c"]}]}`, "rules[0]"},
		"bad_expression":  {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://h:1"}],"rules":[{"where":"true"},{"where":"a >"}]}`, "rules[1].where"},
		"password_in_uri": {`{"name":"a","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://root:hunter2@h:1"}]}`, "targets[0].uri"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := r.srv.Conn().Request("kitestream.task.create", []byte(tc.body), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var e control.Error
			if err := json.Unmarshal(m.Data, &e); err != nil {
				t.Fatalf("answer %q: %v", m.Data, err)
			}
			if e.Code != control.CodeInvalid || e.Field != tc.field || e.Message == "" || e.Do == "" {
				t.Errorf("answer = %+v, want field %q", e, tc.field)
			}
			if m.Header.Get(micro.ErrorCodeHeader) != string(control.CodeInvalid) || m.Header.Get(micro.ErrorHeader) != e.Message {
				t.Errorf("headers = %v", m.Header)
			}
			if strings.Contains(string(m.Data), "hunter2") {
				t.Errorf("the password comes back: %s", m.Data)
			}
		})
	}
	if list, err := r.client.List(t.Context()); err != nil || len(list.Tasks) != 0 {
		t.Errorf("tasks = %+v, %v", list, err)
	}
}

func TestEveryProblemOfATaskIsTold(t *testing.T) {
	r := newServed(t)
	s := spec("Bad Name")
	s.Lanes = 100
	s.Targets[0].URI = "ftp://x"
	_, err := r.client.Create(t.Context(), s)
	var e *control.Error
	if !errors.As(err, &e) || len(e.Problems) != 3 || e.Problems[0].Field != "name" || e.Problems[1].Field != "lanes" || e.Problems[2].Field != "targets[0].uri" {
		t.Errorf("error = %+v", err)
	}
}

func TestOneOfManyCreatesWins(t *testing.T) {
	r := newServed(t)
	second := r.config()
	second.Holder = "control-2"
	r.serve(second)
	const n = 20
	var won, lost int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		client := control.NewClient(r.srv.Conn())
		wg.Go(func() {
			s := spec("orders")
			s.Lanes = i + 1
			_, err := client.Create(t.Context(), s)
			mu.Lock()
			defer mu.Unlock()
			switch code(err) {
			case "":
				won++
			case control.CodeExists:
				lost++
			default:
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != n-1 {
		t.Errorf("%d creates won and %d were refused, of %d", won, lost, n)
	}
}

// endpoints are the names of what the service answers, sorted. It answers for itself while they are still being added.
var endpoints = []string{"add-target", "create", "delete", "get", "list", "pause", "plan", "position", "promote", "remove-target", "resnapshot", "resume", "rewind", "verify"}

// What nats service ls, info and stats show.
func TestIsAMicroService(t *testing.T) {
	r := newServed(t)
	_, _ = r.client.Get(t.Context(), "nothing")
	nc := r.srv.Conn()
	var st micro.Stats
	counted := func() bool {
		m, err := nc.Request("$SRV.STATS.kitestream", nil, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Data, &st); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(st.Endpoints, func(e *micro.EndpointStats) bool { return e.Name == "get" })
		return i >= 0 && len(st.Endpoints) >= len(endpoints) && st.Endpoints[i].NumErrors == 1 && strings.Contains(st.Endpoints[i].LastError, string(control.CodeNotFound))
	}
	r.eventually("the error is counted", counted) // micro counts after it has answered
	var subjects []string
	for _, e := range st.Endpoints {
		subjects = append(subjects, e.Subject)
	}
	slices.Sort(subjects)
	want := make([]string, len(endpoints))
	for i, name := range endpoints {
		want[i] = "kitestream.task." + name
	}
	if st.Name != "kitestream" || st.Version != control.Version || !slices.Equal(subjects, want) {
		t.Errorf("service %s %s has endpoints %v", st.Name, st.Version, subjects)
	}
}

func TestNoControl(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for what, err := range map[string]error{
		"list":   second(r.client.List(ctx)),
		"delete": second(r.client.Delete(ctx, "x")),
	} {
		if code(err) != control.CodeNoControl {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Every code that can come out is in the table, once, with what to do.
func TestCodesAreDocumented(t *testing.T) {
	seen := map[control.Code]bool{}
	for _, h := range control.Codes() {
		if seen[h.Code] || h.Means == "" || h.Do == "" || !strings.HasPrefix(string(h.Code), "KS-C-") || h.Code.Do() != h.Do {
			t.Errorf("line %+v", h)
		}
		seen[h.Code] = true
	}
	for _, c := range []control.Code{control.CodeInvalid, control.CodeExists, control.CodeNotFound, control.CodeState, control.CodeStopped,
		control.CodeNoBridge, control.CodeSource, control.CodeHeld, control.CodeBusy, control.CodeUnavailable, control.CodeInternal,
		control.CodeNoControl, control.CodeTimeout} {
		if !seen[c] {
			t.Errorf("%s is not in the table", c)
		}
	}
}

// A record that is no task hides none of the others, and is not hidden itself.
func TestListTellsOfRecordsThatCantBeRead(t *testing.T) {
	r := newServed(t)
	r.create(spec("orders"))
	if _, err := r.buckets.Tasks.Put(t.Context(), "broken", []byte("{")); err != nil {
		t.Fatal(err)
	}
	list, err := r.client.List(t.Context())
	if err != nil || len(list.Tasks) != 1 || !strings.Contains(list.Note, "broken") {
		t.Errorf("list = %+v, %v", list, err)
	}
}
