package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"kitestream/functions/host"
	"kitestream/functions/verify"
	"kitestream/jetstream"
)

// VerifyRequest asks for a comparison of targets with their source.
type VerifyRequest struct {
	Name        string   `json:"name"`
	Targets     []string `json:"targets,omitempty"`     // by name; none: all of the task
	Collections []string `json:"collections,omitempty"` // of the source, as DATABASE.COLLECTION; none: all that the task follows
	Sample      float64  `json:"sample,omitempty"`      // percent of the rows to compare; 0: all
	Seed        uint64   `json:"seed,omitempty"`        // chooses which
	Search      int      `json:"search,omitempty"`      // vectors of each field to search for on both sides
	Repair      bool     `json:"repair,omitempty"`      // rewrite what differs
}

// VerifyAnswer has a report for each target. Verdict is the worst of theirs.
type VerifyAnswer struct {
	Name    string           `json:"name"`
	Verdict verify.Verdict   `json:"verdict"`
	Reports []*verify.Report `json:"reports"`
}

// maxSearch bounds VerifyRequest.Search.
const maxSearch = 10_000

// Verify compares targets with their source. Notice is told how far it is, about each second.
func (c *Client) Verify(ctx context.Context, r VerifyRequest, notice func(string)) (*VerifyAnswer, error) {
	return requestTold[VerifyAnswer](ctx, c, subjectVerify, r, notice)
}

// verify has workers compare the targets, one after the other.
func (s *Service) verify(ctx context.Context, c call) (any, error) {
	var r VerifyRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	names, err := r.check()
	if err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(t)
	if err != nil {
		return nil, err
	}
	caller, ctx, stop, err := host.Attend(ctx, s.cfg.NC, c.reply)
	if err != nil {
		return nil, err
	}
	defer stop()
	a := VerifyAnswer{Name: r.Name, Verdict: verify.Equal}
	for _, target := range targets {
		req := host.VerifyRequest{
			Task: r.Name, ID: t.ID, Target: target, Collections: names, Sample: r.Sample, Seed: r.Seed, Search: r.Search, Repair: r.Repair,
		}
		report, err := s.askWorker(ctx, t, req, func(text string) { caller.Say("target " + target + ": " + text) })
		if err != nil {
			return nil, err
		}
		a.Reports = append(a.Reports, report)
		a.Verdict = a.Verdict.Worse(report.Verdict)
	}
	return a, nil
}

// check refuses what can't be meant, and gives the collections' names.
func (r VerifyRequest) check() ([]jetstream.QualifiedName, error) {
	switch {
	case r.Sample < 0 || r.Sample > 100:
		return nil, invalidField("sample", "%v is not between 0 and 100 percent", r.Sample)
	case r.Search < 0 || r.Search > maxSearch:
		return nil, invalidField("search", "%d is not between 0 and %d", r.Search, maxSearch)
	}
	return collectionNames(r.Collections)
}

// collectionNames reads what a request gives in its field "collections".
func collectionNames(texts []string) ([]jetstream.QualifiedName, error) {
	var names []jetstream.QualifiedName
	for i, text := range texts {
		db, name, ok := strings.Cut(text, ".")
		if !ok || db == "" || name == "" {
			return nil, invalidField(fmt.Sprintf("collections[%d]", i), "%q is not of the form DATABASE.COLLECTION", text)
		}
		names = append(names, jetstream.QualifiedName{Database: db, Collection: name})
	}
	return names, nil
}

// targets are the names of those to compare.
func (r VerifyRequest) targets(t *jetstream.Task) ([]string, error) {
	switch t.State {
	case jetstream.TaskPaused:
		return nil, refuse(CodeState, "task %s is paused: nothing is applied until it is resumed, so there is nothing to compare", r.Name)
	case jetstream.TaskDeleting:
		return nil, refuse(CodeState, "task %s is being deleted", r.Name)
	}
	var all []string
	for _, target := range t.Spec.Targets {
		all = append(all, target.Name)
	}
	for i, name := range r.Targets {
		if !slices.Contains(all, name) {
			return nil, invalidField(fmt.Sprintf("targets[%d]", i), "task %s has no target %q", r.Name, name)
		}
	}
	if len(r.Targets) > 0 {
		return r.Targets, nil
	}
	return all, nil
}

// askWorker has a worker that has the source's API compare one target, and passes on what it says meanwhile.
func (s *Service) askWorker(ctx context.Context, t *jetstream.Task, req host.VerifyRequest, say func(string)) (*verify.Report, error) {
	m, err := await(ctx, s.cfg.NC, host.VerifySubject(t.Spec.Source), encode(req), say)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, refuse(CodeNoVerifier, "no worker has the API of source %s", t.Spec.Source)
	case errors.Is(err, errSilent):
		return nil, refuse(CodeVerify, "the worker that compared target %s gives no sign any more", req.Target)
	case err != nil:
		return nil, err
	}
	var answer host.VerifyAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("read the answer of a worker: %w", err)
	}
	if answer.Error != "" || answer.Report == nil {
		return nil, refuse(CodeVerify, "target %s could not be compared: %s", req.Target, answer.Error)
	}
	return answer.Report, nil
}

// errSilent says that whoever had a long request gives no sign any more.
var errSilent = errors.New("no sign of progress")

// await asks, and waits for the answer as long as signs of progress come.
func await(ctx context.Context, nc *nats.Conn, subject string, body []byte, say func(string)) (*nats.Msg, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection's end does it too
	if err := nc.PublishRequest(subject, inbox, body); err != nil {
		return nil, err
	}
	for {
		quiet, cancel := context.WithTimeout(ctx, silence)
		m, err := sub.NextMsgWithContext(quiet)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("%w for %v", errSilent, silence)
		case err != nil:
			return nil, err
		case m.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		case m.Header.Get(HeaderProgress) == "":
			return m, nil
		}
		say(m.Header.Get(HeaderProgress))
	}
}
