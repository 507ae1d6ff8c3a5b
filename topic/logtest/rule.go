package logtest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var ruleTests = []test{
	{name: "Rules", bounds: topic.Bounds{Rules: someRules}, f: testRules},
	{name: "Count", bounds: topic.Bounds{RetainEvents: 3, Rules: someRules}, f: testRuleCount},
	{name: "Age", bounds: topic.Bounds{RetainAge: time.Hour, Rules: someRules}, bubble: true, f: testRuleAge},
	{name: "Ephemeral", bounds: topic.Bounds{RetainEvents: 3, Rules: someRules}, f: testEphemeral},
	{name: "EphemeralKey", bounds: topic.Bounds{IdempotencyWindow: time.Minute, Rules: someRules}, bubble: true, f: testEphemeralKey},
	{name: "EphemeralEnd", bounds: topic.Bounds{MaxTopics: 2, RetainAge: time.Hour, Rules: someRules}, bubble: true, f: testEphemeralEnd},
	{name: "LastValue", bounds: topic.Bounds{RetainEvents: 3, Rules: someRules}, f: testLastValue},
	{name: "LastValueAge", bounds: topic.Bounds{RetainAge: time.Hour, Rules: someRules}, bubble: true, f: testLastValueAge},
	{name: "LastValueBytes", bounds: topic.Bounds{RetainBytes: 1 << 20, Rules: someRules}, f: testLastValueBytes},
	{name: "Conflate", bounds: topic.Bounds{RetainEvents: 3, Rules: someRules}, f: testConflate},
	{name: "ConflateTypes", bounds: topic.Bounds{RetainEvents: 3, Rules: someRules}, f: testConflateTypes},
}

// someRules are those of the tests.
var someRules = rules(
	topic.Rule{Pattern: parse("game/*/chat")[0]},
	topic.Rule{Pattern: parse("game/**")[0], RetainEvents: new(0)},
	topic.Rule{Pattern: parse("quote/*")[0], RetainEvents: new(1)},
	topic.Rule{Pattern: parse("two")[0], RetainEvents: new(2)},
	topic.Rule{Pattern: parse("pair/*")[0], RetainEvents: new(2)},
	topic.Rule{Pattern: parse("many")[0], RetainEvents: new(1000), RetainAge: 1000 * time.Hour},
	topic.Rule{Pattern: parse("minute/kept")[0]},
	topic.Rule{Pattern: parse("minute/*")[0], RetainAge: time.Minute},
	topic.Rule{Pattern: parse("conflate/*")[0], Slow: topic.SlowConflate},
	topic.Rule{Pattern: parse("types/*")[0], Slow: topic.SlowConflateTypes},
)

func rules(list ...topic.Rule) *topic.Rules {
	r, err := topic.NewRules(list...)
	if err != nil {
		panic(err)
	}
	return r
}

// "Rules are those that the log keeps events by."
func testRules(l *subject) {
	if l.Rules() != someRules {
		l.t.Error("the rules are not those that it was opened with")
	}
	if r := l.open(Options{}).Rules(); r != nil {
		l.t.Errorf("the rules of a log that has none: %v", r)
	}
}

// "A Rule may have a log keep fewer events of a topic", not more. What is
// removed is lost.
func testRuleCount(l *subject) {
	start := l.start()
	for i := range 5 {
		l.append("two", "two"+strconv.Itoa(i))
		l.append("many", "many"+strconv.Itoa(i))
		l.append("other", "other"+strconv.Itoa(i))
	}
	wantList(l.t, "newest", l.newest(10, "*"), "many2", "other2", "two3", "many3", "other3", "two4", "many4", "other4")
	l.read(start, "two").wantGap(l.at(10).ID, "two3", "two4")
	l.read(l.at(7), "two").want("two3", "two4")
}

// "for a shorter time", not a longer one. Topics of other rules are not
// touched, and what is forgotten of some is no gap of them.
func testRuleAge(l *subject) {
	l.append("many", "many")
	start := l.at(l.End().Seq)
	first := l.append("other", "1")
	l.append("minute/a", "a")
	l.append("other", "2")
	time.Sleep(30 * time.Second)
	l.append("minute/b", "b")
	end := l.end("minute/ended")
	time.Sleep(30*time.Second + 1)
	wantList(l.t, "newest", l.newest(10, "**"), "many", "1", "2", "b")
	l.read(start, "minute/a").wantGap(topic.ID{})
	l.read(start, "minute/b").want("b")
	l.read(start, "minute/kept", "unknown/*").want()
	l.read(start, "**").wantGap(first, "1", "2", "b", "$end minute/ended")
	l.read(start, "other").want("1", "2")
	time.Sleep(30 * time.Second)
	if _, ok := l.Ended("minute/ended"); ok {
		l.t.Error("the end is over the age of its rule")
	}
	l.append("minute/ended", "c")
	l.read(topic.Cursor{ID: end}, "minute/ended").want("c")
	wantList(l.t, "newest", l.newest(10, "**"), "many", "1", "2", "c")
	time.Sleep(time.Hour)
	wantList(l.t, "newest", l.newest(10, "**"))
	l.read(start, "other").wantGap(topic.ID{})
}

