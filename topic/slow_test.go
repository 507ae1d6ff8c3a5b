package topic_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

var silent = topic.SubscribeOptions{Form: script{}}

// slowHub has topics of every policy: the name says which.
func slowHub(t *testing.T, opts *topic.HubOptions) *topic.Hub {
	t.Helper()
	return openHub(t, &memlog.Options{RetainEvents: 1000, Rules: rules(t,
		topic.Rule{Pattern: pattern(t, "game/*"), RetainEvents: new(0)},
		topic.Rule{Pattern: pattern(t, "last/*"), RetainEvents: new(1)},
		topic.Rule{Pattern: pattern(t, "conflate/*"), Slow: topic.SlowConflate},
		topic.Rule{Pattern: pattern(t, "types/*"), Slow: topic.SlowConflateTypes},
		topic.Rule{Pattern: pattern(t, "drop/*"), Slow: topic.SlowDrop},
	)}, opts)
}

// subscribe makes a subscriber from now on, whose sink is busy with one event.
func busy(t *testing.T, hub *topic.Hub, r *recorder, opts topic.SubscribeOptions, names ...string) *topic.Subscriber {
	t.Helper()
	opts.Named = true
	sub := hub.Subscribe(r, opts, selection(t, hub.Now(), append(names, "busy")...))
	synctest.Wait()
	r.take()
	r.hold(true)
	publish(t, hub, "busy", "0")
	want(t, r, "busy=0")
	return sub
}

// release makes the sink writable again, for ever.
func release(r *recorder, sub *topic.Subscriber) {
	synctest.Wait() // the shard has passed by what came
	r.hold(false)
	sub.Writable()
}

// at replaces the sequence numbers of a line by ids.
func at(hub *topic.Hub, format string, seqs ...uint64) string {
	ids := make([]any, len(seqs))
	for i, seq := range seqs {
		ids[i] = topic.ID{Epoch: hub.Log().End().Epoch, Seq: seq}
	}
	return fmt.Sprintf(format, ids...)
}

type sinkFunc func(topic.Batch) bool

func (f sinkFunc) Send(b topic.Batch) bool { return f(b) }

// Of a last-value topic, who comes or lags gets the last value, and no gap.
func TestLastValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		first := publish(t, hub, "last/a", "1")
		publish(t, hub, "last/a", "2", "3")
		for _, start := range []topic.Start{earliest(t, hub, "last/a"), after(t, hub, first.String())} {
			r := &recorder{}
			sub := hub.Subscribe(r, silent, selection(t, start, "last/a"))
			want(t, r, "last/a=3")
			sub.Close()
		}
		r := &recorder{}
		sub := busy(t, hub, r, silent, "last/*")
		defer sub.Close()
		publish(t, hub, "last/a", "4", "5")
		publish(t, hub, "last/b", "6", "7")
		release(r, sub)
		want(t, r, "last/a=5", "last/b=7")
		publish(t, hub, "last/a", "8", "9")
		want(t, r, "last/a=8", "last/a=9")
	})
}

// Who lags on a topic that conflates is given only what is not superseded, by
// topic or by type, in the log's order and beside all of other topics; however
// far it lags, and also when it comes with a cursor.
func TestConflate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		r, replay := &recorder{}, &recorder{}
		sub := busy(t, hub, r, silent, "conflate/*", "types/*", "a")
		defer sub.Close()
		typed := func(typ, data string) {
			t.Helper()
			if _, err := hub.Publish(t.Context(), "types/x", []topic.Draft{{Type: typ, Data: []byte(data)}}, topic.Key{}); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, hub, "conflate/a", "old")
		publish(t, hub, "conflate/b", "b")
		typed("bid", "1")
		typed("ask", "2")
		typed("bid", "3")
		for i := range 600 { // more than two pages
			publish(t, hub, "conflate/a", fmt.Sprint(i))
			if i%100 == 0 {
				publish(t, hub, "a", fmt.Sprint(i))
			}
		}
		publish(t, hub, "conflate/c", "c")
		end(t, hub, "conflate/c")
		given := []string{
			"conflate/b=b", "types/x=2", "types/x=3", "a=0", "a=100", "a=200", "a=300", "a=400", "a=500",
			"conflate/a=599", "conflate/c=c", `$end@614{"topic":"conflate/c"}`,
		}
		release(r, sub)
		want(t, r, given...)
		defer hub.Subscribe(replay, silent, selection(t, earliest(t, hub, "**"), "conflate/*", "types/*", "a")).Close()
		want(t, replay, given...)
		publish(t, hub, "conflate/a", "x", "y")
		want(t, r, "conflate/a=x", "conflate/a=y")
		if n := hub.Stats().Conflated; n != 2*601 {
			t.Errorf("%d were conflated", n)
		}
	})
}

