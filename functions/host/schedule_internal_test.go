package host

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/functions/verify"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

func TestIsDue(t *testing.T) {
	now := time.Now()
	task := func(every string, state jetstream.TaskState, age time.Duration) *jetstream.Task {
		return &jetstream.Task{Spec: jetstream.TaskSpec{VerifyEvery: every}, State: state, Created: now.Add(-age)}
	}
	last := func(ago time.Duration) jetstream.Verdict { return jetstream.Verdict{At: now.Add(-ago)} }
	for name, tc := range map[string]struct {
		task *jetstream.Task
		last jetstream.Verdict
		due  bool
	}{
		"never asked for":  {task("", jetstream.TaskRunning, time.Hour), jetstream.Verdict{}, false},
		"first":            {task("30m", jetstream.TaskRunning, time.Hour), jetstream.Verdict{}, true},
		"too young":        {task("90m", jetstream.TaskRunning, time.Hour), jetstream.Verdict{}, false},
		"old":              {task("30m", jetstream.TaskRunning, time.Hour), last(31 * time.Minute), true},
		"recent":           {task("30m", jetstream.TaskRunning, time.Hour), last(29 * time.Minute), false},
		"paused":           {task("30m", jetstream.TaskPaused, time.Hour), last(31 * time.Minute), false},
		"about to be gone": {task("30m", jetstream.TaskDeleting, time.Hour), last(31 * time.Minute), false},
		"of another clock": {task("30m", jetstream.TaskRunning, time.Hour), last(-time.Minute), false},
	} {
		if got := isDue(tc.task, tc.last, now); got != tc.due {
			t.Errorf("%s: due = %v", name, got)
		}
	}
}

// TestAnswerFitsAMessage: of a report that is too large differences are left out, and still counted.
func TestAnswerFitsAMessage(t *testing.T) {
	srv := jetstreamtest.Run(t)
	v := NewVerifier(VerifierConfig{NC: srv.Conn()})
	report := &verify.Report{Verdict: verify.Different}
	for range 200 {
		c := verify.Collection{Verdict: verify.Different, Missing: 100}
		for range 100 {
			c.Differences = append(c.Differences, verify.Difference{Kind: verify.MissingRow, Key: strings.Repeat("k", 80), Source: "it"})
		}
		report.Collections = append(report.Collections, c)
	}
	raw, err := json.Marshal(v.fitting(report))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(raw); n > int(srv.Conn().MaxPayload()) || n < int(srv.Conn().MaxPayload())/8 {
		t.Errorf("the answer has %d bytes, a message at most %d", n, srv.Conn().MaxPayload())
	}
	if report.Found() != 200*100 {
		t.Errorf("%d differences are counted", report.Found())
	}
}

func TestVerdictIsAMetric(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	for target, v := range map[string]verify.Verdict{"a": verify.Equal, "b": verify.Different, "c": verify.Unknown} {
		m.verdict("orders", target, jetstream.Verdict{Verdict: string(v), At: time.Unix(1000, 0)})
	}
	want := `# HELP kitestream_worker_verified How the last verification of the whole target ended: 1 equal, 0 different, -1 it could not be told. Every process that has the source's API says the same.
# TYPE kitestream_worker_verified gauge
kitestream_worker_verified{target="a",task="orders"} 1
kitestream_worker_verified{target="b",task="orders"} 0
kitestream_worker_verified{target="c",task="orders"} -1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kitestream_worker_verified"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestVerdictOfAReport(t *testing.T) {
	v := verdictOf(&verify.Report{Verdict: verify.Different, Seconds: 2, Collections: []verify.Collection{
		{Source: jetstream.QualifiedName{Database: "d", Collection: "a"}, Verdict: verify.Equal, SourceRows: 5},
		{Source: jetstream.QualifiedName{Database: "d", Collection: "b"}, Verdict: verify.Different, SourceRows: 7, Missing: 2, Extra: 1},
	}})
	if v.Verdict != "different" || v.Why != "d.b: 2 rows missing, 1 rows too many" || v.Differences != 3 || v.Rows != 12 || v.Collections != 2 {
		t.Errorf("verdict %+v", v)
	}
}
