package topic_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// Who is writable is ended at once, who writes when he has written, who reads
// when he has read, and who comes later at once.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, log := openGatedHub(t, nil)
		var live, writes, reads, later recorder
		ended := func(r *recorder) bool {
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			return errors.Is(r.end, topic.ErrClosed)
		}
		defer hub.Subscribe(&live, signals, selection(t, hub.Now(), "a")).Close()
		writing := hub.Subscribe(&writes, signals, selection(t, hub.Now(), "a"))
		defer writing.Close()
		synctest.Wait()
		writes.hold(true)
		publish(t, hub, "a", "1")
		synctest.Wait()
		log.reads = make(gate)
		defer hub.Subscribe(&reads, topic.SubscribeOptions{Form: script{}}, selection(t, earliest(t, hub, "a"), "a")).Close()
		synctest.Wait()

		hub.Drain()
		if !ended(&live) {
			t.Error("a live subscriber goes on")
		}
		if ended(&writes) || ended(&reads) {
			t.Error("a sink that was busy was called")
		}
		defer hub.Subscribe(&later, signals, selection(t, hub.Now(), "a")).Close()
		if !ended(&later) {
			t.Error("who came later goes on")
		}
		writing.Writable()
		close(log.reads)
		if !ended(&writes) || !ended(&reads) {
			t.Error("a subscriber goes on")
		}
		live.take()
		publish(t, hub, "a", "2")
		want(t, &live)
	})
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		var r recorder
		sub := hub.Subscribe(&r, signals, selection(t, hub.Now(), "a"))
		want(t, &r, `$ping@0{"interval":25}`)
		r.onSend = func() bool { sub.Leave(); return true }
		publish(t, hub, "a", "1")
		want(t, &r, "a=1")
		publish(t, hub, "a", "2")
		sub.Unsubscribe("a")
		sub.Subscribe(selection(t, hub.Now(), "a"))
		want(t, &r)
		if n := hub.Subscribers("a"); n != 0 {
			t.Errorf("%d subscriptions are counted", n)
		}
	})
}
