package logtest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var retentionTests = []test{
	{name: "Count", bounds: topic.Bounds{RetainEvents: 3}, f: testRetainEvents},
	{name: "Age", bounds: topic.Bounds{RetainAge: time.Hour}, bubble: true, f: testRetainAge},
	{name: "AgeAndEnd", bounds: topic.Bounds{RetainAge: time.Hour}, bubble: true, f: testRetainAgeEnd},
	{name: "Bytes", bounds: topic.Bounds{RetainBytes: 1 << 20}, f: testRetainBytes},
	{name: "BytesQuiet", bounds: topic.Bounds{RetainBytes: 1 << 20, RetainEvents: 2}, f: testRetainBytesQuiet},
	{name: "Topics", bounds: topic.Bounds{MaxTopics: 2}, f: testMaxTopics},
	{name: "TopicsAge", bounds: topic.Bounds{MaxTopics: 2, RetainAge: time.Hour}, bubble: true, f: testMaxTopicsAge},
}

// Each topic keeps its newest events.
func testRetainEvents(l *subject) {
	for i := range 50 {
		l.append("a", strconv.Itoa(i))
		l.append("b/"+strconv.Itoa(i%10), "b"+strconv.Itoa(i))
	}
	wantList(l.t, "newest", l.newest(10, "a"), "47", "48", "49")
	wantList(l.t, "newest", l.newest(10, "b/3"), "b23", "b33", "b43")
	wantList(l.t, "newest", l.newest(4, "**"), "48", "b48", "49", "b49")
	for _, info := range l.topics("", 100) {
		if info.Events != 3 {
			l.t.Errorf("topic %+v, want 3 events", info)
		}
	}
}

// Events are kept for the age, and no longer, in every view of the log.
func testRetainAge(l *subject) {
	const age = time.Hour
	start := l.start()
	l.append("quiet", "0")
	first := l.append("a", "1")
	time.Sleep(age / 2)
	second := l.append("a", "2")
	time.Sleep(age/2 - 1)
	wantList(l.t, "newest", l.newest(10, "*"), "0", "1", "2")
	l.read(start, "a").want("1", "2")
	time.Sleep(2 * time.Nanosecond)
	wantList(l.t, "newest", l.newest(10, "a"), "2")
	l.read(start, "a").wantGap(second, "2")
	l.read(start, "*").wantGap(second, "2")
	l.read(topic.Cursor{ID: first}, "*").want("2")
	if c := l.earliest("*"); c.ID != l.at(second.Seq-1).ID {
		l.t.Errorf("earliest: %v, want just before %v", c, second)
	}
	list := l.topics("", 10)
	if len(list) != 1 || list[0] != (topic.Info{Topic: "a", Newest: second, Events: 1, Bytes: 1}) {
		l.t.Errorf("topics: %+v", list)
	}
	time.Sleep(age / 2)
	if list := l.topics("", 10); len(list) != 0 {
		l.t.Errorf("topics after all events went: %+v", list)
	}
	wantList(l.t, "newest", l.newest(10, "**"))
	l.read(topic.Cursor{ID: second}, "*").want()
	l.read(topic.Cursor{ID: first}, "a").wantGap(topic.ID{})
	if c := l.earliest("*"); c != (topic.Cursor{ID: second}) {
		l.t.Errorf("earliest: %v, want the end, %v", c, second)
	}
	if l.End() != second {
		l.t.Errorf("end %v, want %v", l.End(), second)
	}
	l.append("a", "3")
	l.read(topic.Cursor{ID: second}, "a").want("3")
}

