package jetstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	yamlv2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// TaskSpec is what a user says about a task: the task file.
type TaskSpec struct {
	// Name is 1 to 48 of a-z, 0-9, '_' and '-', and begins with a letter or digit.
	Name string `json:"name"`
	// Source is the name of the source cluster. Default "default".
	Source string `json:"source"`
	// Select says what is replicated: what any of the selections selects. At least one.
	Select []Selection `json:"select"`
	// Lanes is how many ordered lanes the task's events are spread over, 1 to 64, default 4: how many workers can apply
	// it side by side. It stays as it is for the task's life.
	Lanes int `json:"lanes"`
	// Targets are the clusters that follow. At least one.
	Targets []TargetSpec `json:"targets"`

	// Map says where on the targets collections land that are not to keep their names. The first that fits counts.
	Map []Mapping `json:"map,omitempty"`
	// Rules say what of a collection is replicated. The first that fits counts; a collection that none fits is replicated whole.
	Rules []Rule `json:"rules,omitempty"`
	// Leave names what the targets' owners see to by themselves: any of LeaveLoad, LeaveIndex, LeaveAlias, LeaveProperties.
	Leave []string `json:"leave,omitempty"`
	// Snapshot says what becomes of rows that are there already: SnapshotAuto (the default), SnapshotNever, SnapshotOnly or
	// SnapshotPresent.
	Snapshot string `json:"snapshot,omitempty"`
	// SnapshotRowsPerSecond is how fast existing rows are read from the source at most, all collections together. 0: no limit.
	SnapshotRowsPerSecond int `json:"snapshot_rows_per_second,omitempty"`
	// SnapshotLoad has a collection that is not loaded on the source loaded for its copy, and released after.
	SnapshotLoad bool `json:"snapshot_load,omitempty"`
	// History is how long events stay on the stream after every target has applied them, such as 24h (the default); at least 1m.
	History string `json:"history,omitempty"`
	// MaxBytes is the size at which the stream takes no more and the bridge waits, such as 20GiB. A stream that is nearly full keeps less
	// history. Empty: no limit.
	MaxBytes string `json:"max_bytes,omitempty"`
	// RBAC has users, roles and privileges replicated too, all that the source has.
	RBAC bool `json:"rbac,omitempty"`
	// VerifyEvery is how often the workers compare each target with the source, such as 1h; at least 1m. Empty: they don't.
	VerifyEvery string `json:"verify_every,omitempty"`
}

// leastVerify is how often a target may be compared.
const leastVerify = time.Minute

// The bounds of a task's stream.
const (
	historyDefault = 24 * time.Hour
	leastHistory   = time.Minute
	leastBytes     = 16 << 20 // some of the largest messages
)

// HistoryKept is History.
func (s TaskSpec) HistoryKept() time.Duration {
	if d, err := time.ParseDuration(s.History); err == nil {
		return d
	}
	return historyDefault
}

// StreamBytes is MaxBytes; 0 for no limit.
func (s TaskSpec) StreamBytes() int64 {
	n, _ := humanize.ParseBytes(s.MaxBytes) // Validate has passed it, or it is empty
	return int64(min(n, math.MaxInt64))     //nolint:gosec // bounded
}

// VerifyInterval is VerifyEvery; 0 for a task that is not verified by itself.
func (s TaskSpec) VerifyInterval() time.Duration {
	d, _ := time.ParseDuration(s.VerifyEvery) // Validate has passed it, or it is empty
	return d
}

// What a task may leave to the targets' owners.
const (
	LeaveLoad       = "load"       // which collections and partitions are loaded, and in how many replicas
	LeaveIndex      = "index"      // indexes and their parameters
	LeaveAlias      = "alias"      // aliases
	LeaveProperties = "properties" // properties of databases, collections and fields after their creation
)

// What a task may do about existing rows.
const (
	SnapshotAuto    = "auto"    // replayed from the source's queue where it holds a collection's beginning, else copied through the source's API
	SnapshotNever   = "never"   // replayed; a collection of which the queue does not hold the beginning stops
	SnapshotOnly    = "only"    // copied, and not followed afterwards
	SnapshotPresent = "present" // the targets have them: only what changes from now on is replicated
)

