package mqtest

import (
	"log/slog"
	"strings"
	"testing"

	"kitestream/bridge/mq"
)

// Configs are configurations: how each differs from the default, and what its error must name; nothing: it is valid.
type Configs[C interface{ Validate() error }] map[string]struct {
	Change func(*C)
	Want   []string
}

// Validate holds a child's Config to Configs, and its Connect to what Validate says.
func Validate[C interface{ Validate() error }, Q mq.Queue](
	t *testing.T, standard func() C, connect func(C, *slog.Logger) (Q, error), all Configs[C],
) {
	t.Run("default", func(t *testing.T) { Must(t, standard().Validate()) })
	for name, tc := range all {
		t.Run(name, func(t *testing.T) {
			c := standard()
			tc.Change(&c)
			err := c.Validate()
			if (err != nil) != (len(tc.Want) > 0) {
				t.Fatalf("validate = %v, want an error: %t", err, len(tc.Want) > 0)
			}
			for _, part := range tc.Want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error does not name %q: %v", part, err)
				}
			}
			if err != nil {
				if _, err := connect(c, slog.New(slog.DiscardHandler)); err == nil {
					t.Error("connect accepts what validate refuses")
				}
			}
		})
	}
}

// NoChannels expects a queue to refuse names that no channel can have.
func NoChannels(t *testing.T, q mq.Queue, names ...string) {
	t.Helper()
	for _, name := range names {
		if r, err := q.Open(t.Context(), name, ""); err == nil {
			t.Errorf("open %q = %v, want an error", name, r)
		}
		if p, err := q.Last(t.Context(), name); err == nil {
			t.Errorf("last of %q = %q, want an error", name, p)
		}
	}
}
