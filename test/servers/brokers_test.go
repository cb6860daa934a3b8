//go:build servers

package servers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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
			write(ctx, t, shared.Addr, 100)
			write(ctx, t, own.Addr, 50) // the same collection, on channels of the same number
			if err := own.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := own.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			if got := count(ctx, t, own.Addr); got != 50 {
				t.Errorf("%d rows in a Milvus of its own after a crash, want 50", got)
			}
			if got := count(ctx, t, shared.Addr); got != 100 {
				t.Errorf("%d rows in the shared Milvus, want 100", got)
			}
		})
	}
}
