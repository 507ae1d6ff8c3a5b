package logtest

import (
	"errors"

	"github.com/duplexhq/duplex/topic"
)

var endTests = []test{
	{name: "End", f: testEnd},
	{name: "WithLast", f: testEndWithLast},
	{name: "Unknown", f: testEndUnknown},
	{name: "Middle", f: testEndMiddle},
	{name: "Stays", bounds: topic.Bounds{RetainEvents: 1}, f: testEndStays},
}

var closeTests = []test{
	{name: "Close", f: testClose},
}

// "EndDraft is the draft whose append ends the topic." "A draft for an ended
// topic gives ErrEnded."
func testEnd(l *subject) {
	l.append("a", "1")
	l.append("b", "2")
	id := l.end("a")
	if got, ok := l.Ended("a"); !ok || got != id {
		l.t.Errorf("Ended: %v, %v, want %v", got, ok, id)
	}
	if _, ok := l.Ended("b"); ok {
		l.t.Error("another topic has ended")
	}
	l.wantError(topic.ErrEnded, "a", text("3"), none)
	l.wantError(topic.ErrEnded, "a", []topic.Draft{topic.EndDraft()}, none)
	l.append("b", "4")
	l.read(l.start(), "a").want("1", "$end a")
	l.read(l.start(), "**").want("1", "2", "$end a", "4")
	l.read(l.at(id.Seq-1), "a").want("$end a")
	l.read(l.at(id.Seq), "a").want()
	wantList(l.t, "newest", l.newest(2, "a"), "1")
}

// The last events and the end are one append, and so one batch.
func testEndWithLast(l *subject) {
	first, err := l.Append(l.t.Context(), "a", append(text("1", "2"), topic.EndDraft()), none)
	if err != nil {
		l.t.Fatal(err)
	}
	if end, ok := l.Ended("a"); !ok || end.Seq != first.Seq+2 {
		l.t.Errorf("batch at %v, end at %v, %v", first, end, ok)
	}
	l.read(l.start(), "a").want("1", "2", "$end a")
}

// The end of a topic that nobody has published to makes an ended one.
func testEndUnknown(l *subject) {
	id := l.end("a")
	if got, ok := l.Ended("a"); !ok || got != id {
		l.t.Errorf("Ended: %v, %v, want %v", got, ok, id)
	}
	l.wantError(topic.ErrEnded, "a", text("1"), none)
	list := l.topics("", 10)
	if len(list) != 1 || list[0] != (topic.Info{Topic: "a", Newest: id, Ended: true}) {
		l.t.Errorf("topics: %+v", list)
	}
}

// A draft after the end in the same batch is one for an ended topic, and the
// batch is stored "all or none".
func testEndMiddle(l *subject) {
	l.wantError(topic.ErrEnded, "a", append([]topic.Draft{topic.EndDraft()}, text("1")...), none)
	l.wantError(topic.ErrEnded, "a", []topic.Draft{topic.EndDraft(), topic.EndDraft()}, none)
	if _, ok := l.Ended("a"); ok {
		l.t.Error("a refused batch has ended its topic")
	}
	l.append("a", "2")
}

// An end does not count as an event, and is not removed for one.
func testEndStays(l *subject) {
	ids := l.appendEach("a", "1", "2")
	l.end("a")
	l.appendEach("b", "3", "4")
	l.read(l.start(), "a").wantGap(ids[1], "2", "$end a")
	l.read(l.at(ids[0].Seq), "a").want("2", "$end a")
}

// "Calls afterwards give ErrClosed." Close may be called again.
func testClose(l *subject) {
	ctx := l.t.Context()
	watched := 0
	l.append("a", "1")
	l.Watch(func([]*topic.Entry) { watched++ })
	interests := []topic.Interest{{Patterns: parse("a"), After: l.start()}}
	for range 2 {
		if err := l.Close(); err != nil {
			l.t.Fatalf("Close: %v", err)
		}
	}
	_, appended := l.Append(ctx, "a", text("2"), none)
	_, read := l.Read(ctx, interests, topic.Limit{Events: 1, Bytes: 1})
	_, newest := l.Newest(ctx, parse("a"), topic.Limit{Events: 1})
	_, earliest := l.Earliest(ctx, parse("a"))
	_, topics := l.Topics(ctx, "", 1)
	for call, err := range map[string]error{"Append": appended, "Read": read, "Newest": newest, "Earliest": earliest, "Topics": topics} {
		if !errors.Is(err, topic.ErrClosed) {
			l.t.Errorf("%s after Close: %v", call, err)
		}
	}
	if watched > 0 {
		l.t.Error("the watcher was called after Close")
	}
}
