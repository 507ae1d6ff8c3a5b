package logtest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

var readTests = []test{
	{name: "Paging", f: testPaging},
	{name: "LimitBytes", f: testLimitBytes},
	{name: "ZeroLimit", f: testZeroLimit},
	{name: "OwnCursors", f: testOwnCursors},
	{name: "Cursor", f: testPageCursor},
	{name: "Newest", f: testNewest},
	{name: "Topics", f: testTopics},
	{name: "System", f: testSystem},
}

var readNames = []string{"a", "a/1", "a/2", "a/1/x", "b/1", "c"}

// fill appends n events with their numbers as data.
func (l *subject) fill(n int) (name func(i int) string) {
	name = func(i int) string { return readNames[(i*i+i/3)%len(readNames)] }
	for i := range n {
		l.append(name(i), strconv.Itoa(i))
	}
	return name
}

// "Read returns what the interests select, oldest first, from the least of
// their cursors on", page by page.
func testPaging(l *subject) {
	const events = 60
	name := l.fill(events)
	for _, patterns := range [][]string{
		{"a"}, {"a/1"}, {"a/*"}, {"a/**"}, {"*"}, {"**"}, {"*/1"}, {"unknown"}, {"unknown/*"},
		{"a", "b/1"}, {"a", "a"}, {"c", "a/*"}, {"a/1", "a/*", "a/**"}, {"unknown", "c"},
	} {
		for _, limit := range []int{1, 2, 7, events} {
			for _, after := range []uint64{0, 1, events / 2, events} {
				var want []string
				for i := int(after); i < events; i++ {
					if slices.ContainsFunc(parse(patterns...), func(p topic.Pattern) bool { return p.Match(name(i)) }) {
						want = append(want, strconv.Itoa(i))
					}
				}
				cursor := l.start()
				if after > 0 {
					entries, _ := l.read(l.start(), "**").by(int(after)).rest()
					cursor = topic.Cursor{ID: entries[after-1].ID}
				}
				l.read(cursor, patterns...).by(limit).want(want...)
				split := &reader{l: l, limit: topic.Limit{Events: limit, Bytes: 1 << 20}}
				for _, p := range patterns { // the same as interests of their own
					split.and(cursor, p)
				}
				split.want(want...)
			}
		}
	}
}

// "Bytes of data; one entry may exceed it".
func testLimitBytes(l *subject) {
	for i, size := range []int{10, 10, 50, 10, 10, 10} {
		l.append("a/"+strconv.Itoa(i%2), long(strconv.Itoa(i), size))
	}
	for _, patterns := range [][]string{{"a/0", "a/1"}, {"a/*"}} {
		r := l.read(l.start(), patterns...)
		r.limit.Bytes = 25
		var sizes []string
		for more := true; more; {
			page := r.page()
			sizes = append(sizes, strconv.Itoa(len(page.Entries)))
			more = page.More
		}
		wantList(l.t, "entries per page", sizes, "2", "1", "2", "1")
	}
}

// "A log may return less than it allows, but always at least one entry or a
// Cursor that has moved, unless More is false", even if nothing is allowed.
func testZeroLimit(l *subject) {
	l.appendEach("a", "1", "2", "3")
	for _, pattern := range []string{"a", "*"} {
		r := l.read(l.start(), pattern)
		r.limit = topic.Limit{}
		r.want("1", "2", "3")
	}
}

// Each interest "selects the events that match any of Patterns and lie after
// After".
func testOwnCursors(l *subject) {
	a := l.appendEach("a/1", "0", "1", "2")
	b := l.appendEach("b/1", "3", "4", "5")
	l.append("a/1", "6")
	after := func(id topic.ID) topic.Cursor { return topic.Cursor{ID: id} }
	for _, limit := range []int{1, 2, 100} {
		l.read(after(a[1]), "a/1").and(after(b[1]), "b/1").by(limit).want("2", "5", "6")
		l.read(after(b[1]), "b/1").and(after(a[1]), "a/1").by(limit).want("2", "5", "6")
		l.read(after(a[1]), "a/*").and(after(b[1]), "b/1").by(limit).want("2", "5", "6")
		l.read(after(a[1]), "a/1").and(after(b[1]), "*/1").by(limit).want("2", "5", "6")
		l.read(after(b[0]), "a/*").and(after(b[1]), "**").by(limit).want("5", "6")
		// An event that several interests select is returned once.
		l.read(after(a[0]), "a/1").and(after(b[2]), "a/1").and(l.start(), "a/*").by(limit).want("0", "1", "2", "6")
	}
}

