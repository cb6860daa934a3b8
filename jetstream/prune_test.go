package jetstream_test

import (
	"errors"
	"reflect"
	"testing"

	"kitestream/jetstream"
	keyrows "kitestream/jetstream/rows"
)

func TestPruneBody(t *testing.T) {
	for _, b := range []jetstream.PruneBody{
		{Lanes: 1},
		{Lanes: 64, After: &keyrows.Key{Int: -9223372036854775808}, Keys: keyrows.Keys{Ints: []int64{9223372036854775807, 0}}},
		{Lanes: 4, After: &keyrows.Key{String: ""}, Until: &keyrows.Key{String: "é\"\\\x00"}, Keys: keyrows.Keys{Strings: []string{"", "a"}}},
	} {
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := jetstream.ParsePrune(raw)
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%s came back as %+v, %v", raw, got, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"lanes":65}`, `{"lanes":-1}`, `[]`, `{"lanes":1,"keys":{"Ints":[1],"Strings":["a"]}}`, `{"lanes":1,"keys":{"Ints":[1.5]}}`} {
		if b, err := jetstream.ParsePrune([]byte(bad)); !errors.Is(err, jetstream.ErrMalformed) {
			t.Errorf("ParsePrune(%s) = %+v, %v", bad, b, err)
		}
	}
}
