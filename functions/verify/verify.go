package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge"
	"kitestream/bridge/scan"
	"kitestream/handlers"
	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

// Config is what a verification needs.
type Config struct {
	Task   jetstream.TaskSpec
	Target string       // the name of one of the task's targets
	Source *scan.Client // of the source
	Dest   *scan.Client // of the target

	// Plan says what would become of a collection of the source on the target: handlers.Handlers.Plan.
	Plan func(context.Context, *milvuspb.CreateCollectionRequest) (handlers.Plan, error)
	// Wait returns when the target has applied all that the source held when it was called, or a moment later. It calls synced as
	// soon as that moment is past: what the source holds from then on need not be there. Its error ends the verification.
	Wait func(ctx context.Context, synced func()) error

	// Collections are those of the source to be compared; none: all that the task selects.
	Collections []jetstream.QualifiedName
	// Sample is the share of the rows that is compared, in percent; 0: all. Seed chooses which.
	Sample float64
	Seed   uint64
	// Search is how many vectors of each field are searched for on both sides.
	Search int
	// MaxDifferences is how many differences of a collection are in the report; 0: 100. All are counted.
	MaxDifferences int

	// Repair has the task's bridge write the present state of rows again, and Restate the settings of a collection. They return
	// when that is on the stream. nil: nothing is repaired.
	Repair  func(context.Context, bridge.RepairRequest) error
	Restate func(context.Context, bridge.RestateRequest) error

	// Progress is told how far it is, often; nil: nobody wants to know.
	Progress func(Progress)
}

// Progress is how far a verification is.
type Progress struct {
	Collection jetstream.QualifiedName `json:"collection"`
	Number     int                     `json:"number"` // of the collection, from 1
	Of         int                     `json:"of"`
	SourceRows int64                   `json:"source_rows"`
	TargetRows int64                   `json:"target_rows"`
	Found      int64                   `json:"found"` // differences of all collections so far
	Waiting    bool                    `json:"waiting,omitempty"`
}

// String is the progress for people.
func (p Progress) String() string {
	text := fmt.Sprintf("%s (%d of %d): %d rows of the source, %d of the target, %d differences", p.Collection, p.Number, p.Of, p.SourceRows, p.TargetRows, p.Found)
	if p.Waiting {
		text += "; waits for the target to have all"
	}
	return text
}

const defaultDifferences = 100

// ErrNotFollowed is returned for a collection that the task does not select, or that the source has not.
var ErrNotFollowed = errors.New("the task follows no such collection")

// Run compares. The error says why there is no report; what could not be looked at of one collection is in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.MaxDifferences == 0 {
		cfg.MaxDifferences = defaultDifferences
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	r := &run{cfg: &cfg, report: &Report{Task: cfg.Task.Name, Target: cfg.Target, Verdict: Equal, Began: time.Now().UTC(), Collections: []Collection{}}}
	if cfg.Sample > 0 {
		r.report.Sample = &Sample{Percent: cfg.Sample, Seed: cfg.Seed}
	}
	if err := r.all(ctx); err != nil {
		return nil, err
	}
	r.report.Seconds = time.Since(r.report.Began).Seconds()
	return r.report, nil
}

// run is one verification.
type run struct {
	cfg                    *Config
	report                 *Report
	srcVersion, dstVersion string
	number, of             int // of the collection that is compared
}

func (r *run) all(ctx context.Context) (err error) {
	if r.srcVersion, err = version(ctx, r.cfg.Source); err != nil {
		return fmt.Errorf("ask the source for its version: %w", err)
	}
	if r.dstVersion, err = version(ctx, r.cfg.Dest); err != nil {
		return fmt.Errorf("ask target %s for its version: %w", r.cfg.Target, err)
	}
	names, err := r.names(ctx)
	if err != nil {
		return err
	}
	if err := r.cfg.Wait(ctx, func() {}); err != nil {
		return err
	}
	r.of = len(names)
	for i, name := range names {
		r.number = i + 1
		c, err := r.collection(ctx, name)
		if err != nil {
			return err
		}
		if c == nil {
			continue // it is gone
		}
		r.report.Collections = append(r.report.Collections, *c)
		r.report.Verdict = r.report.Verdict.Worse(c.Verdict)
	}
	return nil
}

