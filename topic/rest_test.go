package topic_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

const frame = 16 * time.Millisecond

func restHub(t *testing.T) *topic.Hub {
	t.Helper()
	return openHub(t, &memlog.Options{Rules: rules(t,
		topic.Rule{Pattern: pattern(t, "game/*"), RetainEvents: new(0), Batch: frame},
		topic.Rule{Pattern: pattern(t, "quote/*"), Slow: topic.SlowConflate, Batch: 3 * frame},
		topic.Rule{Pattern: pattern(t, "drop/*"), Slow: topic.SlowDrop, Batch: frame},
		topic.Rule{Pattern: pattern(t, "slow"), Batch: topic.MaxBatch},
		topic.Rule{Pattern: pattern(t, "end"), Batch: frame},
	)}, nil)
}

// say publishes events one by one: those of one turn would be one batch.
func say(t *testing.T, hub *topic.Hub, name string, data ...string) (id topic.ID) {
	t.Helper()
	for _, d := range data {
		id = publish(t, hub, name, d)
		synctest.Wait()
	}
	return id
}

// batches is a sink that writes down each call.
type batches struct {
	recorder
	calls []string
}

func (b *batches) Send(batch topic.Batch) bool {
	b.mu.Lock()
	b.calls = append(b.calls, fmt.Sprintf("%s", batch.Chunks))
	b.mu.Unlock()
	return b.recorder.Send(batch)
}

func wantBatches(t *testing.T, b *batches, want ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if fmt.Sprintf("%q", b.calls) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", b.calls, want)
	}
	b.calls = nil
}

// The first event comes at once. What comes in the interval, of whatever topic,
// comes in one batch at its end, which begins another interval if it holds an
// event of such a topic.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		b := &batches{}
		defer hub.Subscribe(b, silent, selection(t, hub.Now(), "game/*", "a")).Close()
		synctest.Wait()
		say(t, hub, "a", "1", "2")
		wantBatches(t, b, "[a=1]", "[a=2]")
		say(t, hub, "game/1", "3")
		wantBatches(t, b, "[game/1=3]")
		time.Sleep(time.Millisecond)
		say(t, hub, "a", "4")
		say(t, hub, "game/2", "5")
		say(t, hub, "b", "no")
		time.Sleep(frame - time.Millisecond - time.Nanosecond)
		say(t, hub, "a", "6")
		wantBatches(t, b)
		time.Sleep(time.Nanosecond)
		wantBatches(t, b, "[a=4 game/2=5 a=6]")
		say(t, hub, "a", "7")
		time.Sleep(frame - time.Nanosecond)
		wantBatches(t, b)
		time.Sleep(time.Nanosecond)
		wantBatches(t, b, "[a=7]")
		say(t, hub, "a", "8")
		wantBatches(t, b, "[a=8]") // no interval
		say(t, hub, "game/1", "9")
		wantBatches(t, b, "[game/1=9]")
		time.Sleep(frame)
		wantBatches(t, b)
		say(t, hub, "game/1", "10")
		wantBatches(t, b, "[game/1=10]")
	})
}

// Each subscriber has its interval, the longest of those that a batch asks for.
func TestBatchOfSeveralIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		both, game := &batches{}, &batches{}
		defer hub.Subscribe(both, silent, selection(t, hub.Now(), "game/1", "quote/1")).Close()
		defer hub.Subscribe(game, silent, selection(t, hub.Now(), "game/1")).Close()
		synctest.Wait()
		say(t, hub, "quote/1", "1")
		time.Sleep(frame)
		say(t, hub, "game/1", "2")
		wantBatches(t, both, "[quote/1=1]")
		wantBatches(t, game, "[game/1=2]")
		say(t, hub, "game/1", "3")
		time.Sleep(frame)
		wantBatches(t, both)
		wantBatches(t, game, "[game/1=3]")
		time.Sleep(frame)
		wantBatches(t, both, "[game/1=2 game/1=3]")
		say(t, hub, "game/1", "4")
		wantBatches(t, game, "[game/1=4]")
		time.Sleep(frame)
		wantBatches(t, both, "[game/1=4]")
	})
}

// "Who lags, or waits for a Batch, is given only what is not superseded."
func TestBatchConflates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		b := &batches{}
		defer hub.Subscribe(b, silent, selection(t, hub.Now(), "quote/*", "a")).Close()
		synctest.Wait()
		say(t, hub, "quote/x", "1", "2", "3")
		say(t, hub, "a", "4", "5")
		say(t, hub, "quote/y", "6", "7")
		say(t, hub, "quote/x", "8")
		wantBatches(t, b, "[quote/x=1]")
		time.Sleep(3 * frame)
		wantBatches(t, b, "[a=4 a=5 quote/y=7 quote/x=8]")
		if n := hub.Stats().Conflated; n != 3 {
			t.Errorf("%d were conflated", n)
		}
	})
}

