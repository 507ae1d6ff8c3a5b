package topic_test

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// A fact is an entry of the log, and what became of it.
type fact struct {
	seq   uint64
	topic string
	typ   string
	rule  *topic.Rule
	end   bool
	// It was removed by the append of the entry removedAt, and was lost then,
	// when the log's loss clock became lostClock, if lostAt is the same.
	removedAt, lostAt, lostClock uint64
	// That superseded it, by the rule.
	supersededAt uint64
}

func (f fact) event() *topic.Event {
	if f.end {
		return &topic.Event{Type: topic.TypeEnd}
	}
	return &topic.Event{Type: f.typ}
}

// passing reports whether it was not kept.
func (f fact) passing() bool { return f.rule.Ephemeral() && !f.end }

// passed reports whether who has lacked it may go on without it when the log is as
// long as that: the tail has it no longer, or too many others that the patterns
// match have come since.
func (facts truth) passed(f fact, patterns []topic.Pattern, logEnd uint64) bool {
	if !f.passing() {
		return false
	}
	logEnd = max(f.seq, min(logEnd, uint64(len(facts))))
	if logEnd >= f.seq+topic.TailEntries {
		return true
	}
	later := 0
	for _, g := range facts[f.seq:logEnd] {
		if g.passing() && matchesAny(patterns, g.topic) {
			if later++; later >= topic.CatchUpEvents {
				return true
			}
		}
	}
	return false
}

// dropping reports whether who is slow may miss it.
func (f fact) dropping() bool { return f.rule.Slow == topic.SlowDrop && !f.end }

// sure reports whether everybody must be given it.
func (f fact) sure() bool {
	return f.lostAt == never && f.supersededAt == never && !f.passing() && !f.dropping()
}

// mayMiss reports whether nothing needs to be said about the fact when the log
// is as long as that: an ephemeral event, or one that was superseded and removed,
// or conflated. Not of all ephemeral events: see passed.
func (f fact) mayMiss(logEnd uint64) bool {
	conflates := f.rule.Slow == topic.SlowConflate || f.rule.Slow == topic.SlowConflateTypes
	return f.passing() || f.supersededAt <= logEnd && (conflates || f.removedAt <= logEnd)
}

const never = math.MaxUint64

// truth is the whole log, in order.
type truth []fact

func (x *torture) truth() truth {
	facts := truth(slices.Clone(x.published))
	slices.SortFunc(facts, func(a, b fact) int { return cmp.Compare(a.seq, b.seq) })
	kept, newest := make(map[string][]int), make(map[string][]int) // newest are not superseded
	clock := uint64(0)
	for i := range facts {
		f := &facts[i]
		if f.seq != uint64(i)+1 {
			x.Fatalf("entry %d of the log is %d", i+1, f.seq)
		}
		f.removedAt, f.lostAt, f.lostClock, f.supersededAt = never, never, never, never
		if f.end || f.passing() {
			continue
		}
		newest[f.topic] = append(slices.DeleteFunc(newest[f.topic], func(j int) bool {
			superseded := f.rule.Supersedes(f.event(), facts[j].event())
			if superseded {
				facts[j].supersededAt = f.seq
			}
			return superseded || f.rule.Slow == topic.SlowResume
		}), i)
		most := x.retain
		if f.rule.RetainEvents != nil {
			most = *f.rule.RetainEvents
		}
		if kept[f.topic] = append(kept[f.topic], i); len(kept[f.topic]) > most {
			lost := &facts[kept[f.topic][0]]
			kept[f.topic] = kept[f.topic][1:]
			if lost.removedAt = f.seq; lost.supersededAt != never {
				continue
			}
			clock = max(clock+1, f.seq)
			lost.lostAt, lost.lostClock = f.seq, clock
		}
	}
	return facts
}

// between yields what a selection matches after one place and up to another.
func (facts truth) between(sel *topic.Selection, after, to uint64) func(func(fact) bool) {
	return func(yield func(fact) bool) {
		to = min(to, uint64(len(facts)))
		for _, f := range facts[min(after, to):to] {
			if matchesAny(sel.Patterns, f.topic) && !yield(f) {
				return
			}
		}
	}
}

// everything is what a selection may match at most.
var everything = []topic.Pattern{mustParse("**")}

func mustParse(name string) topic.Pattern {
	p, err := topic.ParsePattern(name)
	if err != nil {
		panic(err)
	}
	return p
}

func matchesAny(patterns []topic.Pattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p topic.Pattern) bool { return p.Match(name) })
}

