//go:build servers

package servers_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kitestream/test/servers"
)

// TestPulsarCrash checks that a killed Pulsar has its messages again, also one that nobody subscribes to.
func TestPulsarCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := servers.StartPulsar(ctx, servers.PulsarConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	call(ctx, t, http.MethodPut, p.AdminURL+"/admin/v2/persistent/public/default/crash", "")
	call(ctx, t, http.MethodPost, p.AdminURL+"/topics/persistent/public/default/crash",
		`{"producerName": "test", "messages": [{"payload": "survivor"}]}`)
	for listener, want := range map[string]string{"internal": p.URL, "proxied": "pulsar://" + p.Proxy.Listen} {
		lookup := p.AdminURL + "/lookup/v2/topic/persistent/public/default/crash?listenerName=" + listener
		if got := call(ctx, t, http.MethodGet, lookup, ""); !strings.Contains(got, `"`+want+`"`) {
			t.Errorf("a client of the listener %s is sent to %s, want %s", listener, got, want)
		}
	}
	url, pid := p.URL, p.Pid
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := servers.OpenPulsar(p.Dir); err == nil {
		t.Error("OpenPulsar found a killed server")
	}
	if err := p.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if p.URL != url || p.Pid == pid {
		t.Errorf("restarted at %s as process %d, was at %s as %d", p.URL, p.Pid, url, pid)
	}
	const first = "/examinemessage?initialPosition=earliest&messagePosition=1"
	if got := call(ctx, t, http.MethodGet, p.AdminURL+"/admin/v2/persistent/public/default/crash"+first, ""); got != "survivor" {
		t.Errorf("message after the crash: %q", got)
	}
}

// TestKafkaCrash is TestPulsarCrash for Kafka.
func TestKafkaCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	k, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	kafkaTool(ctx, t, "survivor\n", "kafka.tools.ConsoleProducer", "--bootstrap-server", k.Addr, "--topic", "crash", "--request-required-acks", "all")
	for at, want := range map[string]string{k.Addr: k.Addr, k.Proxy.Upstream: k.Proxy.Listen} {
		if got := kafkaBroker(t, at); got != want {
			t.Errorf("a client that comes in at %s is sent to %s, want %s", at, got, want)
		}
	}
	addr, pid := k.Addr, k.Pid
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := servers.OpenKafka(k.Dir); err == nil {
		t.Error("OpenKafka found a killed server")
	}
	if err := k.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if k.Addr != addr || k.Pid == pid {
		t.Errorf("restarted at %s as process %d, was at %s as %d", k.Addr, k.Pid, addr, pid)
	}
	got := kafkaTool(ctx, t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", k.Addr, "--topic", "crash",
		"--partition", "0", "--offset", "earliest", "--max-messages", "1")
	if got != "survivor\n" {
		t.Errorf("message after the crash: %q", got)
	}
}

// call asks Pulsar's admin API, and fails the test unless the answer is a good one.
func call(ctx context.Context, t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", method, url, resp.Status, b)
	}
	return string(b)
}

// kafkaBroker asks for Kafka's metadata and returns where it says that its one broker is.
func kafkaBroker(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := struct {
		Length       int32
		Key, Version int16
		Correlation  int32
		Client       int16 // none
		Topics       int32
	}{Length: 14, Key: 3, Client: -1}
	var answer struct{ Length, Correlation, Brokers, Node int32 }
	var hostLength int16
	var port int32
	if err := errors.Join(binary.Write(conn, binary.BigEndian, request), binary.Read(conn, binary.BigEndian, &answer),
		binary.Read(conn, binary.BigEndian, &hostLength)); err != nil {
		t.Fatal(err)
	}
	host := make([]byte, max(0, hostLength))
	if err := errors.Join(binary.Read(conn, binary.BigEndian, host), binary.Read(conn, binary.BigEndian, &port)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// kafkaTool runs one of Kafka's own commands and returns what it prints.
func kafkaTool(ctx context.Context, t *testing.T, in, class string, args ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(cache, "kitestream", "kafka-3.9.1", "lib", "*")
	cmd := exec.CommandContext(ctx, "java", append([]string{"-XX:TieredStopAtLevel=1", "-cp", lib, class}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatalf("%s: %v", class, err)
	}
	return string(out)
}

// TestMilvusOnBroker checks that a source runs on each broker, where kitestream looks for it, and that two of them don't
// meet.
func TestMilvusOnBroker(t *testing.T) {
	pulsar, kafka := servers.SharedPulsar(t), servers.SharedKafka(t)
	for mq, want := range map[string]struct {
		broker servers.Broker
		url    string
	}{
		servers.PulsarMQ: {pulsar, pulsar.URL},
		servers.KafkaMQ:  {kafka, kafka.Addr},
	} {
		t.Run(mq, func(t *testing.T) {
			t.Parallel()
			shared := servers.SourceOn(t, mq)
			if shared.MQ != mq || shared.MQURL != want.url {
				t.Errorf("shared source's queue is %s at %s, want %s at %s", shared.MQ, shared.MQURL, mq, want.url)
			}
			for _, v := range []string{"KITESTREAM_SOURCE_MQ=" + mq, "KITESTREAM_SOURCE_MQ_URL=" + want.url} {
				if env := shared.SourceEnv(); !slices.Contains(env, v) {
					t.Errorf("%s is not in %v", v, env)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			own, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), Broker: want.broker, QuickRestart: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := own.Close(); err != nil {
					t.Error(err)
				}
			})
			write(ctx, t, shared.Addr, 3000, 1024) // fills more than a message, of 5 MiB
			write(ctx, t, own.Addr, 50, 4)         // the same collection, on channels of the same number
			if err := own.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := own.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			if got := count(ctx, t, own.Addr); got != 50 {
				t.Errorf("%d rows in a Milvus of its own after a crash, want 50", got)
			}
			if got := count(ctx, t, shared.Addr); got != 3000 {
				t.Errorf("%d rows in the shared Milvus, want 3000", got)
			}
		})
	}
}
