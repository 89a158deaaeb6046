package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Headers of a dead letter.
const (
	headerConsumer = "Noctua-Consumer"
	headerSubject  = "Noctua-Subject"
	headerCode     = "Noctua-Code"
	headerKind     = "Noctua-Kind"
	headerReason   = "Noctua-Reason"
	headerAttempts = "Noctua-Attempts"
	headerTime     = "Noctua-Time"

	maxReasonBytes = 1 << 10
	// noClinic stands in the subject of a dead letter whose payload names no clinic.
	noClinic = "unassigned"
)

// DeadLetter is a message that a worker gave up on: our own event as it was, and why. It holds no patient data, since
// events hold none and reasons are sentences without values of the input.
type DeadLetter struct {
	Consumer string
	Subject  string // where the message had been published
	Payload  []byte
	Code     string // fault code, "" if the reason was no fault
	Kind     string
	Reason   string
	Attempts int
	Time     time.Time
	Sequence uint64 // in the dead-letter stream
}

// publishDead stores the dead letter. Its id is the message's place in its stream, so that burying twice stores one.
func (c *Conn) publishDead(ctx context.Context, consumer string, msg jetstream.Msg, meta *jetstream.MsgMetadata, d Delivery, reason error, now time.Time) error {
	clinic := noClinic
	if event.ValidClinic(d.Envelope.Clinic) {
		clinic = d.Envelope.Clinic
	}
	dead := nats.NewMsg(DeadRoot + "." + consumer + "." + clinic)
	dead.Data = msg.Data()
	dead.Header.Set(headerConsumer, consumer)
	dead.Header.Set(headerSubject, msg.Subject())
	dead.Header.Set(headerCode, fault.CodeOf(reason))
	dead.Header.Set(headerKind, fault.KindOf(reason).String())
	dead.Header.Set(headerReason, headerText(fault.SentenceOf(reason)))
	dead.Header.Set(headerAttempts, strconv.Itoa(d.Attempt))
	dead.Header.Set(headerTime, now.UTC().Format(time.RFC3339Nano))
	return c.publish(ctx, dead, "dead:"+excuseKey(consumer, meta), "writing a dead letter")
}

// headerText makes a text fit into a header: one line, bounded.
func headerText(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?")
	if len(s) > maxReasonBytes {
		s = strings.ToValidUTF8(s[:maxReasonBytes], "")
	}
	return s
}

// DeadLetters returns the newest dead letters, oldest first, at most limit.
func (c *Conn) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	dead, err := c.js.Stream(ctx, StreamDead)
	if err != nil {
		return nil, c.fail(ctx, err, "opening stream "+StreamDead)
	}
	info, err := dead.Info(ctx)
	if err != nil {
		return nil, c.fail(ctx, err, "asking for stream "+StreamDead)
	}
	if info.State.Msgs == 0 {
		return nil, nil
	}
	first := info.State.FirstSeq
	if n := uint64(max(limit, 0)); info.State.LastSeq-first+1 > n {
		first = info.State.LastSeq - n + 1
	}
	var letters []DeadLetter
	for seq := first; seq <= info.State.LastSeq; seq++ {
		raw, err := dead.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // removed by hand or by age
		}
		if err != nil {
			return nil, c.fail(ctx, err, fmt.Sprintf("reading dead letter %d", seq))
		}
		letters = append(letters, deadLetterOf(raw))
	}
	return letters, nil
}

// deadLetterOf reads the headers; one that does not parse is left zero, since a dead letter must always be readable.
func deadLetterOf(raw *jetstream.RawStreamMsg) DeadLetter {
	letter := DeadLetter{
		Consumer: raw.Header.Get(headerConsumer), Subject: raw.Header.Get(headerSubject), Payload: raw.Data,
		Code: raw.Header.Get(headerCode), Kind: raw.Header.Get(headerKind), Reason: raw.Header.Get(headerReason),
		Time: raw.Time, Sequence: raw.Sequence,
	}
	if n, err := strconv.Atoi(raw.Header.Get(headerAttempts)); err == nil {
		letter.Attempts = n
	}
	if t, err := time.Parse(time.RFC3339Nano, raw.Header.Get(headerTime)); err == nil {
		letter.Time = t
	}
	return letter
}