// endOf returns where the topic of a selection ended, 0 if it did not or there
// is more than one.
func (facts truth) endOf(sel *topic.Selection) uint64 {
	if len(sel.Patterns) == 1 && sel.Patterns[0].Literal() {
		for f := range facts.between(sel, 0, never) {
			if f.end {
				return f.seq
			}
		}
	}
	return 0
}

// A reader is a selection of a steadySubscriber and how far it has come.
type reader struct {
	*topic.Selection
	at     topic.Cursor
	nobody bool   // the cursor is of no log, and that was not said yet
	drops  uint64 // events up to here may have been dropped: that was said
	oldest uint64 // the next event must be this one; 0 if not known
	ended  bool   // $end is to come, though the end is not after the cursor
}

// check goes through what the subscriber was given.
func (s *steadySubscriber) check(facts truth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Form == nil {
		s.checkWaiter(facts)
		return
	}
	c := checker{steadySubscriber: s, facts: facts}
	for i := range s.selections {
		sel := &s.selections[i]
		r := &reader{Selection: sel, at: sel.Start.Cursor, nobody: sel.Start.Cursor.Epoch == 0}
		if end := facts.endOf(sel); end != 0 && !r.nobody && r.at.Seq >= end {
			r.ended = true
		}
		c.readers = append(c.readers, r)
		c.patterns = append(c.patterns, sel.Patterns...)
	}
	for i, h := range s.heard {
		if i == 0 && s.opts.Signals && h.kind != topic.TypeGap && h.kind != topic.TypePing {
			s.errorf("began with %v", h)
		}
		switch h.kind {
		case "event":
			c.event(h, h.seq)
		case topic.TypeEnd:
			c.event(h, h.cursor.Seq)
		case topic.TypeGap:
			c.gap(h)
		case topic.TypePing:
			c.ping(h)
		}
		if s.failed {
			s.errorf("in what it was given: %d: %v; selections %v", i, h, s.selections)
			return
		}
	}
	c.finish()
}

type checker struct {
	*steadySubscriber
	facts   truth
	readers []*reader
	// patterns of all of them.
	patterns []topic.Pattern
	last     uint64 // event
}

// complete requires that the reader misses nothing up to seq but what it was
// told of, and what it may miss of a log of that length.
func (c *checker) complete(r *reader, seq, logEnd uint64) {
	if r.nobody {
		c.errorf("selection %s was not told that its cursor is unknown", r.Name)
	}
	for f := range c.facts.between(r.Selection, r.at.Seq, seq) {
		if f.passing() {
			if f.seq > r.Start.Began() && !c.facts.passed(f, c.patterns, logEnd) {
				c.errorf("selection %s misses %+v", r.Name, f)
				return
			}
			continue
		}
		if f.lostClock > r.at.Told && !f.mayMiss(logEnd) && !(f.dropping() && f.seq <= r.drops) {
			c.errorf("selection %s misses %+v", r.Name, f)
			return
		}
	}
}

func (c *checker) event(h heard, seq uint64) {
	if f := c.facts[seq-1]; f.topic != h.topic || f.end != (h.kind == topic.TypeEnd) {
		c.errorf("%v is %+v in the log", h, f)
	}
	if seq <= c.last {
		c.errorf("%d came after %d", seq, c.last)
	}
	c.last = seq
	taken := false
	for _, r := range c.readers {
		for f := range c.facts.between(r.Selection, r.at.Seq, seq-1) {
			if f.dropping() && f.seq > r.drops && f.lostAt == never {
				c.errorf("%d came before selection %s was told of %+v", seq, r.Name, f)
			}
		}
		if r.ended && h.kind == topic.TypeEnd && r.Patterns[0].String() == h.topic {
			r.ended, taken = false, true
		}
		if seq <= r.at.Seq || !matchesAny(r.Patterns, h.topic) {
			continue
		}
		taken = true
		c.complete(r, seq-1, h.logEnd)
		if r.oldest != 0 && seq != r.oldest && c.facts[r.oldest-1].sure() {
			c.errorf("the oldest after the gap was to be %d, is %d", r.oldest, seq)
		}
		r.at.Seq, r.oldest = seq, 0
	}
	if !taken {
		c.errorf("no selection asks for %d", seq)
	}
}

