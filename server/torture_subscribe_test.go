package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// heard is one thing that a subscriber was told, or did.
type heard struct {
	kind   hearing
	seq    uint64       // of an event or an end
	token  int          // of an event
	topic  string       // of an end; the subscription that a gap, a beginning or a stop is about
	cursor topic.Cursor // of a signal or a page
	after  string       // of a gap
	oldest uint64       // of a gap; 0 if nothing is left
	more   bool         // of a page
	logEnd uint64       // when it was heard
	begin  *begin       // of a beginning
	note   string       // of a connection
}

// A hearing is what kind of thing was heard.
type hearing string

const (
	anew      hearing = "anew"      // it forgets what it had
	connected hearing = "connected" // and what follows comes by this connection
	began     hearing = "began"     // a subscription, or the next page
	leaving   hearing = "leaving"   // a subscription is to be stopped or replaced
	stopped   hearing = "stopped"   // a subscription
	outrun    hearing = "outrun"    // a subscription that an op after it has stopped or replaced already
	event     hearing = "event"
	ended     hearing = topic.TypeEnd
	gapped    hearing = topic.TypeGap
	pinged    hearing = topic.TypePing
	paged     hearing = "page" // the end of one: everything up to its cursor was there
	atEnd     hearing = "end"  // the topic has ended, and everything before was heard
	closedGap hearing = "4410"
)

func (h heard) String() string {
	switch h.kind {
	case connected:
		return h.note
	case began:
		return fmt.Sprintf("began %v", h.begin)
	case leaving, stopped, outrun:
		return fmt.Sprintf("%s %q", h.kind, h.topic)
	case event:
		return fmt.Sprintf("event %d", h.seq)
	case ended, atEnd:
		return fmt.Sprintf("%s %d of %q", h.kind, h.seq, h.topic)
	case gapped, closedGap:
		return fmt.Sprintf("%s of %q after %q, oldest %d, at %v, the log's end was %d", h.kind, h.topic, h.after, h.oldest, h.cursor, h.logEnd)
	case paged:
		return fmt.Sprintf("page up to %v, more %v", h.cursor, h.more)
	}
	return fmt.Sprintf("%s %v", h.kind, h.cursor)
}

// A begin says what a subscription reads, and from where.
type begin struct {
	name     string // as the client calls it, if there may be several
	patterns []topic.Pattern
	from     from
	asked    string // the cursor
	// The log's end before the request was sent, and after the header of its
	// answer was there: it begins "now" between them.
	lo, hi uint64
	limit  int  // of a page
	deaf   bool // ends are not told
	page   bool
}

func (b *begin) String() string {
	return fmt.Sprintf("%q %v %s %s (log's end %d to %d)", b.name, b.patterns, b.from, b.asked, b.lo, b.hi)
}

type from string

const (
	fromNow      from = "now"
	fromEarliest from = "earliest"
	fromCursor   from = "after"
	fromNewest   from = "newest" // page of history
)

// A subscriber notes what it hears.
type subscriber struct {
	x     *torture
	rng   *rand.Rand
	name  string
	probe bool // it does not wait until it has everything
	heard []heard
	quiet bool // it has everything, and waits for the server to stop
}

func (x *torture) subscriber(kind string, rng *rand.Rand) *subscriber {
	s := &subscriber{x: x, rng: rng}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.name = fmt.Sprintf("%s %d", kind, len(x.subscribers))
	x.subscribers = append(x.subscribers, s)
	return s
}

// errorf tells of a fault, and of what led to it.
func (s *subscriber) errorf(format string, args ...any) {
	s.faultAt(len(s.heard), format, args...)
}

// faultAt tells of a fault in heard[i].
func (s *subscriber) faultAt(i int, format string, args ...any) {
	var b strings.Builder
	const around = 12
	connection := 0
	for j, h := range s.heard[:min(i+1, len(s.heard))] {
		if h.kind == connected {
			connection = j
		}
	}
	for j, h := range s.heard[:min(i+around, len(s.heard))] {
		switch {
		case j == i:
			b.WriteString("\n=>")
		case j > i-around || j >= connection && (h.kind != event && h.kind != pinged):
			b.WriteString("\n")
		default:
			continue
		}
		fmt.Fprintf(&b, "\t%d: %v", j, h)
	}
	s.x.errorf("%s: %s; it heard%s", s.name, fmt.Sprintf(format, args...), b.String())
}

// isHeldUp reports whether it is the others who hold up the round.
func (s *subscriber) isHeldUp() bool { return s.quiet && (!s.x.stopping.Load() || s.x.overdue) }

func (s *subscriber) hear(h heard) {
	h.logEnd = s.x.end()
	s.heard = append(s.heard, h)
	if h.kind != event {
		s.x.count(string(h.kind))
	}
}

// caughtUp says that it has everything that there is.
func (s *subscriber) caughtUp() {
	if !s.probe && !s.quiet {
		s.quiet = true
		s.x.catching.Done()
	}
}