// The events of an ended topic are lost as those of any other. Its end is kept
// for the age, and then the name may be used anew.
func testRetainAgeEnd(l *subject) {
	const age = time.Hour
	start := l.start()
	first := l.append("a", "1")
	time.Sleep(age / 2)
	end := l.end("a")
	other := l.append("b", "2")
	time.Sleep(age/2 + 1)
	if got, ok := l.Ended("a"); !ok || got != end {
		l.t.Errorf("Ended: %v, %v, want %v", got, ok, end)
	}
	list := l.topics("", 1)
	if len(list) != 1 || list[0] != (topic.Info{Topic: "a", Newest: end, Ended: true}) {
		l.t.Errorf("topics: %+v, want the ended one", list)
	}
	l.read(start, "a").wantGap(end, "$end a")
	l.read(start, "*").wantGap(end, "$end a", "2")
	l.wantError(topic.ErrEnded, "a", text("3"), none)
	c := l.earliest("a")
	l.read(c, "a").want("$end a")

	time.Sleep(age / 2)
	if got, ok := l.Ended("a"); ok {
		l.t.Errorf("the end %v is over age", got)
	}
	if list := l.topics("", 10); len(list) != 0 {
		l.t.Errorf("topics: %+v", list)
	}
	l.read(c, "a").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: first}, "*").wantGap(topic.ID{})
	l.read(topic.Cursor{ID: other}, "*").want()
	l.read(topic.Cursor{ID: other}, "a").want()
	l.wantError(topic.ErrEnded, "a", append([]topic.Draft{topic.EndDraft()}, text("x")...), none)
	again := l.append("a", "3")
	l.read(c, "a").wantGap(again, "3")
	l.read(topic.Cursor{ID: other}, "a").want("3")
	l.end("a")
	l.read(topic.Cursor{ID: other}, "*").want("3", "$end a")
}

// The bytes of the whole log are bounded: the oldest events go first, of
// whatever topic.
func testRetainBytes(l *subject) {
	const size, events = 32 << 10, 100
	start := l.start()
	var ids []topic.ID
	for i := range events {
		ids = append(ids, l.append("t/"+strconv.Itoa(i%5), long(fmt.Sprintf("%d ", i), size)))
	}
	entries, gaps := l.read(start, "t/*").rest()
	n := len(entries)
	if limit := 1 << 20 / size; n > limit || n < limit*3/4 {
		l.t.Fatalf("%d events of %d bytes are left of 1 MiB", n, size)
	}
	for i, e := range entries {
		if e.ID != ids[events-n+i] {
			l.t.Fatalf("entry %d of the newest %d is %v, want %v", i, n, e.ID, ids[events-n+i])
		}
	}
	if len(gaps) != 1 || gaps[0].Oldest != ids[events-n] {
		l.t.Errorf("gaps %+v, want one up to %v", gaps, ids[events-n])
	}
	if _, gaps := l.read(topic.Cursor{ID: ids[events-n-1]}, "t/*").rest(); len(gaps) > 0 {
		l.t.Errorf("false gap %+v for who was given all that is lost", gaps)
	}
	var bytes int64
	for _, info := range l.topics("", 10) {
		bytes += info.Bytes
	}
	if bytes != int64(n)*size {
		l.t.Errorf("topics have %d bytes, want %d", bytes, n*size)
	}
}

// What other limits have removed no longer counts, and a quiet topic is not
// spared for being quiet.
func testRetainBytesQuiet(l *subject) {
	const size = 64 << 10
	l.append("quiet", long("q", size))
	l.end("ended")
	for range 100 {
		l.append("busy", long("b", size)) // two of them are kept
	}
	if got := len(l.newest(10, "quiet")); got != 1 {
		l.t.Errorf("the quiet topic has %d events, want 1: the log is not full", got)
	}
	for i := range 16 {
		l.append("t/"+strconv.Itoa(i), long("t", size))
	}
	if got := len(l.newest(10, "quiet", "busy")); got != 0 {
		l.t.Errorf("%d older events are left in a log that is full of newer ones", got)
	}
	if _, ok := l.Ended("ended"); !ok {
		l.t.Error("the log has forgotten an end")
	}
}

// Topics are counted, also those that were ended.
func testMaxTopics(l *subject) {
	l.append("a", "1")
	l.end("b")
	l.wantError(topic.ErrTooManyTopics, "c", text("2"), none)
	l.wantError(topic.ErrTooManyTopics, "c", []topic.Draft{topic.EndDraft()}, none)
	l.append("a", "3")
	l.end("a")
}

// A topic of which nothing is left is not counted.
func testMaxTopicsAge(l *subject) {
	l.append("a", "1")
	l.end("b")
	time.Sleep(time.Hour / 2)
	l.wantError(topic.ErrTooManyTopics, "c", text("2"), none)
	time.Sleep(time.Hour/2 + 1)
	l.append("c", "2")
	l.end("a")
	l.wantError(topic.ErrTooManyTopics, "b", text("3"), none)
}
