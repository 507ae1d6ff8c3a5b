package logtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// The random tests compare a log with the model, operation by operation.
var randomTests = []test{
	{name: "Kept", f: testRandom},
	{name: "Count", bounds: topic.Bounds{RetainEvents: 4}, f: testRandom},
	{name: "Age", bounds: topic.Bounds{RetainAge: time.Minute}, bubble: true, f: testRandom},
	{name: "Rules", bounds: topic.Bounds{Rules: randomRules}, bubble: true, f: testRandom},
	{name: "RulesCountAndAge", bounds: topic.Bounds{RetainEvents: 4, RetainAge: time.Minute, Rules: randomRules}, bubble: true, f: testRandom},
	{name: "CountAndAge", bounds: topic.Bounds{RetainEvents: 3, RetainAge: time.Minute}, bubble: true, f: testRandom},
}

// randomRules leave some topics without a rule.
var randomRules = rules(
	topic.Rule{Pattern: parse("a/1")[0], RetainEvents: new(0)},
	topic.Rule{Pattern: parse("a/*")[0], RetainEvents: new(1), Slow: topic.SlowConflateTypes},
	topic.Rule{Pattern: parse("b")[0], RetainAge: 10 * time.Second},
	topic.Rule{Pattern: parse("b/1")[0], RetainEvents: new(2), Slow: topic.SlowConflate, RetainAge: 30 * time.Second},
	topic.Rule{Pattern: parse("b/*")[0], Slow: topic.SlowConflateTypes, RetainEvents: new(3)},
)

const (
	randomRounds     = 8 // logs per test
	randomOperations = 300
)

func testRandom(l *subject) {
	seed := rand.Uint64()
	if s := os.Getenv("LOGTEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			l.t.Fatalf("LOGTEST_SEED: %v", err)
		}
	}
	l.t.Logf("LOGTEST_SEED=%d", seed)
	for round := range uint64(randomRounds) {
		r := &random{Rand: rand.New(rand.NewPCG(seed, round)), l: l, model: model{opts: l.opts}}
		for range randomOperations {
			r.step()
			if l.t.Failed() {
				l.t.Fatalf("in round %d", round)
			}
		}
		l = l.open(l.opts)
	}
}

type random struct {
	*rand.Rand
	l       *subject
	model   model
	count   int // of events
	readers []*randomReader
}

// randomReader is a reader, and where its interests are in the model.
type randomReader struct {
	reader
	at []position
}

func (r *random) step() {
	if r.l.opts.RetainAge > 0 {
		time.Sleep(time.Duration(r.Int64N(int64(r.l.opts.RetainAge) / 20)))
	}
	now := time.Now()
	r.model.expire(now)
	switch n := r.IntN(100); {
	case n < 45:
		r.append(now)
	case n < 55:
		r.join()
	case n < 90:
		if len(r.readers) > 0 {
			r.read(r.readers[r.IntN(len(r.readers))])
		}
	case n < 95:
		r.newest()
	case n < 97:
		r.topics()
	default:
		r.earliest()
	}
}

var (
	randomNames    = []string{"a", "b", "a/1", "a/2", "b/1", "b/2", "a/1/x", "$s"}
	randomPatterns = append([]string{"*", "**", "a/*", "a/**", "*/1", "b/*", "none", "none/*", "$s"}, randomNames...)
)

func (r *random) append(now time.Time) {
	name := randomNames[min(r.IntN(len(randomNames)), r.IntN(len(randomNames)))] // some are busy, some quiet
	var drafts []topic.Draft
	for range 1 + r.IntN(3) {
		r.count++
		drafts = append(drafts, text(long(fmt.Sprintf("%d ", r.count), 10+r.IntN(10)))...)
		drafts[len(drafts)-1].Type = []string{"", "x"}[r.IntN(2)]
	}
	if r.IntN(60) == 0 {
		drafts = append(drafts[:r.IntN(len(drafts)+1)], topic.EndDraft())
	}
	if r.model.ended(name) {
		r.l.wantError(topic.ErrEnded, name, drafts, none)
		return
	}
	first, err := r.l.Append(r.l.t.Context(), name, drafts, none)
	if err != nil || first.Seq <= r.model.end() {
		r.l.t.Fatalf("Append after %d: %v, %v", r.model.end(), first, err)
	}
	r.model.append(name, first, drafts, now)
}

func (r *random) patterns() []string {
	var list []string
	for range 1 + r.IntN(3)*r.IntN(2) {
		list = append(list, randomPatterns[r.IntN(len(randomPatterns))])
	}
	return list
}

