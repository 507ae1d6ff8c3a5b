package topic_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// script is a form that people can read.
type script struct{}

func (script) AppendEvent(dst []byte, e *topic.Event) []byte {
	return fmt.Appendf(dst, "%s=%s", e.Topic, e.Data)
}

func (script) AppendSignal(dst []byte, s topic.Signal) []byte {
	at := "-"
	if s.Cursor.Epoch != 0 {
		at = fmt.Sprint(s.Cursor.Seq)
	}
	return fmt.Appendf(dst, "%s@%s%s", s.Type, at, s.Data)
}

// recorder is a sink that writes down what it is given.
type recorder struct {
	mu     sync.Mutex
	lines  []string
	end    error
	held   bool // Send returns false until release
	onSend func() bool
}

func (r *recorder) Send(b topic.Batch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range b.Chunks {
		r.lines = append(r.lines, string(c))
	}
	if b.End != nil {
		r.end = b.End
	}
	if r.onSend != nil {
		return r.onSend()
	}
	return !r.held
}

func (r *recorder) hold(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func openHub(t *testing.T, logOpts *memlog.Options, opts *topic.HubOptions) *topic.Hub {
	t.Helper()
	log := memlog.Open(logOpts)
	hub := topic.NewHub(log, opts)
	t.Cleanup(func() {
		hub.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return hub
}

func publish(t testing.TB, hub *topic.Hub, name string, data ...string) topic.ID {
	t.Helper()
	var last topic.ID
	for _, d := range data {
		draft, err := topic.NewDraft("", "text/plain", []byte(d))
		if err != nil {
			t.Fatal(err)
		}
		if last, err = hub.Publish(t.Context(), name, []topic.Draft{draft}, topic.Key{}); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func end(t *testing.T, hub *topic.Hub, name string) topic.ID {
	t.Helper()
	id, err := hub.Publish(t.Context(), name, []topic.Draft{topic.EndDraft()}, topic.Key{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func selection(t *testing.T, start topic.Start, names ...string) topic.Selection {
	t.Helper()
	sel := topic.Selection{Name: names[0], Start: start}
	for _, name := range names {
		p, err := topic.ParsePattern(name)
		if err != nil {
			t.Fatal(err)
		}
		sel.Patterns = append(sel.Patterns, p)
	}
	return sel
}

// after is the start that goes on after a text.
func after(t *testing.T, hub *topic.Hub, text string) topic.Start {
	t.Helper()
	start, err := hub.After(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func earliest(t *testing.T, hub *topic.Hub, names ...string) topic.Start {
	t.Helper()
	start, err := hub.Earliest(t.Context(), selection(t, topic.Start{}, names...).Patterns)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func want(t *testing.T, r *recorder, lines ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.take(); !slices.Equal(got, lines) {
		t.Errorf("got  %q\nwant %q", got, lines)
	}
}

var signals = topic.SubscribeOptions{Form: script{}, Signals: true}

// "The first thing sent is a signal": $ping, then every interval, exactly.
func TestPingFirstAndAtExactTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "a"))
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		publish(t, hub, "a", "1")
		publish(t, hub, "b", "2")
		want(t, r, "a=1")
		time.Sleep(25*time.Second - time.Nanosecond)
		want(t, r)
		time.Sleep(time.Nanosecond)
		want(t, r, `$ping@2{"interval":25}`) // 2 could not match
		time.Sleep(50 * time.Second)
		want(t, r, `$ping@2{"interval":25}`, `$ping@2{"interval":25}`)
	})
}

// A ping that is due while the sink is busy comes as soon as it is not.
func TestPingWaitsForTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "a"))
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		r.hold(true)
		publish(t, hub, "a", "1")
		want(t, r, "a=1")
		time.Sleep(time.Minute)
		want(t, r)
		r.hold(false)
		sub.Writable()
		want(t, r, `$ping@1{"interval":25}`)
	})
}

// Replay and live are one road: what was published before and after the
// subscription comes in order.
func TestReplayThenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		publish(t, hub, "a", "1")
		id := publish(t, hub, "b", "x")
		publish(t, hub, "a", "2", "3")
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, after(t, hub, id.String()), "a"))
		defer sub.Close()
		want(t, r, `$ping@2{"interval":25}`, "a=2", "a=3")
		publish(t, hub, "a", "4")
		want(t, r, "a=4")
	})
}

