package memlog

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/logtest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(_ *testing.T, opts logtest.Options) topic.Log {
		return Open(&opts.Bounds)
	})
}

// Without limits nothing is lost, and a key means nothing.
func TestUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{RetainEvents: -1, RetainAge: -1, RetainBytes: -1, IdempotencyWindow: -1, MaxTopics: -1, MaxKeys: -1})
		for range 2 {
			if _, err := l.Append(t.Context(), "a", draft128, topic.Key{Value: "k"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * 24 * time.Hour)
		if page := read(t, l, 0, "a"); len(page.Entries) != 2 || len(page.Gaps) != 0 {
			t.Errorf("after a month: %d entries, gaps %v", len(page.Entries), page.Gaps)
		}
	})
}

// An id is "EPOCH-SEQ", with an epoch that is never 0 and short.
func TestEpoch(t *testing.T) {
	seen := make(map[uint64]bool)
	for range 1000 {
		epoch := keep.NewEpoch()
		if epoch == 0 || epoch >= 1<<40 || seen[epoch] {
			t.Fatalf("epoch %d", epoch)
		}
		seen[epoch] = true
	}
}

// Seq counts the events of the log from 1.
func TestSeq(t *testing.T) {
	l := open(t, nil)
	for want := uint64(1); want < 10; want += 2 {
		id, err := l.Append(t.Context(), "a", slices.Concat(draft128, draft128), topic.Key{})
		if err != nil || id.Seq != want {
			t.Errorf("%v, %v, want %d", id, err, want)
		}
	}
}

func TestAppendNothing(t *testing.T) {
	l := open(t, nil)
	if _, err := l.Append(t.Context(), "a", nil, topic.Key{}); err == nil {
		t.Error("an append of nothing has no error")
	}
	if list, _ := l.Topics(t.Context(), "", 10); len(list) > 0 {
		t.Error("it has made a topic")
	}
}

// A cursor that was told of losses of the future is not of this log: a client
// must not be able to silence its gaps.
func TestToldOfFuture(t *testing.T) {
	l := open(t, &Options{RetainEvents: 1})
	appendN(t, l, "a", 3)
	for told, want := range map[uint64]bool{0: true, 3: true, 4: false, math.MaxUint64: false} {
		c := topic.Cursor{ID: l.id(1), Told: told}
		if got, err := l.Knows(t.Context(), c); got != want || err != nil {
			t.Errorf("knows %v: %v", c, got)
		}
		page, err := l.Read(t.Context(), []topic.Interest{{Patterns: parse(t, "a"), After: c}}, topic.Limit{})
		if err != nil || (len(page.Gaps) == 0) != (told == 3) {
			t.Errorf("read after %v: gaps %v, error %v", c, page.Gaps, err)
		}
	}
}

// An event that is larger than the whole log is watched, and lost.
func TestTooLarge(t *testing.T) {
	l := open(t, &Options{RetainBytes: 2 * EntryOverhead})
	appendN(t, l, "a", 1)
	watched := 0
	l.Watch(func(entries []*topic.Entry) { watched += len(entries) })
	if _, err := l.Append(t.Context(), "b", []topic.Draft{{Data: make([]byte, 4*EntryOverhead)}}, topic.Key{}); err != nil {
		t.Fatal(err)
	}
	page := read(t, l, 0, "*")
	if watched != 1 || len(page.Entries) != 0 || len(page.Gaps) != 1 || page.Gaps[0].Cursor.ID != l.End() {
		t.Errorf("watched %d, page %+v", watched, page)
	}
	check(t, l)
}

// Data and a stated overhead count to RetainBytes.
func TestBytesExact(t *testing.T) {
	l := open(t, &Options{RetainBytes: 10 * (128 + EntryOverhead)})
	appendN(t, l, "a", 10)
	if page := read(t, l, 0, "a"); len(page.Entries) != 10 {
		t.Errorf("%d entries, want 10", len(page.Entries))
	}
	appendN(t, l, "b", 1)
	if page := read(t, l, 0, "*"); len(page.Entries) != 10 || page.Entries[0].ID.Seq != 2 {
		t.Errorf("%d entries from %v on, want 10 from 2 on", len(page.Entries), page.Entries[0].ID)
	}
}

