package topic_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// Events of an ephemeral topic go to those who are there, also when their sinks are
// busy. Who comes later goes on without them, and without a gap. The end of the topic
// comes to all.
func TestEphemeral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		first := publish(t, hub, "game/1", "before")
		slow, live, late := &recorder{}, &recorder{}, &recorder{}
		sub := busy(t, hub, slow, silent, "game/*")
		defer sub.Close()
		defer hub.Subscribe(live, signals, selection(t, hub.Now(), "game/1")).Close()
		want(t, live, `$ping@2{"interval":0}`)
		publish(t, hub, "game/1", "1", "2")
		want(t, live, "game/1=1", "game/1=2")
		release(slow, sub)
		want(t, slow, "game/1=1", "game/1=2")
		publish(t, hub, "game/1", "3")
		want(t, slow, "game/1=3")
		defer hub.Subscribe(late, signals, selection(t, after(t, hub, first.String()), "game/1")).Close()
		want(t, late, `$ping@1{"interval":0}`)
		slow.hold(true)
		publish(t, hub, "game/1", "4")
		end(t, hub, "game/1")
		want(t, late, "game/1=4", `$end@7{"topic":"game/1"}`)
		release(slow, sub)
		want(t, slow, "game/1=4", `$end@7{"topic":"game/1"}`)
	})
}

// Somebody without a form is given the entries themselves, as an ephemeral one
// cannot be read from the log.
func TestEphemeralWithoutForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, nil)
		var told []string
		sink := sinkFunc(func(b topic.Batch) bool {
			for _, e := range b.Entries {
				told = append(told, string(e.Data))
			}
			if len(b.Chunks) > 0 {
				t.Errorf("chunks %q", b.Chunks)
			}
			return true
		})
		defer hub.Subscribe(sink, topic.SubscribeOptions{}, selection(t, hub.Now(), "game/*", "a")).Close()
		synctest.Wait()
		publish(t, hub, "game/1", "1")
		publish(t, hub, "b", "no")
		publish(t, hub, "a", "2")
		synctest.Wait()
		if !slices.Equal(told, []string{"1", "2"}) {
			t.Errorf("told %q", told)
		}
	})
}

// What a busy sink is given later comes in the order of the log, with what the log
// keeps.
func TestEphemeralInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		for _, names := range [][]string{{"game/*", "a", "drop/a"}, {"**"}} {
			r := &recorder{}
			sub := busy(t, hub, r, silent, names...)
			publish(t, hub, "game/1", "1")
			publish(t, hub, "a", "2")
			publish(t, hub, "game/2", "3", "4")
			publish(t, hub, "a", "5")
			publish(t, hub, "game/1", "6")
			release(r, sub)
			want(t, r, "game/1=1", "a=2", "game/2=3", "game/2=4", "a=5", "game/1=6")

			r.hold(true)
			seventh := publish(t, hub, "game/1", "7")
			want(t, r, "game/1=7")
			dropped := publish(t, hub, "drop/a", "8")
			ninth := publish(t, hub, "game/1", "9")
			release(r, sub)
			want(t, r, fmt.Sprintf(`$gap@%d{"after":"%v","oldest":"%v","topic":"%s"}`, dropped.Seq, seventh, ninth, names[0]), "game/1=9")
			sub.Close()
		}
	})
}

// Of what a busy sink has no time for, the newest 256 and 64 KiB come, of what
// the tail has.
func TestEphemeralIsBounded(t *testing.T) {
	numbers := func(from, to int) (data []string) {
		for n := from; n <= to; n++ {
			data = append(data, fmt.Sprint(n))
		}
		return data
	}
	large := func(n int) (data []string) {
		for i := range n {
			data = append(data, fmt.Sprint(i, strings.Repeat("x", 1<<10-1)))
		}
		return data
	}
	for name, test := range map[string]struct {
		data   []string
		others int // events that follow
		given  int
	}{
		"few":                   {numbers(1, 256), 0, 256},
		"many":                  {numbers(1, 300), 0, 256},
		"64 KiB":                {large(64), 0, 63}, // each has a number, too
		"one above":             {[]string{"1", strings.Repeat("x", 65<<10)}, 0, 1},
		"still in the tail":     {numbers(1, 10), 4096 - 10, 10},
		"half left the tail":    {numbers(1, 10), 4096 - 5, 5},
		"no longer in the tail": {numbers(1, 10), 4096, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := slowHub(t, &topic.HubOptions{Ping: -1})
				r := &recorder{}
				sub := busy(t, hub, r, silent, "game/*")
				defer sub.Close()
				publish(t, hub, "game/1", test.data...)
				for range test.others {
					publish(t, hub, "elsewhere", "x")
				}
				release(r, sub)
				var lines []string
				for _, d := range test.data[len(test.data)-test.given:] {
					lines = append(lines, "game/1="+d)
				}
				want(t, r, lines...)
				publish(t, hub, "game/1", "then")
				want(t, r, "game/1=then")
			})
		})
	}
}