// One cursor resumes two topics and a pattern.
func TestSeveralTopicsResumeByOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		first := publish(t, hub, "a", "1")
		publish(t, hub, "p/x", "2")
		publish(t, hub, "other", "no")
		publish(t, hub, "b", "3")
		publish(t, hub, "p/y/z", "no")
		publish(t, hub, "p/y", "4")
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, after(t, hub, first.String()), "a", "b", "p/*"))
		defer sub.Close()
		want(t, r, `$ping@1{"interval":25}`, "p/x=2", "b=3", "p/y=4")
	})
}

// "An id that is evicted, unknown or of another epoch gives $gap before any
// event", and what is left follows.
func TestGapBeforeAnyEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, nil)
		first := publish(t, hub, "a", "1")
		publish(t, hub, "a", "2", "3", "4")
		epoch, _, _ := strings.Cut(first.String(), "-")
		for _, asked := range []string{first.String(), "junk", "zz-3", epoch + "-99"} {
			r := &recorder{}
			sub := hub.Subscribe(r, signals, selection(t, after(t, hub, asked), "a"))
			want(t, r, fmt.Sprintf(`$gap@2{"after":%q,"oldest":"%s-3"}`, asked, epoch), "a=3", "a=4")
			sub.Close()
		}
		for _, asked := range []string{epoch + "-2", epoch + "-3"} {
			r := &recorder{}
			sub := hub.Subscribe(r, signals, selection(t, after(t, hub, asked), "a"))
			synctest.Wait()
			if got := r.take(); !strings.HasPrefix(got[0], "$ping") {
				t.Errorf("after %s: false gap: %q", asked, got)
			}
			sub.Close()
		}
	})
}

func TestQuietTopicBesideBusyOnesHasNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, nil)
		id := publish(t, hub, "quiet", "1")
		for i := range 100 {
			publish(t, hub, "busy", fmt.Sprint(i))
		}
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, after(t, hub, id.String()), "quiet"))
		defer sub.Close()
		want(t, r, `$ping@1{"interval":25}`)
	})
}

// A subscriber whose peer stops reading lags as a cursor, and is told when
// retention has overtaken it. Others do not notice.
func TestStalledSubscriberLagsAndIsToldOfTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 3}, &topic.HubOptions{Ping: -1})
		stalled, other := &recorder{held: true}, &recorder{}
		a := hub.Subscribe(stalled, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		defer a.Close()
		b := hub.Subscribe(other, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		defer b.Close()
		publish(t, hub, "a", "1")
		want(t, stalled, "a=1")
		publish(t, hub, "a", "2", "3")
		want(t, other, "a=1", "a=2", "a=3")
		a.Writable()
		want(t, stalled, "a=2", "a=3") // in one batch
		publish(t, hub, "a", "4", "5", "6", "7", "8")
		synctest.Wait() // the shard has passed them by
		stalled.hold(false)
		a.Writable()
		synctest.Wait()
		got := stalled.take()
		if len(got) != 4 || !strings.HasPrefix(got[0], `$gap@5{"after":`) || !slices.Equal(got[1:], []string{"a=6", "a=7", "a=8"}) {
			t.Errorf("got %q", got)
		}
		publish(t, hub, "a", "9")
		want(t, stalled, "a=9")
	})
}

func TestEndAtGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		id := publish(t, hub, "a", "1")
		r := &recorder{}
		sub := hub.Subscribe(r, topic.SubscribeOptions{Form: script{}, Signals: true, EndAtGap: true}, selection(t, after(t, hub, "junk"), "a"))
		defer sub.Close()
		synctest.Wait()
		gap, ok := errors.AsType[*topic.GapError](r.end)
		if !ok || gap.Oldest != id || len(r.lines) > 0 {
			t.Errorf("end %v, lines %q", r.end, r.lines)
		}
		publish(t, hub, "a", "2")
		want(t, r)
	})
}