// "Without Entries and More [the Cursor] is the end of the log." All that was
// read is up to the cursor, so it resumes the reading alone.
func testPageCursor(l *subject) {
	l.fill(20)
	for _, patterns := range [][]string{{"a"}, {"a", "c"}, {"a/*"}, {"unknown"}} {
		whole, _ := l.read(l.start(), patterns...).rest()
		var pieces []*topic.Entry
		cursor := l.start()
		for {
			page := l.read(cursor, patterns...).by(2).page()
			pieces = append(pieces, page.Entries...)
			cursor = page.Cursor
			if !page.More {
				break
			}
		}
		wantList(l.t, "page by page", show(pieces), show(whole)...)
		if cursor != (topic.Cursor{ID: l.End()}) {
			l.t.Errorf("%q: last cursor %v, end %v", patterns, cursor, l.End())
		}
	}
}

// "Newest returns the newest events of the patterns, as the limit allows, oldest
// first, without ends." They are the last that Read would return.
func testNewest(l *subject) {
	l.fill(40)
	l.end("a/2")
	for _, patterns := range [][]string{{"a"}, {"a", "b/1"}, {"a", "a"}, {"a/*"}, {"**"}, {"c", "*/1"}, {"unknown"}, {"unknown/*"}} {
		entries, _ := l.read(l.start(), patterns...).rest()
		all := show(slices.DeleteFunc(entries, func(e *topic.Entry) bool { return e.IsEnd() }))
		wantList(l.t, "newest", l.newest(0, patterns...), all...)
		for _, limit := range []int{1, 2, 5, 100} {
			wantList(l.t, "newest", l.newest(limit, patterns...), all[max(0, len(all)-limit):]...)
		}
	}
	for i, size := range []int{5, 3, 4, 20, 1} {
		l.append("sizes/"+strconv.Itoa(i%2), strings.Repeat(strconv.Itoa(i), size))
	}
	for _, tt := range []struct {
		bytes int
		want  []string
	}{
		{1, []string{"4"}},
		{20, []string{"4"}},
		{21, []string{strings.Repeat("3", 20), "4"}},
		{27, []string{"2222", strings.Repeat("3", 20), "4"}},
		{28, []string{"111", "2222", strings.Repeat("3", 20), "4"}},
		{100, []string{"00000", "111", "2222", strings.Repeat("3", 20), "4"}},
	} {
		for _, patterns := range [][]string{{"sizes/*"}, {"sizes/0", "sizes/1"}} {
			page, err := l.Newest(l.t.Context(), parse(patterns...), topic.Limit{Bytes: tt.bytes})
			var got []string
			for _, e := range page.Entries {
				got = append(got, string(e.Data))
			}
			if err != nil || !slices.Equal(got, tt.want) {
				l.t.Errorf("newest of %q with %d bytes: %q, want %q; %v", patterns, tt.bytes, got, tt.want, err)
			}
		}
	}
}

// "Topics lists the known topics whose name is greater than from, in the order
// of their names, at most limit."
func testTopics(l *subject) {
	var want []topic.Info
	for i := range 30 {
		name := "t/" + strconv.Itoa(i*7%30)
		l.append(name, "1")
		info := topic.Info{Topic: name, Newest: l.append(name, "22", "333"), Events: 3, Bytes: 6}
		info.Newest.Seq++
		if i%5 == 0 {
			info.Newest, info.Ended = l.end(name), true
		}
		want = append(want, info)
	}
	slices.SortFunc(want, byName)
	for _, limit := range []int{1, 4, 15, 30, 100} {
		var got []topic.Info
		from := ""
		for {
			page := l.topics(from, limit)
			if len(page) > limit {
				l.t.Fatalf("%d topics, limit %d", len(page), limit)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			from = page[len(page)-1].Topic
		}
		if !slices.Equal(got, want) {
			l.t.Errorf("topics by %d: got %+v, want %+v", limit, got, want)
		}
	}
	if list := l.topics("t/3x", 1); len(list) != 1 || list[0].Topic != "t/4" {
		l.t.Errorf("topics after %q: %+v", "t/3x", list)
	}
}

// "Neither [wildcard] matches a segment of the system", but the log keeps such
// topics like any other.
func testSystem(l *subject) {
	l.append("$sys/a", "1")
	l.append("a", "2")
	l.read(l.start(), "**").want("2")
	l.read(l.start(), "$sys/a").want("1")
	l.read(l.start(), "$sys/*").want("1")
	wantList(l.t, "newest", l.newest(5, "**"), "2")
}
