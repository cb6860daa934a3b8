package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"kitestream/jetstream"
)

// Config is what a control service needs. Every field but Log must be set.
type Config struct {
	NC      *nats.Conn
	JS      natsjs.JetStream
	Buckets *jetstream.Buckets
	Tasks   *jetstream.Tasks
	Leases  *jetstream.Leases
	Holder  string        // this process, for people
	TTL     time.Duration // of leases: how long a dead process may still count as a holder
	Log     *slog.Logger  // nil: silent
	Metrics *Metrics
}

const (
	shortTimeout = 10 * time.Second // for a request that only reads and writes records
	maxLong      = 256              // requests that may wait at once; more are told to come again
	maxRequest   = 1 << 20          // bytes of a request
)

// Service answers requests about tasks. Any number of them may run.
type Service struct {
	cfg     Config
	metrics *Metrics
}

// New makes a service; it does nothing until Run.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, metrics: cfg.Metrics}
}

// pool runs functions, as many at once as the limit says, until it is closed.
type pool struct {
	limit int
	wg    sync.WaitGroup

	mu      sync.Mutex
	running int
	closed  bool
}

// try runs fn in a goroutine, or returns false.
func (p *pool) try(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.running >= p.limit {
		return false
	}
	p.running++
	p.wg.Go(func() {
		fn()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
	})
	return true
}

// close takes no more and waits for those that run.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wg.Wait()
}

// endpoint is one kind of request. Those that may take long are answered by a goroutine of their own.
type endpoint struct {
	subject string
	help    string
	long    bool
	answer  func(ctx context.Context, call call) (any, error)
}

// call is a request as a handler sees it.
type call struct {
	data     []byte
	reply    string            // where the caller of a long request listens
	progress func(what string) // tells the caller that it goes on
}

func (s *Service) endpoints() []endpoint {
	return []endpoint{
		{subjectCreate, "make a task: TaskSpec in, CreateAnswer out", true, s.create},
		{subjectPlan, "what a task would do, without making it: TaskSpec in, PlanAnswer out", true, s.plan},
		{subjectList, "all tasks: nothing in, ListAnswer out", false, s.list},
		{subjectGet, "one task: NameRequest in, View out", false, s.get},
		{subjectPause, "stop applying; capturing goes on: NameRequest in, ChangeAnswer out", false, s.pause},
		{subjectResume, "go on applying, and try stopped collections again: NameRequest in, ChangeAnswer out", false, s.resume},
		{subjectDelete, "remove a task and its stream: NameRequest in, ChangeAnswer out", true, s.remove},
		{subjectResnapshot, "copy existing rows of collections anew: ResnapshotRequest in, ResnapshotAnswer out", true, s.resnapshot},
		{subjectAddTarget, "have a target join a task: AddTargetRequest in, TargetAnswer out", true, s.addTarget},
		{subjectRemoveTarget, "have a target leave a task: RemoveTargetRequest in, TargetAnswer out", true, s.removeTarget},
		{subjectVerify, "compare targets with their source: VerifyRequest in, VerifyAnswer out", true, s.verify},
		{subjectPosition, "how far a task is: PositionRequest in, PositionAnswer out", true, s.position},
		{subjectRewind, "have a target apply again from an earlier place: RewindRequest in, RewindAnswer out", true, s.rewind},
		{subjectPromote, "switch over to a target: PromoteRequest in, PromoteAnswer out", true, s.promote},
	}
}

// Run answers until ctx ends, and then finishes the requests that were begun, as far as ctx being over lets them.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	long := &pool{limit: maxLong}
	svc, err := s.serve(ctx, long)
	if err != nil {
		return fmt.Errorf("start the control service: %w", err)
	}
	s.cfg.Log.Info("control answers", "service", Name, "id", svc.Info().ID)
	g.Go(func() error { return s.carryOn(ctx) })
	g.Go(func() error { return s.measure(ctx) })
	err = g.Wait()
	if serr := svc.Stop(); serr != nil && !errors.Is(serr, nats.ErrConnectionClosed) {
		err = errors.Join(err, fmt.Errorf("stop the control service: %w", serr))
	}
	long.close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (s *Service) serve(ctx context.Context, long *pool) (micro.Service, error) {
	svc, err := micro.AddService(s.cfg.NC, micro.Config{
		Name: Name, Version: Version, Description: "Kitestream: change data capture for Milvus",
		Metadata: map[string]string{"holder": s.cfg.Holder},
	})
	if err != nil {
		return nil, err
	}
	group := svc.AddGroup(subjectPrefix)
	for _, e := range s.endpoints() {
		h := micro.HandlerFunc(func(r micro.Request) { s.answerShort(ctx, e, r) })
		if e.long {
			h = func(r micro.Request) { s.answerLong(ctx, e, r, long) }
		}
		name := e.subject[len("task."):]
		meta := micro.WithEndpointMetadata(map[string]string{"about": e.help})
		if err := group.AddEndpoint(name, h, micro.WithEndpointSubject(e.subject), meta); err != nil {
			return nil, errors.Join(fmt.Errorf("add endpoint %s: %w", e.subject, err), svc.Stop())
		}
	}
	return svc, nil
}

