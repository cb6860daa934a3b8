package jetstream

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// A parked event is ksp.<task>.<target>.<database>.<collection>.<key>.<part> on the stream KS_PARKED. The key is made of
// what was parked, so that parking it again finds it there.
const parkedPrefix = "ksp"

// Header names of a parked event, beside those that it came with.
const (
	hdrParkedTask     = "kitestream-task"
	hdrParkedTarget   = "kitestream-target"   // empty: it never got onto the task's stream
	hdrParkedChannel  = "kitestream-channel"  // of the source's queue
	hdrParkedPosition = "kitestream-position" // there
	hdrParkedSubject  = "kitestream-subject"  // of the event on the task's stream
	hdrParkedSeq      = "kitestream-seq"      // there
	hdrParkedCode     = "kitestream-code"
	hdrParkedReason   = "kitestream-reason"
	hdrParkedPart     = "kitestream-part" // part/parts, from 1; the body is all parts' bodies, one behind the other
)

// maxReason bounds what is kept of a reason, in bytes.
const maxReason = 1 << 10

// Parked is an event that can't be applied, or a message that can't be made an event of.
type Parked struct {
	Task   string
	Target string // empty if the bridge parks it
	Code   string // for programs
	Reason string // for people; its first KiB is kept

	Channel, Position string // where it stands on the source's queue, if the bridge parks it
	Subject           string // its subject, sequence and headers on the task's stream, if a worker parks it
	Seq               uint64
	Header            nats.Header

	Body []byte // as it came; may be larger than the server's max payload
}

// ParkedSubjects is the filter of what was parked for a task, of all its targets.
func ParkedSubjects(task string) string { return parkedPrefix + "." + token(task) + ".>" }

// Park appends an event to the dead-letter stream, from which nothing is removed but by hand. When it returns nil, the
// event is there in full, once, however often it is parked (Guarantee 5).
func Park(ctx context.Context, js natsjs.JetStream, p Parked) error {
	base := nats.Header{}
	for k, v := range p.Header {
		if !strings.HasPrefix(strings.ToLower(k), "nats-") { // the server would act on them
			base[k] = v
		}
	}
	for k, v := range map[string]string{
		hdrParkedTask: p.Task, hdrParkedTarget: p.Target, hdrParkedChannel: p.Channel, hdrParkedPosition: p.Position,
		hdrParkedSubject: p.Subject, hdrParkedCode: p.Code, hdrParkedReason: head(p.Reason, maxReason),
	} {
		if v != "" {
			base[k] = []string{v}
		}
	}
	if p.Seq != 0 {
		base[hdrParkedSeq] = []string{strconv.FormatUint(p.Seq, 10)}
	}
	// A part takes half the payload at least, or the headers alone are too much.
	size := int(js.Conn().MaxPayload()) - looseHeaderSize(base) - parkRoom/4
	if size < int(js.Conn().MaxPayload())/2 {
		return fmt.Errorf("park %s: headers of %d bytes: %w", p.subject(), looseHeaderSize(base), ErrTooLarge)
	}
	parts := max(1, (len(p.Body)+size-1)/size)
	for i := range parts {
		part := p.Body[i*size : min(len(p.Body), (i+1)*size)]
		if err := p.store(ctx, js, maps.Clone(base), part, fmt.Sprintf("%d/%d", i+1, parts)); err != nil {
			return err
		}
	}
	return nil
}

// store appends one part unless it is there.
func (p *Parked) store(ctx context.Context, js natsjs.JetStream, h nats.Header, body []byte, part string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	n, _, _ := strings.Cut(part, "/")
	m := &nats.Msg{Subject: p.subject() + "." + n, Header: h, Data: body}
	h[hdrParkedPart] = []string{part}
	h[nats.MsgIdHdr] = []string{m.Subject}
	_, err := js.PublishMsg(ctx, m, natsjs.WithExpectLastSequencePerSubject(0))
	if err != nil && !isCode(err, natsjs.JSErrCodeStreamWrongLastSequence) {
		return fmt.Errorf("park %s: %w", m.Subject, err)
	}
	return nil
}

// subject names the event by its place, and by its content too: a task that was made anew counts its sequences anew.
func (p *Parked) subject() string {
	var a Address
	if at, err := ParseSubject(p.Subject); err == nil {
		a = at
	}
	h := xxhash.New()
	_, _ = h.WriteString(p.Subject + "\n" + p.Header.Get(nats.MsgIdHdr) + "\n") // a hash never fails
	_, _ = h.Write(p.Body)
	key := fmt.Sprintf("%s:%s:%d:%016x", p.Channel, p.Position, p.Seq, h.Sum64())
	return strings.Join([]string{
		parkedPrefix, token(p.Task), token(p.Target), token(a.Database), token(a.Collection), token(key),
	}, ".")
}

// head is the beginning of a text, cut between runes.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// looseHeaderSize is the size on the wire of headers of any origin.
func looseHeaderSize(h nats.Header) int {
	return (&nats.Msg{Header: h}).Size()
}
