package jetstream_test

import (
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

func name(s string) jetstream.QualifiedName {
	db, c, _ := strings.Cut(s, ".")
	return jetstream.QualifiedName{Database: db, Collection: c}
}