// answerShort answers from the endpoint's own goroutine, one request after the other.
func (s *Service) answerShort(ctx context.Context, e endpoint, r micro.Request) {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	data, refusal := s.handle(ctx, e, call{data: r.Data()})
	if refusal != nil {
		_ = r.Error(string(refusal.Code), refusal.Message, data) // who asked sees the time-out
		return
	}
	_ = r.Respond(data)
}

// answerLong answers from a goroutine of its own. It sends by itself: micro's Request is for the endpoint's goroutine.
func (s *Service) answerLong(ctx context.Context, e endpoint, r micro.Request, long *pool) {
	reply, body := r.Reply(), r.Data()
	started := long.try(func() {
		c := call{data: body, reply: reply, progress: func(what string) {
			s.send(reply, nats.Header{HeaderProgress: {what}}, nil)
		}}
		data, refusal := s.handle(ctx, e, c)
		var h nats.Header
		if refusal != nil {
			h = nats.Header{micro.ErrorHeader: {refusal.Message}, micro.ErrorCodeHeader: {string(refusal.Code)}}
		}
		s.send(reply, h, data)
	})
	if !started {
		refusal := refuse(CodeBusy, "%d long requests are being answered", maxLong)
		_ = r.Error(string(refusal.Code), refusal.Message, encode(refusal))
	}
}

func (s *Service) send(reply string, h nats.Header, data []byte) {
	if reply == "" {
		return
	}
	if err := s.cfg.NC.PublishMsg(&nats.Msg{Subject: reply, Header: h, Data: data}); err != nil {
		s.cfg.Log.Debug("answer not sent", "error", err)
	}
}

// handle runs one request and counts how it ended.
func (s *Service) handle(ctx context.Context, e endpoint, c call) ([]byte, *Error) {
	began := time.Now()
	answer, err := e.answer(ctx, c)
	refusal := asError(ctx, err)
	s.metrics.request(e.subject, refusal, time.Since(began))
	if refusal != nil {
		if refusal.Code == CodeInternal {
			s.cfg.Log.Error("request not answered", "endpoint", e.subject, "error", err)
		}
		return encode(refusal), refusal
	}
	return encode(answer), nil
}

// encode can't fail for the types of api.go: no channels, functions, cycles or special numbers.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal(refuse(CodeInternal, "encode answer: %v", err))
	}
	return data
}

// asError makes of any error one that the caller can be told.
func asError(ctx context.Context, err error) *Error {
	var e *Error
	var field *jetstream.FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.As(err, &field):
		return invalid(err)
	case errors.Is(err, jetstream.ErrNotFound):
		return refuse(CodeNotFound, "%v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), ctx.Err() != nil,
		errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrConnectionClosed):
		return refuse(CodeUnavailable, "%v", err)
	}
	return refuse(CodeInternal, "%v", err)
}

// decode reads a request strictly: one JSON object, of known fields, and nothing after it.
func decode(data []byte, to any) error {
	if len(data) > maxRequest {
		return refuse(CodeInvalid, "request has %d bytes, %d is the limit", len(data), maxRequest)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return refuse(CodeInvalid, "request is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return invalidField(fieldOf(err), "request can't be read: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(CodeInvalid, "request has something after the JSON object")
	}
	return nil
}

// fieldOf is the field that a JSON error is about, where it says so. Of an unknown field only the text tells the name.
func fieldOf(err error) string {
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		return typed.Field
	}
	quoted, _ := strings.CutPrefix(err.Error(), "json: unknown field ")
	name, _ := strconv.Unquote(quoted)
	return name
}