// The loss of what was superseded is no gap for who lags.
func TestConflatedIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2, Rules: rules(t, topic.Rule{Pattern: pattern(t, "a"), Slow: topic.SlowConflate})}, nil)
		r := &recorder{}
		sub := busy(t, hub, r, silent, "a")
		defer sub.Close()
		publish(t, hub, "a", "1", "2", "3", "4")
		release(r, sub)
		want(t, r, "a=4")
	})
}

// PROTOCOL.md §4.6: "oldest names the first event of the subscription that will
// come", not one that is superseded.
func TestGapBeforeConflated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		publish(t, hub, "conflate/a", "1", "2")
		publish(t, hub, "other", "x")
		newest := publish(t, hub, "conflate/a", "3")
		for _, names := range [][]string{{"conflate/a"}, {"conflate/a", "nothing"}} {
			r := &recorder{}
			sub := hub.Subscribe(r, signals, selection(t, after(t, hub, "bad"), names...))
			want(t, r, fmt.Sprintf(`$gap@3{"after":"bad","oldest":"%v"}`, newest), "conflate/a=3")
			sub.Close()
		}
	})
}

// Who was live and is busy skips to the present, and is told of one gap.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		r := &recorder{}
		sub := busy(t, hub, r, silent, "drop/*")
		defer sub.Close()
		publish(t, hub, "drop/a", "1", "2", "3")
		publish(t, hub, "other", "x")
		publish(t, hub, "drop/b", "4")
		release(r, sub)
		want(t, r, at(hub, `$gap@6{"after":"%s","topic":"drop/*"}`, 1))
		publish(t, hub, "drop/a", "5")
		want(t, r, "drop/a=5")
		r.hold(true)
		publish(t, hub, "drop/a", "6")
		want(t, r, "drop/a=6")
		release(r, sub)
		want(t, r) // nothing was dropped
		if s := hub.Stats(); s.Dropped != 4 || s.Gaps != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// What is not to be dropped is given from the log without the rest, after the
// one gap, which says up to where that may lack.
func TestDropBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		r := &recorder{}
		sub := busy(t, hub, r, silent, "drop/*", "a")
		defer sub.Close()
		publish(t, hub, "drop/a", "1")
		publish(t, hub, "a", "2")
		publish(t, hub, "drop/a", "3")
		publish(t, hub, "a", "4")
		end(t, hub, "drop/a")
		release(r, sub)
		want(t, r, at(hub, `$gap@2{"after":"%s","oldest":"%s","to":"%s","topic":"drop/*"}`, 1, 3, 4), "a=2", "a=4", `$end@6{"topic":"drop/a"}`)
		publish(t, hub, "drop/b", "7")
		want(t, r, "drop/b=7")
	})
}

// The gap waits for the page that says where it ends.
func TestDropMoreThanAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		r := &recorder{}
		sub := busy(t, hub, r, silent, "drop/*", "a")
		defer sub.Close()
		for range 700 {
			publish(t, hub, "drop/a", "")
		}
		publish(t, hub, "a", "x")
		publish(t, hub, "drop/a", "")
		release(r, sub)
		want(t, r, at(hub, `$gap@701{"after":"%s","oldest":"%s","to":"%s","topic":"drop/*"}`, 1, 702, 703), "a=x")
		publish(t, hub, "drop/a", "y")
		want(t, r, "drop/a=y")
	})
}

// The gap of one subscription comes before what another is given that lies
// behind: who resumes both from there knows of it. Until then no heartbeat
// says that all is told.
func TestDropIsToldBeforeOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, nil)
		r := &recorder{held: true}
		named := topic.SubscribeOptions{Form: script{}, Signals: true, Named: true}
		sub := hub.Subscribe(r, named, selection(t, hub.Now(), "drop/*"), selection(t, hub.Now(), "a"))
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		for range 300 {
			publish(t, hub, "drop/a", "")
		}
		publish(t, hub, "a", "x")
		for range 300 {
			publish(t, hub, "drop/a", "")
		}
		publish(t, hub, "a", "y")
		time.Sleep(topic.DefaultPing)
		release(r, sub)
		want(t, r,
			`$ping@0{"interval":25}`,
			at(hub, `$gap@512{"after":"%s","to":"%s","topic":"drop/*"}`, 0, 601), "a=x", "a=y")
	})
}