// "A topic that was ended says $end to everybody, now and later."
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		opts := signals
		opts.EndWithTopic = true
		before := publish(t, hub, "a", "1")
		now, several := &recorder{}, &recorder{}
		s1 := hub.Subscribe(now, opts, selection(t, hub.Now(), "a"))
		defer s1.Close()
		s2 := hub.Subscribe(several, signals, selection(t, hub.Now(), "a", "b"))
		defer s2.Close()
		synctest.Wait()
		now.take()
		several.take()
		publish(t, hub, "a", "2")
		end(t, hub, "a")
		want(t, now, "a=2", `$end@3{"topic":"a"}`)
		if !errors.Is(now.end, topic.ErrEnded) {
			t.Errorf("end: %v", now.end)
		}
		publish(t, hub, "b", "3")
		want(t, several, "a=2", `$end@3{"topic":"a"}`, "b=3")
		if several.end != nil {
			t.Errorf("a subscription to several topics was ended: %v", several.end)
		}

		later := &recorder{}
		s3 := hub.Subscribe(later, opts, selection(t, after(t, hub, before.String()), "a"))
		defer s3.Close()
		want(t, later, `$ping@1{"interval":25}`, "a=2", `$end@3{"topic":"a"}`)
		after := &recorder{}
		s4 := hub.Subscribe(after, opts, selection(t, hub.Now(), "a"))
		defer s4.Close()
		want(t, after, `$ping@4{"interval":25}`, `$end@3{"topic":"a"}`)
		if !errors.Is(after.end, topic.ErrEnded) {
			t.Errorf("end: %v", after.end)
		}
		if _, err := hub.Publish(t.Context(), "a", []topic.Draft{{}}, topic.Key{}); !errors.Is(err, topic.ErrEnded) {
			t.Errorf("publish to an ended topic: %v", err)
		}
	})
}

// "An event that matches several subscriptions of a connection is sent once."
func TestOverlappingSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		opts := signals
		opts.Named = true
		r := &recorder{}
		sub := hub.Subscribe(r, opts)
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		sub.Subscribe(selection(t, hub.Now(), "a/*"))
		sub.Subscribe(selection(t, hub.Now(), "a/b"))
		sub.Subscribe(selection(t, hub.Now(), "**"))
		publish(t, hub, "a/b", "1")
		publish(t, hub, "a/c", "2")
		want(t, r, "a/b=1", "a/c=2")

		// A rewound subscription comes in order, and the others wait for it.
		sub.Subscribe(selection(t, earliest(t, hub, "a/b"), "a/b"))
		publish(t, hub, "a/b", "3")
		want(t, r, "a/b=1", "a/b=3")

		sub.Unsubscribe("**")
		publish(t, hub, "x", "4")
		publish(t, hub, "a/b", "5")
		want(t, r, "a/b=5")
		sub.Unsubscribe("a/*")
		sub.Unsubscribe("a/b")
		publish(t, hub, "a/b", "6")
		want(t, r)
		if n := hub.Subscribers("a/b"); n != 0 {
			t.Errorf("%d subscriptions are counted", n)
		}
	})
}

func TestNamedGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		opts := signals
		opts.Named = true
		id := publish(t, hub, "a", "1")
		r := &recorder{}
		sub := hub.Subscribe(r, opts, selection(t, hub.Now(), "b"))
		defer sub.Close()
		sub.Subscribe(selection(t, after(t, hub, "junk"), "a"))
		want(t, r, `$ping@1{"interval":25}`, fmt.Sprintf(`$gap@0{"after":"junk","oldest":%q,"topic":"a"}`, id), "a=1")
	})
}

// A batch larger than the tail makes the shards go on from the log.
func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, &topic.HubOptions{Ping: -1})
		r := &recorder{}
		sub := hub.Subscribe(r, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		defer sub.Close()
		drafts := make([]topic.Draft, 10_000)
		for i := range drafts {
			drafts[i] = topic.Draft{Data: fmt.Append(nil, i)}
		}
		if _, err := hub.Publish(t.Context(), "a", drafts, topic.Key{}); err != nil {
			t.Fatal(err)
		}
		publish(t, hub, "a", "last")
		synctest.Wait()
		got := r.take()
		if len(got) != len(drafts)+1 || got[0] != "a=0" || got[9_999] != "a=9999" || got[10_000] != "a=last" {
			t.Errorf("%d lines", len(got))
		}
	})
}

// Without a form, the sink is only told.
func TestWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		told := 0
		r := &recorder{}
		r.onSend = func() bool { told++; return false }
		start := hub.Now()
		publish(t, hub, "b", "1")
		sub := hub.Subscribe(r, topic.SubscribeOptions{}, selection(t, start, "a"))
		defer sub.Close()
		synctest.Wait()
		if told != 0 {
			t.Error("told of another topic")
		}
		publish(t, hub, "a", "1", "2")
		synctest.Wait()
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// Unsubscribe returns when no batch with events of the subscription is on its
// way.
func TestUnsubscribeWaitsForTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, &topic.HubOptions{Ping: -1})
		r := &recorder{held: true}
		sub := hub.Subscribe(r, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		defer sub.Close()
		publish(t, hub, "a", "1")
		want(t, r, "a=1")
		done := make(chan struct{})
		go func() {
			sub.Unsubscribe("a")
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("returned while the sink was writing")
		default:
		}
		sub.Writable()
		<-done
	})
}

