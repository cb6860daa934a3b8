package readme

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

func readme(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestReplicated compares the table of what is replicated with the kinds of events that there are.
func TestReplicated(t *testing.T) {
	_, rest, ok := strings.Cut(readme(t), "## What is replicated\n")
	table, _, end := strings.Cut(rest, "\n\nOf the types ")
	if !ok || !end {
		t.Fatal("the README has no table of what is replicated")
	}
	var told []jetstream.Kind
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[2], -1) {
			told = append(told, jetstream.Kind(m[1]))
		}
	}
	slices.Sort(told)
	want := slices.DeleteFunc(jetstream.Kinds(), func(k jetstream.Kind) bool { return k == jetstream.Fence })
	if !slices.Equal(told, want) {
		t.Errorf("the README tells of %v, the code knows %v", told, want)
	}
}

// TestTasks checks every task that the README shows.
func TestTasks(t *testing.T) {
	blocks := strings.Split(readme(t), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("the README shows %d tasks", len(blocks))
	}
	for _, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		spec, err := jetstream.ParseTask([]byte(text))
		if err == nil {
			err = spec.WithDefaults().Validate()
		}
		for _, r := range spec.Rules {
			if _, e := rules.Parse(r); e != nil {
				err = e
			}
		}
		if err != nil {
			t.Errorf("%v in the task\n%s", err, text)
		}
	}
}
