package topic_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// gatedLog is a log whose reads and news can be held up.
type gatedLog struct {
	*memlog.Log
	reads, news gate
}

// gate is open while it is nil.
type gate chan struct{}

func (g gate) pass(ctx context.Context) error {
	if g == nil {
		return nil
	}
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *gatedLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	if err := l.reads.pass(ctx); err != nil {
		return topic.Page{}, err
	}
	return l.Log.Read(ctx, interests, limit)
}

func (l *gatedLog) Watch(f func([]*topic.Entry)) topic.ID {
	return l.Log.Watch(func(entries []*topic.Entry) {
		_ = l.news.pass(context.Background())
		f(entries)
	})
}

func openGatedHub(t *testing.T, opts *topic.HubOptions) (*topic.Hub, *gatedLog) {
	t.Helper()
	log := &gatedLog{Log: memlog.Open(nil)}
	hub := topic.NewHub(log, opts)
	t.Cleanup(func() {
		hub.Close()
		log.Close()
	})
	return hub, log
}

// A selection that is added while a worker reads the log for the others misses
// nothing that the worker's page has passed by.
func TestSubscribeWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, log := openGatedHub(t, nil)
		publish(t, hub, "a", "1")
		log.reads = make(gate)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, earliest(t, hub, "a"), "a"))
		defer sub.Close()
		synctest.Wait() // a worker is at the gate
		sub.Subscribe(selection(t, hub.Now(), "b"))
		synctest.Wait()
		publish(t, hub, "b", "2")
		synctest.Wait() // the shard has passed it by
		close(log.reads)
		want(t, r, `$ping@0{"interval":25}`, "a=1", "b=2")
	})
}

// The goroutine that reads a connection may ask for something while the one
// that writes closes the subscriber.
func TestCommandsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		r := &recorder{}
		other := hub.Subscribe(r, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		defer other.Close()
		sub := hub.Subscribe(&recorder{}, signals, selection(t, hub.Now(), "a"), selection(t, hub.Now(), "b/*"))
		sub.Close()
		sub.Unsubscribe("a")
		sub.Unsubscribe("b/*")
		sub.Subscribe(selection(t, hub.Now(), "a"))
		sub.Writable()
		sub.Unsubscribe("c")
		if n := hub.Subscribers("a"); n != 1 {
			t.Errorf("%d subscriptions are counted, want 1", n)
		}
		publish(t, hub, "a", "1")
		want(t, r, "a=1")
	})
}

// "The cursor of a signal is never beyond what this subscriber was given or
// could not match" (PROTOCOL.md §4.4), also if one of its subscriptions begins
// further on.
func TestPingOfDifferentCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, log := openGatedHub(t, nil)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "a"))
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		log.news = make(gate)
		published := make(chan struct{})
		go func() {
			publish(t, hub, "a", "1")
			close(published)
		}()
		synctest.Wait() // it is in the log, and no shard has seen it
		sub.Subscribe(selection(t, hub.Now(), "b"))
		time.Sleep(topic.DefaultPing)
		want(t, r, `$ping@-{"interval":25}`)
		close(log.news)
		<-published
		want(t, r, "a=1")
		time.Sleep(topic.DefaultPing)
		want(t, r, `$ping@1{"interval":25}`)
	})
}

// "The next ones follow every interval, no matter what else was sent"
// (PROTOCOL.md §6.3): a $gap does not stand for a heartbeat that is due.
func TestPingThatIsDueFollowsTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, nil)
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "a"))
		defer sub.Close()
		want(t, r, `$ping@0{"interval":25}`)
		r.hold(true)
		epoch, _, _ := strings.Cut(publish(t, hub, "a", "1").String(), "-")
		want(t, r, "a=1")
		publish(t, hub, "a", "2", "3", "4", "5")
		time.Sleep(topic.DefaultPing)
		synctest.Wait()
		sub.Writable()
		want(t, r, fmt.Sprintf(`$gap@3{"after":"%[1]s-1","oldest":"%[1]s-4"}`, epoch), `$ping@3{"interval":25}`, "a=4", "a=5")
	})
}

