package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kitestream/functions/config"
	"kitestream/functions/process"
	"kitestream/jetstream/jetstreamtest"
)

// asBinary has the test binary be kitestream, so that what is run has all that the tests are built with.
const asBinary = "KITESTREAM_TEST_AS_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(asBinary) != "" {
		main()
	}
	os.Exit(m.Run())
}

// command is kitestream with arguments and nothing in its environment but what is given.
func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append([]string{asBinary + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return c
}

// A script in testdata has a command a line: kitestream with arguments ("!": it fails), and on what the last one said
// exit, stdout and stderr ("!": does not match). env sets a variable from there on, stdin names a file for the next
// command. Behind "-- name --" follow files.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			s := &script{t: t, dir: t.TempDir(), env: []string{"KITESTREAM_NATS_URL=" + serveControl(t)}}
			s.run(path)
		})
	}
}

// serveControl runs a NATS server with a control process inside the test.
func serveControl(t *testing.T) (url string) {
	srv := jetstreamtest.Run(t)
	cfg := config.Default()
	cfg.NATSURL, cfg.MetricsAddr, cfg.LeaseTTL = srv.URL(), "", time.Second
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- process.Run(ctx, cfg, process.Log(t.Output(), cfg), []process.MakePart{newControlPart})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("control process: %v", err)
		}
	})
	eventually(t, "the control process answers", func() bool {
		return command(t.Context(), []string{"KITESTREAM_NATS_URL=" + srv.URL()}, "task", "list").Run() == nil
	})
	return srv.URL()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type script struct {
	t    *testing.T
	dir  string
	env  []string
	line string // where we are
	in   string // file for the next command's standard input

	out, errs bytes.Buffer // of the last command
	code      int
}

func (s *script) run(path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := s.files(string(raw))
	for n, line := range lines {
		s.line = fmt.Sprintf("%s:%d: %s", path, n+1, line)
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			s.step(line)
		}
	}
}

// files writes the files behind the script and returns the script's lines.
func (s *script) files(text string) []string {
	var steps []string
	var file *os.File
	header := regexp.MustCompile(`^-- (\S+) --$`)
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		line := in.Text()
		if m := header.FindStringSubmatch(line); m != nil {
			var err error
			if file, err = os.Create(filepath.Join(s.dir, m[1])); err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { _ = file.Close() })
			continue
		}
		if file == nil {
			steps = append(steps, line)
		} else {
			fmt.Fprintln(file, line)
		}
	}
	return steps
}

func (s *script) step(line string) {
	line, not := strings.CutPrefix(line, "! ")
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "kitestream":
		s.command(strings.Fields(rest), not)
	case "exit":
		if fmt.Sprint(s.code) != rest {
			s.t.Errorf("%s: exit code is %d; stderr:\n%s", s.line, s.code, &s.errs)
		}
	case "stdout":
		s.match(&s.out, rest, not)
	case "stderr":
		s.match(&s.errs, rest, not)
	case "env":
		s.env = append(s.env, rest)
	case "stdin":
		s.in = filepath.Join(s.dir, rest)
	default:
		s.t.Fatalf("%s: unknown step", s.line)
	}
}

func (s *script) command(args []string, fails bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c := command(ctx, s.env, args...)
	c.Dir = s.dir
	s.out.Reset()
	s.errs.Reset()
	c.Stdout, c.Stderr = &s.out, &s.errs
	if s.in != "" {
		raw, err := os.ReadFile(s.in)
		if err != nil {
			s.t.Fatal(err)
		}
		c.Stdin, s.in = bytes.NewReader(raw), ""
	}
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v", s.line, err)
	}
	s.code = c.ProcessState.ExitCode()
	if fails == (s.code == 0) {
		s.t.Fatalf("%s: exit code is %d\nstdout:\n%s\nstderr:\n%s", s.line, s.code, &s.out, &s.errs)
	}
}

func (s *script) match(text *bytes.Buffer, pattern string, not bool) {
	re, err := regexp.Compile("(?m)" + strings.Trim(pattern, "'"))
	if err != nil {
		s.t.Fatalf("%s: %v", s.line, err)
	}
	if re.MatchString(text.String()) == not {
		s.t.Errorf("%s: is not so in\n%s", s.line, text)
	}
}
