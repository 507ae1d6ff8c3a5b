package topic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// heard is one thing that a subscriber was given.
type heard struct {
	kind   string // "event" or that of the signal
	seq    uint64 // of an event
	topic  string // of an event or $end; the selection of a $gap
	cursor topic.Cursor
	after  string // of $gap
	oldest uint64 // of $gap; 0 if nothing is left
	to     uint64 // of $gap: events may be missing up to here
	logEnd uint64 // when it was given
	at     time.Time
}

func (h heard) String() string {
	return fmt.Sprintf("%s %d %q at %v, after %q, oldest %d, to %d, log's end %d", h.kind, h.seq, h.topic, h.cursor, h.after, h.oldest, h.to, h.logEnd)
}

// tortureSink writes down what it is given. It is writable at once, on another
// goroutine, later or much later.
type tortureSink struct {
	x       *torture
	opts    topic.SubscribeOptions
	sub     *topic.Subscriber // guarded by mu until ready is closed
	ready   chan struct{}     // closed when sub is set
	begun   time.Time
	prompt  bool // always writable at once
	calling atomic.Bool
	failed  bool // an error was found

	mu              sync.Mutex
	rng             *rand.Rand // guarded by mu, like what follows
	isCalm          bool
	kept            [][]byte
	copies          []string
	heard           []heard
	told            int // times that Send was called
	end             error
	busy            bool
	closing, closed bool // Close was called, has returned
}

func (x *torture) sink(rng *rand.Rand, opts topic.SubscribeOptions) *tortureSink {
	return &tortureSink{x: x, opts: opts, rng: rng, ready: make(chan struct{}), begun: time.Now(), prompt: rng.IntN(4) == 0}
}

func (s *tortureSink) start(sub *topic.Subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sub = sub
	close(s.ready)
}

func (s *tortureSink) errorf(format string, args ...any) {
	s.failed = true
	s.x.Errorf("%+v: "+format, append([]any{s.opts}, args...)...)
}

func (s *tortureSink) Send(b topic.Batch) bool {
	if s.calling.Swap(true) {
		s.errorf("called by two at a time")
	}
	defer s.calling.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.closed || s.end != nil {
		s.errorf("called while busy (%v), after Close (%v) or after %v, with %q, %v", s.busy, s.closed, s.end, b.Chunks, b.End)
	}
	s.end = b.End
	s.told++
	for _, c := range b.Chunks {
		lines := 0
		for line := range strings.Lines(string(c)) {
			s.heard = append(s.heard, s.parse(strings.TrimSuffix(line, "\n")))
			lines++
		}
		if lines != 1 && !s.opts.Join {
			s.errorf("%d events in a chunk", lines)
		}
	}
	if s.opts.Form == nil && len(b.Chunks) > 0 {
		s.errorf("chunks without a form: %q", b.Chunks)
	}
	if len(b.Chunks) == 0 && b.End == nil && s.opts.Form != nil {
		s.errorf("an empty batch")
	}
	mood := s.rng.IntN(10)
	if s.prompt || s.isCalm || mood < 3 {
		return true
	}
	if mood < 4 && s.sub != nil { // before Send has returned
		var early sync.WaitGroup
		early.Go(s.sub.Writable)
		early.Wait()
		return false
	}
	s.busy = true
	s.kept = slices.Clone(b.Chunks)
	for _, c := range s.kept {
		s.copies = append(s.copies, string(c))
	}
	var pause time.Duration
	switch {
	case mood < 6: // at about the same time
	case mood < 9:
		pause = time.Duration(s.rng.IntN(20)) * time.Millisecond
	default:
		pause = time.Duration(s.rng.Int64N(int64(tortureStall)))
	}
	go func() {
		if pause > 0 {
			time.Sleep(pause)
		}
		<-s.ready
		s.written()
		s.sub.Writable()
	}()
	return false
}

func (s *tortureSink) Cut(end error) {
	if s.calling.Swap(true) {
		s.errorf("cut while it is called")
	}
	defer s.calling.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.end != nil || end == nil {
		s.errorf("cut after Close (%v) or after %v, by %v", s.closed, s.end, end)
	}
	s.end = end
}

func (s *tortureSink) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.kept {
		if string(c) != s.copies[i] {
			s.errorf("the chunk %q became %q", s.copies[i], c)
		}
	}
	s.busy, s.kept, s.copies = false, nil, nil
}