// "An event of an ephemeral topic gets an id and goes to the watcher, and is
// neither kept nor lost."
func testEphemeral(l *subject) {
	var watched []string
	start := l.start()
	l.Watch(func(entries []*topic.Entry) { watched = append(watched, show(entries)...) })
	l.append("a", "1")
	id, err := l.Append(l.t.Context(), "game/1", text("x", "y"), none)
	if err != nil || id.Seq <= start.Seq {
		l.t.Fatalf("Append: %v, %v", id, err)
	}
	last := l.append("game/1/moves", "z")
	if l.End() != last || last.Seq < id.Seq+2 {
		l.t.Errorf("ids %v and %v, end %v", id, last, l.End())
	}
	l.append("game/1/chat", "hello") // by a rule before
	for i := range 10 {
		l.append("game/1", strconv.Itoa(i))
	}
	wantList(l.t, "watched", watched, "1", "x", "y", "z", "hello", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	l.read(start, "game/1").want()
	l.read(topic.Cursor{ID: id}, "game/*").want()
	l.read(start, "**").want("1", "hello")
	wantList(l.t, "newest", l.newest(10, "game/1"))
	wantList(l.t, "newest", l.newest(10, "**"), "1", "hello")
	if c := l.earliest("game/1"); c != l.at(l.End().Seq) {
		l.t.Errorf("earliest: %v, want the end", c)
	}
	for _, info := range l.topics("", 10) {
		if info.Topic != "a" && info.Topic != "game/1/chat" {
			l.t.Errorf("listed: %+v", info)
		}
	}
}

// A key has its meaning also where events are not kept.
func testEphemeralKey(l *subject) {
	key := topic.Key{Value: "k", Digest: [32]byte{1}}
	first, err := l.Append(l.t.Context(), "game/1", text("x"), key)
	if err != nil {
		l.t.Fatal(err)
	}
	l.append("game/1", "y")
	again, err := l.Append(l.t.Context(), "game/1", text("x"), key)
	if err != nil || again != first {
		l.t.Errorf("again: %v, %v, want %v", again, err, first)
	}
	l.wantError(topic.ErrKeyReused, "game/1", text("z"), topic.Key{Value: "k", Digest: [32]byte{2}})
	time.Sleep(time.Minute + 1)
	if third, err := l.Append(l.t.Context(), "game/1", text("x"), key); err != nil || third == first {
		l.t.Errorf("after the window: %v, %v", third, err)
	}
}

// An ephemeral topic takes no place, but its end is kept as any other.
func testEphemeralEnd(l *subject) {
	for i := range 10 {
		l.append(fmt.Sprint("game/", i), "x")
	}
	start := l.at(l.End().Seq)
	first, err := l.Append(l.t.Context(), "game/1", append(text("last"), topic.EndDraft()), none)
	if err != nil {
		l.t.Fatal(err)
	}
	end := topic.ID{Epoch: first.Epoch, Seq: first.Seq + 1}
	if got, ok := l.Ended("game/1"); !ok || got != end {
		l.t.Errorf("Ended: %v, %v, want %v", got, ok, end)
	}
	last := l.end("game/2")
	l.append("game/3", "x")
	l.wantError(topic.ErrEnded, "game/1", text("x"), none)
	l.wantError(topic.ErrTooManyTopics, "a", text("x"), none)
	l.wantError(topic.ErrTooManyTopics, "game/3", []topic.Draft{topic.EndDraft()}, none)
	l.read(start, "game/*").want("$end game/1", "$end game/2")
	list := l.topics("", 1)
	if len(list) != 1 || list[0] != (topic.Info{Topic: "game/1", Newest: end, Ended: true}) {
		l.t.Errorf("topics: %+v", list)
	}
	time.Sleep(time.Hour + 1)
	l.append("game/1", "x")
	l.append("a", "x")
	l.read(topic.Cursor{ID: last}, "game/1").want()
	l.read(start, "game/1").wantGap(topic.ID{})
}

// "An event that is removed after a later one has superseded it is not lost."
func testLastValue(l *subject) {
	start := l.start()
	for i := range 5 {
		l.append("quote/a", "a"+strconv.Itoa(i))
		l.append("quote/b", "b"+strconv.Itoa(i))
	}
	last, err := l.Append(l.t.Context(), "quote/c", text("c0", "c1"), none)
	if err != nil {
		l.t.Fatal(err)
	}
	l.read(start, "quote/a").want("a4")
	l.read(start, "quote/*").want("a4", "b4", "c1")
	l.read(l.at(5), "**").want("a4", "b4", "c1")
	wantList(l.t, "newest", l.newest(10, "**"), "a4", "b4", "c1")
	if c := l.earliest("quote/a"); c.Told != 0 {
		l.t.Errorf("earliest: %v was told of losses", c)
	}
	l.end("quote/a")
	l.read(start, "quote/a").want("a4", "$end quote/a")
	list := l.topics("quote/b", 10)
	if len(list) != 1 || list[0] != (topic.Info{Topic: "quote/c", Newest: topic.ID{Epoch: last.Epoch, Seq: last.Seq + 1}, Events: 1, Bytes: 2}) {
		l.t.Errorf("topics: %+v", list)
	}
}

// The last value itself may be lost.
func testLastValueAge(l *subject) {
	start := l.start()
	first := l.append("quote/a", "1")
	l.append("quote/a", "2")
	l.append("quote/ended", "3")
	end := l.end("quote/ended")
	time.Sleep(time.Hour - 1)
	l.read(start, "quote/a").want("2")
	time.Sleep(2 * time.Nanosecond)
	l.read(start, "quote/a").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: first}, "quote/*").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: end}, "quote/*").want()
	c := l.at(l.End().Seq)
	l.append("quote/a", "4")
	id := l.append("quote/a", "5")
	l.append("quote/b", "6")
	l.read(c, "quote/a").want("5")
	l.read(c, "*/a").want("5")
	l.read(start, "quote/a").wantGap(id, "5")
	l.append("quote/a", "7")
	l.read(c, "quote/*").want("6", "7")
}