// gap requires that the gap is one, and skips only what was lost.
func (c *checker) gap(h heard) {
	i := slices.IndexFunc(c.readers, func(r *reader) bool { return r.Name == h.topic })
	if i < 0 {
		c.errorf("no such selection")
		return
	}
	r := c.readers[i]
	if r.nobody {
		r.nobody = false
		if asked := r.Start.Asked; h.after != asked && asked != "" {
			c.errorf("asked was %q", asked)
		}
		r.at = topic.Cursor{}
	} else {
		after, err := topic.ParseCursor(h.after)
		if err != nil || after.Seq < r.at.Seq {
			c.errorf("not after %v", r.at)
		}
		c.complete(r, after.Seq, h.logEnd)
		told := max(after.Told, r.at.Told)
		r.at = after
		real := false
		for f := range c.facts.between(r.Selection, after.Seq, h.logEnd) {
			real = real || f.lostAt <= h.logEnd && f.lostClock > told || f.dropping()
		}
		if !real {
			c.errorf("nothing was lost")
		}
	}
	r.drops = max(r.drops, h.to)
	if h.cursor.Seq < r.at.Seq || h.oldest != 0 && h.oldest != h.cursor.Seq+1 {
		c.errorf("the cursor is not just before the oldest, or before %v", r.at)
	}
	for f := range c.facts.between(r.Selection, r.at.Seq, h.cursor.Seq) {
		if f.lostAt > h.logEnd && !f.mayMiss(h.logEnd) && !f.dropping() {
			c.errorf("the gap skips %+v", f)
		}
	}
	if h.oldest != 0 && !matchesAny(r.Patterns, c.facts[h.oldest-1].topic) {
		c.errorf("the oldest is of topic %s", c.facts[h.oldest-1].topic)
	}
	r.at, r.oldest = h.cursor, h.oldest
}

// ping requires that its cursor is where all selections are, no less and no
// more.
func (c *checker) ping(h heard) {
	if h.cursor.Epoch == 0 {
		if len(c.readers) < 2 {
			c.errorf("a ping without a cursor")
		}
		return
	}
	for _, r := range c.readers {
		if h.cursor.Seq < r.at.Seq {
			c.errorf("selection %s was at %v", r.Name, r.at)
		}
		c.complete(r, h.cursor.Seq, h.logEnd)
		for f := range c.facts.between(r.Selection, h.cursor.Seq, h.logEnd) {
			if f.lostAt <= h.logEnd && f.lostClock <= r.at.Told && f.lostClock > h.cursor.Told {
				c.errorf("the loss of %+v would be told again", f)
			}
		}
		r.at = h.cursor
	}
}

// finish looks at how it ended.
func (c *checker) finish() {
	if gap, ok := errors.AsType[*topic.GapError](c.end); ok {
		if !c.opts.EndAtGap {
			c.errorf("ended by a gap")
		}
		real := false
		for _, r := range c.readers {
			if r.nobody {
				return
			}
			for f := range c.facts.between(r.Selection, r.at.Seq, never) {
				real = real || f.lostAt != never && f.lostClock > r.at.Told && f.seq != gap.Oldest.Seq || f.dropping()
			}
		}
		if !real {
			c.errorf("ended by a gap that is none")
		}
		return
	}
	switch {
	case c.end == nil, errors.Is(c.end, errTorture), c.x.hubGone && errors.Is(c.end, topic.ErrClosed):
	case c.x.maxLag > 0 && !c.prompt && errors.Is(c.end, topic.ErrTooSlow):
	case c.opts.EndWithTopic && errors.Is(c.end, topic.ErrEnded):
		if last := c.heard[len(c.heard)-1]; last.kind != topic.TypeEnd {
			c.errorf("ended after %v", last)
		}
	default:
		c.errorf("ended by %v", c.end)
	}
	if c.over() {
		return
	}
	for _, r := range c.readers {
		c.complete(r, never, uint64(len(c.facts)))
		if r.ended {
			c.errorf("selection %s was not told of the end", r.Name)
		}
		if c.opts.EndWithTopic && c.facts.endOf(r.Selection) != 0 {
			c.errorf("did not end with its topic")
		}
	}
}

// checkWaiter requires that somebody without a form was told if there was
// something to tell.
func (s *steadySubscriber) checkWaiter(facts truth) {
	any, must := false, false
	for i := range s.selections {
		sel := &s.selections[i]
		at := sel.Start.Cursor
		if end := facts.endOf(sel); at.Epoch == 0 || end != 0 && at.Seq >= end {
			any, must = true, true
		}
		for f := range facts.between(sel, at.Seq, never) {
			any, must = true, must || f.lostClock > at.Told && (f.sure() || f.dropping())
		}
	}
	told := s.told > 0 && (s.end == nil || s.told > 1)
	if told && !any || must && !told && !s.over() {
		s.errorf("told %d times, events %v, end %v, selections %v", s.told, any, s.end, s.selections)
	}
}