// "Nothing is dropped from a replay: from the cursor of a Start up to the
// present." Neither from that of a subscription that comes later, but the
// others go on.
func TestReplayIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1})
		publish(t, hub, "drop/a", "1", "2")
		r := &recorder{held: true}
		sub := hub.Subscribe(r, topic.SubscribeOptions{Form: script{}, Named: true}, selection(t, earliest(t, hub, "drop/a"), "drop/a"))
		defer sub.Close()
		want(t, r, "drop/a=1", "drop/a=2")
		publish(t, hub, "drop/a", "3", "4")
		synctest.Wait()
		sub.Writable()
		want(t, r, "drop/a=3", "drop/a=4")
		release(r, sub)
		want(t, r)
		r.hold(true)
		publish(t, hub, "drop/a", "5")
		want(t, r, "drop/a=5")
		publish(t, hub, "drop/a", "6")
		publish(t, hub, "drop/b", "7", "8")
		sub.Subscribe(selection(t, earliest(t, hub, "drop/b"), "drop/b"))
		release(r, sub)
		want(t, r, at(hub, `$gap@8{"after":"%s","topic":"drop/a"}`, 5), "drop/b=7", "drop/b=8")
	})
}

// Who cannot be told in band is ended by the gap.
func TestDropEndsAtGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, names := range [][]string{{"drop/*"}, {"drop/*", "a"}} {
			hub := slowHub(t, &topic.HubOptions{Ping: -1})
			r := &recorder{}
			sub := busy(t, hub, r, topic.SubscribeOptions{Form: script{}, EndAtGap: true}, names...)
			defer sub.Close()
			publish(t, hub, "drop/a", "1")
			oldest := publish(t, hub, "a", "2")
			release(r, sub)
			want(t, r)
			if len(names) == 1 {
				oldest = topic.ID{}
			}
			if gap, ok := errors.AsType[*topic.GapError](r.end); !ok || gap.Oldest != oldest {
				t.Errorf("%q: ended by %v", names, r.end)
			}
		}
	})
}

// The heartbeat that is due is not lost with what is dropped.
func TestDropAndPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, nil)
		r := &recorder{}
		sub := busy(t, hub, r, signals, "drop/a")
		defer sub.Close()
		publish(t, hub, "drop/a", "1")
		time.Sleep(topic.DefaultPing)
		release(r, sub)
		want(t, r, at(hub, `$gap@2{"after":"%s","topic":"drop/a"}`, 1), `$ping@2{"interval":25}`)
	})
}

// cutter is a sink that can be ended while it is busy.
type cutter struct {
	recorder
	cut error
}

func (c *cutter) Cut(end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = end
}

// reason is that of Cut, as soon as nothing goes on.
func (c *cutter) reason() error {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// A subscriber that lacks more data than allowed is ended; nothing else is
// given to it. A sink that cannot be cut is told when it has written.
func TestMaxLagBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1, MaxLagBytes: 10})
		plain, cut := &recorder{}, &cutter{}
		sub := busy(t, hub, plain, silent, "a", "*", "conflate/*", "last/*", "drop/*", "game/*")
		defer sub.Close()
		other := hub.Subscribe(cut, silent, selection(t, hub.Now(), "a"))
		defer other.Close()
		synctest.Wait()
		cut.hold(true)
		publish(t, hub, "a", "12345")
		synctest.Wait()
		for _, name := range []string{"conflate/x", "last/x", "drop/x", "game/x"} { // these do not count
			publish(t, hub, name, strings.Repeat("x", 100))
		}
		publish(t, hub, "a", "67890")
		want(t, &cut.recorder, "a=12345")
		publish(t, hub, "a", "12345") // not more than 10
		synctest.Wait()
		if n := hub.Stats().TooSlow; n != 1 {
			t.Errorf("%d were ended", n)
		}
		publish(t, hub, "a", "6")
		synctest.Wait()
		if !errors.Is(cut.reason(), topic.ErrTooSlow) || hub.Stats().TooSlow != 2 || hub.Stats().Lagging != 1 {
			t.Errorf("cut by %v; %+v", cut.reason(), hub.Stats())
		}
		release(plain, sub)
		want(t, plain)
		if !errors.Is(plain.end, topic.ErrTooSlow) {
			t.Errorf("ended by %v", plain.end)
		}
		other.Writable()
		publish(t, hub, "a", "x")
		want(t, &cut.recorder)
	})
}

