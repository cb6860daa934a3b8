package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// killable is a nats-server in a process of its own.
type killable struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

func (k *killable) start() {
	k.t.Helper()
	k.cmd = exec.Command(os.Args[0], "-test.run=^TestServerChild$")
	k.cmd.Env = append(os.Environ(), "KITESTREAM_TEST_SERVER="+k.dir, "KITESTREAM_TEST_PORT="+strconv.Itoa(k.port))
	out, err := k.cmd.StdoutPipe()
	must(k.t, err)
	_, err = k.cmd.StdinPipe()
	must(k.t, err)
	must(k.t, k.cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "port "); ok {
			k.port, err = strconv.Atoi(url)
			must(k.t, err)
			return
		}
	}
	k.t.Fatal("the server's process said nothing")
}

func (k *killable) kill() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
}

// TestServerChild is the process that TestServerIsKilled kills.
func TestServerChild(t *testing.T) {
	dir := os.Getenv("KITESTREAM_TEST_SERVER")
	if dir == "" {
		return
	}
	port, err := strconv.Atoi(os.Getenv("KITESTREAM_TEST_PORT"))
	must(t, err)
	s := jetstreamtest.Run(t, func(o *server.Options) { o.StoreDir, o.Port = dir, port })
	fmt.Printf("port %s\n", s.URL()[strings.LastIndexByte(s.URL(), ':')+1:])
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
}

// The server is killed under load, again and again. The lane's holder gets every event once, in order; the next holder
// begins at most SaveEvery before the last ack, and never before a barrier that was passed.
func TestServerIsKilled(t *testing.T) {
	k := &killable{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	k.start()
	defer func() { k.kill() }()
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", k.port), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	must(t, err)
	defer nc.Close()
	js, err := natsjs.New(nc)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(t, jetstream.Setup(ctx, js, 1))
	kv, err := js.KeyValue(ctx, jetstream.BucketLanes)
	must(t, err)
	r := &rig{t: t, ctx: ctx, js: js, lanes: kv}
	r.stream(ref().Name)

	b := r.barriers()
	l := r.openLane(0, 1)
	for round := range 8 {
		want := r.publish(append(rows(0, 200), event(jetstream.DropCollection, jetstream.AllLanes))...)
		n := rand.IntN(len(want))
		same(t, fmt.Sprint("before, round ", round), r.take(l, n), want[:n])
		if n > 0 {
			r.ack(l, want[n-1])
		}
		k.kill()
		k.start()
		same(t, fmt.Sprint("after, round ", round), r.take(l, len(want)-n), want[n:])
		bar := want[len(want)-1]
		r.until("the barrier is passed", func() bool {
			state, err := b.Arrive(ctx, bar, 0, 1)
			return err == nil && (state == jetstream.BarrierPassed || b.Done(ctx, bar) == nil)
		})
		r.ack(l, bar)
		k.kill()
		k.start()
		r.until("the next holder opens the lane", func() bool {
			next, err := jetstream.OpenLane(ctx, js, kv, jetstream.LaneConfig{ID: laneID(0), Epoch: uint64(round + 2)})
			if errors.Is(err, jetstream.ErrFenced) {
				t.Fatal(err)
			}
			if err == nil {
				l = next
			}
			return err == nil
		})
		t.Cleanup(func() { _ = l.Close(ctx) })
		if l.Floor() != bar {
			t.Errorf("round %d: floor = %d, want the barrier %d", round, l.Floor(), bar)
		}
	}
}
