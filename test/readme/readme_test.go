//go:build servers

// Package readme runs what the README tells people to type.
package readme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/run"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(servers.Main(m, servers.RoleSource, servers.RoleTarget, servers.RoleTarget2))
}

// byItself are commands that are run where this test can't: each with what runs it.
var byItself = map[string]string{
	"make demo": ".ci/run",
	"make test": ".ci/run",
}

// TestCommands runs every command in the README's sh blocks, in their order, against real servers: only the addresses in
// them are replaced, and the long-running one goes to the background.
func TestCommands(t *testing.T) {
	root := must(filepath.Abs("../.."))(t)
	readme := string(must(os.ReadFile(filepath.Join(root, "README.md")))(t))
	ci := string(must(os.ReadFile(filepath.Join(root, ".ci/run")))(t))
	src, dst := servers.Source(t), servers.Target(t)
	makeBooks(t, src)
	dir := t.TempDir()
	task := strings.NewReplacer("http://127.0.0.1:19630", dst.URI, `["*"]`, `["readme_*"]`).Replace(block(t, readme, "yaml"))
	if err := os.WriteFile(filepath.Join(dir, "orders.yaml"), []byte(task), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "bin"), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	port, metrics := must(run.FreePort())(t), must(run.FreePort())(t)
	s := &shell{t: t, dir: dir, env: append(os.Environ(), fmt.Sprintf("KITESTREAM_NATS_LISTEN=127.0.0.1:%d", port),
		fmt.Sprintf("KITESTREAM_METRICS_ADDR=127.0.0.1:%d", metrics))}
	here := strings.NewReplacer("127.0.0.1:2379", src.EtcdEndpoint, "nats://127.0.0.1:4223", src.MQURL, "http://127.0.0.1:19530", src.URI,
		"http://127.0.0.1:19730", servers.Target2(t).URI, "default.books", "default."+books)
	for _, line := range commands(readme) {
		switch {
		case byItself[line] != "":
			if !strings.Contains(ci, line) {
				t.Errorf("%q is in the README and not in %s", line, byItself[line])
			}
		case line == "make build":
			t.Log("bin/ is built by make test")
		case strings.HasPrefix(line, "export "):
			s.env = append(s.env, strings.Fields(here.Replace(line))[1:]...)
		case line == "bin/kitestream up":
			s.background(line)
			s.env = append(s.env, fmt.Sprintf("KITESTREAM_NATS_URL=nats://127.0.0.1:%d", port))
		default:
			s.run(here.Replace(line))
		}
	}
}

// books is the collection that the README's commands are about.
const books = "readme_books"

func makeBooks(t *testing.T, src *servers.Milvus) {
	t.Helper()
	c := must(client.NewClient(t.Context(), client.Config{Address: src.Addr}))(t)
	schema := entity.NewSchema().WithName(books).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(2))
	index := must(entity.NewIndexFlat(entity.L2))(t)
	err := errors.Join(c.CreateCollection(t.Context(), schema, 1), c.CreateIndex(t.Context(), books, "vec", index, false), c.LoadCollection(t.Context(), books, false))
	if err == nil {
		_, err = c.Insert(t.Context(), books, "", entity.NewColumnInt64("id", []int64{1, 2}), entity.NewColumnFloatVector("vec", 2, [][]float32{{1, 0}, {0, 1}}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs command lines.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func (s *shell) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// run runs a command that is to succeed; `up` may still be starting.
func (s *shell) run(line string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		out, err := s.command(ctx, line).CombinedOutput()
		if err == nil {
			s.t.Logf("$ %s\n%s", line, out)
			return
		}
		if !strings.Contains(string(out), "KS-C-NOCONTROL") && !strings.Contains(string(out), "NATS") || ctx.Err() != nil {
			s.t.Fatalf("$ %s\n%s%v", line, out, err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// background starts a command that ends with the test, by SIGTERM and with 0.
func (s *shell) background(line string) {
	s.t.Helper()
	cmd := s.command(context.WithoutCancel(s.t.Context()), line)
	log := must(os.Create(filepath.Join(s.dir, "up.log")))(s.t)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			out, _ := os.ReadFile(log.Name())
			s.t.Errorf("$ %s\n%s%v", line, out, err)
		}
	})
}

// commands are the lines of the README's sh blocks.
func commands(readme string) []string {
	var out []string
	for _, b := range strings.Split(readme, "```sh\n")[1:] {
		body, _, _ := strings.Cut(b, "```")
		out = append(out, strings.Split(strings.TrimSpace(body), "\n")...)
	}
	return out
}

// block is the first fenced block of that kind.
func block(t *testing.T, readme, kind string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readme, "```"+kind+"\n")
	body, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("the README has no %s block", kind)
	}
	return body
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