func testLastValueBytes(l *subject) {
	const size = 64 << 10
	start := l.start()
	l.append("quote/a", long("old", size))
	id := l.append("quote/a", long("a", size))
	for range 20 {
		l.append("other", long("x", size))
	}
	l.read(start, "quote/a").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: id}, "quote/a").want()
	if got := len(l.newest(30, "**")); got > 1<<20/size || got < 12 {
		l.t.Errorf("%d events of %d bytes are left of 1 MiB", got, size)
	}
}

// marked gives what is left to read after the cursor, and marks what is
// superseded.
func (l *subject) marked(after topic.Cursor, patterns ...string) (list []string) {
	entries, gaps := l.read(after, patterns...).rest()
	if len(gaps) > 0 {
		l.t.Errorf("read %q after %v: false gap %+v", patterns, after, gaps)
	}
	for i, s := range show(entries) {
		if entries[i].Superseded() {
			s = "(" + s + ")"
		}
		list = append(list, s)
	}
	return list
}

// "Entries that later ones have superseded by a rule that conflates are
// marked", and no gap when they go. The end of a topic supersedes nothing.
func testConflate(l *subject) {
	start := l.start()
	for i := range 5 {
		l.append("conflate/a", "a"+strconv.Itoa(i))
		l.append("other", "other"+strconv.Itoa(i))
	}
	l.append("conflate/b", "b")
	l.end("conflate/b")
	wantList(l.t, "conflate/a", l.marked(start, "conflate/a"), "(a2)", "(a3)", "a4")
	wantList(l.t, "conflate/*", l.marked(start, "conflate/*"), "(a2)", "(a3)", "a4", "b", "$end conflate/b")
	l.read(start, "other").wantGap(l.at(6).ID, "other2", "other3", "other4")
}

func testConflateTypes(l *subject) {
	publish := func(typ, data string) {
		l.t.Helper()
		if _, err := l.Append(l.t.Context(), "types/a", []topic.Draft{{Type: typ, Data: []byte(data)}}, none); err != nil {
			l.t.Fatal(err)
		}
	}
	start := l.start()
	publish("bid", "1")
	publish("ask", "2")
	publish("bid", "3")
	wantList(l.t, "types/a", l.marked(start, "types/a"), "(1)", "2", "3")
	publish("bid", "4")
	wantList(l.t, "types/a", l.marked(start, "types/a"), "2", "(3)", "4")
	publish("bid", "5") // the ask is lost
	l.read(start, "types/a").wantGap(l.at(3).ID, "3", "4", "5")
	wantList(l.t, "types/*", l.marked(l.at(2), "types/*"), "(3)", "(4)", "5")
	publish("ask", "6")
	publish("ask", "7")
	wantList(l.t, "types/a", l.marked(l.at(2), "types/a"), "5", "(6)", "7")
}
