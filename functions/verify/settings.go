package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge"
	"kitestream/bridge/scan"
	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

// settings are what is about a collection beside its rows, as one side has it.
type settings struct {
	d       *milvuspb.DescribeCollectionResponse
	indexes []*milvuspb.IndexDescription
}

func settingsOf(ctx context.Context, s side) (settings, error) {
	var out settings
	err := s.again(ctx, func() (err error) {
		out.d, err = checked(s.client.Service().DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{DbName: s.col.Database, CollectionName: s.col.Name}))
		if err != nil {
			return fmt.Errorf("describe %s.%s: %w", s.col.Database, s.col.Name, err)
		}
		res, err := checked(s.client.Service().DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: s.col.Database, CollectionName: s.col.Name}))
		var none *refusal
		if errors.As(err, &none) && none.code == codeNoIndex {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("list indexes of %s.%s: %w", s.col.Database, s.col.Name, err)
		}
		out.indexes = res.GetIndexDescriptions()
		return nil
	})
	return out, err
}

// refresh describes both collections anew: partitions come and go.
func (c *comparison) refresh(ctx context.Context) (err error) {
	for _, s := range []*side{&c.src, &c.dst} {
		id := s.col.ID
		err := s.again(ctx, func() error {
			col, err := s.client.Collection(ctx, s.col.Database, s.col.Name)
			if err == nil {
				s.col = col
			}
			return err
		})
		if err == nil && s.col.ID != id {
			err = fmt.Errorf("%s.%s: %w", s.col.Database, s.col.Name, scan.ErrRecreated)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settings compares all that is not rows, once.
func (c *comparison) settings(ctx context.Context) ([]Difference, error) {
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	src, err := settingsOf(ctx, c.src)
	if err != nil {
		return nil, err
	}
	dst, err := settingsOf(ctx, c.dst)
	if err != nil {
		return nil, err
	}
	out, err := c.schema(ctx, src)
	if err != nil {
		return nil, err
	}
	out = append(out, c.partitionDifferences(src, dst)...)
	spec := c.cfg.Task
	if !spec.Leaves(jetstream.LeaveIndex) {
		out = append(out, c.indexDifferences(src, dst)...)
	}
	if !spec.Leaves(jetstream.LeaveAlias) {
		aliases, err := c.aliasDifferences(ctx, src, dst)
		if err != nil {
			return nil, err
		}
		out = append(out, aliases...)
	}
	if !spec.Leaves(jetstream.LeaveProperties) {
		out = append(out, c.propertyDifferences(src, dst)...)
	}
	if !spec.Leaves(jetstream.LeaveLoad) {
		loads, err := c.loadDifferences(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, loads...)
	}
	return out, nil
}

// schema asks what would become of the source's collection on the target: what the handlers would take as the same is the same.
func (c *comparison) schema(ctx context.Context, src settings) ([]Difference, error) {
	raw, err := proto.Marshal(src.d.GetSchema())
	if err != nil {
		return nil, fmt.Errorf("encode the schema of %s: %w", c.out.Source, err)
	}
	plan, err := c.cfg.Plan(ctx, &milvuspb.CreateCollectionRequest{
		DbName: c.out.Source.Database, CollectionName: c.out.Source.Collection, Schema: raw, ShardsNum: src.d.GetShardsNum(),
		ConsistencyLevel: src.d.GetConsistencyLevel(), Properties: src.d.GetProperties(), NumPartitions: src.d.GetNumPartitions(),
	})
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if plan.Action == handlers.ActionCreate {
		return nil, fmt.Errorf("target: %s: %w", c.out.Target, scan.ErrNoCollection)
	}
	var out []Difference
	for _, text := range append(plan.Problems, plan.Differences...) {
		out = append(out, Difference{Kind: OfSchema, Name: text})
	}
	return out, nil
}

func (c *comparison) partitionDifferences(src, dst settings) []Difference {
	if c.keyed {
		if s, d := src.d.GetNumPartitions(), dst.d.GetNumPartitions(); s != d && !c.lite {
			return []Difference{{Kind: OfPartition, Name: "number of them", Source: fmt.Sprint(s), Target: fmt.Sprint(d)}}
		}
		return nil
	}
	var out []Difference
	s, d := c.takes(c.src.col), c.takes(c.dst.col)
	for _, name := range s {
		if !slices.Contains(d, name) {
			out = append(out, Difference{Kind: OfPartition, Name: name, Source: "it"})
		}
	}
	for _, name := range d {
		if !slices.Contains(s, name) {
			out = append(out, Difference{Kind: OfPartition, Name: name, Target: "it"})
		}
	}
	return out
}

// takes are the partitions of a collection that the task's rule lets be replicated.
func (c *comparison) takes(col *scan.Collection) []string {
	var out []string
	for _, p := range col.Partitions {
		if c.rule == nil || c.rule.TakesPartition(p.Name) {
			out = append(out, p.Name)
		}
	}
	return out
}

// indexDifferences goes by what the handlers would leave as it is.
func (c *comparison) indexDifferences(src, dst settings) []Difference {
	var out []Difference
	left := slices.Clone(dst.indexes)
	for _, want := range src.indexes {
		if c.rule != nil && c.rule.Drops(want.GetFieldName()) {
			continue
		}
		named := func(d *milvuspb.IndexDescription) bool {
			return d.GetFieldName() == want.GetFieldName() && (d.GetIndexName() == want.GetIndexName() || d.GetIndexName() == d.GetFieldName())
		}
		one := Difference{Kind: OfIndex, Name: want.GetIndexName(), Field: want.GetFieldName(), Source: indexText(want)}
		at := slices.IndexFunc(left, named)
		if at < 0 {
			out = append(out, one)
			continue
		}
		have := left[at]
		left = slices.Delete(left, at, at+1)
		if !milvus.SameIndex(asRequest(want), have) {
			one.Target = indexText(have)
			out = append(out, one)
		}
	}
	for _, d := range left {
		out = append(out, Difference{Kind: OfIndex, Name: d.GetIndexName(), Field: d.GetFieldName(), Target: indexText(d)})
	}
	return out
}

// asRequest is the request that makes the index. What it leaves to the server is not asked for.
func asRequest(d *milvuspb.IndexDescription) *milvuspb.CreateIndexRequest {
	req := &milvuspb.CreateIndexRequest{FieldName: d.GetFieldName(), IndexName: d.GetIndexName()}
	for _, p := range d.GetParams() {
		if p.GetValue() != "" {
			req.ExtraParams = append(req.ExtraParams, p)
		}
	}
	return req
}

func indexText(d *milvuspb.IndexDescription) string {
	var parts []string
	for _, p := range d.GetParams() {
		parts = append(parts, p.GetKey()+"="+p.GetValue())
	}
	if len(parts) == 0 {
		return "it"
	}
	slices.Sort(parts)
	return shorten(strings.Join(parts, " "))
}

func (c *comparison) aliasDifferences(ctx context.Context, src, dst settings) ([]Difference, error) {
	have, err := aliasesOf(ctx, c.dst, dst)
	if err != nil {
		return nil, err
	}
	given, err := aliasesOf(ctx, c.src, src)
	if err != nil {
		return nil, err
	}
	var want []string
	for _, a := range given {
		want = append(want, c.cfg.Task.Place(jetstream.QualifiedName{Database: c.out.Source.Database, Collection: a}).Collection)
	}
	var out []Difference
	for _, a := range want {
		if !slices.Contains(have, a) {
			out = append(out, Difference{Kind: OfAlias, Name: a, Source: "it"})
		}
	}
	for _, a := range have {
		if !slices.Contains(want, a) {
			out = append(out, Difference{Kind: OfAlias, Name: a, Target: "it"})
		}
	}
	return out, nil
}

// aliasesOf are a collection's aliases, by name. A Milvus Lite tells them only when it is asked for them.
func aliasesOf(ctx context.Context, s side, have settings) (out []string, err error) {
	out = slices.Clone(have.d.GetAliases())
	if len(out) == 0 {
		err = s.again(ctx, func() error {
			res, err := checked(s.client.Service().ListAliases(ctx, &milvuspb.ListAliasesRequest{DbName: s.col.Database, CollectionName: s.col.Name}))
			var no *refusal
			if unimplemented(err) || errors.As(err, &no) {
				return nil // older versions don't have the call, and told all there is
			}
			out = slices.Clone(res.GetAliases())
			return err
		})
	}
	slices.Sort(out)
	return out, err
}

// loadDifferences are the partitions that are loaded on the source alone: nobody can search them on the target.
func (c *comparison) loadDifferences(ctx context.Context) ([]Difference, error) {
	src, err := c.src.loaded(ctx)
	if err != nil {
		return nil, err
	}
	dst, err := c.dst.loaded(ctx)
	if err != nil {
		return nil, err
	}
	all, have := []string{""}, []string{""}
	if !c.keyed {
		all, have = c.takes(c.src.col), c.takes(c.dst.col)
	}
	var out []Difference
	for _, p := range all {
		if src.Has(p) && !dst.Has(p) && slices.Contains(have, p) {
			out = append(out, Difference{Kind: OfLoad, Name: p, Source: "loaded", Target: "released"})
		}
	}
	return out, nil
}

func (c *comparison) propertyDifferences(src, dst settings) []Difference {
	asMap := func(list []*commonpb.KeyValuePair) map[string]string {
		out := map[string]string{}
		for _, p := range list {
			if milvus.TakesProperty(p.GetKey()) {
				out[p.GetKey()] = p.GetValue()
			}
		}
		return out
	}
	s, d := asMap(src.d.GetProperties()), asMap(dst.d.GetProperties())
	var out []Difference
	for _, key := range union(s, d) {
		if s[key] != d[key] && (s[key] != "" || d[key] != "0") { // what can't be removed there is made of no effect
			out = append(out, Difference{Kind: OfProperty, Name: key, Source: s[key], Target: d[key]})
		}
	}
	if len(out) > 0 && !keepsProperties(c.srcVersion) {
		c.note("properties differ (%s): a source of version %s keeps altered ones in memory only, so they are not compared", out[0].Name, c.srcVersion)
		return nil
	}
	return out
}

// union is the keys of both maps, sorted.
func union(a, b map[string]string) []string {
	var keys []string
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// settleSettings compares what is not rows until nothing of it changes any more, has it repaired if that is wanted, and counts it.
func (c *comparison) settleSettings(ctx context.Context) error {
	sure, moving, err := c.sameTwice(ctx)
	if err != nil {
		return err
	}
	if len(sure) > 0 && c.cfg.Restate != nil {
		before := sure
		if sure, moving, err = c.restate(ctx, sure); err != nil {
			return err
		}
		for _, d := range before {
			if !slices.Contains(sure, d) && !slices.Contains(moving, d) {
				c.out.Repaired++
				d.Repaired = true
				c.print(d)
			}
		}
	}
	for _, d := range sure {
		c.out.Settings++
		c.print(d)
	}
	if len(moving) > 0 {
		c.out.unknown(fmt.Sprintf("its settings never came to rest; the last that differed is the %s %q", moving[0].Kind, moving[0].Name))
	}
	return nil
}

// restate has the settings repaired, and gives what still differs. One that can't be repaired so stays as it is.
func (c *comparison) restate(ctx context.Context, was []Difference) (sure, moving []Difference, err error) {
	if err := c.cfg.Restate(ctx, c.restating(was)); err != nil { // of the others it may have told
		c.note("not all of its settings were repaired: %v", err)
	}
	if err := c.wait(ctx); err != nil {
		return nil, nil, err
	}
	return c.sameTwice(ctx)
}

// sameTwice gives the differences that are there in two looks one after the other, with a wait between.
func (c *comparison) sameTwice(ctx context.Context) (sure, moving []Difference, err error) {
	last, err := c.settings(ctx)
	for round := 0; err == nil && len(last) > 0 && round < maxRounds; round++ {
		if err := c.wait(ctx); err != nil {
			return nil, nil, err
		}
		var now []Difference
		if now, err = c.settings(ctx); err == nil && slices.Equal(now, last) {
			return now, nil, nil
		}
		last = now
	}
	return nil, last, err
}

// restating is the request that has the target told again of what differs.
func (c *comparison) restating(sure []Difference) bridge.RestateRequest {
	req := bridge.RestateRequest{CollectionID: c.out.ID, Target: c.cfg.Target}
	for _, d := range sure {
		req.Settings = append(req.Settings, bridge.Setting{
			Kind: bridge.SettingKind(d.Kind), Name: d.Name, Field: d.Field, Extra: d.Source == "" && d.Target != "",
		})
	}
	return req
}
