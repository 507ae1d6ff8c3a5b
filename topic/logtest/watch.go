package logtest

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/duplexhq/duplex/topic"
)

var watchTests = []test{
	{name: "Entries", bounds: topic.Bounds{RetainEvents: 2}, f: testWatchEntries},
	{name: "Seam", f: testWatchSeam},
}

// watcher collects what a log says, and complains if two callers do.
type watcher struct {
	l       *subject
	called  atomic.Bool
	mu      sync.Mutex
	changed sync.Cond
	entries []*topic.Entry // guarded by mu
}

func (l *subject) watch() (*watcher, topic.ID) {
	w := &watcher{l: l}
	w.changed.L = &w.mu
	return w, l.Watch(w.take)
}

func (w *watcher) take(entries []*topic.Entry) {
	if w.called.Swap(true) {
		w.l.t.Error("two callers of the watcher at a time")
	}
	defer w.called.Store(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = append(w.entries, entries...)
	w.changed.Broadcast()
}

// upTo waits for an entry that is not before the id, and returns all up to it.
func (w *watcher) upTo(id topic.ID) []*topic.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for i, e := range w.entries {
			if e.ID.Seq >= id.Seq {
				return w.entries[:i+1]
			}
		}
		w.changed.Wait()
	}
}

// "Watch has f called with all entries appended after the returned id", also
// with those that were lost at once and with ends, but not for an append that
// stored nothing.
func testWatchEntries(l *subject) {
	before := l.append("a", "0")
	w, from := l.watch()
	if from != before {
		l.t.Errorf("Watch returned %v, the end is %v", from, before)
	}
	l.append("a", "1", "2", "3")
	id := l.appendKey("b", "4", key("k", 1), topic.ID{})
	l.appendKey("b", "4", key("k", 1), id)
	l.wantError(topic.ErrKeyReused, "b", text("5"), key("k", 2))
	end := l.end("a")
	l.wantError(topic.ErrEnded, "a", text("6"), none)
	wantList(l.t, "watched", show(w.upTo(end)), "1", "2", "3", "4", "$end a")
}

// Entries are watched "in the order of the log, each once, by one caller at a
// time". Replay meets live without a seam: what lies up to the returned id is
// read, what lies after it is watched.
func testWatchSeam(l *subject) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	begun := make(chan struct{}, 4)
	for range cap(begun) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := l.Append(l.t.Context(), "t/"+strconv.Itoa(i%7), text("1", "2"), none); err != nil {
					l.t.Errorf("Append: %v", err)
					return
				}
				if i == 10 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	w, from := l.watch()
	w.upTo(topic.ID{Seq: from.Seq + 1}) // the writers go on
	close(stop)
	wg.Wait()

	var want, got []uint64
	entries, _ := l.read(l.start(), "**").rest()
	for _, e := range entries {
		want = append(want, e.ID.Seq)
		if e.ID.Seq <= from.Seq {
			got = append(got, e.ID.Seq)
		}
	}
	for _, e := range w.upTo(l.End()) {
		got = append(got, e.ID.Seq)
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("%d entries replayed up to %v and watched after it, %d in the log, or in another order", len(got), from, len(want))
	}
}
