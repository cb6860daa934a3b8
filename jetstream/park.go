package jetstream

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const parkedPrefix = "ksp"

// Headers that parking adds to what it parks.
const (
	hdrParkedCode     = "Ks-Parked-Code"
	hdrParkedReason   = "Ks-Parked-Reason"
	hdrParkedSubject  = "Ks-Parked-Subject"
	hdrParkedSeq      = "Ks-Parked-Seq"
	hdrParkedChannel  = "Ks-Parked-Channel"
	hdrParkedPosition = "Ks-Parked-Position"
)

// Parked is what no retry can publish or apply, with all that it says of itself. Either Channel and Position say where
// it stands in the source's queue, or Subject and Seq where on the task's stream.
type Parked struct {
	Task     string
	Target   string // empty: parked before it came to any target
	Code     string
	Reason   string
	Channel  string
	Position string
	Subject  string
	Seq      uint64
	Header   nats.Header
	Body     []byte
}

// id is the same however often the same thing is parked.
func (p Parked) id() string {
	return strings.Join([]string{p.Task, p.Target, p.Channel, p.Position, strconv.FormatUint(p.Seq, 10)}, "/")
}

// Park puts it into the dead-letter stream, where it stays until somebody sees to it (Guarantee 5), and returns when it
// is there.
func Park(ctx context.Context, js natsjs.JetStream, p Parked) error {
	m := &nats.Msg{Subject: parkedPrefix + "." + token(p.Task) + "." + token(p.Target), Header: nats.Header{}, Data: p.Body}
	for k, v := range p.Header {
		m.Header[k] = v
	}
	for k, v := range map[string]string{hdrParkedCode: p.Code, hdrParkedReason: p.Reason, hdrParkedSubject: p.Subject,
		hdrParkedChannel: p.Channel, hdrParkedPosition: p.Position} {
		if v != "" {
			m.Header.Set(k, strings.Join(strings.Fields(v), " "))
		}
	}
	if p.Seq != 0 {
		m.Header.Set(hdrParkedSeq, strconv.FormatUint(p.Seq, 10))
	}
	if _, err := js.PublishMsg(ctx, m, natsjs.WithMsgID(p.id())); err != nil {
		return fmt.Errorf("park %s: %w", p.id(), err)
	}
	return nil
}
