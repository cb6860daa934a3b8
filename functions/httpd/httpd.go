package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that a process needs before it can do its work. Ready returns nil when it is there, else why not;
// it may be called by several requests at once and must return when ctx ends.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error
}

const (
	checkTimeout = 2 * time.Second // all checks of one request together
	stopTimeout  = time.Second     // for requests in flight when the process stops
)

// Server is an HTTP server that has its port already. Make it with Listen, run it with Run.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen takes the address, so that one that is in use is known before anything else starts.
func Listen(addr string, metrics prometheus.Gatherer, checks ...Check) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, checks) })
	return &Server{listener: l, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
	}}, nil
}

// Addr is the address that is served, with the port that was taken.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends; a stop that was asked for is no error.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- s.http.Serve(s.listener) })
	defer serving.Wait()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics at %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		_ = s.http.Close() // a reader that hangs is cut off
	}
	return nil
}

func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	var lines []string
	var all error
	for _, c := range checks {
		err := c.Ready(ctx)
		all = errors.Join(all, err)
		if err != nil {
			lines = append(lines, c.Name+": "+err.Error())
		} else {
			lines = append(lines, c.Name+": ok")
		}
	}
	if all != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, strings.Join(append(lines, ""), "\n"))
}