// A subscription is given what comes once its Start was made, and nothing older:
// neither with its replay, nor because others of its subscriber are given it.
func TestEphemeralBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		first := publish(t, hub, "a", "1")
		publish(t, hub, "game/1", "past")
		publish(t, hub, "a", "2")
		starts := map[string]topic.Start{
			"now": hub.Now(), "after": after(t, hub, first.String()), "earliest": earliest(t, hub, "a"), "unknown": after(t, hub, "junk"),
		}
		publish(t, hub, "game/1", "3")
		publish(t, hub, "a", "4")
		for name, lines := range map[string][]string{
			"now":      {"game/1=3", "a=4"},
			"after":    {"a=2", "game/1=3", "a=4"},
			"earliest": {"a=1", "a=2", "game/1=3", "a=4"},
			"unknown":  {`$gap@0{"after":"junk","oldest":"` + first.String() + `"}`, "a=1", "a=2", "game/1=3", "a=4"},
		} {
			r := &recorder{}
			sub := hub.Subscribe(r, silent, selection(t, starts[name], "game/1", "a"))
			want(t, r, lines...)
			sub.Close()
		}

		r := &recorder{}
		sub := busy(t, hub, r, silent, "a")
		defer sub.Close()
		publish(t, hub, "game/1", "5")
		publish(t, hub, "game/2", "6")
		sub.Subscribe(topic.Selection{Name: "later", Patterns: []topic.Pattern{pattern(t, "game/1")}, Start: hub.Now()})
		publish(t, hub, "game/1", "7")
		publish(t, hub, "game/2", "8")
		release(r, sub)
		want(t, r, "game/1=7")
	})
}

// What was unsubscribed meanwhile does not come.
func TestEphemeralUnsubscribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		r := &recorder{}
		sub := busy(t, hub, r, silent, "a")
		defer sub.Close()
		sub.Subscribe(topic.Selection{Name: "1", Patterns: []topic.Pattern{pattern(t, "game/1")}, Start: hub.Now()})
		sub.Subscribe(topic.Selection{Name: "2", Patterns: []topic.Pattern{pattern(t, "game/2")}, Start: hub.Now()})
		publish(t, hub, "game/1", "x")
		publish(t, hub, "game/2", "y")
		go sub.Unsubscribe("1")
		release(r, sub)
		want(t, r, "game/2=y")
	})
}

// Somebody without a form who was too late to be live is given what the log has
// not, too; with what it has, if that is all.
func TestEphemeralWithoutFormFromTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, nil)
		defer hub.Subscribe(&recorder{}, silent, selection(t, hub.Now(), "a")).Close()
		for _, tt := range []struct {
			events []string // of game/1, or of a
			told   []string // none: there is something to read
		}{
			{[]string{"game/1"}, []string{"0"}},
			{[]string{"game/1", "a"}, []string{"0", "1"}},
			{[]string{"a", "game/1", "b", "game/1", "a"}, []string{"0", "1", "3", "4"}},
			{[]string{"a", "b"}, nil},
			{append(slices.Repeat([]string{"a"}, topic.CatchUpEvents+1), "game/1"), nil},
		} {
			now := hub.Now()
			for i, name := range tt.events {
				publish(t, hub, name, fmt.Sprint(i))
			}
			synctest.Wait()
			var batches int
			var told []string
			sub := hub.Subscribe(sinkFunc(func(b topic.Batch) bool {
				batches++
				for _, e := range b.Entries {
					told = append(told, string(e.Data))
				}
				return false
			}), topic.SubscribeOptions{}, selection(t, now, "game/*", "a"))
			synctest.Wait()
			sub.Close()
			if batches != 1 || !slices.Equal(told, tt.told) {
				t.Errorf("%q: %d batches, told %q", tt.events[:min(len(tt.events), 5)], batches, told)
			}
		}
	})
}

// lateWatcher is a log whose watcher hears of what was appended when it is let.
type lateWatcher struct {
	*memlog.Log
	mu   sync.Mutex
	f    func([]*topic.Entry)
	held bool
	kept []*topic.Entry
}

func (l *lateWatcher) Watch(f func([]*topic.Entry)) topic.ID {
	l.f = f
	return l.Log.Watch(func(entries []*topic.Entry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held {
			l.kept = append(l.kept, entries...)
		} else {
			f(entries)
		}
	})
}

func (l *lateWatcher) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held = held; len(l.kept) > 0 {
		l.f(l.kept)
		l.kept = nil
	}
}

// A read of the log goes no further than the tail: what is in no log would be
// skipped.
func TestEphemeralBehindTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lateWatcher{Log: memlog.Open(&memlog.Options{Rules: rules(t, topic.Rule{Pattern: pattern(t, "game/*"), RetainEvents: new(0)})})}
		defer log.Close()
		hub := topic.NewHub(log, &topic.HubOptions{Ping: -1})
		defer hub.Close()
		r := &recorder{}
		sub := busy(t, hub, r, silent, "game/*", "a")
		defer sub.Close()
		publish(t, hub, "a", "1")
		synctest.Wait()
		log.hold(true)
		publish(t, hub, "a", "2")
		publish(t, hub, "game/1", "3")
		publish(t, hub, "a", "4")
		lines := []string{"a=2", "game/1=3", "a=4"}
		for range 2 * topic.CatchUpEvents { // more than one page
			publish(t, hub, "a", "x")
			lines = append(lines, "a=x")
		}
		release(r, sub)
		want(t, r, "a=1")
		log.hold(false)
		want(t, r, lines...)
	})
}
