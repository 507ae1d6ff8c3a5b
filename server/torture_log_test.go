package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A draft is an event that somebody means to publish. Its data begins with its
// token, so that everybody who gets it knows what it should be.
type draft struct {
	token               int
	topic, event, media string
	kind                topic.Kind
	data                []byte
}

// A medium is what data may be published as.
type medium int

const (
	anyMedium    medium = iota
	jsonOrString        // what a JSON object can hold
	textOrBytes         // what a WebSocket message can be
)

// draft makes an event for the topic.
func (x *torture) draft(rng *rand.Rand, name string, m medium) *draft {
	d := &draft{topic: name}
	if m != textOrBytes && rng.IntN(3) == 0 {
		d.event = []string{"paid", "a b", "ü:x"}[rng.IntN(3)]
	}
	size := rng.IntN(300)
	switch rng.IntN(200) {
	case 0, 1, 2, 3, 4, 5:
		size = rng.IntN(20_000)
	case 6:
		size = rng.IntN(100_000)
	}
	x.mu.Lock()
	d.token = len(x.drafts)
	x.drafts = append(x.drafts, nil)
	x.mu.Unlock()
	switch kind := rng.IntN(3); {
	case m != textOrBytes && kind == 0:
		d.kind, d.media = topic.JSON, "application/json"
		text, err := json.Marshal(someText(rng, "", size))
		if err != nil {
			x.Fatal(err)
		}
		d.data = fmt.Appendf(nil, "[%d,\r\n%s,\n {\"a\":[null,1.5e3] }\r]", d.token, text)
		if m == jsonOrString { // in which there are no line breaks
			d.data = d.line()
		}
	case m != jsonOrString && kind == 1:
		d.kind, d.media = topic.Binary, "application/octet-stream"
		if m == anyMedium && rng.IntN(2) == 0 {
			d.media = "image/png"
		}
		d.data = fmt.Appendf(nil, "%d \xff", d.token)
		for range size {
			d.data = append(d.data, byte(rng.Uint32()))
		}
	default:
		d.kind, d.media = topic.Text, "text/plain"
		if m == anyMedium && rng.IntN(4) == 0 {
			d.media = "text/html"
		}
		d.data = []byte(someText(rng, strconv.Itoa(d.token)+" ", size))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drafts[d.token] = d
	return d
}

// someText is text that formats might stumble over.
func someText(rng *rand.Rand, prefix string, size int) string {
	parts := []string{
		"word ", "12345", "\n", "\r", "\r\n", "\n\n", "\ndata: no\n\n", "id: 7\n", "\nevent: $end\n\n", "0\r\n\r\n", `"`, `\`, "<b>",
		"é", "€", "😀", "\u2028", "\x00", "\x7f", "\u0085", " ", "\t", `{"op":"ok"}`, "\x1b[0m", "\xef\xbb\xbf",
	}
	var b strings.Builder
	b.WriteString(prefix)
	for b.Len() < size {
		b.WriteString(parts[rng.IntN(len(parts))])
	}
	return b.String()
}

// draftOf finds out which one the data is, or was.
func (x *torture) draftOf(data []byte) *draft {
	digits := bytes.TrimLeft(data, "[")
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	token, err := strconv.Atoi(string(digits[:n]))
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil || token >= len(x.drafts) {
		return nil
	}
	return x.drafts[token]
}

// differs says how what was given differs from what was published, whose data
// has to look like want in the form in which it was given.
func (d *draft) differs(event, media string, kind topic.Kind, data, want []byte) string {
	switch {
	case event != d.event:
		return fmt.Sprintf("the type is %q, published was %q", event, d.event)
	case media != "" && media != d.media:
		return fmt.Sprintf("the media type is %q, published was %q", media, d.media)
	case kind != d.kind:
		return fmt.Sprintf("the kind is %d, published was %d", kind, d.kind)
	case !bytes.Equal(data, want):
		i := 0
		for i < min(len(data), len(want)) && data[i] == want[i] {
			i++
		}
		return fmt.Sprintf("the data has %d bytes and differs from byte %d on: %.40q, published were %d: %.40q", len(data), i, data[i:], len(want), want[i:])
	}
	return ""
}

// line is JSON data as it is embedded in JSON: on one line.
func (d *draft) line() []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, d.data)
}

// block is text as an event stream carries it: every line end is LF.
func (d *draft) block() []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(d.data, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

// ref is what the ops of duplex.v1 call it: not 0.
func (d *draft) ref() int { return d.token + 1 }

// A witness hears everything that the log takes, within the process. It is
// asked for the truth afterwards.
type witness struct {
	x *torture

	mu      sync.Mutex
	told    sync.Cond      // more facts
	facts   []fact         // guarded by mu
	byToken map[int]uint64 // seq; guarded by mu
	closed  bool           // guarded by mu
}

func (x *torture) newWitness() *witness {
	w := &witness{x: x, byToken: make(map[int]uint64)}
	w.told.L = &w.mu
	every, err := topic.ParsePattern("**")
	if err != nil {
		x.Fatal(err)
	}
	x.server.Hub().Subscribe(w, topic.SubscribeOptions{Form: w}, topic.Selection{Patterns: []topic.Pattern{every}, Start: x.server.Hub().Now()})
	return w
}

// AppendEvent compares what was stored with what was published.
func (w *witness) AppendEvent(dst []byte, e *topic.Event) []byte {
	d := w.x.draftOf(e.Data)
	if d == nil {
		w.x.errorf("the log has %d in %q, which nobody published: %.80q", e.ID.Seq, e.Topic, e.Data)
		return fmt.Appendf(dst, "%d -1 %s", e.ID.Seq, e.Topic)
	}
	fault := d.differs(e.Type, e.Media, e.Kind, e.Data, d.data)
	if e.Topic != d.topic {
		fault = fmt.Sprintf("the topic was %q", d.topic)
	}
	if fault != "" {
		w.x.errorf("the log has %d in %q: %s", e.ID.Seq, e.Topic, fault)
	}
	return fmt.Appendf(dst, "%d %d %s", e.ID.Seq, d.token, e.Topic)
}

// AppendSignal tells of ends: it gets no other signals.
func (w *witness) AppendSignal(dst []byte, s topic.Signal) []byte {
	var data struct{ Topic string }
	if err := json.Unmarshal(s.Data, &data); err != nil || s.Type != topic.TypeEnd {
		w.x.errorf("the witness hears %s %s", s.Type, s.Data)
	}
	return fmt.Appendf(dst, "%d end %s", s.Cursor.Seq, data.Topic)
}

// Send takes facts.
func (w *witness) Send(b topic.Batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range b.Chunks {
		seq, rest, _ := strings.Cut(string(c), " ")
		token, name, _ := strings.Cut(rest, " ")
		f := fact{topic: name, token: -1, end: token == "end"}
		var err error
		if f.seq, err = strconv.ParseUint(seq, 10, 64); err == nil && !f.end {
			f.token, err = strconv.Atoi(token)
		}
		if err != nil {
			w.x.errorf("after %d entries of the log the witness is given %q", len(w.facts), c)
			continue
		}
		if !f.end {
			if first, twice := w.byToken[f.token]; twice {
				w.x.errorf("event %d is in the log twice, as %d and %d", f.token, first, f.seq)
			}
			w.byToken[f.token] = f.seq
		}
		if want := uint64(len(w.facts)) + 1; f.seq != want {
			w.x.errorf("entry %d of the log is %d", want, f.seq)
			f.seq = want
		}
		w.facts = append(w.facts, f)
	}
	w.closed = w.closed || b.End != nil
	w.told.Broadcast()
	return true
}

// seqOf returns where an event is that was received already.
func (w *witness) seqOf(d *draft) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if seq, ok := w.byToken[d.token]; ok || w.closed {
			return seq, ok
		}
		w.told.Wait()
	}
}

// seen is how much of the log it has heard.
func (w *witness) seen() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.facts))
}

// room waits until the witness is not so far behind that it could miss
// something.
func (w *witness) room() {
	const most = 1000 // the hub's tail holds 4,096
	for w.x.end() > w.seen()+most && !w.x.stopping.Load() && !w.x.failed() {
		time.Sleep(time.Millisecond)
	}
}

// A fact is an entry of the log, and what became of it.
type fact struct {
	seq   uint64
	topic string
	token int // of its draft; -1 of an end
	end   bool
	// It was lost by the append of the entry lostAt, when the log's loss clock
	// became lostClock.
	lostAt, lostClock uint64
}

const never = math.MaxUint64

// truth is the whole log, in order.
type truth struct {
	facts  []fact
	clocks []uint64 // the loss clock after each
}

// truth says what the log was, and what retention made of it.
func (w *witness) truth() *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	facts := slices.Clone(w.facts)
	clocks := make([]uint64, len(facts))
	kept := make(map[string][]int)
	ended := make(map[string]bool)
	clock := uint64(0)
	for i := range facts {
		f := &facts[i]
		f.lostAt, f.lostClock = never, never
		clocks[i] = clock
		if ended[f.topic] {
			w.x.errorf("%d is in %q, which had ended", f.seq, f.topic)
		}
		if f.end {
			ended[f.topic] = true
			continue
		}
		if kept[f.topic] = append(kept[f.topic], i); len(kept[f.topic]) > w.x.retain {
			clock = max(clock+1, f.seq)
			lost := &facts[kept[f.topic][0]]
			lost.lostAt, lost.lostClock = f.seq, clock
			kept[f.topic] = kept[f.topic][1:]
			clocks[i] = clock
		}
	}
	return &truth{facts, clocks}
}

// between yields what the patterns match after one place and up to another.
func (tr *truth) between(patterns []topic.Pattern, after, to uint64) func(func(fact) bool) {
	return func(yield func(fact) bool) {
		to = min(to, uint64(len(tr.facts)))
		for _, f := range tr.facts[min(after, to):to] {
			if matchesAny(patterns, f.topic) && !yield(f) {
				return
			}
		}
	}
}

func matchesAny(patterns []topic.Pattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p topic.Pattern) bool { return p.Match(name) })
}

func oneTopic(patterns []topic.Pattern) bool { return len(patterns) == 1 && patterns[0].Literal() }

// endOf returns where the only topic of the patterns ended, 0 if it did not or
// there are more.
func (tr *truth) endOf(patterns []topic.Pattern) uint64 {
	if oneTopic(patterns) {
		for f := range tr.between(patterns, 0, never) {
			if f.end {
				return f.seq
			}
		}
	}
	return 0
}

// last returns the newest entry of the patterns, 0 if there is none. Ends count
// if asked for.
func (tr *truth) last(patterns []topic.Pattern, ends bool) uint64 {
	for _, f := range slices.Backward(tr.facts) {
		if matchesAny(patterns, f.topic) && (ends || !f.end) {
			return f.seq
		}
	}
	return 0
}

// clockAt is the loss clock when the log had come to seq.
func (tr *truth) clockAt(seq uint64) uint64 {
	if seq = min(seq, uint64(len(tr.clocks))); seq == 0 {
		return 0
	}
	return tr.clocks[seq-1]
}

// find returns the fact of a seq.
func (tr *truth) find(seq uint64) (fact, bool) {
	if seq == 0 || seq > uint64(len(tr.facts)) {
		return fact{}, false
	}
	return tr.facts[seq-1], true
}