// "after is the cursor as asked for, or, in the middle of a stream, the place
// reached" (PROTOCOL.md §6.4), also if nothing was missing at the start.
func TestGapInTheMiddleNamesThePlaceReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, nil)
		id := publish(t, hub, "a", "1")
		epoch, _, _ := strings.Cut(id.String(), "-")
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, after(t, hub, id.String()), "a"))
		defer sub.Close()
		want(t, r, `$ping@1{"interval":25}`)
		r.hold(true)
		publish(t, hub, "a", "2")
		want(t, r, "a=2")
		publish(t, hub, "a", "3", "4", "5")
		synctest.Wait() // the shard has passed them by
		sub.Writable()
		want(t, r, fmt.Sprintf(`$gap@3{"after":"%[1]s-2","oldest":"%[1]s-4"}`, epoch), "a=4", "a=5")
	})
}

// "Close ends all subscribers with ErrClosed", also those whose read it has
// stopped, and those that no worker has come to.
func TestCloseEndsThoseWhoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, log := openGatedHub(t, &topic.HubOptions{Readers: 1})
		publish(t, hub, "a", "1")
		log.reads = make(gate)
		var sinks [3]recorder
		for i := range sinks {
			sub := hub.Subscribe(&sinks[i], signals, selection(t, earliest(t, hub, "a"), "a"))
			defer sub.Close()
		}
		synctest.Wait() // one at the gate, two in the queue
		hub.Close()
		for i := range sinks {
			if !errors.Is(sinks[i].end, topic.ErrClosed) {
				t.Errorf("subscriber %d ended with %v", i, sinks[i].end)
			}
		}
	})
}

// A read that fails ends the subscriber with what the log said.
func TestReadErrorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, log := openGatedHub(t, nil)
		publish(t, hub, "a", "1")
		start := earliest(t, hub, "a")
		log.Close()
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, start, "a"))
		defer sub.Close()
		want(t, r)
		if !errors.Is(r.end, topic.ErrClosed) {
			t.Errorf("end: %v", r.end)
		}
	})
}

// Without a form there is nothing to say a signal in.
func TestSignalsWithoutForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		told := 0
		r := &recorder{onSend: func() bool { told++; return true }}
		sub := hub.Subscribe(r, topic.SubscribeOptions{Signals: true}, selection(t, hub.Now(), "a"))
		defer sub.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if told != 0 {
			t.Errorf("told %d times of nothing", told)
		}
	})
}

// The end that a subscription begins after is told to it, but in its place and
// once, also if another one has still to come there (PROTOCOL.md §6.5: "its id
// is that of the end in the log").
func TestEndBehindTheCursorComesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		publish(t, hub, "e", "1")
		for range 300 { // more than a page
			publish(t, hub, "x", "")
		}
		end(t, hub, "e")
		publish(t, hub, "x", "last")
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, hub.Now(), "e"), selection(t, earliest(t, hub, "**"), "**"))
		defer sub.Close()
		synctest.Wait()
		got := r.take()
		if len(got) != 1+301+2 || got[0] != `$ping@-{"interval":25}` || got[302] != `$end@302{"topic":"e"}` || got[303] != "x=last" {
			t.Errorf("%d lines: %q ... %q", len(got), got[:2], got[len(got)-2:])
		}
	})
}

// Who has read to the end of the log no longer needs to say what losses it was
// told of, so $ping has a cursor for all, however far the loss clock is ahead.
func TestPingAfterGapOfSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 1, RetainAge: time.Minute}, nil)
		var last topic.ID
		for i := range 50 {
			last = publish(t, hub, fmt.Sprint("old/", i), "")
		}
		time.Sleep(2 * time.Minute) // all are lost, one by one
		publish(t, hub, "x", "1")
		publish(t, hub, "y", "2", "3") // 2 is lost, between kept ones
		r := &recorder{}
		sub := hub.Subscribe(r, signals, selection(t, after(t, hub, last.String()), "x", "y"), selection(t, hub.Now(), "z"))
		defer sub.Close()
		want(t, r, fmt.Sprintf(`$gap@50{"after":%q,"oldest":"%s"}`, last, topic.ID{Epoch: last.Epoch, Seq: 51}), "x=1", "y=3")
		time.Sleep(topic.DefaultPing)
		want(t, r, `$ping@53{"interval":25}`)
	})
}