// Leaves reports whether the task leaves that to the targets' owners.
func (s TaskSpec) Leaves(what string) bool { return slices.Contains(s.Leave, what) }

// Selection selects collections of one database.
type Selection struct {
	// Database is a name or a glob (path.Match). Default "default".
	Database string `json:"database"`
	// Collections are names or globs. At least one.
	Collections []string `json:"collections"`
	// Exclude are names or globs of what this selection leaves out.
	Exclude []string `json:"exclude,omitempty"`
}

// The bounds of a task.
const (
	DefaultLanes    = 4
	MaxLanes        = 64
	defaultDatabase = "default"
	defaultSource   = "default"
	maxName         = 48
)

// FieldError says what is wrong with one field of what a user wrote.
type FieldError struct {
	Field   string // the path to it, say targets[1].uri
	Message string
}

// Error is the field and what is wrong with it.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// ParseTask reads a task file, YAML or JSON, and fills in defaults. A key that no task has is an error, as is one that
// comes twice; what the values are is for Validate. The error wraps ErrMalformed.
func ParseTask(file []byte) (TaskSpec, error) {
	var spec TaskSpec
	err := yaml.UnmarshalStrict(file, &spec)
	if err == nil {
		err = oneDocument(file)
	}
	if err != nil {
		return TaskSpec{}, fmt.Errorf("parse task: %w: %w", ErrMalformed, err)
	}
	return spec.WithDefaults(), nil
}

// oneDocument refuses a file with more than one document: UnmarshalStrict reads the first and says nothing.
func oneDocument(file []byte) error {
	d := yamlv2.NewDecoder(bytes.NewReader(file))
	for n := 0; ; n++ {
		var ignored any
		err := d.Decode(&ignored)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			return errors.New("something follows the task; want one document")
		}
	}
}

// WithDefaults fills in what was left out.
func (s TaskSpec) WithDefaults() TaskSpec {
	if s.Source == "" {
		s.Source = defaultSource
	}
	if s.Lanes == 0 {
		s.Lanes = DefaultLanes
	}
	selections := make([]Selection, len(s.Select))
	for i, sel := range s.Select {
		if sel.Database == "" {
			sel.Database = defaultDatabase
		}
		selections[i] = sel
	}
	s.Select = selections
	return s
}

// Validate joins all that is wrong with the spec, each a *FieldError.
func (s TaskSpec) Validate() error {
	var p problems
	p.name("name", s.Name)
	p.name("source", s.Source)
	if s.Lanes < 1 || s.Lanes > MaxLanes {
		p.add("lanes", "%d is not between 1 and %d", s.Lanes, MaxLanes)
	}
	if len(s.Select) == 0 {
		p.add("select", "selects nothing; to select everything: [{database: \"*\", collections: [\"*\"]}]")
	}
	for i, sel := range s.Select {
		sel.validate(fmt.Sprintf("select[%d]", i), &p)
	}
	for i, what := range s.Leave {
		if !slices.Contains([]string{LeaveLoad, LeaveIndex, LeaveAlias, LeaveProperties}, what) {
			p.add(fmt.Sprintf("leave[%d]", i), "%q is none of %s, %s, %s and %s", what, LeaveLoad, LeaveIndex, LeaveAlias, LeaveProperties)
		}
	}
	s.validateExisting(&p)
	if len(s.Targets) == 0 {
		p.add("targets", "there is none")
	}
	first := map[string]int{}
	for i, t := range s.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		t.validate(at, &p)
		if j, ok := first[t.Name]; ok {
			p.add(at+".name", "targets[%d] has the name %q too", j, t.Name)
		} else {
			first[t.Name] = i
		}
	}
	for i, m := range s.Map {
		m.validate(fmt.Sprintf("map[%d]", i), &p)
	}
	for i, r := range s.Rules {
		r.validate(fmt.Sprintf("rules[%d]", i), &p)
	}
	return errors.Join(p...)
}

