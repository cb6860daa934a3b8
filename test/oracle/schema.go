package oracle

import (
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// schema adds in what the descriptions of two collections differ. Whether Milvus makes the keys is left out: a target
// is given the source's.
func (d *Diff) schema(name string, source, target *milvuspb.DescribeCollectionResponse) {
	s, t := source.GetSchema(), target.GetSchema()
	d.same(name+", description", text(s.GetDescription()), text(t.GetDescription()))
	d.same(name+", dynamic field", fmt.Sprint(s.GetEnableDynamicField()), fmt.Sprint(t.GetEnableDynamicField()))
	d.same(name+", shards", fmt.Sprint(source.GetShardsNum()), fmt.Sprint(target.GetShardsNum()))
	d.same(name+", consistency level", source.GetConsistencyLevel().String(), target.GetConsistencyLevel().String())
	d.same(name+", order of fields", fieldNames(s), fieldNames(t))
	sf, tf := fieldTexts(s), fieldTexts(t)
	for _, f := range union(sf, tf) {
		d.same(name+", field "+f, orAbsent(sf, f), orAbsent(tf, f))
	}
	// A newer target may have properties of its own.
	sp, tp := pairs(source.GetProperties()), pairs(target.GetProperties())
	for _, p := range union(sp, nil) {
		d.same(name+", property "+p, sp[p], orAbsent(tp, p))
	}
}

func orAbsent(m map[string]string, key string) string {
	if v, ok := m[key]; ok {
		return v
	}
	return Absent
}

func fieldNames(s *schemapb.CollectionSchema) string {
	var names []string
	for _, f := range s.GetFields() {
		names = append(names, f.GetName())
	}
	return strings.Join(names, " ")
}

// fieldTexts is each field's definition, less its id, which the server gives, and its auto-ID.
func fieldTexts(s *schemapb.CollectionSchema) map[string]string {
	m := map[string]string{}
	for _, f := range s.GetFields() {
		var b strings.Builder
		b.WriteString(f.GetDataType().String())
		if e := f.GetElementType(); e != schemapb.DataType_None {
			fmt.Fprintf(&b, " of %s", e)
		}
		params := pairs(f.GetTypeParams())
		for _, k := range union(params, nil) {
			fmt.Fprintf(&b, " %s=%s", k, params[k])
		}
		for _, flag := range []struct {
			name string
			on   bool
		}{
			{" primary key", f.GetIsPrimaryKey()},
			{" partition key", f.GetIsPartitionKey()},
			{" dynamic", f.GetIsDynamic()},
			{" nullable", f.GetNullable()},
			{" clustering key", f.GetIsClusteringKey()},
		} {
			if flag.on {
				b.WriteString(flag.name)
			}
		}
		if v := f.GetDefaultValue(); v != nil {
			fmt.Fprintf(&b, " default %s", v)
		}
		if v := f.GetDescription(); v != "" {
			fmt.Fprintf(&b, " described as %s", text(v))
		}
		m[f.GetName()] = b.String()
	}
	return m
}

func pairs(kv []*commonpb.KeyValuePair) map[string]string {
	m := map[string]string{}
	for _, p := range kv {
		m[p.GetKey()] = p.GetValue()
	}
	return m
}