// check of one who moves: it cannot be known at which place of what was heard
// a Subscribe took effect. But from then on its events come in order and all
// of them, each once for each Subscribe that asks for it, and none that nobody
// asks for.
func (m *movingSubscriber) check(facts truth) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := make(map[uint64]int)
	lastAt := make(map[uint64]int)
	descents, last := 0, uint64(0)
	for i, h := range m.heard {
		seq := h.seq
		if h.kind == topic.TypeEnd {
			if seq = h.cursor.Seq; facts[seq-1].topic != h.topic || !facts[seq-1].end {
				m.errorf("%v is not the end", h)
			}
		}
		if i == 0 && h.kind != topic.TypePing && h.kind != topic.TypeGap {
			m.errorf("began with %v", h)
		}
		if h.kind == topic.TypePing && h.cursor.Seq > h.logEnd {
			m.errorf("%v is beyond the end", h)
		}
		if seq == 0 {
			continue
		}
		if seq < last {
			descents++
		}
		last = seq
		count[seq]++
		lastAt[seq] = i
		if !slices.ContainsFunc(m.instances, func(in *instance) bool {
			return in.from <= i && (in.to < 0 || i < in.to) && in.asksFor(seq, h)
		}) {
			m.errorf("nobody asks for %d: %v", i, h)
			return
		}
	}
	if descents > len(m.instances) {
		m.errorf("went back %d times for %d selections", descents, len(m.instances))
	}
	for seq, n := range count {
		asked := 0
		for _, in := range m.instances {
			if in.from <= lastAt[seq] && in.asksFor(seq, m.heard[lastAt[seq]]) {
				asked++
			}
		}
		if n > asked {
			m.errorf("event %d came %d times, for %d selections", seq, n, asked)
			return
		}
	}
	if m.over() {
		if m.end != nil && !errors.Is(m.end, errTorture) && !(m.x.maxLag > 0 && errors.Is(m.end, topic.ErrTooSlow)) && !(m.x.hubGone && errors.Is(m.end, topic.ErrClosed)) {
			m.errorf("ended by %v", m.end)
		}
		return
	}
	for _, in := range m.instances {
		if in.to < 0 && !in.replaced && !m.checkInstance(facts, in) {
			return
		}
	}
}

// asksFor reports whether the instance selects what was heard. An end may also
// be told to who begins after it.
func (in *instance) asksFor(seq uint64, h heard) bool {
	return matchesAny(in.Patterns, h.topic) && (seq > in.Start.Cursor.Seq || h.kind == topic.TypeEnd)
}

// checkInstance requires that from some place on everything came in order but
// what a $gap names.
func (m *movingSubscriber) checkInstance(facts truth, in *instance) bool {
	told := func(f fact) bool {
		switch {
		case f.passing():
			if f.seq <= in.Start.Began() || facts.passed(f, everything, uint64(len(facts))) {
				return true
			}
		case f.lostClock <= in.Start.Cursor.Told || f.mayMiss(uint64(len(facts))):
			return true
		}
		for _, h := range m.heard[in.from:] {
			if h.kind != topic.TypeGap || h.topic != in.Name {
				continue
			}
			if f.passing() && f.seq <= h.cursor.Seq || f.dropping() && f.seq <= h.logEnd || f.lostAt <= h.logEnd && (f.seq <= h.cursor.Seq || f.lostClock <= h.cursor.Told) {
				return true
			}
		}
		return false
	}
	if in.Start.Cursor.Epoch == 0 && !slices.ContainsFunc(m.heard[in.from:], func(h heard) bool { return h.kind == topic.TypeGap && h.topic == in.Name }) {
		m.errorf("%v was not told that its cursor is unknown", in.Selection)
		return false
	}
	if end := facts.endOf(&in.Selection); end != 0 && !slices.ContainsFunc(m.heard[in.from:], func(h heard) bool { return h.kind == topic.TypeEnd && h.topic == in.Name }) {
		m.errorf("%v was not told of the end", in.Selection)
		return false
	}
	rest := m.heard[in.from:]
	for f := range facts.between(&in.Selection, in.Start.Cursor.Seq, never) {
		if told(f) { // it may have come with a later selection that overlaps
			continue
		}
		i := slices.IndexFunc(rest, func(h heard) bool {
			return h.seq == f.seq || f.end && h.kind == topic.TypeEnd && h.topic == f.topic
		})
		if i < 0 {
			m.errorf("%v (after %d heard) misses %+v", in.Selection, in.from, f)
			return false
		}
		rest = rest[i+1:]
	}
	return true
}
