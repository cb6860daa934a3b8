package jetstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

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
}

// Selection selects collections of one database.
type Selection struct {
	// Database is a name or a glob (path.Match). Default "default".
	Database string `json:"database"`
	// Collections are names or globs. At least one.
	Collections []string `json:"collections"`
	// Exclude are names or globs of what this selection leaves out.
	Exclude []string `json:"exclude,omitempty"`
}

// TargetSpec is one cluster that follows.
type TargetSpec struct {
	// Name is 1 to 48 of a-z, 0-9, '_' and '-', and no other target of the task has it.
	Name string `json:"name"`
	// URI is where its proxy listens: http://host:port, https://host:port, tcp://host:port or host:port.
	URI string `json:"uri"`
	// TokenEnv names the environment variable of the workers that holds the token ("user:password" or an API key).
	TokenEnv string `json:"token_env,omitempty"`
	// TokenFile names the file on the workers that holds the token.
	TokenFile string `json:"token_file,omitempty"`
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
	if err := yaml.UnmarshalStrict(file, &spec); err != nil {
		return TaskSpec{}, fmt.Errorf("parse task: %w: %w", ErrMalformed, err)
	}
	return spec.WithDefaults(), nil
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
	return errors.Join(p...)
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

func (t TargetSpec) validate(at string, p *problems) {
	p.name(at+".name", t.Name)
	if msg := checkURI(t.URI); msg != "" {
		p.add(at+".uri", "%s", msg)
	}
	if t.TokenEnv != "" && t.TokenFile != "" {
		p.add(at+".token_file", "token_env is given too; one of them")
	}
	if strings.ContainsAny(t.TokenEnv, "= \x00") {
		p.add(at+".token_env", "%q is no name of an environment variable", t.TokenEnv)
	}
}

// checkURI says what is wrong with a target's address. What was given is not repeated where it may hold a password.
func checkURI(uri string) string {
	const want = "want http://host:port, https://host:port, tcp://host:port or host:port"
	hostport := uri
	if strings.Contains(uri, "://") {
		u, err := url.Parse(uri)
		switch {
		case err != nil:
			return "is no URI; " + want
		case u.User != nil:
			return "holds a user or password; use token_env or token_file"
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "tcp":
			return fmt.Sprintf("has the scheme %q; %s", u.Scheme, want)
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			return "has something after the port; " + want
		}
		hostport = u.Host
	}
	host, port, err := net.SplitHostPort(hostport)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || host == "" || n < 1 || n > 65535 ||
		strings.ContainsAny(host, "@/ ") {
		return "is no address; " + want
	}
	return ""
}

// Token reads the target's token from where the spec says it is; empty when it says nothing. Getenv is os.LookupEnv.
func (t TargetSpec) Token(getenv func(string) (string, bool)) (string, error) {
	switch {
	case t.TokenEnv != "":
		v, ok := getenv(t.TokenEnv)
		if !ok {
			return "", fmt.Errorf("read token of target %s: environment variable %s is not set", t.Name, t.TokenEnv)
		}
		return v, nil
	case t.TokenFile != "":
		b, err := os.ReadFile(t.TokenFile)
		if err != nil {
			return "", fmt.Errorf("read token of target %s: %w", t.Name, err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	return "", nil
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