// start is some place to begin at, which no other connection has led to.
func (s *subscriber) start() (from, string) {
	epoch, end := s.x.epoch, s.x.end()
	switch s.rng.IntN(8) {
	case 0, 1, 2:
		return fromNow, ""
	case 3:
		return fromEarliest, ""
	case 4:
		return fromCursor, []string{"junk", "zz-1", "é \U0001f600", topic.ID{Epoch: epoch, Seq: end + 1e9}.String()}[s.rng.IntN(4)]
	case 5:
		if cursor := s.x.someCursor(s.rng); cursor != "" {
			return fromCursor, cursor
		}
	}
	return fromCursor, topic.ID{Epoch: epoch, Seq: s.rng.Uint64N(end + 1)}.String()
}

// envelope takes an event or a signal in JSON, and returns its id. A fault is
// told of.
func (s *subscriber) envelope(line []byte) (h heard, id string, ok bool) {
	e, err := topic.ParseEnvelope(line)
	if err != nil {
		s.errorf("%v in %.200q", err, line)
		return heard{}, "", false
	}
	if strings.HasPrefix(e.Type, "$") {
		h, ok = s.signal(e.Type, e.ID, e.Data)
		return h, e.ID, ok
	}
	d := s.x.draftOf(e.Data)
	if d == nil {
		s.errorf("nobody published %.200q", line)
		return heard{}, "", false
	}
	want := d.data
	if d.kind == topic.JSON {
		want = d.line()
	}
	fault := d.differs(e.Type, e.Media, e.Kind, e.Data, want)
	if e.Topic != d.topic {
		fault = fmt.Sprintf("the topic is %q, published was %q", e.Topic, d.topic)
	}
	h, ok = s.event(e.ID, d, fault)
	return h, e.ID, ok
}

// block takes an event or a signal of an event stream with bare data.
func (s *subscriber) block(id, typ string, data []byte) (heard, bool) {
	if strings.HasPrefix(typ, "$") {
		return s.signal(typ, id, data)
	}
	media, payload := "", data
	if rest, isURL := bytes.CutPrefix(data, []byte("data:")); isURL {
		head, body, _ := bytes.Cut(rest, []byte(";base64,"))
		decoded, err := base64.StdEncoding.AppendDecode(nil, body)
		if err != nil {
			s.errorf("%v in %.200q", err, data)
			return heard{}, false
		}
		media, payload = string(head), decoded
	}
	d := s.x.draftOf(payload)
	if d == nil {
		s.errorf("nobody published %.200q", data)
		return heard{}, false
	}
	if typ == topic.TypeMessage {
		typ = ""
	}
	want := d.data
	if d.kind != topic.Binary {
		want = d.block()
	}
	fault := d.differs(typ, media, d.kind, payload, want)
	if (media != "") != (d.kind == topic.Binary) {
		fault = fmt.Sprintf("data of kind %d is a URL of media type %q", d.kind, media)
	}
	return s.event(id, d, fault)
}

// message takes a message with bare data.
func (s *subscriber) message(kind topic.Kind, data []byte) (h heard, id string, ok bool) {
	d := s.x.draftOf(data)
	if d == nil {
		s.errorf("nobody published %.200q", data)
		return heard{}, "", false
	}
	if d.kind == topic.JSON {
		kind = d.kind
	}
	seq, ok := s.x.witness.seqOf(d)
	if !ok {
		return heard{}, "", false // the server has stopped
	}
	id = topic.ID{Epoch: s.x.epoch, Seq: seq}.String()
	h, ok = s.event(id, d, d.differs(d.event, "", kind, data, d.data))
	return h, id, ok
}

func (s *subscriber) event(id string, d *draft, fault string) (heard, bool) {
	c, err := topic.ParseCursor(id)
	if err != nil || c.Epoch != s.x.epoch || c.Told != 0 {
		fault = fmt.Sprintf("the id is %q", id)
	}
	if fault != "" {
		s.errorf("event %d (%s): %s", d.token, id, fault)
		return heard{}, false
	}
	s.x.count("events")
	return heard{kind: event, seq: c.Seq, token: d.token}, true
}

func (s *subscriber) signal(typ, id string, raw []byte) (heard, bool) {
	h := heard{kind: hearing(typ)}
	var data struct {
		Interval             float64
		After, Oldest, Topic string
	}
	err := json.Unmarshal(raw, &data)
	if err == nil && id != "" {
		h.cursor, err = topic.ParseCursor(id)
	}
	if err == nil && data.Oldest != "" {
		var oldest topic.Cursor
		oldest, err = topic.ParseCursor(data.Oldest)
		h.oldest = oldest.Seq
	}
	h.after, h.topic = data.After, data.Topic
	switch h.kind {
	case pinged:
		if want := s.x.ping.Seconds(); data.Interval != want {
			s.errorf("the interval is %v, want %v", data.Interval, want)
		}
	case ended:
		h.seq = h.cursor.Seq
	case gapped:
	default:
		err = fmt.Errorf("an unknown signal")
	}
	if err != nil {
		s.errorf("%v: %s %q %.200q", err, typ, id, raw)
		return heard{}, false
	}
	if id != "" {
		s.x.keepCursor(s.rng, id)
	}
	return h, true
}
