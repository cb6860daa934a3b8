package scan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kitestream/bridge/scan"
)

func TestKeys(t *testing.T) {
	sorted := []scan.Key{{}, scan.IntKey(math.MinInt64), scan.IntKey(-1), scan.IntKey(0), scan.IntKey(math.MaxInt64),
		scan.StringKey(""), scan.StringKey("\x00"), scan.StringKey("-1"), scan.StringKey("A"), scan.StringKey("a"), scan.StringKey("a\x00"), scan.StringKey("ÿ")}
	for i, a := range sorted {
		for j, b := range sorted {
			if want := min(1, max(-1, i-j)); a.Compare(b) != want || a.Less(b) != (want < 0) || (a == b) != (i == j) {
				t.Errorf("%s against %s: %d, want %d", a, b, a.Compare(b), want)
			}
		}
		text, err := json.Marshal(struct{ K scan.Key }{a})
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ K scan.Key }
		if err := json.Unmarshal(text, &back); err != nil || back.K != a || a.IsZero() != (i == 0) {
			t.Errorf("%s is written as %s and read as %s (%v)", a, text, back.K, err)
		}
	}
	if got := fmt.Sprint(scan.Key{}, scan.IntKey(-5), scan.StringKey("x\"")); got != `- -5 "x\""` {
		t.Errorf("printed as %s", got)
	}
	for _, bad := range []string{`1.5`, `{}`, `true`, `9223372036854775808`, `[1]`} {
		var k scan.Key
		if err := json.Unmarshal([]byte(bad), &k); err == nil {
			t.Errorf("%s is read as %s", bad, k)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, uri := range []string{"host", "host:19530", "http://host", "https://host:443/", "http://[::1]:19530"} {
		if err := (scan.Config{URI: uri}).Validate(); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for uri, want := range map[string]string{
		"": "uri is empty", "ftp://host": "scheme", "http://": "no host", "http://user:secret@host": "credentials", "http://host/db": "path",
		"http://ho st": "can't be parsed", "http://user:secret@ho st": "can't be parsed",
	} {
		err := (scan.Config{URI: uri, Token: "root:secret"}).Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", uri, err, want)
		}
		if _, err := scan.Dial(t.Context(), scan.Config{URI: uri}); err == nil {
			t.Errorf("Dial %s is fine", uri)
		}
	}
}

func TestIsTransient(t *testing.T) {
	said := func(code int32, reason string) error { return &scan.StatusError{Code: code, Reason: reason} }
	for _, err := range []error{
		status.Error(codes.Unavailable, ""), status.Error(codes.ResourceExhausted, "rate"), context.DeadlineExceeded,
		said(8, ""), said(503, ""), said(65535, "failed to search/query delegator 1: delegator closed during wait tsafe"),
		&scan.StatusError{Code: 65535, Retriable: true},
	} {
		if !scan.IsTransient(fmt.Errorf("query: %w", err)) {
			t.Errorf("%v is not transient", err)
		}
	}
	for _, err := range []error{
		nil, context.Canceled, status.Error(codes.Unauthenticated, ""), status.Error(codes.InvalidArgument, ""), said(65535, "cannot parse"), said(1, "odd"),
		said(65535, "failed to search/query delegator 1 for channel: it is broken"), errors.New("odd"),
		fmt.Errorf("%w: %w", scan.ErrNotLoaded, said(503, "")), scan.ErrNoCollection, scan.ErrNoPartition, scan.ErrRecreated, scan.ErrUnreadable,
	} {
		if scan.IsTransient(err) {
			t.Errorf("%v is transient", err)
		}
	}
}