// A search for patterns that match little goes on from where it let go of the
// lock, in every method.
func TestLongSearch(t *testing.T) {
	const events = 3*keep.SearchItems + 100
	l := open(t, &Options{RetainEvents: events})
	appendN(t, l, "first/a", 1)
	appendN(t, l, "busy", events+5) // five are lost
	appendN(t, l, "last/a", 1)
	for _, tt := range []struct {
		pattern string
		after   topic.Cursor
		gap     bool
		want    uint64 // seq of the only entry
	}{
		{"last/*", topic.Cursor{ID: l.id(0)}, false, l.end},
		{"last/*", topic.Cursor{}, true, l.end},
		{"last/*", topic.Cursor{ID: l.id(l.end - 2)}, false, l.end},
		{"first/*", topic.Cursor{ID: l.id(0)}, false, 1},
		{"first/*", topic.Cursor{ID: l.id(1)}, false, 0},
		{"none/*", topic.Cursor{}, true, 0},
	} {
		interests := []topic.Interest{{Patterns: parse(t, tt.pattern), After: tt.after}}
		var seq uint64
		gaps, pages := 0, 0
		for more := true; more; pages++ {
			page, err := l.Read(t.Context(), interests, topic.Limit{})
			if err != nil {
				t.Fatal(err)
			}
			if page.More && len(page.Entries) == 0 && page.Cursor.Seq <= interests[0].After.Seq {
				t.Fatalf("%s: cursor has not moved from %v", tt.pattern, page.Cursor)
			}
			for _, e := range page.Entries {
				seq = e.ID.Seq
			}
			gaps += len(page.Gaps)
			interests[0].After, more = page.Cursor, page.More
		}
		if seq != tt.want || (gaps == 1) != tt.gap || gaps > 1 || pages > 5 {
			t.Errorf("%s after %v: entry %d, %d gaps, %d pages, want entry %d", tt.pattern, tt.after, seq, gaps, pages, tt.want)
		}
	}
	for pattern, want := range map[string]uint64{"first/*": 0, "last/*": l.end - 1, "none/*": l.end} {
		if c, err := l.Earliest(t.Context(), parse(t, pattern)); err != nil || c.ID != l.id(want) {
			t.Errorf("earliest of %s: %v, %v, want %d", pattern, c, err, want)
		}
	}
	for pattern, want := range map[string]int{"first/*": 1, "*/a": 2, "none/*": 0} {
		if page, err := l.Newest(t.Context(), parse(t, pattern), topic.Limit{Events: 5}); err != nil || len(page.Entries) != want {
			t.Errorf("newest of %s: %d entries, %v, want %d", pattern, len(page.Entries), err, want)
		}
	}
	check(t, l)
}

// Data that is ready is returned even when the context is done; only a long
// search is given up.
func TestContextDone(t *testing.T) {
	l := open(t, nil)
	fillTopics(t, l, keep.SearchItems+keep.TopicsStep)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	short, long := parse(t, "topic/0"), parse(t, "none/*")
	for patterns, want := range map[*[]topic.Pattern]error{&short: nil, &long: why} {
		_, read := l.Read(ctx, []topic.Interest{{Patterns: *patterns}}, topic.Limit{})
		_, newest := l.Newest(ctx, *patterns, topic.Limit{Events: 1})
		_, earliest := l.Earliest(ctx, *patterns)
		if read != want || newest != want || earliest != want {
			t.Errorf("%v: Read %v, Newest %v, Earliest %v, want %v", *patterns, read, newest, earliest, want)
		}
	}
	if _, err := l.Topics(ctx, "", keep.TopicsStep+1); err != why {
		t.Errorf("Topics: %v", err)
	}
	if _, err := l.Append(ctx, "a", draft128, topic.Key{}); err != nil {
		t.Errorf("Append: %v", err)
	}
}

// A page is bounded, whatever the limit allows.
func TestPageBound(t *testing.T) {
	l := open(t, nil)
	appendN(t, l, "a", keep.PageEntries+1)
	for _, pattern := range []string{"a", "*"} {
		if page := read(t, l, 0, pattern); len(page.Entries) != keep.PageEntries || !page.More || page.Cursor.Seq != keep.PageEntries {
			t.Errorf("%s: %d entries, more %v, cursor %v", pattern, len(page.Entries), page.More, page.Cursor)
		}
	}
}

// Topics lets go of the lock on its way through many topics, which come and go
// meanwhile.
func TestTopicsSteps(t *testing.T) {
	const topics = 3 * keep.TopicsStep
	l := open(t, nil)
	fillTopics(t, l, topics)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 1000 {
			if _, err := l.Append(t.Context(), "other/"+strconv.Itoa(i), draft128, topic.Key{}); err != nil {
				t.Errorf("Append: %v", err)
			}
		}
	})
	n, from := 0, ""
	for {
		list, err := l.Topics(t.Context(), from, keep.TopicsStep+1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, info := range list {
			if info.Topic <= from {
				t.Fatalf("%q after %q", info.Topic, from)
			}
			if from = info.Topic; from[0] == 't' {
				n++
			}
		}
	}
	wg.Wait()
	if n != topics {
		t.Errorf("%d topics listed that were there all the time, want %d", n, topics)
	}
}

// held returns how much the log holds.
func held(l *Log) (topics, keys int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.topics), l.keys.Len(), l.bytes
}

func open(t *testing.T, opts *Options) *Log {
	l := Open(opts)
	t.Cleanup(func() { l.Close() })
	return l
}

func appendN(t *testing.T, l *Log, name string, n int) {
	t.Helper()
	for range n {
		if _, err := l.Append(t.Context(), name, draft128, topic.Key{}); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads one page without a limit.
func read(t *testing.T, l *Log, after uint64, patterns ...string) topic.Page {
	t.Helper()
	page, err := l.Read(t.Context(), []topic.Interest{
		{Patterns: parse(t, patterns...), After: topic.Cursor{ID: l.id(after)}},
	}, topic.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	return page
}
