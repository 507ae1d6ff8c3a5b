package server_test

import (
	"maps"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// A checker goes through what one subscriber heard, with the truth at hand.
type checker struct {
	*subscriber
	truth   *truth
	readers map[string]*reader // of the present connection, by the name of their subscription
	leaving map[string]int     // ops on their way that end what they name
	at      int                // in heard
	fault   bool
	greeted bool // something came by this connection
}

// A reader is a subscription and how far it has come: it was given everything
// up to its cursor, or was told that it is lost.
type reader struct {
	*begin
	cursor topic.Cursor
	nobody bool   // the cursor is of no log, and that was not said yet
	vague  bool   // it began between lo and hi
	sure   bool   // where it began was said, or can be told from what came
	oldest uint64 // the next event must be this one; 0 if not known
	over   bool   // $end is to come, though it is not after the cursor
}

// check goes through everything. partial says that not everything had to come.
func (s *subscriber) check(tr *truth, partial bool) {
	c := &checker{subscriber: s, truth: tr, readers: make(map[string]*reader), leaving: make(map[string]int)}
	for c.at = range s.heard {
		h := &s.heard[c.at]
		if s.x.abrupt && h.logEnd > uint64(len(tr.facts)) {
			return // the witness was stopped before
		}
		c.take(h)
		if c.fault {
			return
		}
	}
	if c.at = len(s.heard); !s.probe && !partial {
		c.finish()
	}
}

func (c *checker) errorf(format string, args ...any) {
	if !c.fault { // what follows may be its consequence
		c.faultAt(c.at, format, args...)
	}
	c.fault = true
}

func (c *checker) take(h *heard) {
	if c.greeted = c.greeted || h.kind == pinged || h.kind == gapped; !c.greeted && h.kind == ended {
		c.errorf("$end came first")
	}
	switch h.kind {
	case anew, connected:
		clear(c.readers)
		clear(c.leaving)
		c.greeted = false
	case began:
		c.leaving[h.topic] = max(c.leaving[h.topic]-1, 0)
		c.readers[h.topic] = c.begin(h)
	case leaving:
		c.leaving[h.topic]++
	case outrun:
		c.leaving[h.topic]--
	case stopped:
		c.leaving[h.topic]--
		delete(c.readers, h.topic)
	case event:
		c.event(h)
	case ended:
		c.event(h)
	case gapped:
		c.gap(h)
	case pinged:
		c.ping(h)
	case paged:
		c.page(h)
	case atEnd:
		c.end()
	case closedGap:
		c.closedGap(h)
	}
}

// begin is the reader of a new subscription.
func (c *checker) begin(h *heard) *reader {
	r := &reader{begin: h.begin}
	switch {
	case r.from == fromCursor:
		at, err := topic.ParseCursor(r.asked)
		if r.nobody = err != nil || at.Epoch != c.x.epoch || at.Seq > r.hi; !r.nobody {
			r.cursor = at
		}
	case r.from == fromEarliest:
		r.cursor.Told = c.truth.clockAt(r.hi)
	case r.from == fromNow:
		r.cursor.Seq, r.vague = r.lo, true
	}
	if h.cursor.Epoch != 0 && !r.nobody { // ok has said where it begins
		switch {
		case r.from == fromEarliest:
			c.complete(r, h.cursor.Seq)
			if h.cursor.Told > c.truth.clockAt(r.hi) {
				c.errorf("the earliest has been told of what was not lost yet")
			}
		case h.cursor.Seq < r.lo || h.cursor.Seq > r.hi:
			if r.from == fromNow {
				c.errorf("now is %d, but the log's end was between %d and %d", h.cursor.Seq, r.lo, r.hi)
			}
		}
		r.cursor, r.vague, r.sure = h.cursor, false, true
	}
	end := c.truth.endOf(r.patterns)
	r.over = end != 0 && !r.nobody && r.cursor.Seq >= end
	return r
}

// complete requires that the reader misses nothing up to seq but what it was
// told of.
func (c *checker) complete(r *reader, seq uint64) {
	if c.leaving[r.name] > 0 { // it was told to go, and may be gone
		return
	}
	if r.nobody {
		c.errorf("subscription %q was not told that its cursor is unknown", r.name)
	}
	after := r.cursor.Seq
	if r.vague {
		after = max(after, r.hi)
	}
	for f := range c.truth.between(r.patterns, after, seq) {
		if f.lostClock > r.cursor.Told && !(f.end && r.deaf) {
			c.errorf("subscription %q at %v misses %d of %q (lost by %d, clock %d) and everything up to %d is said to be told; the log is known up to %d", r.name, r.cursor, f.seq, f.topic, f.lostAt, f.lostClock, seq, len(c.truth.facts))
			return
		}
	}
}

// event is one, or an end.
func (c *checker) event(h *heard) {
	f, ok := c.truth.find(h.seq)
	switch {
	case !ok:
		c.errorf("%v is not in the log, which ends at %d", h, len(c.truth.facts))
	case f.end != (h.kind == ended):
		c.errorf("%v is %+v in the log", h, f)
	case h.kind == event && f.token != h.token:
		c.errorf("%v has the data of event %d, the log has that of event %d there", h, h.token, f.token)
	case h.kind == ended && f.topic != h.topic:
		c.errorf("%v ends %q in the log", h, f.topic)
	}
	if c.fault {
		return
	}
	taken := false
	for _, r := range c.readers {
		if !matchesAny(r.patterns, f.topic) {
			continue
		}
		if r.over && f.end {
			r.over, taken = false, true
		}
		if r.from == fromNewest && r.cursor.Seq == 0 {
			c.newest(r, f)
		}
		if f.seq <= r.cursor.Seq {
			continue
		}
		taken = true
		c.complete(r, f.seq-1)
		if r.oldest != 0 && f.seq != r.oldest && !c.endAt(r, r.oldest) && c.leaving[r.name] == 0 {
			c.errorf("the oldest after the gap was to be %d, is %d", r.oldest, f.seq)
		}
		r.cursor.Seq, r.oldest, r.vague = f.seq, 0, false
	}
	if !taken {
		c.errorf("%v of %q (published as %d) came again, or nobody asked for it: %s", h, f.topic, f.token, c.places())
	}
}

// places says where the readers are.
func (c *checker) places() []string {
	var places []string
	for _, name := range slices.Sorted(maps.Keys(c.readers)) {
		places = append(places, name+" at "+c.readers[name].cursor.String())
	}
	return places
}

// endAt reports whether there is an end of which the reader is not told.
func (c *checker) endAt(r *reader, seq uint64) bool {
	f, _ := c.truth.find(seq)
	return f.end && r.deaf
}

// newest lets a page of history begin with its first event.
func (c *checker) newest(r *reader, first fact) {
	r.cursor.Seq, r.cursor.Told = first.seq-1, c.truth.clockAt(r.hi)
	n := 0 // events of the page
	for _, h := range c.heard[c.at:] {
		if h.kind == paged {
			break
		}
		n++
	}
	if n < r.limit { // then there was nothing before
		c.complete(&reader{begin: r.begin, cursor: topic.Cursor{Told: r.cursor.Told}}, first.seq-1)
	}
}

// gap requires that the gap is one, and skips only what was lost.
func (c *checker) gap(h *heard) {
	r := c.readers[h.topic]
	if r == nil {
		c.errorf("%v is of no subscription", h)
		return
	}
	if r.nobody {
		r.nobody = false
		if h.after != r.asked {
			c.errorf("%v: asked was %q", h, r.asked)
		}
		r.cursor = topic.Cursor{}
	} else {
		after, err := topic.ParseCursor(h.after)
		if err != nil || after.Seq < r.cursor.Seq {
			c.errorf("%v: the subscription was at %v", h, r.cursor)
		}
		c.complete(r, after.Seq)
		told := after.Told
		if r.from != fromEarliest || r.sure {
			told = max(told, r.cursor.Told)
		}
		r.sure = true
		r.cursor, r.vague = after, false
		if !c.lost(r, h.logEnd, told) {
			c.errorf("%v: nothing was lost", h)
		}
	}
	if r.page { // which says its cursor later
		h.cursor = topic.Cursor{ID: r.cursor.ID, Told: c.truth.clockAt(h.logEnd)}
		if h.oldest != 0 {
			h.cursor.Seq = h.oldest - 1
		}
	}
	if h.oldest != 0 && h.oldest != h.cursor.Seq+1 || h.cursor.Seq < r.cursor.Seq {
		c.errorf("%v is not just before the oldest, or before %v", h, r.cursor)
	}
	for f := range c.truth.between(r.patterns, r.cursor.Seq, h.cursor.Seq) {
		if f.lostAt > h.logEnd && !(f.end && r.deaf) {
			c.errorf("%v skips %d, which was not lost (later: by %d)", h, f.seq, f.lostAt)
		}
	}
	if f, ok := c.truth.find(h.oldest); h.oldest != 0 && (!ok || !matchesAny(r.patterns, f.topic)) {
		c.errorf("%v: the oldest is of %q", h, f.topic)
	}
	r.cursor, r.oldest = h.cursor, h.oldest
}

// lost reports whether there is something that the reader lacks for ever, of
// which it was not told, when the log had come to end.
func (c *checker) lost(r *reader, end, told uint64) bool {
	for f := range c.truth.between(r.patterns, r.cursor.Seq, end) {
		if f.lostAt <= end && f.lostClock > told {
			return true
		}
	}
	return false
}

// ping requires that all subscriptions are where it says.
func (c *checker) ping(h *heard) {
	if h.cursor.Epoch == 0 {
		if len(c.readers) == 0 && !c.changing() {
			c.errorf("a $ping without an id")
		}
		return
	}
	if h.cursor.Epoch != c.x.epoch || h.cursor.Seq > h.logEnd {
		c.errorf("%v is beyond the log's end, %d", h, h.logEnd)
	}
	for _, r := range c.readers {
		if c.leaving[r.name] > 0 { // it was told to go, and may be gone
			continue
		}
		if h.cursor.Seq < r.cursor.Seq {
			c.errorf("%v, but subscription %q was at %v", h, r.name, r.cursor)
		}
		c.complete(r, h.cursor.Seq)
		if end := c.truth.endOf(r.patterns); r.vague && end > r.cursor.Seq && end <= h.cursor.Seq {
			r.over = true // it began after the end
		}
		r.cursor, r.vague, r.sure = h.cursor, false, true
	}
}

// changing reports whether subscriptions are on their way.
func (c *checker) changing() bool {
	for _, n := range c.leaving {
		if n > 0 {
			return true
		}
	}
	return false
}

// page is the end of one.
func (c *checker) page(h *heard) {
	r := c.readers[""]
	if r.nobody {
		c.errorf("%v: the cursor %q is unknown, and that was not told", h, r.asked)
	}
	if h.cursor.Seq > h.logEnd || h.cursor.Seq < r.cursor.Seq {
		c.errorf("%v: it was at %v, the log at %d", h, r.cursor, h.logEnd)
	}
	c.complete(r, h.cursor.Seq)
	if n := c.eventsOfPage(); n > r.limit {
		c.errorf("%v: %d events, the limit was %d", h, n, r.limit)
	}
	r.cursor, r.vague, r.oldest = h.cursor, false, 0
	if !h.more { // nothing that was there when it was asked for is missing
		told := r.cursor.Told
		r.cursor.Told = max(told, c.truth.clockAt(r.hi))
		c.complete(&reader{begin: &begin{name: r.name, patterns: r.patterns, deaf: true}, cursor: r.cursor}, r.lo)
		r.cursor.Told = told
		end := c.truth.endOf(r.patterns)
		saysEnd := c.at+1 < len(c.heard) && c.heard[c.at+1].kind == atEnd
		if end != 0 && end <= r.lo && !saysEnd {
			c.errorf("%v: the topic had ended at %d, and that was not told", h, end)
		}
	}
}

// eventsOfPage counts those before its end.
func (c *checker) eventsOfPage() (n int) {
	for i := c.at - 1; c.heard[i].kind == event; i-- {
		n++
	}
	return n
}

// end requires that the only topic has ended, and nothing before is missing.
func (c *checker) end() {
	for _, r := range c.readers {
		end := c.truth.endOf(r.patterns)
		if end == 0 {
			c.errorf("%v has not ended", r.patterns)
		}
		c.complete(r, end-1)
		r.cursor.Seq, r.over, r.vague = max(end, r.cursor.Seq), false, false
	}
}

// closedGap requires that there was a gap.
func (c *checker) closedGap(h *heard) {
	r := c.readers[""]
	if r.nobody {
		return
	}
	told := r.cursor.Told
	if r.from == fromEarliest && !r.sure {
		told = c.truth.clockAt(r.lo)
	}
	if !c.lost(r, h.logEnd, told) {
		c.errorf("closed with 4410 at %v, but nothing was lost", r.cursor)
	}
	for f := range c.truth.between(r.patterns, r.cursor.Seq, h.oldest-1) {
		if f.lostAt > h.logEnd {
			c.errorf("the oldest in 4410 is %d, but %d was not lost", h.oldest, f.seq)
		}
	}
}

// finish requires that everybody has everything in the end, but what came
// when nothing should have been published any more.
func (c *checker) finish() {
	for _, r := range c.readers {
		c.complete(r, c.x.final())
		if r.over && !r.page && c.truth.endOf(r.patterns) <= c.x.final() {
			c.errorf("subscription %q was not told of the end", r.name)
		}
	}
}
