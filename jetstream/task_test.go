package jetstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kitestream/jetstream"
)

const taskFile = `
name: orders
source: default
select:                 # resolved list is shown by create and get; names, globs, exclude
  - {database: default, collections: ["*"], exclude: ["tmp_*"]}
lanes: 4
targets:
  - {name: standby, uri: "http://127.0.0.1:19630", token_env: STANDBY_TOKEN}
`

func orders() jetstream.TaskSpec {
	return jetstream.TaskSpec{
		Name: "orders", Source: "default", Lanes: 4,
		Select:  []jetstream.Selection{{Database: "default", Collections: []string{"*"}, Exclude: []string{"tmp_*"}}},
		Targets: []jetstream.TargetSpec{{Name: "standby", URI: "http://127.0.0.1:19630", TokenEnv: "STANDBY_TOKEN"}},
	}
}

func TestParseTask(t *testing.T) {
	asJSON, err := json.Marshal(orders())
	must(t, err)
	for name, file := range map[string]string{
		"yaml": taskFile,
		"json": string(asJSON),
		"defaults": `{"name": "orders", "select": [{"collections": ["*"], "exclude": ["tmp_*"]}],
			"targets": [{"name": "standby", "uri": "http://127.0.0.1:19630", "token_env": "STANDBY_TOKEN"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := jetstream.ParseTask([]byte(file))
			must(t, err)
			if !reflect.DeepEqual(got, orders()) {
				t.Errorf("parsed %+v", got)
			}
			must(t, got.Validate())
		})
	}
}

func TestParseTaskRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ file, says string }{
		"unknown key":        {"name: a\ntragets: []\n", "tragets"},
		"unknown inner key":  {"targets: [{name: a, token: secret}]", "token"},
		"key twice":          {"name: a\nname: b\n", "name"},
		"wrong type":         {"lanes: many", "lanes"},
		"not yaml":           {"{", ""},
		"a list":             {"- name: a", ""},
		"second document":    {"name: a\n---\nname: b\n", "one document"},
		"second json object": {`{"name": "a"} {"name": "b"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jetstream.ParseTask([]byte(tc.file))
			if !errors.Is(err, jetstream.ErrMalformed) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("parse = %v, want ErrMalformed that says %q", err, tc.says)
			}
		})
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for field, change := range map[string]func(*jetstream.TaskSpec){
		"name":                     func(s *jetstream.TaskSpec) { s.Name = "Orders" },
		"source":                   func(s *jetstream.TaskSpec) { s.Source = "-x" },
		"lanes":                    func(s *jetstream.TaskSpec) { s.Lanes = 65 },
		"select":                   func(s *jetstream.TaskSpec) { s.Select = nil },
		"select[0].database":       func(s *jetstream.TaskSpec) { s.Select[0].Database = "[" },
		"select[0].collections":    func(s *jetstream.TaskSpec) { s.Select[0].Collections = nil },
		"select[0].collections[1]": func(s *jetstream.TaskSpec) { s.Select[0].Collections = []string{"a", "[b"} },
		"select[0].exclude[0]":     func(s *jetstream.TaskSpec) { s.Select[0].Exclude = []string{""} },
		"leave[1]":                 func(s *jetstream.TaskSpec) { s.Leave = []string{jetstream.LeaveLoad, "indexes"} },
		"verify_every":             func(s *jetstream.TaskSpec) { s.VerifyEvery = "59s" },
		"targets":                  func(s *jetstream.TaskSpec) { s.Targets = nil },
		"targets[0].name":          func(s *jetstream.TaskSpec) { s.Targets[0].Name = strings.Repeat("a", 49) },
		"targets[1].name":          func(s *jetstream.TaskSpec) { s.Targets = append(s.Targets, s.Targets[0]) },
		"targets[0].uri":           func(s *jetstream.TaskSpec) { s.Targets[0].URI = "http://localhost" },
		"targets[0].token_file":    func(s *jetstream.TaskSpec) { s.Targets[0].TokenFile = "/x" },
		"targets[0].token_env":     func(s *jetstream.TaskSpec) { s.Targets[0].TokenEnv = "user=pass" },
	} {
		t.Run(field, func(t *testing.T) {
			spec := orders()
			change(&spec)
			var fe *jetstream.FieldError
			if err := spec.Validate(); !errors.As(err, &fe) || fe.Field != field {
				t.Errorf("validate = %v, want an error of %s", err, field)
			}
		})
	}
	all := jetstream.TaskSpec{}.Validate()
	for _, field := range []string{"name", "source", "lanes", "select", "targets"} {
		if !strings.Contains(all.Error(), field+": ") {
			t.Errorf("%s is missing in:\n%v", field, all)
		}
	}
}