// asyncSink writes on a goroutine of its own, with pauses.
type asyncSink struct {
	recorder
	filled chan struct{}
}

// 1,000 rounds of subscribing with an old id while others publish at full
// speed: the sequence is exact, whatever the sink does.
func TestSubscribeUnderLoad(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	hub := openHub(t, nil, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publisher sync.WaitGroup
	defer publisher.Wait()
	defer stop()
	publish(t, hub, "a", "0")
	publisher.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 1; ctx.Err() == nil; i++ {
			publish(t, hub, "a", fmt.Sprint(i))
			publish(t, hub, "noise", "x")
			if i%10 == 0 { // 10,000 a second
				<-tick.C
			}
		}
	})
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		ends := hub.Log().End()
		back := min(rng.Uint64N(200), ends.Seq)
		start := topic.ID{Epoch: ends.Epoch, Seq: ends.Seq - back}
		s := &asyncSink{filled: make(chan struct{}, 1)}
		async := rng.IntN(2) == 0
		s.onSend = func() bool {
			select {
			case s.filled <- struct{}{}:
			default:
			}
			return !async
		}
		sub := hub.Subscribe(s, signals, selection(t, after(t, hub, start.String()), "a"))
		var got []string
		for len(got) < 20 {
			<-s.filled
			got = append(got, s.take()...)
			if async {
				sub.Writable()
			}
		}
		sub.Close()
		if !strings.HasPrefix(got[0], "$ping") {
			t.Fatalf("first: %q", got[0])
		}
		page, err := hub.Log().Read(ctx, []topic.Interest{{Patterns: selection(t, topic.Start{}, "a").Patterns, After: topic.Cursor{ID: start}}},
			topic.Limit{Events: len(got), Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range got[1:] {
			if i >= len(page.Entries) {
				break
			}
			if wanted := "a=" + string(page.Entries[i].Data); line != wanted {
				t.Fatalf("event %d is %q, want %q", i, line, wanted)
			}
		}
	}
}

// An opening comes before what the selection adds, and after what came before
// it: a rewind cannot overtake it.
func TestOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "a"))
		defer sub.Close()
		publish(t, hub, "a", "1")
		publish(t, hub, "b", "2")
		want(t, r, `$ping@0{"interval":25}`, "a=1")
		r.hold(true)
		publish(t, hub, "a", "3")
		want(t, r, "a=3")
		rewound := selection(t, earliest(t, hub, "b"), "b")
		rewound.Opening = []byte("b is open")
		sub.Subscribe(rewound)
		publish(t, hub, "a", "4")
		want(t, r)
		r.hold(false)
		sub.Writable()
		want(t, r, "b is open", "b=2", "a=4")
		live := selection(t, hub.Now(), "c")
		live.Opening = []byte("c is open")
		sub.Subscribe(live)
		publish(t, hub, "c", "5")
		want(t, r, "c is open", "c=5")
		// It is sent also if its subscription is removed, or replaced, before.
		r.hold(true)
		publish(t, hub, "a", "6")
		want(t, r, "a=6")
		short := selection(t, hub.Now(), "d")
		short.Opening = []byte("d is open")
		sub.Subscribe(short)
		again := selection(t, hub.Now(), "c")
		again.Opening = []byte("c is open again")
		sub.Subscribe(again)
		again.Opening = []byte("and again")
		sub.Subscribe(again)
		removed := make(chan struct{})
		go func() { sub.Unsubscribe("d"); close(removed) }()
		synctest.Wait()
		publish(t, hub, "d", "7")
		r.hold(false)
		sub.Writable()
		<-removed
		want(t, r, "c is open again", "d is open", "and again")
		// Who is told that it is removed was told of it before.
		r.hold(true)
		publish(t, hub, "a", "8")
		want(t, r, "a=8")
		short.Opening = []byte("d is open again")
		sub.Subscribe(short)
		removed = make(chan struct{})
		go func() { sub.Unsubscribe("d"); close(removed) }()
		synctest.Wait()
		r.mu.Lock()
		r.onSend = func() bool { time.Sleep(time.Second); return true }
		r.mu.Unlock()
		began := time.Now()
		sub.Writable()
		<-removed
		if took := time.Since(began); took != time.Second {
			t.Errorf("removed after %v, while it was told of", took)
		}
		want(t, r, "d is open again")
	})
}