// validateExisting looks at what the task says of existing rows, and of comparing.
func (s TaskSpec) validateExisting(p *problems) {
	if !slices.Contains([]string{"", SnapshotAuto, SnapshotNever, SnapshotOnly, SnapshotPresent}, s.Snapshot) {
		p.add("snapshot", "%q is none of %s, %s, %s and %s", s.Snapshot, SnapshotAuto, SnapshotNever, SnapshotOnly, SnapshotPresent)
	}
	if s.SnapshotRowsPerSecond < 0 {
		p.add("snapshot_rows_per_second", "%d is negative; 0 is no limit", s.SnapshotRowsPerSecond)
	}
	if d, err := time.ParseDuration(s.History); s.History != "" && (err != nil || d < leastHistory) {
		p.add("history", "%q is no duration of at least %v, such as 24h or 90m", s.History, leastHistory)
	}
	if n, err := humanize.ParseBytes(s.MaxBytes); s.MaxBytes != "" && (err != nil || n < leastBytes || n > math.MaxInt64) {
		p.add("max_bytes", "%q is no size of at least %s, such as 20GiB", s.MaxBytes, humanize.IBytes(leastBytes))
	}
	if d, err := time.ParseDuration(s.VerifyEvery); s.VerifyEvery != "" && (err != nil || d < leastVerify) {
		p.add("verify_every", "%q is no duration of at least %v, such as 1h or 90m", s.VerifyEvery, leastVerify)
	}
}

func (s Selection) validate(at string, p *problems) {
	p.glob(at+".database", s.Database)
	if len(s.Collections) == 0 {
		p.add(at+".collections", "there is none; [\"*\"] selects all")
	}
	for i, g := range s.Collections {
		p.glob(fmt.Sprintf("%s.collections[%d]", at, i), g)
	}
	for i, g := range s.Exclude {
		p.glob(fmt.Sprintf("%s.exclude[%d]", at, i), g)
	}
}

// problems collects field errors.
type problems []error

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, &FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) name(field, s string) {
	if !validName(s) {
		p.add(field, "%q is not 1 to %d of a-z, 0-9, '_' and '-', beginning with a letter or digit", s, maxName)
	}
}

func (p *problems) glob(field, pattern string) {
	if _, err := path.Match(pattern, ""); err != nil {
		p.add(field, "%q is no pattern", pattern)
	} else if pattern == "" {
		p.add(field, "is empty")
	}
}

func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '_' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// TaskState is what a task is meant to do.
type TaskState string

// The states of a task.
const (
	TaskRunning  TaskState = "running"
	TaskPaused   TaskState = "paused"
	TaskDeleting TaskState = "deleting" // its stream and records are being removed; the task goes last
)

// Task is a task as it is kept.
type Task struct {
	Spec    TaskSpec  `json:"spec"`
	State   TaskState `json:"state"`
	ID      string    `json:"id"` // random: tells the lives of a name apart
	Created time.Time `json:"created"`
	// Existing are collections of the source that a target had already when the task was made: what their first copy does not
	// have goes there.
	Existing []QualifiedName `json:"existing,omitempty"`

	// Promoted is the switch-over to one of the targets, under way or done; nil: there is none.
	Promoted *Promotion `json:"promoted,omitempty"`

	// Rewinds are the last rewind of each target, by its name; of those that have been rewound.
	Rewinds map[string]Rewind `json:"rewinds,omitempty"`

	Revision uint64 `json:"-"` // of its record
}

// Ref names this life of the task.
func (t *Task) Ref() TaskRef { return TaskRef{Name: t.Spec.Name, ID: t.ID} }

func (t Task) check() error {
	if t.ID == "" {
		return errors.New("no id")
	}
	if t.State != TaskRunning && t.State != TaskPaused && t.State != TaskDeleting {
		return fmt.Errorf("state %q is unknown", t.State)
	}
	return t.Spec.Validate()
}