// names are the collections to compare.
func (r *run) names(ctx context.Context) ([]jetstream.QualifiedName, error) {
	all, err := followed(ctx, r.cfg.Source, r.cfg.Task)
	if err != nil || len(r.cfg.Collections) == 0 {
		return all, err
	}
	for _, n := range r.cfg.Collections {
		if !slices.Contains(all, n) {
			return nil, fmt.Errorf("%s: %w", n, ErrNotFollowed)
		}
	}
	return r.cfg.Collections, nil
}

// attempts is how often a collection is compared that is dropped and made anew, or loses a partition, meanwhile.
const attempts = 3

// collection compares one collection; nil if it is not on the source any more.
func (r *run) collection(ctx context.Context, name jetstream.QualifiedName) (*Collection, error) {
	for try := 1; ; try++ {
		out := &Collection{Source: name, Target: r.cfg.Task.Place(name), Verdict: Equal}
		err := r.compare(ctx, out)
		var ours *waitError
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &ours):
			return nil, ours.err
		case errors.Is(err, errGone):
			return nil, nil
		case err != nil && try < attempts && changed(err):
			continue
		case err != nil && !errors.Is(err, errCounted):
			out.unknown(err.Error())
		}
		out.judge()
		return out, nil
	}
}

// changed reports whether an error may only say that a collection is not as it was when the comparison began.
func changed(err error) bool {
	for _, one := range []error{scan.ErrNoCollection, scan.ErrNoPartition, scan.ErrRecreated, scan.ErrNotLoaded} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// judge gives the verdict by what was counted.
func (c *Collection) judge() {
	if c.Unsettled > 0 {
		c.unknown(fmt.Sprintf("%d rows differ and change too often to be compared", c.Unsettled))
	}
	if c.Found() > 0 {
		c.Verdict = Different
	}
}

// errGone says that the source has not the collection any more.
var errGone = errors.New("gone")

// waitError is why the target could not be waited for: it is about all collections.
type waitError struct{ err error }

// Error is that of what was waited for.
func (w *waitError) Error() string { return w.err.Error() }

// Unwrap is why.
func (w *waitError) Unwrap() error { return w.err }

// comparison is one comparison of one collection.
type comparison struct {
	run        *run
	cfg        *Config
	out        *Collection
	src, dst   side
	rule       *rules.Rule // nil: none
	keyed      bool        // it has a partition key
	lite       bool        // the target is a Milvus Lite
	srcVersion string
	fields     *fields
	pending    []item
	repeated   atomic.Int64 // keys that the source stores more than once, and whose rows seem to differ
	buf        [2][]byte
	steps      int
}

func (r *run) compare(ctx context.Context, out *Collection) error {
	c := &comparison{run: r, cfg: r.cfg, out: out, lite: isLite(r.dstVersion), srcVersion: r.srcVersion}
	if err := c.open(ctx); err != nil {
		return err
	}
	c.progress(0, 0)
	if err := c.settleSettings(ctx); err != nil {
		return err
	}
	partitions, err := c.readable(ctx)
	if err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	for _, p := range partitions {
		if err := c.partition(ctx, p); err != nil {
			return err
		}
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	if n := c.repeated.Load(); n > 0 {
		c.note("%d keys are stored more than once on the source, which answers with any of their rows: that the target has them is all that could be compared", n)
	}
	if err := c.counts(ctx, partitions); err != nil {
		return err
	}
	return c.search(ctx, partitions)
}

// open finds the collection on both sides.
func (c *comparison) open(ctx context.Context) error {
	c.src = side{what: "source", client: c.cfg.Source}
	c.dst = side{what: "target", client: c.cfg.Dest, once: true}
	if err := c.find(ctx, &c.src, c.out.Source); errors.Is(err, scan.ErrNoCollection) {
		return errGone
	} else if err != nil {
		return err
	}
	c.out.ID = c.src.col.ID
	if spec := c.cfg.Task.RuleFor(c.out.Source); spec != nil {
		var err error
		if c.rule, err = rules.Parse(*spec); err != nil {
			return fmt.Errorf("the rule of %s: %w", c.out.Source, err)
		}
		c.src.keep = keeper(c.rule)
	}
	c.fields = &fields{jsonValue: c.lite || isLite(c.srcVersion), seed: maphash.MakeSeed()}
	c.choose(c.src.col.Schema)
	err := c.find(ctx, &c.dst, c.out.Target)
	if !errors.Is(err, scan.ErrNoCollection) {
		return err
	}
	return c.lacking(ctx)
}

func (c *comparison) find(ctx context.Context, s *side, n jetstream.QualifiedName) error {
	return s.again(ctx, func() (err error) {
		s.col, err = s.client.Collection(ctx, n.Database, n.Collection)
		return err
	})
}

// begin has both sides read as they are now, or later.
func (c *comparison) begin(ctx context.Context) (err error) {
	if c.src.begun, err = c.src.now(ctx); err != nil {
		return err
	}
	c.dst.begun, err = c.dst.now(ctx)
	return err
}

// choose says which fields are compared.
func (c *comparison) choose(s *schemapb.CollectionSchema) {
	for _, f := range s.GetFields() {
		c.keyed = c.keyed || f.GetIsPartitionKey()
		if !f.GetIsFunctionOutput() && !f.GetIsDynamic() && (c.rule == nil || !c.rule.Drops(f.GetName())) {
			c.fields.names = append(c.fields.names, f.GetName())
		}
	}
	if s.GetEnableDynamicField() && (c.rule == nil || !c.rule.Drops(metaField)) {
		c.fields.names = append(c.fields.names, metaField)
	}
}

// lacking is for a collection that the target has not: it is a difference if that is so after a wait. Repaired, it is there and
// empty.
func (c *comparison) lacking(ctx context.Context) error {
	if err := c.wait(ctx); err != nil {
		return err
	}
	if err := c.find(ctx, &c.src, c.out.Source); errors.Is(err, scan.ErrNoCollection) {
		return errGone
	} else if err != nil {
		return err
	}
	err := c.find(ctx, &c.dst, c.out.Target)
	if !errors.Is(err, scan.ErrNoCollection) {
		return cmp.Or(err, scan.ErrRecreated) // it has come meanwhile
	}
	d := Difference{Kind: OfCollection, Name: c.out.Target.String(), Source: "it"}
	if c.cfg.Restate != nil {
		if err := c.cfg.Restate(ctx, c.restating([]Difference{d})); err != nil {
			c.note("it was not made again: %v", err)
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
		err = c.find(ctx, &c.dst, c.out.Target)
	}
	switch {
	case err == nil:
		c.out.Repaired++
		d.Repaired = true
	case errors.Is(err, scan.ErrNoCollection):
		c.out.Settings++
		err = errCounted
	default:
		return err
	}
	c.print(d)
	return err
}

// errCounted ends a comparison whose result is counted already.
var errCounted = errors.New("counted")

func (c *comparison) wait(ctx context.Context) error { return c.waitSynced(ctx, func() {}) }

// waitSynced is wait that tells when the moment is past up to which the target will have all.
func (c *comparison) waitSynced(ctx context.Context, synced func()) error {
	p := c.at(0, 0)
	p.Waiting = true
	c.cfg.Progress(p)
	if err := c.cfg.Wait(ctx, synced); err != nil {
		return &waitError{err}
	}
	return nil
}

// progress tells how far it is, with what of a range is compared.
func (c *comparison) progress(src, dst int64) { c.cfg.Progress(c.at(src, dst)) }

func (c *comparison) at(src, dst int64) Progress {
	return Progress{
		Collection: c.out.Source, Number: c.run.number, Of: c.run.of, SourceRows: c.out.SourceRows + src, TargetRows: c.out.TargetRows + dst,
		Found: c.run.report.Found() + c.out.Found(),
	}
}

func (c *comparison) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(c.out.Notes, text) {
		c.out.Notes = append(c.out.Notes, text)
	}
}

// readable are the partitions whose rows can be compared: both sides have them loaded. The others are why the verdict is unknown.
func (c *comparison) readable(ctx context.Context) ([]string, error) {
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	both := []string{""}
	if !c.keyed {
		both = slices.DeleteFunc(c.takes(c.src.col), func(p string) bool { return !slices.Contains(c.takes(c.dst.col), p) })
	}
	for _, s := range []side{c.src, c.dst} {
		is, err := s.loaded(ctx)
		if err != nil {
			return nil, err
		}
		var not []string
		both = slices.DeleteFunc(both, func(p string) bool {
			if !is.Has(p) {
				not = append(not, p)
			}
			return !is.Has(p)
		})
		switch {
		case len(not) == 0:
		case len(is.Partitions) == 0:
			c.out.unknown(fmt.Sprintf("it is not loaded on the %s, so its rows can't be read: load it there", s.what))
		default:
			c.out.unknown(fmt.Sprintf("partitions are not loaded on the %s, so their rows can't be read: %s", s.what, strings.Join(not, ", ")))
		}
	}
	return both, nil
}