// A heartbeat is sent in the interval, with the place reached, unless something
// waits: then it follows that.
func TestBatchAndPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		r := &recorder{}
		defer hub.Subscribe(r, signals, selection(t, hub.Now(), "slow")).Close()
		want(t, r, `$ping@0{"interval":25}`)
		time.Sleep(20 * time.Second)
		say(t, hub, "slow", "1")
		want(t, r, "slow=1")
		time.Sleep(5 * time.Second)
		want(t, r, `$ping@1{"interval":25}`)
		time.Sleep(20 * time.Second)
		say(t, hub, "slow", "2", "3")
		want(t, r, "slow=2")
		time.Sleep(5 * time.Second)
		want(t, r)
		time.Sleep(5 * time.Second)
		want(t, r, "slow=3", `$ping@3{"interval":25}`)
		time.Sleep(20 * time.Second)
		want(t, r, `$ping@3{"interval":25}`)
	})
}

// A sink that is busy at the end of the interval is given what it lacks when it
// is not; one that is writable before waits for the end.
func TestBatchAndBusySink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		b := &batches{}
		b.hold(true)
		sub := hub.Subscribe(b, silent, selection(t, hub.Now(), "quote/*", "drop/*", "a"))
		defer sub.Close()
		synctest.Wait()
		say(t, hub, "quote/x", "1")
		wantBatches(t, b, "[quote/x=1]")
		say(t, hub, "a", "2")
		time.Sleep(frame)
		synctest.Wait()
		sub.Writable()
		synctest.Wait()
		say(t, hub, "a", "3")
		wantBatches(t, b)
		time.Sleep(2 * frame)
		wantBatches(t, b, "[a=2 a=3]")
		time.Sleep(time.Hour)
		synctest.Wait()
		sub.Writable()
		say(t, hub, "a", "4")
		wantBatches(t, b, "[a=4]")
		say(t, hub, "quote/x", "5", "6")
		synctest.Wait()
		sub.Writable()
		wantBatches(t, b, "[quote/x=6]") // from the log, and now it rests
		sub.Writable()
		say(t, hub, "a", "7")
		wantBatches(t, b)
		time.Sleep(3 * frame)
		wantBatches(t, b, "[a=7]")
	})
}

// Something else that cannot wait takes with it what waits.
func TestBatchEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		id := say(t, hub, "a", "0")
		begin := func(name string) (*batches, *topic.Subscriber) {
			b := &batches{}
			opts := silent
			opts.EndWithTopic = name == "end"
			sub := hub.Subscribe(b, opts, selection(t, hub.Now(), name))
			synctest.Wait()
			say(t, hub, name, "1", "2")
			wantBatches(t, b, "["+name+"=1]")
			return b, sub
		}
		b, sub := begin("game/a")
		sub.Subscribe(selection(t, topic.Start{Cursor: topic.Cursor{ID: topic.ID{Epoch: id.Epoch}}}, "a"))
		wantBatches(t, b, "[game/a=2]", "[a=0]")
		say(t, hub, "game/a", "3", "4")
		wantBatches(t, b, "[game/a=3]")
		sub.Unsubscribe("game/a")
		wantBatches(t, b, "[game/a=4]")
		time.Sleep(time.Second)
		say(t, hub, "game/a", "5")
		say(t, hub, "a", "6")
		wantBatches(t, b, "[a=6]")
		sub.Close()

		b, sub = begin("game/b")
		sub.Close()
		time.Sleep(time.Second)
		wantBatches(t, b)

		b, sub = begin("end")
		end(t, hub, "end")
		time.Sleep(frame)
		wantBatches(t, b, "[end=2 "+at(hub, fmt.Sprintf(`$end@%d{"topic":"end"}`, hub.Log().End().Seq))+"]")
		if !errors.Is(b.end, topic.ErrEnded) {
			t.Errorf("ended by %v", b.end)
		}
		sub.Close()

		b, sub = begin("game/c")
		hub.Drain()
		wantBatches(t, b, "[game/c=2]")
		if !errors.Is(b.end, topic.ErrClosed) {
			t.Errorf("ended by %v", b.end)
		}
		sub.Close()
	})
}

// What waits is bounded: the interval ends early.
func TestBatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := restHub(t)
		b := &batches{}
		defer hub.Subscribe(b, silent, selection(t, hub.Now(), "game/*")).Close()
		synctest.Wait()
		say(t, hub, "game/1", "first")
		synctest.Wait()
		for range 256 {
			say(t, hub, "game/1", "x")
		}
		synctest.Wait()
		if n := len(b.take()); n < 257 {
			t.Errorf("%d events were given", n)
		}
		say(t, hub, "game/1", "x", "x")
		say(t, hub, "game/1", string(make([]byte, 64<<10)))
		synctest.Wait()
		if n := len(b.take()); n != 3 {
			t.Errorf("%d events were given", n)
		}
		say(t, hub, "game/1", "x")
		want(t, &b.recorder)
		time.Sleep(frame)
		want(t, &b.recorder, "game/1=x")
	})
}
