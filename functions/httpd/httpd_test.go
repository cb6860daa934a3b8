package httpd_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/functions/httpd"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestServesUntilStopped(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "kites_total", Help: "Kites seen."})
	reg.MustRegister(c)
	c.Add(3)
	var up atomic.Bool
	s, err := httpd.Listen("127.0.0.1:0", reg,
		httpd.Check{Name: "first", Ready: func(context.Context) error { return nil }},
		httpd.Check{Name: "second", Ready: func(context.Context) error {
			if !up.Load() {
				return errors.New("not yet there")
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	at := "http://" + s.Addr()

	if code, body := get(t, at+"/healthz"); code != http.StatusOK || strings.TrimSpace(body) != "ok" {
		t.Errorf("/healthz = %d %q", code, body)
	}
	if code, body := get(t, at+"/metrics"); code != http.StatusOK || !strings.Contains(body, "kites_total 3") {
		t.Errorf("/metrics = %d %q", code, body)
	}
	if code, body := get(t, at+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "first: ok\nsecond: not yet there") {
		t.Errorf("/readyz = %d %q", code, body)
	}
	up.Store(true)
	if code, body := get(t, at+"/readyz"); code != http.StatusOK || !strings.Contains(body, "second: ok") {
		t.Errorf("/readyz = %d %q", code, body)
	}
	if code, _ := get(t, at+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an unknown path gives %d", code)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v after a stop that was asked for", err)
	}
	if _, err := http.Get(at + "/healthz"); err == nil {
		t.Error("still serving after Run returned")
	}
}

func TestAddressInUse(t *testing.T) {
	s, err := httpd.Listen("127.0.0.1:0", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() { _ = s.Run(ctx) }()
	if _, err := httpd.Listen(s.Addr(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second listener: %v", err)
	}
}