func (s *tortureSink) parse(chunk string) heard {
	h := heard{logEnd: s.x.log.End().Seq, at: time.Now()}
	number, rest, _ := strings.Cut(chunk, " ")
	if number != fmt.Sprint(s.opts.Form) {
		s.errorf("chunk %q of another form", chunk)
	}
	kind, rest, _ := strings.Cut(rest, " ")
	at, rest, _ := strings.Cut(rest, " ")
	h.kind = kind
	if kind == "event" {
		if _, err := fmt.Sscan(at, &h.seq); err != nil {
			s.errorf("chunk %q: %v", chunk, err)
		}
		h.topic = rest
		return h
	}
	if at != (topic.Cursor{}).String() {
		var err error
		if h.cursor, err = topic.ParseCursor(at); err != nil {
			s.errorf("chunk %q: %v", chunk, err)
		}
		s.x.mu.Lock()
		s.x.cursors = append(s.x.cursors, at)
		s.x.mu.Unlock()
	}
	var data struct{ After, Oldest, To, Topic string }
	if err := json.Unmarshal([]byte(rest), &data); err != nil {
		s.errorf("chunk %q: %v", chunk, err)
	}
	h.after, h.topic = data.After, data.Topic
	seqOf := func(id string) uint64 {
		if id == "" {
			return 0
		}
		at, err := topic.ParseCursor(id)
		if err != nil {
			s.errorf("chunk %q: %v", chunk, err)
		}
		return at.Seq
	}
	h.oldest, h.to = seqOf(data.Oldest), seqOf(data.To)
	if h.kind == topic.TypeGap {
		h.to = max(h.to, h.cursor.Seq)
	}
	return h
}

// calm makes the sink always writable at once.
func (s *tortureSink) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isCalm = true
}

// close closes the subscriber once; its sink is not called afterwards.
func (s *tortureSink) close() {
	s.mu.Lock()
	was := s.closing
	s.closing = true
	s.mu.Unlock()
	if was {
		return
	}
	s.sub.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// hubClosed is called when Hub.Close has returned.
func (s *tortureSink) hubClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prompt && !s.closing && s.end == nil {
		s.errorf("not ended with the hub")
	}
}

// over reports whether the subscriber was not to be given everything.
func (s *tortureSink) over() bool { return s.closed || s.x.hubGone || s.end != nil }

// length is how much was heard.
func (s *tortureSink) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heard)
}

// A steadySubscriber keeps its selections.
type steadySubscriber struct {
	*tortureSink
	selections []topic.Selection
}

func (x *torture) subscribe(rng *rand.Rand) *steadySubscriber {
	o := topic.SubscribeOptions{Form: tortureForm(rng.IntN(2)), Signals: true, Named: true, Join: rng.IntN(2) == 0}
	several := rng.IntN(3) // selections besides the first
	patterns := []topic.Pattern{x.pattern(rng)}
	switch rng.IntN(8) {
	case 0:
		o.Form, o.Signals = nil, false
	case 1:
		o.EndAtGap = true
	case 2:
		o.EndWithTopic, several = patterns[0].Literal(), 0
	case 3:
		o.Signals = false
	}
	if several == 0 && !o.EndWithTopic && rng.IntN(2) == 0 {
		patterns = append(patterns, x.pattern(rng))
	}
	s := &steadySubscriber{tortureSink: x.sink(rng, o)}
	s.selections = append(s.selections, topic.Selection{Name: "0", Patterns: patterns, Start: x.start(rng, patterns)})
	for i := range several {
		patterns := []topic.Pattern{x.pattern(rng)}
		s.selections = append(s.selections, topic.Selection{Name: fmt.Sprint(i + 1), Patterns: patterns, Start: x.start(rng, patterns)})
	}
	s.start(x.hub.Subscribe(s, o, s.selections...))
	return s
}

// A movingSubscriber adds, removes, replaces and rewinds its selections, whose
// names are their patterns.
type movingSubscriber struct {
	*tortureSink
	rng       *rand.Rand
	instances []*instance
}

// An instance is one Subscribe.
type instance struct {
	topic.Selection
	from int // what was heard before it
	to   int // and when an Unsubscribe had returned; -1 if none has
	// Another Subscribe of that name came.
	replaced bool
}

func (x *torture) subscribeMoving(rng *rand.Rand) *movingSubscriber {
	o := topic.SubscribeOptions{Form: tortureForm(rng.IntN(2)), Signals: true, Named: true, Join: rng.IntN(2) == 0}
	m := &movingSubscriber{tortureSink: x.sink(rng, o), rng: rand.New(rand.NewPCG(x.seed, rng.Uint64()))}
	m.start(x.hub.Subscribe(m, o))
	return m
}

func (m *movingSubscriber) move(ctx context.Context) {
	for ctx.Err() == nil {
		m.step()
		pause(m.rng)
		if m.rng.IntN(200) == 0 { // while it goes on
			var closing sync.WaitGroup
			closing.Go(m.close)
			for range 5 {
				m.step()
			}
			closing.Wait()
			return
		}
	}
}

func (m *movingSubscriber) step() {
	p := m.x.pattern(m.rng)
	if m.rng.IntN(3) == 0 {
		m.sub.Unsubscribe(p.String())
		now := m.length()
		for _, in := range m.instances {
			if in.Name == p.String() && in.to < 0 {
				in.to = now
			}
		}
		return
	}
	patterns := []topic.Pattern{p}
	in := &instance{Selection: topic.Selection{Name: p.String(), Patterns: patterns}, from: m.length(), to: -1}
	in.Start = m.x.start(m.rng, patterns)
	for _, other := range m.instances {
		if other.Name == in.Name {
			other.replaced = true
		}
	}
	m.instances = append(m.instances, in)
	m.sub.Subscribe(in.Selection)
}
