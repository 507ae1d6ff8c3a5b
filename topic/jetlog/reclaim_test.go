package jetlog

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// What quiet topics have is carried out of the way of what is lost, as often as
// need be. It stays readable at every moment, and after the log was opened
// anew.
func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := (&Options{TailBytes: -1, Bounds: topic.Bounds{RetainEvents: 10, RetainAge: -1}}).withDefaults()
		s, old := newFakeStore(), newFakeStore()
		epochs := index.FirstEpoch()
		l := newLog(o, s, old, index.New(&o.Bounds), epochs)
		l.slack = 4 << 10
		start := topic.Cursor{ID: topic.ID{Epoch: epochs[0].Number}}
		if _, err := l.Append(t.Context(), "ended", []topic.Draft{topic.EndDraft()}, topic.Key{}); err != nil {
			t.Fatal(err)
		}
		var quiet []string // what is left of it
		check := func() {
			t.Helper()
			if data, _ := readAll(t, l, start, "quiet/*"); fmt.Sprint(data) != fmt.Sprint(quiet) {
				t.Fatalf("quiet topics: %v, want %v", data, quiet)
			}
			if data, _ := readAll(t, l, start, "busy"); len(data) != 10 {
				t.Fatalf("busy topic: %v", data)
			}
			if data, _ := readAll(t, l, start, "ended"); fmt.Sprint(data) != "["+topic.TypeEnd+"]" {
				t.Fatalf("ended topic: %v", data)
			}
		}
		for i := range 40 {
			data := strconv.Itoa(i) + strings.Repeat(" ", 1000)
			appendText1(t, l, "quiet/a", data)
			if quiet = append(quiet, data); len(quiet) > 10 {
				quiet = quiet[1:]
			}
			for j := range 100 {
				appendText1(t, l, "busy", fmt.Sprintf("%d %d", i, j))
			}
			check()
			time.Sleep(sweepEvery)
			synctest.Wait()
			check()
			if state, _ := s.state(t.Context()); state.bytes > 2*uint64(l.index.Bytes)+l.slack+4<<10 {
				t.Fatalf("%d bytes for %d that are needed", state.bytes, l.index.Bytes)
			}
		}
		if state, _ := old.state(t.Context()); state.bytes == 0 || state.first == 1 {
			t.Errorf("old entries: %+v, want some, and some removed", state)
		}
		if state, _ := s.state(t.Context()); state.last-state.first > 1000 {
			t.Errorf("%d messages are left", state.last-state.first)
		}
		end := l.End()
		l.Close()

		x := index.New(&o.Bounds)
		if err := rebuild(t.Context(), x, s, old, o.Progress); err != nil {
			t.Fatal(err)
		}
		l = newLog(o, s, old, x, epochs)
		defer l.Close()
		if l.End() != end {
			t.Errorf("end %v, want %v", l.End(), end)
		}
		check()
	})
}

// A front of which nothing is needed is removed; the newest message stays, and
// with it the end of the log.
func TestReclaimFront(t *testing.T) {
	t.Parallel()
	l := openAt(t, &Options{Dir: t.TempDir(), Bounds: topic.Bounds{RetainEvents: 2, IdempotencyWindow: -1}})
	var last topic.ID
	for i := range 100 {
		last = appendText1(t, l, "a", strconv.Itoa(i))
	}
	if err := l.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := l.store.state(t.Context())
	if err != nil || state.first != 99 || state.last != 100 {
		t.Errorf("state %+v, %v, want 99 to 100", state, err)
	}
	for _, age := range []time.Duration{0, time.Nanosecond} {
		l.Close()
		l = openAt(t, &Options{Dir: l.opts.Dir, Bounds: topic.Bounds{RetainEvents: 2, RetainAge: age}})
		if l.End() != last {
			t.Errorf("end %v, want %v", l.End(), last)
		}
		start := topic.Cursor{ID: topic.ID{Epoch: last.Epoch}}
		if _, gaps := readAll(t, l, start, "a"); gaps != 1 {
			t.Errorf("%d gaps", gaps)
		}
		if err := l.reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := l.store.state(t.Context()); err != nil || state.first != 100 || state.last != 100 {
		t.Errorf("state %+v, %v, want the last", state, err)
	}
	l.Close()
	l = openAt(t, &Options{Dir: l.opts.Dir})
	defer l.Close()
	if id := appendText1(t, l, "a", "next"); id.Seq != last.Seq+1 {
		t.Errorf("id %v after %v", id, last)
	}
}
