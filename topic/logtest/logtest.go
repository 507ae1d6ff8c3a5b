// Package logtest is the suite that every [topic.Log] must pass. Sentences in
// its comments are those of package topic.
package logtest

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// Options are what a test needs of the log that it works on. For what is zero,
// any value will do that lets a log keep some ten thousand small events, topics
// and keys for some minutes. What is not zero is exact, but for RetainBytes, which is
// at least 1 MiB: the overhead of an event is the log's own.
type Options struct {
	topic.Bounds
	// Bubble says that the log is opened in a synctest bubble: all that it
	// waits for must be in there, too.
	Bubble bool
}

// Open makes an empty log of a new epoch. The suite closes it. For options
// that the log cannot honour it calls t.Skip with the reason.
type Open func(t *testing.T, opts Options) topic.Log

// Run runs the suite. The random tests log their seed; the environment
// variable LOGTEST_SEED repeats one.
func Run(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Append", appendTests},
		{"End", endTests},
		{"Read", readTests},
		{"Gap", gapTests},
		{"Key", keyTests},
		{"Watch", watchTests},
		{"Retention", retentionTests},
		{"Rule", ruleTests},
		{"Random", randomTests},
		{"Close", closeTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, open) })
			}
		})
	}
}

// test is one test on a log of its own.
type test struct {
	name   string
	bounds topic.Bounds
	bubble bool // Options.Bubble
	f      func(l *subject)
}

func (tt *test) run(t *testing.T, open Open) {
	opts := Options{tt.bounds, tt.bubble}
	if !tt.bubble {
		t.Parallel()
		tt.f(newSubject(t, open, opts))
		return
	}
	skipped := false // a skip ends only the bubble
	synctest.Test(t, func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		tt.f(newSubject(t, open, opts))
	})
	if skipped {
		t.SkipNow()
	}
}

// subject is the log that is tested, with methods that fail the test instead
// of returning errors. They must be called by the test's own goroutine.
type subject struct {
	topic.Log
	t    *testing.T
	opts Options
	open func(Options) *subject // another log
}

// knows is Knows, which no log that is tested here needs to ask anybody for.
func (l *subject) knows(c topic.Cursor) bool {
	l.t.Helper()
	known, err := l.Knows(l.t.Context(), c)
	if err != nil {
		l.t.Errorf("Knows %v: %v", c, err)
	}
	return known
}

func newSubject(t *testing.T, open Open, opts Options) *subject {
	l := &subject{Log: open(t, opts), t: t, opts: opts}
	l.open = func(opts Options) *subject { return newSubject(t, open, opts) }
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// none is the key of an append that has none.
var none topic.Key

// text makes a draft for each data.
func text(data ...string) []topic.Draft {
	drafts := make([]topic.Draft, len(data))
	for i, s := range data {
		drafts[i] = topic.Draft{Media: "text/plain", Data: []byte(s)}
	}
	return drafts
}

// append appends one batch.
func (l *subject) append(name string, data ...string) topic.ID {
	l.t.Helper()
	id, err := l.Append(l.t.Context(), name, text(data...), none)
	if err != nil {
		l.t.Fatalf("Append %q %q: %v", name, data, err)
	}
	return id
}

// appendEach appends a batch for each data, and returns their ids.
func (l *subject) appendEach(name string, data ...string) []topic.ID {
	l.t.Helper()
	var ids []topic.ID
	for _, s := range data {
		ids = append(ids, l.append(name, s))
	}
	return ids
}

func (l *subject) end(name string) topic.ID {
	l.t.Helper()
	id, err := l.Append(l.t.Context(), name, []topic.Draft{topic.EndDraft()}, none)
	if err != nil {
		l.t.Fatalf("end of %q: %v", name, err)
	}
	return id
}

// start is the cursor before the first event of the log.
func (l *subject) start() topic.Cursor { return l.at(0) }

// at is the cursor at seq.
func (l *subject) at(seq uint64) topic.Cursor {
	return topic.Cursor{ID: topic.ID{Epoch: l.End().Epoch, Seq: seq}}
}

func (l *subject) earliest(patterns ...string) topic.Cursor {
	l.t.Helper()
	c, err := l.Earliest(l.t.Context(), parse(patterns...))
	if err != nil {
		l.t.Fatalf("Earliest %q: %v", patterns, err)
	}
	return c
}

func (l *subject) topics(from string, limit int) []topic.Info {
	l.t.Helper()
	list, err := l.Topics(l.t.Context(), from, limit)
	if err != nil {
		l.t.Fatalf("Topics: %v", err)
	}
	return list
}

func (l *subject) newest(limit int, patterns ...string) []string {
	l.t.Helper()
	page, err := l.Newest(l.t.Context(), parse(patterns...), topic.Limit{Events: limit})
	if err != nil {
		l.t.Fatalf("Newest %q: %v", patterns, err)
	}
	if want := (topic.Cursor{ID: l.End()}); page.Cursor != want {
		l.t.Errorf("Newest %q: cursor %v, want the end of the log, %v", patterns, page.Cursor, want)
	}
	return show(page.Entries)
}

// wantError checks the error of an append that must not store anything.
func (l *subject) wantError(want error, name string, drafts []topic.Draft, key topic.Key) {
	l.t.Helper()
	end := l.End()
	if _, err := l.Append(l.t.Context(), name, drafts, key); !errors.Is(err, want) {
		l.t.Errorf("Append to %q: error %v, want %v", name, err, want)
	}
	if l.End() != end {
		l.t.Errorf("Append to %q failed, and moved the end from %v to %v", name, end, l.End())
	}
}

func parse(patterns ...string) []topic.Pattern {
	parsed := make([]topic.Pattern, len(patterns))
	for i, s := range patterns {
		p, err := topic.ParsePattern(s)
		if err != nil {
			panic(err)
		}
		parsed[i] = p
	}
	return parsed
}

// show gives the data of entries; "$end TOPIC" for ends.
func show(entries []*topic.Entry) []string {
	list := []string{}
	for _, e := range entries {
		if e.IsEnd() {
			list = append(list, topic.TypeEnd+" "+e.Topic)
		} else {
			list = append(list, string(e.Data))
		}
	}
	return list
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// byName sorts infos.
func byName(a, b topic.Info) int { return cmp.Compare(a.Topic, b.Topic) }

// long is n bytes of data that begins with s.
func long(s string, n int) string { return s + strings.Repeat(".", n-len(s)) }