// join makes a reader that begins anywhere.
func (r *random) join() {
	x := &randomReader{reader: reader{l: r.l}}
	for range 1 + r.IntN(3)*r.IntN(2) {
		patterns := r.patterns()
		c, at := r.l.at(0), position{}
		switch r.IntN(5) {
		case 0: // from now on
			c = r.l.at(r.l.End().Seq)
			at.seq = c.Seq
		case 1: // from the earliest on
			c = r.l.earliest(patterns...)
			at = position{c.Seq, r.model.losses}
		case 2: // after the id of an event
			if n := len(r.model.records); n > 0 {
				c.ID = r.model.records[r.IntN(n)].id
				at.seq = c.Seq
			}
		case 3:
			c = topic.Cursor{}
		}
		x.and(c, patterns...)
		x.at = append(x.at, at)
	}
	if r.readers = append(r.readers, x); len(r.readers) > 6 {
		r.readers = r.readers[1:]
	}
}

// read reads a page, and compares it with the model.
func (r *random) read(x *randomReader) {
	t := r.l.t
	x.limit = topic.Limit{Events: 1 + r.IntN(12), Bytes: 1 + r.IntN(400)}
	before := slices.Clone(x.interests)
	what := fmt.Sprintf("%s, limit %+v", describe(before), x.limit)
	page := x.page()

	gaps := make(map[int]topic.Gap)
	for _, g := range page.Gaps {
		gaps[g.Interest] = g
	}
	for i, in := range before {
		g, told := gaps[i]
		unknown := in.After == topic.Cursor{}
		must, may := r.model.must(in.Patterns, x.at[i]), r.model.may(x.at[i])
		switch {
		case !told && (unknown || must):
			t.Errorf("%s: no gap of interest %d", what, i)
		case told && !unknown && !must && !may:
			t.Errorf("%s: false gap %+v", what, g)
		case told:
			oldest := r.model.oldest(in.Patterns, x.at[i].seq)
			want := r.l.at(r.model.end())
			if oldest != (topic.ID{}) {
				want = r.l.at(oldest.Seq - 1)
			}
			if g.Oldest != oldest || g.Cursor.ID != want.ID {
				t.Errorf("%s: gap %+v, want oldest %v and cursor %v", what, g, oldest, want)
			}
		}
	}

	selected := r.model.retained(func(rec *record) bool {
		for i, in := range before {
			if rec.id.Seq > x.at[i].seq && matches(in.Patterns, rec.topic) {
				return true
			}
		}
		return false
	})
	upTo := len(selected)
	if page.More {
		upTo = 0
		for upTo < len(selected) && selected[upTo].id.Seq <= page.Cursor.Seq {
			upTo++
		}
	} else if page.Cursor != r.l.at(r.model.end()) {
		t.Errorf("%s: cursor %v, want the end %d", what, page.Cursor, r.model.end())
	}
	wantList(t, fmt.Sprintf("%s, up to %v, more %v", what, page.Cursor, page.More), show(page.Entries), data(selected[:upTo])...)

	for i := range x.at {
		at := &x.at[i]
		if g, told := gaps[i]; told {
			*at = position{g.Cursor.Seq, r.model.losses}
		}
		at.seq = max(at.seq, page.Cursor.Seq)
	}
	if len(x.at) == 1 && r.IntN(2) == 0 { // the page's cursor is as good
		x.interests[0].After = page.Cursor
		x.at[0] = position{page.Cursor.Seq, r.model.losses}
	}
}

func (r *random) newest() {
	patterns, limit := r.patterns(), 1+r.IntN(20)
	all := r.model.retained(func(rec *record) bool { return !rec.end && matches(parse(patterns...), rec.topic) })
	wantList(r.l.t, fmt.Sprintf("newest %d of %q", limit, patterns), r.l.newest(limit, patterns...), data(all[max(0, len(all)-limit):])...)
}

func (r *random) earliest() {
	patterns := r.patterns()
	want := r.l.at(r.model.end())
	if oldest := r.model.oldest(parse(patterns...), 0); oldest != (topic.ID{}) {
		want = r.l.at(oldest.Seq - 1)
	}
	if c := r.l.earliest(patterns...); c.ID != want.ID {
		r.l.t.Errorf("earliest of %q: %v, want %v", patterns, c, want)
	}
}

func (r *random) topics() {
	var want []topic.Info
	for _, name := range randomNames {
		info := topic.Info{Topic: name}
		for _, rec := range r.model.select1(name) {
			info.Newest, info.Ended = rec.id, rec.end
			info.Bytes += int64(len(rec.data))
			if !rec.end {
				info.Events++
			}
		}
		if info.Newest != (topic.ID{}) {
			want = append(want, info)
		}
	}
	slices.SortFunc(want, byName)
	if got := r.l.topics("", 100); !slices.Equal(got, want) {
		r.l.t.Errorf("topics: got %+v, want %+v", got, want)
	}
}
