package milvus

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// TestTypesInTheReadme compares the README's table of types with what is looked at before a collection is made.
func TestTypesInTheReadme(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "| type | Milvus | Milvus Lite")
	table, _, ok := strings.Cut(rest, "\n\n")
	if !ok {
		t.Fatal("the README has no table of types")
	}
	told := map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Za-z0-9]+)`").FindAllStringSubmatch(cells[1], -1) {
			told[m[1]] = true
			f, ok := typeFeature(schemapb.DataType(schemapb.DataType_value[m[1]]))
			since := "2.3"
			if f.since != (release{}) {
				since = strings.TrimPrefix(f.since.String(), "Milvus ")
			}
			if never := strings.Contains(cells[2], "not replicated"); !ok || never != f.never || !never && strings.TrimSpace(cells[2]) != since {
				t.Errorf("%s: the README says %q, the code %+v", m[1], cells[2], f)
			}
			if lite := strings.HasPrefix(strings.TrimSpace(cells[3]), "yes"); lite != f.lite {
				t.Errorf("%s in Milvus Lite: the README says %q, the code %v", m[1], cells[3], f.lite)
			}
		}
	}
	for number, name := range schemapb.DataType_name {
		if _, known := typeFeature(schemapb.DataType(number)); known && !told[name] {
			t.Errorf("the README does not tell of %s", name)
		}
	}
}
