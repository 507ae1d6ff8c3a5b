package logtest

import (
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// keepTwo makes losses: the newest two events of a topic are kept.
var keepTwo = topic.Bounds{RetainEvents: 2}

var gapTests = []test{
	{name: "Exact", bounds: keepTwo, f: testGapExact},
	{name: "Quiet", bounds: keepTwo, f: testGapQuiet},
	{name: "Batch", bounds: keepTwo, f: testGapBatch},
	{name: "Union", bounds: keepTwo, f: testGapUnion},
	{name: "Pattern", bounds: keepTwo, f: testGapPattern},
	{name: "Far", bounds: topic.Bounds{Rules: someRules}, f: testGapFar},
	{name: "Interests", bounds: keepTwo, f: testGapInterests},
	{name: "Again", bounds: keepTwo, f: testGapAgain},
	{name: "Earliest", bounds: keepTwo, f: testEarliest},
	{name: "Unknown", bounds: keepTwo, f: testGapUnknown},
	{name: "Forgotten", bounds: topic.Bounds{RetainAge: time.Hour}, bubble: true, f: testGapForgotten},
}

// "A cursor C has a gap on a topic exactly when an event of that topic with an
// id after C was lost."
func testGapExact(l *subject) {
	start := l.start()
	a := l.appendEach("a", "0", "1", "2", "3", "4")
	l.append("b", "5")
	l.read(start, "a").wantGap(a[3], "3", "4")
	for i, id := range a {
		c := topic.Cursor{ID: id}
		switch {
		case i < 2:
			l.read(c, "a").wantGap(a[3], "3", "4")
		case i == 2: // was given the newest lost event
			l.read(c, "a").want("3", "4")
		case i == 3:
			l.read(c, "a").want("4")
		default:
			l.read(c, "a").want()
		}
	}
	// The cursor of a reader of one topic needs no loss clock.
	page := l.read(start, "a").page()
	if page.Gaps[0].Cursor != l.at(a[3].Seq-1) {
		l.t.Errorf("cursor of the gap: %v, want %v", page.Gaps[0].Cursor, l.at(a[3].Seq-1))
	}
}

// A topic of which nothing was lost never has a gap, however old the cursor.
func testGapQuiet(l *subject) {
	start := l.start()
	l.append("quiet/1", "q")
	for i := range 5000 {
		l.append("busy/"+strconv.Itoa(i%3), "b")
	}
	l.read(start, "quiet/1").want("q")
	l.read(start, "quiet/*").want("q")
	l.read(start, "unknown").want()
	l.read(start, "unknown/*").want()
	l.read(start, "quiet/1", "unknown").want("q")
	l.append("new", "n")
	l.read(start, "new").want("n")
	l.read(start, "new", "quiet/*").want("q", "n")
	entries, gaps := l.read(start, "quiet/1").and(start, "busy/0").and(start, "new").by(1).rest()
	wantList(l.t, "quiet beside busy", show(entries), "q", "b", "b", "n")
	if len(gaps) != 1 || gaps[0].Interest != 1 {
		l.t.Errorf("gaps %+v, want one, of interest 1", gaps)
	}
}

// A batch may be larger than what is retained: its first events are lost as
// soon as they are appended.
func testGapBatch(l *subject) {
	start := l.start()
	first := l.append("a", "0", "1", "2", "3", "4")
	l.read(start, "a").wantGap(topic.ID{Epoch: first.Epoch, Seq: first.Seq + 3}, "3", "4")
	l.read(l.at(first.Seq+1), "a").wantGap(topic.ID{Epoch: first.Epoch, Seq: first.Seq + 3}, "3", "4")
	l.read(l.at(first.Seq+2), "a").want("3", "4")
}

// interleave keeps events of x before, between and after the lost ones of y:
//
//	x0 y1 y2 y3 x4 y5 y6    y1, y2 and y3 are lost
func (l *subject) interleave() (start topic.Cursor, ids []topic.ID) {
	start = l.start()
	for i, name := range []string{"x", "y", "y", "y", "x", "y", "y"} {
		ids = append(ids, l.append("t/"+name, name+strconv.Itoa(i)))
	}
	return start, ids
}

// An interest "has one cursor, and so one gap: over the union of its
// patterns". It is told once, and everything that is left is returned, also
// what lies before the lost events.
func testGapUnion(l *subject) { l.testInterleaved("t/x", "t/y") }

// The same holds for a pattern.
func testGapPattern(l *subject) { l.testInterleaved("t/*") }

func (l *subject) testInterleaved(patterns ...string) {
	start, ids := l.interleave()
	left := []string{"x0", "x4", "y5", "y6"}
	for _, limit := range []int{1, 2, 3, 100} {
		l.read(start, patterns...).by(limit).wantGap(ids[0], left...)
		l.read(topic.Cursor{ID: ids[0]}, patterns...).by(limit).wantGap(ids[4], left[1:]...)
		l.read(topic.Cursor{ID: ids[3]}, patterns...).by(limit).want(left[1:]...)

		// A reader that has only the cursors of its pages is told once, too.
		gaps := 0
		var got []string
		for c, more := start, true; more; {
			page := l.read(c, patterns...).by(limit).page()
			got = append(got, show(page.Entries)...)
			gaps += len(page.Gaps)
			c, more = page.Cursor, page.More
		}
		wantList(l.t, "page by page", got, left...)
		if gaps != 1 {
			l.t.Errorf("%q by %d: %d gaps, want one", patterns, limit, gaps)
		}
	}
}

// A gap is told however far it is from there to what is left, and a log that is
// searched for many patterns is not held up for long by that.
func testGapFar(l *subject) {
	start := l.start()
	l.append("pair/1", "0")
	for range 20 {
		l.append("busy", make([]string, 1000)...)
	}
	oldest := l.append("pair/1", "1")
	l.append("pair/1", "2")
	l.read(start, "pair/*").wantGap(oldest, "1", "2")
	l.read(start, "pair/1").wantGap(oldest, "1", "2")
	many := []string{"pair/*"}
	for i := range 999 {
		many = append(many, "*/"+strconv.Itoa(i))
	}
	l.read(start, many...).wantGap(oldest, "1", "2")
	wantList(l.t, "newest", l.newest(2, many...), "1", "2")

	// Each topic is compared with all patterns once, but not all at a time.
	for i := range 1000 {
		l.append("quiet/of/"+strconv.Itoa(i), "q")
	}
	page := l.read(l.at(oldest.Seq+1), many...).page()
	if n := page.Cursor.Seq - oldest.Seq; n < 100 || n > 900 || !page.More {
		l.t.Errorf("looks at %d topics for %d patterns at a time", n, len(many))
	}
	l.read(l.at(oldest.Seq+1), many...).want()
}

// Gaps has one "for each interest whose cursor has a gap".
func testGapInterests(l *subject) {
	start, ids := l.interleave()
	page := l.read(start, "t/x").and(start, "t/y").and(l.at(ids[2].Seq), "t/*").and(l.at(ids[3].Seq), "t/y").by(1).page()
	wantList(l.t, "first page", show(page.Entries), "x0")
	oldest := make(map[int]topic.ID)
	for _, g := range page.Gaps {
		oldest[g.Interest] = g.Oldest
	}
	if len(oldest) != 2 || oldest[1] != ids[5] || oldest[2] != ids[4] {
		l.t.Errorf("gaps %+v, want one of interest 1 up to %v and of 2 up to %v", page.Gaps, ids[5], ids[4])
	}
}

// "Losses that a cursor has been told of are no gap again", but later ones are.
func testGapAgain(l *subject) {
	for _, patterns := range [][]string{{"t/x", "t/y"}, {"t/*"}} {
		start, _ := l.interleave()
		r := l.read(start, patterns...).by(1)
		if page := r.page(); len(page.Gaps) != 1 {
			l.t.Errorf("%q: gaps %+v, want one", patterns, page.Gaps)
		}
		asOf := *r
		asOf.interests = append([]topic.Interest(nil), r.interests...)
		lost := l.append("other", "1", "2", "3")
		if page := r.page(); len(page.Gaps) != 0 {
			l.t.Errorf("%q: false gap %+v by losses elsewhere, at %v", patterns, page.Gaps, lost)
		}
		l.append("t/y", "y7")
		entries, gaps := asOf.rest()
		wantList(l.t, "after a further loss", show(entries), "x4", "y6", "y7")
		if len(gaps) != 1 {
			l.t.Errorf("%q: %d gaps, want one for the further loss", patterns, len(gaps))
		}
	}
}

// Earliest "returns the cursor that lies just before the oldest retained event
// of the patterns (the end of the log if there is none) and counts every loss
// so far as told".
func testEarliest(l *subject) {
	_, ids := l.interleave()
	for _, tt := range []struct {
		patterns []string
		before   topic.ID
		want     []string
	}{
		{[]string{"t/x"}, ids[0], []string{"x0", "x4"}},
		{[]string{"t/y"}, ids[5], []string{"y5", "y6"}},
		{[]string{"t/x", "t/y"}, ids[0], []string{"x0", "x4", "y5", "y6"}},
		{[]string{"t/*"}, ids[0], []string{"x0", "x4", "y5", "y6"}},
		{[]string{"unknown", "*/y"}, ids[5], []string{"y5", "y6"}},
	} {
		c := l.earliest(tt.patterns...)
		if c.ID != l.at(tt.before.Seq-1).ID {
			l.t.Errorf("earliest of %q: %v, want just before %v", tt.patterns, c, tt.before)
		}
		for _, limit := range []int{1, 2, 100} {
			l.read(c, tt.patterns...).by(limit).want(tt.want...)
		}
	}
	for _, pattern := range []string{"unknown", "unknown/*"} {
		if c := l.earliest(pattern); c != (topic.Cursor{ID: l.End()}) {
			l.t.Errorf("earliest of %q: %v, want the end, %v", pattern, c, l.End())
		}
	}
	l.appendEach("t/x", "x7", "x8", "x9") // x0, x4 and x7 are lost
	if c := l.earliest("t/x"); c != l.at(l.End().Seq-2) {
		l.t.Errorf("earliest of one topic: %v, want %v", c, l.at(l.End().Seq-2))
	}
}

// A cursor has a gap also "when C is of no known epoch or beyond the end of
// the log". It is answered with all that is left.
func testGapUnknown(l *subject) {
	other := l.open(Options{})
	other.append("a", "1")
	ids := l.appendEach("a", "1", "2", "3")
	beyond := topic.Cursor{ID: l.End()}
	beyond.Seq++
	for _, c := range []topic.Cursor{
		{}, // also what a malformed text is taken for
		{ID: other.End()},
		beyond,
	} {
		if l.knows(c) {
			l.t.Errorf("the log knows %+v", c)
		}
		l.read(c, "a").wantGap(ids[1], "2", "3")
		l.read(c, "*").wantGap(ids[1], "2", "3")
		l.read(c, "unknown").wantGap(topic.ID{})
		l.read(c, "unknown/*").wantGap(topic.ID{})
	}
	for _, id := range ids {
		if !l.knows(topic.Cursor{ID: id}) {
			l.t.Errorf("the log does not know %v", id)
		}
	}
}

// "What the log has forgotten about a topic counts as lost up to the newest
// event that it has forgotten of any topic." If nothing is left, a gap ends at
// the end of the log.
func testGapForgotten(l *subject) {
	start := l.start()
	ids := l.appendEach("a", "1", "2")
	time.Sleep(time.Hour + time.Second)
	l.append("b", "3")
	l.read(start, "a").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: ids[0]}, "a").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: ids[1]}, "a").want()
	l.read(start, "*").wantGap(l.End(), "3")
	l.read(topic.Cursor{ID: ids[1]}, "*").want("3")
	id := l.append("a", "4") // it is known again
	l.read(start, "a").wantGap(id, "4")
	l.read(topic.Cursor{ID: ids[0]}, "a").wantGap(id, "4")
	l.read(topic.Cursor{ID: ids[1]}, "a").want("4")
	l.read(start, "a", "b").by(1).wantGap(l.at(id.Seq-1).ID, "3", "4")
}
