package logtest

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"

	"github.com/duplexhq/duplex/topic"
)

var appendTests = []test{
	{name: "Empty", f: testEmpty},
	{name: "Sequence", f: testSequence},
	{name: "Batch", f: testBatch},
	{name: "Epoch", f: testEpoch},
	{name: "Concurrent", f: testConcurrent},
}

// "End is the id of the newest entry; with Seq 0 if there never was one."
func testEmpty(l *subject) {
	if end := l.End(); end.Seq != 0 || end.Epoch == 0 {
		l.t.Errorf("end of an empty log: %+v", end)
	}
	if !l.knows(l.start()) {
		l.t.Error("an empty log does not know its end")
	}
	l.read(l.start(), "a").want()
	l.read(l.start(), "**").want()
	wantList(l.t, "newest", l.newest(10, "a", "b/*"))
	for _, pattern := range []string{"a", "**"} {
		if c := l.earliest(pattern); c != l.start() {
			l.t.Errorf("earliest of %q in an empty log: %v", pattern, c)
		}
	}
	if list := l.topics("", 10); len(list) != 0 {
		l.t.Errorf("topics of an empty log: %+v", list)
	}
	if _, ok := l.Ended("a"); ok {
		l.t.Error("an unknown topic has ended")
	}
}

// "A Log keeps the events of all topics in one sequence."
func testSequence(l *subject) {
	last := l.End()
	for i := range 20 {
		id := l.append("topic/"+strconv.Itoa(i%3), strconv.Itoa(i))
		if id.Epoch != last.Epoch || id.Seq <= last.Seq {
			l.t.Errorf("id %v after %v", id, last)
		}
		if l.End() != id {
			l.t.Errorf("end %v after the append of %v", l.End(), id)
		}
		last = id
	}
	l.read(l.start(), "topic/1").want("1", "4", "7", "10", "13", "16", "19")
}

// "Append stores drafts as contiguous entries of one topic, and returns the id
// of the first; the others follow it by one each."
func testBatch(l *subject) {
	l.append("other", "x")
	drafts := []topic.Draft{
		{Media: "text/plain", Data: []byte("one")},
		{Type: "created", Media: "application/json", Data: []byte(`{"n":2}`), Kind: topic.JSON},
		{Type: "blob", Data: []byte{0, 0xff}, Kind: topic.Binary},
		{},
	}
	first, err := l.Append(l.t.Context(), "a/b", drafts, none)
	if err != nil {
		l.t.Fatal(err)
	}
	entries, _ := l.read(l.start(), "a/b").rest()
	if len(entries) != len(drafts) {
		l.t.Fatalf("%d entries of %d drafts", len(entries), len(drafts))
	}
	for i, e := range entries {
		d := drafts[i]
		want := topic.ID{Epoch: first.Epoch, Seq: first.Seq + uint64(i)}
		if e.ID != want || e.Topic != "a/b" || e.Type != d.Type || e.Media != d.Media || e.Kind != d.Kind || !bytes.Equal(e.Data, d.Data) {
			l.t.Errorf("entry %+v of draft %+v, want id %v", &e.Event, d, want)
		}
		if e.Time().IsZero() || e.Time().Before(entries[0].Time()) {
			l.t.Errorf("entry %d has time %v, the first %v", i, e.Time(), entries[0].Time())
		}
	}
}

// "The epoch changes when a log is lost, replaced or rolled back."
func testEpoch(l *subject) {
	other := l.open(Options{})
	if l.End().Epoch == other.End().Epoch {
		l.t.Errorf("two logs of epoch %d", l.End().Epoch)
	}
}

// "All methods may be called at the same time", and a batch is stored "all or
// none": no page that reaches the end of the log holds a part of one.
func testConcurrent(l *subject) {
	const writers, batches, size = 4, 100, 3
	names := []string{"a/1", "a/2", "b/1"}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				var data []string
				for i := range size {
					data = append(data, fmt.Sprintf("%d %d %d", w, b, i))
				}
				if _, err := l.Append(l.t.Context(), names[(w+b)%len(names)], text(data...), none); err != nil {
					l.t.Errorf("Append: %v", err)
				}
			}
		})
	}
	for _, patterns := range [][]string{{"**"}, names, {"a/*", "b/1"}} {
		wg.Go(func() {
			interests := []topic.Interest{{Patterns: parse(patterns...), After: l.start()}}
			next := make([]int, writers) // of each writer, the number of its next event
			for n := 0; n < writers*batches*size && !l.t.Failed(); {
				page, err := l.Read(l.t.Context(), interests, topic.Limit{Events: 1000, Bytes: 1 << 20})
				if err != nil || len(page.Gaps) > 0 {
					l.t.Errorf("Read: gaps %v, error %v", page.Gaps, err)
					return
				}
				for _, e := range page.Entries {
					var w, b, i int
					if _, err := fmt.Sscan(string(e.Data), &w, &b, &i); err != nil || next[w] != b*size+i {
						l.t.Errorf("%q: event %q, want number %d of its writer", patterns, e.Data, next[w])
						return
					}
					next[w]++
				}
				for w := range next {
					if !page.More && next[w]%size != 0 {
						l.t.Errorf("%q: a part of a batch at the end of the log", patterns)
					}
				}
				n += len(page.Entries)
				interests[0].After = page.Cursor
			}
		})
	}
	wg.Go(func() { // what is only asked must be safe, too
		for range batches {
			end := l.End()
			if !l.knows(topic.Cursor{ID: end}) {
				l.t.Errorf("the log does not know %v, which was its end", end)
			}
			l.Ended("a/1")
			if _, err := l.Newest(l.t.Context(), parse("**"), topic.Limit{Events: 5}); err != nil {
				l.t.Errorf("Newest: %v", err)
			}
			if _, err := l.Topics(l.t.Context(), "", 2); err != nil {
				l.t.Errorf("Topics: %v", err)
			}
			if _, err := l.Earliest(l.t.Context(), parse("a/*")); err != nil {
				l.t.Errorf("Earliest: %v", err)
			}
		}
	})
	wg.Wait()
}