func TestURI(t *testing.T) {
	for uri, ok := range map[string]bool{
		"http://h:1": true, "https://h.example:443/": true, "tcp://10.0.0.1:19530": true, "localhost:19530": true, "[::1]:19530": true,
		"http://[::1]:19530": true, "": false, "h": false, "h:0": false, "h:70000": false, "h:x": false, ":19530": false,
		"ftp://h:1": false, "http://user:secret@h:1": false, "user:secret@h:1": false, "http://h:1/path": false, "http://h:1?x=y": false,
		"http://h:1#f": false, "http://%zz:1": false, "a b:1": false,
	} {
		spec := orders()
		spec.Targets[0].URI = uri
		err := spec.Validate()
		if (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", uri, err)
		}
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("root:pass\n"), 0o600))
	env := func(name string) (string, bool) { return "from " + name, name == "SET" }
	for _, tc := range []struct {
		spec  jetstream.TargetSpec
		want  string
		fails bool
	}{
		{jetstream.TargetSpec{}, "", false},
		{jetstream.TargetSpec{TokenEnv: "SET"}, "from SET", false},
		{jetstream.TargetSpec{TokenEnv: "UNSET"}, "", true},
		{jetstream.TargetSpec{TokenFile: file}, "root:pass", false},
		{jetstream.TargetSpec{TokenFile: file + "x"}, "", true},
	} {
		got, err := tc.spec.Token(env)
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%+v: %q, %v", tc.spec, got, err)
		}
	}
}

func TestSelects(t *testing.T) {
	spec := jetstream.TaskSpec{Select: []jetstream.Selection{
		{Database: "default", Collections: []string{"a*", "exact"}, Exclude: []string{"*_tmp", "abc"}},
		{Database: "shop_[12]", Collections: []string{"*"}},
		{Database: "default", Collections: []string{"abc"}},
	}}
	for name, want := range map[jetstream.QualifiedName]bool{
		{Database: "default", Collection: "a1"}: true, {Database: "default", Collection: "a_tmp"}: false,
		{Database: "default", Collection: "abc"}:   true, // the third takes what the first leaves out
		{Database: "default", Collection: "exact"}: true, {Database: "default", Collection: "exactly"}: false,
		{Database: "default", Collection: "b"}: false, {Database: "shop_1", Collection: "b"}: true, {Database: "shop_3", Collection: "b"}: false,
	} {
		if got := spec.Selects(name.Database, name.Collection); got != want {
			t.Errorf("%s: selected = %v", name, got)
		}
	}
	if !spec.SelectsDatabase("shop_2") || spec.SelectsDatabase("shop") {
		t.Error("wrong databases are selected")
	}
}

func ExampleTaskSpec_Resolve() {
	spec := jetstream.TaskSpec{Select: []jetstream.Selection{
		{Database: "default", Collections: []string{"orders", "items_*", "old_*"}, Exclude: []string{"items_tmp"}},
	}}
	r := spec.Resolve([]jetstream.QualifiedName{{"default", "items_1"}, {"default", "items_tmp"}, {"other", "orders"}})
	fmt.Println("matched:", r.Matched)
	fmt.Println("missing:", r.Missing)
	fmt.Println("empty:", r.Empty)
	// Output:
	// matched: [default.items_1]
	// missing: [default.orders]
	// empty: [default.old_*]
}

func ExampleParseTask() {
	spec, err := jetstream.ParseTask([]byte(`
name: orders
select: [{collections: ["*"]}]
targets: [{name: standby, uri: "localhost"}]
`))
	if err == nil {
		err = spec.Validate()
	}
	fmt.Println(err)
	// Output: targets[0].uri: is no address; want http://host:port, https://host:port, tcp://host:port or host:port
}
