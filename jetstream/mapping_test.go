package jetstream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kitestream/jetstream"
)

func TestPlace(t *testing.T) {
	spec := jetstream.TaskSpec{Map: []jetstream.Mapping{
		{Database: "sales", Collection: "orders", ToCollection: "all_orders"},
		{Database: "sales", ToDatabase: "shop"},
		{Database: "eu_*", ToDatabase: "eu", ToCollection: "{db}_{collection}"},
		{Database: "odd", Collection: "a*", ToDatabase: "x"},
	}}
	for from, to := range map[string]string{
		"sales.orders": "sales.all_orders", "sales.items": "shop.items", "eu_de.c": "eu.eu_de_c", "odd.abc": "x.abc", "odd.b": "odd.b", "default.c": "default.c",
	} {
		if got := spec.Place(name(from)); got != name(to) {
			t.Errorf("Place(%s) = %s, want %s", from, got, to)
		}
	}
	for from, to := range map[string]string{"sales": "shop", "eu_de": "eu", "odd": "odd", "default": "default"} {
		if got := spec.PlaceDatabase(from); got != to {
			t.Errorf("PlaceDatabase(%s) = %s, want %s", from, got, to)
		}
	}
}

func TestRuleFor(t *testing.T) {
	spec := jetstream.TaskSpec{Rules: []jetstream.Rule{
		{Collections: []string{"a*"}, Where: "first"}, {Database: "d", Where: "second"},
	}}
	for of, want := range map[string]string{"x.ab": "first", "d.ab": "first", "d.c": "second", "x.c": ""} {
		var got string
		if r := spec.RuleFor(name(of)); r != nil {
			got = r.Where
		}
		if got != want {
			t.Errorf("rule of %s = %q, want %q", of, got, want)
		}
	}
}

func TestConflicts(t *testing.T) {
	spec := jetstream.TaskSpec{Map: []jetstream.Mapping{
		{Database: "keep", ToCollection: "{collection}"},
		{Database: "d1", ToDatabase: "all"},
		{Database: "d2", ToDatabase: "all"},
		{Database: "d3", Collection: "x", ToDatabase: "d4", ToCollection: "y"},
	}}
	for _, tc := range []struct {
		names string
		want  string
	}{
		{"d1.a d1.b d2.c keep.a other.a", "[]"},
		{"d1.a d1.a", "[]"},
		{"d1.a d2.a", "[{d1.a d2.a all.a 2}]"},
		{"d3.x d4.y", "[{d3.x d4.y d4.y 3}]"},
		{"d4.y d3.x d1.a all.a d2.a", "[{d4.y d3.x d4.y 3} {d1.a all.a all.a 1} {d1.a d2.a all.a 2}]"},
	} {
		var names []jetstream.QualifiedName
		for _, n := range strings.Fields(tc.names) {
			names = append(names, name(n))
		}
		if got := fmt.Sprint(spec.Conflicts(names)); got != tc.want {
			t.Errorf("conflicts of %s = %s, want %s", tc.names, got, tc.want)
		}
	}
}

func TestValidateMapAndRules(t *testing.T) {
	for i, tc := range []struct {
		m     jetstream.Mapping
		field string
	}{
		{jetstream.Mapping{ToDatabase: "b"}, ""},
		{jetstream.Mapping{Database: "default", ToDatabase: "other"}, ""},
		{jetstream.Mapping{Database: "a", Collection: "c", ToCollection: "d"}, ""},
		{jetstream.Mapping{Database: "a", ToDatabase: "default", ToCollection: "{db}_{collection}"}, ""},
		{jetstream.Mapping{Collection: "c", ToDatabase: "{db}", ToCollection: "d"}, ""},
		{jetstream.Mapping{Collection: "c", ToDatabase: "x", ToCollection: "{db}"}, ""},
		{jetstream.Mapping{ToCollection: "{collection}"}, ""},
		{jetstream.Mapping{ToDatabase: "per_{collection}"}, ""},
		{jetstream.Mapping{}, "map[0]"},
		{jetstream.Mapping{Database: "a", Collection: "b"}, "map[0]"},
		{jetstream.Mapping{Database: "[", ToDatabase: "b"}, "map[0].database"},
		{jetstream.Mapping{Collection: "[", ToDatabase: "b"}, "map[0].collection"},
		{jetstream.Mapping{ToDatabase: "{database}"}, "map[0].to_database"},
		{jetstream.Mapping{ToDatabase: "a b"}, "map[0].to_database"},
		{jetstream.Mapping{ToDatabase: "1{db}"}, "map[0].to_database"},
		{jetstream.Mapping{ToDatabase: strings.Repeat("a", 256)}, "map[0].to_database"},
		{jetstream.Mapping{ToCollection: "{db}-{collection}"}, "map[0].to_collection"},
		{jetstream.Mapping{ToCollection: "{collection"}, "map[0].to_collection"},
		{jetstream.Mapping{Database: "a", Collection: "c*", ToCollection: "all"}, "map[0].to_collection"},
		{jetstream.Mapping{Database: "a", ToCollection: "{db}"}, "map[0].to_collection"},
		{jetstream.Mapping{Database: "a*", Collection: "c", ToDatabase: "all"}, "map[0].to_database"},
		{jetstream.Mapping{Collection: "c", ToDatabase: "all", ToCollection: "{collection}"}, "map[0].to_database"},
	} {
		spec := orders()
		spec.Map = []jetstream.Mapping{tc.m}
		wantField(t, fmt.Sprintf("mapping %d", i), spec.Validate(), tc.field)
	}
	for i, tc := range []struct {
		r     jetstream.Rule
		field string
	}{
		{jetstream.Rule{Where: "a > 1"}, ""},
		{jetstream.Rule{DropFields: []string{"a", "b"}}, ""},
		{jetstream.Rule{Database: "d*", Collections: []string{"a*", "b"}, Partitions: []string{"p_*"}}, ""},
		{jetstream.Rule{Collections: []string{"a"}}, "rules[0]"},
		{jetstream.Rule{Where: " "}, "rules[0]"},
		{jetstream.Rule{Database: "[", Where: "a"}, "rules[0].database"},
		{jetstream.Rule{Collections: []string{"a", "["}, Where: "a"}, "rules[0].collections[1]"},
		{jetstream.Rule{Partitions: []string{""}}, "rules[0].partitions[0]"},
		{jetstream.Rule{DropFields: []string{"a", "a"}}, "rules[0].drop_fields[1]"},
	} {
		spec := orders()
		spec.Rules = []jetstream.Rule{tc.r}
		wantField(t, fmt.Sprintf("rule %d", i), spec.Validate(), tc.field)
	}
}

func wantField(t *testing.T, what string, err error, field string) {
	t.Helper()
	var fe *jetstream.FieldError
	if field == "" && err == nil {
		return
	}
	if !errors.As(err, &fe) || fe.Field != field {
		t.Errorf("validate %s = %v, want an error of %q", what, err, field)
	}
}

func TestTakesPartition(t *testing.T) {
	r := jetstream.Rule{Partitions: []string{"a", "p_*"}}
	for p, want := range map[string]bool{"a": true, "p_1": true, "b": false, "_default": false} {
		if r.TakesPartition(p) != want {
			t.Errorf("partition %s: %v", p, !want)
		}
	}
	if !(jetstream.Rule{}).TakesPartition("x") {
		t.Error("a rule without partitions leaves one out")
	}
}

func name(s string) jetstream.QualifiedName {
	db, c, _ := strings.Cut(s, ".")
	return jetstream.QualifiedName{Database: db, Collection: c}
}