// The oldest event that a subscriber lacks is never older than allowed.
func TestMaxLagTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = time.Minute
		hub := slowHub(t, &topic.HubOptions{Ping: -1, MaxLagTime: most})
		stalled, slow := &cutter{}, &cutter{}
		defer hub.Subscribe(stalled, silent, selection(t, hub.Now(), "a")).Close()
		sub := hub.Subscribe(slow, silent, selection(t, hub.Now(), "a"))
		defer sub.Close()
		synctest.Wait()
		stalled.hold(true)
		slow.hold(true)
		time.Sleep(most)
		publish(t, hub, "a", "1")
		time.Sleep(most) // both were given it
		publish(t, hub, "a", "2")
		time.Sleep(most / 2)
		publish(t, hub, "a", "3")
		synctest.Wait()
		sub.Writable()
		want(t, &slow.recorder, "a=1", "a=2", "a=3")
		time.Sleep(most/2 - time.Nanosecond)
		synctest.Wait()
		if stalled.reason() != nil {
			t.Errorf("cut too early: %v", stalled.reason())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(stalled.reason(), topic.ErrTooSlow) || slow.reason() != nil {
			t.Errorf("stalled cut by %v, slow by %v", stalled.reason(), slow.reason())
		}
		publish(t, hub, "a", "4") // what it lacks now is new
		time.Sleep(most - time.Nanosecond)
		synctest.Wait()
		if slow.reason() != nil {
			t.Error("cut too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(slow.reason(), topic.ErrTooSlow) {
			t.Errorf("slow cut by %v", slow.reason())
		}
		if s := hub.Stats(); s.TooSlow != 2 || s.Lagging != 0 || s.Subscribers != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Who reads in parts is as late as the last of what it was given.
func TestLagInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = time.Minute
		hub := slowHub(t, &topic.HubOptions{Ping: -1, MaxLagTime: most, MaxLagBytes: 500})
		slow := &cutter{}
		sub := hub.Subscribe(slow, silent, selection(t, hub.Now(), "a"))
		defer sub.Close()
		synctest.Wait()
		slow.hold(true)
		publish(t, hub, "a", "x")
		synctest.Wait()
		page := func() {
			for range 256 {
				publish(t, hub, "a", "x")
			}
		}
		page()
		time.Sleep(most / 2)
		page() // 512 bytes: too many if it had not been given some
		synctest.Wait()
		if slow.cut == nil {
			t.Error("was not cut")
		}

		slow = &cutter{}
		sub = hub.Subscribe(slow, silent, selection(t, hub.Now(), "a"))
		defer sub.Close()
		synctest.Wait()
		slow.hold(true)
		publish(t, hub, "a", "x")
		synctest.Wait()
		page()
		synctest.Wait()
		time.Sleep(most / 2)
		for range 200 {
			publish(t, hub, "a", "x")
		}
		synctest.Wait()
		sub.Writable() // for the first page
		synctest.Wait()
		page()
		time.Sleep(most/2 - time.Nanosecond)
		synctest.Wait()
		if slow.reason() != nil {
			t.Errorf("cut by %v", slow.reason())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if slow.cut == nil {
			t.Error("was not cut")
		}
	})
}

// "A replay from the cursor of a Start up to the present may take as long as it
// likes."
func TestReplayIsNotTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := slowHub(t, &topic.HubOptions{Ping: -1, MaxLagTime: time.Minute, MaxLagBytes: 10})
		publish(t, hub, "a", strings.Repeat("x", 100))
		time.Sleep(time.Hour)
		r := &cutter{recorder: recorder{held: true}}
		sub := hub.Subscribe(r, silent, selection(t, earliest(t, hub, "a"), "a"))
		defer sub.Close()
		synctest.Wait()
		publish(t, hub, "a", strings.Repeat("y", 100))
		time.Sleep(time.Hour)
		release(&r.recorder, sub)
		synctest.Wait()
		if r.reason() != nil || r.end != nil || len(r.take()) != 2 {
			t.Errorf("cut by %v, ended by %v", r.reason(), r.end)
		}
		r.hold(true)
		publish(t, hub, "a", "1")
		synctest.Wait()
		publish(t, hub, "a", "12345678901")
		synctest.Wait()
		if r.cut == nil {
			t.Error("is not bounded when it has come to the present")
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, &topic.HubOptions{Shards: 2, Ping: -1})
		var sinks [4]recorder
		for i := range sinks {
			defer hub.Subscribe(&sinks[i], silent, selection(t, hub.Now(), "a")).Close()
		}
		synctest.Wait()
		sinks[0].hold(true)
		publish(t, hub, "a", "1")
		synctest.Wait()
		publish(t, hub, "b", "2", "3")
		end(t, hub, "a")
		synctest.Wait()
		const bytes = 4*len("a=1") + 3*len(`$end@4{"topic":"a"}`)
		if got, want := hub.Stats(), (topic.Stats{Published: 4, Delivered: 4, Batches: 7, Bytes: uint64(bytes), Subscribers: 4, Lagging: 1}); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}
